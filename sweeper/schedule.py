"""Runs the sweeps of SWEEP_SCHEDULE in the foreground, where there is no cron: without root, for one.

Each sweep is a process of its own that inherits the environment and the output. There is never more
than one; a run that falls into another one is left out.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LONG: Final = 3600.0


def next_run(schedule: str, now: float) -> float:
    """The first time of a schedule after `now`, in local time as cron reads it; both in seconds."""
    from croniter import croniter  # type: ignore[import-untyped]

    return float(croniter(schedule, datetime.fromtimestamp(now).astimezone()).get_next(float))


def run_schedule(
    schedule: str,
    command: Sequence[str] = (sys.executable, "-m", "sweeper", "--json"),
    *,
    clock: Callable[[], float] = time.time,
    look_again: float = 30.0,
) -> int:
    """Run `command` at the schedule's times until a signal comes; returns 128 plus its number.

    The signal is passed on to a sweep that is running, and its end is waited for. `look_again`: the
    clock is read at least so often (seconds), because it can be set.
    """
    signals = _Signals()
    print(f"sweeper: sweeps at {schedule}", file=sys.stderr, flush=True)
    try:
        due = next_run(schedule, clock())
        while True:
            due = min(due, next_run(schedule, clock()))
            ending = signals.wait(max(0.0, min(due - clock(), look_again)))
            if ending is None and clock() >= due:
                ending = _run(command, signals)
                due = next_run(schedule, clock())
            if ending is not None:
                return 128 + ending
    finally:
        signals.restore()


class _Signals:
    """Signals that are blocked and fetched, so that none can come between looking and waiting."""

    def __init__(self) -> None:
        # What the parent ignores stays ignored, as `nohup` wants it.
        self._ending = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        self._waited_for = [*self._ending, signal.SIGCHLD]
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, self._waited_for)

    def wait(self, seconds: float) -> int | None:
        """Wait at most so long for a signal; its number if it wants the end."""
        found = signal.sigtimedwait(self._waited_for, seconds)
        return found.si_signo if found is not None and found.si_signo in self._ending else None

    def restore(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


def _run(command: Sequence[str], signals: _Signals) -> int | None:
    """One sweep from start to end; the first signal that came meanwhile, which the sweep got too."""
    try:
        child = os.posix_spawn(command[0], list(command), os.environ, setsigmask=signals.before)
    except OSError as error:
        print(f"sweeper: {command[0]} cannot be started: {error.strerror}", file=sys.stderr, flush=True)
        return None
    first = None
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        ending = signals.wait(_LONG)
        if ending is not None:
            first = first or ending
            os.kill(child, ending)
    return first
