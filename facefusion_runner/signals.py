"""How signals end the program: the only place that handles them.

Most commands are interrupted where they are. Around a task, `StopOnSignal` sets an event instead, so
that the task ends in order; what cannot wait any longer is set aside before the process is ended.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Final, Self

HANDLED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

CANCELLED_EXIT: Final = 4

REPEAT_SECONDS: Final = 0.5
"""A signal that comes sooner after the first is the same wish: `timeout` and shells send it twice. The
task may have ended in between."""

PATIENCE_SECONDS: Final = 8.0
"""How long an orderly end may take; containers are killed 10 s after SIGTERM."""

_END: Final = b"\0"


class Interrupted(BaseException):
    """A signal came. Not a KeyboardInterrupt, which libraries answer with output of their own."""


class Stop(threading.Event):
    """The wish that a task ends, and what must happen when it does not end in time."""

    def __init__(self) -> None:
        super().__init__()
        self._callbacks: list[Callable[[], object]] = []

    def on_abandon(self, callback: Callable[[], object]) -> None:
        """`callback` is run, from another thread and newest first, before the process is ended at once."""
        self._callbacks.append(callback)

    def abandon(self) -> None:
        """Runs the callbacks; one that fails does not keep the others from running."""
        while self._callbacks:
            with suppress(Exception):
                self._callbacks.pop()()


class StopOnSignal:
    """A block in which the first signal sets `stop`; a second one, or no end in time, ends the process.

    A block that was stopped leaves its handlers behind: whoever asked twice is not to end the process while
    it is on its way out, and a later signal does what it would have done before the block.

    A thread waits on the descriptor that Python's C-level handler writes to, so a signal counts while
    the main thread is inside a long C call, and the event is never set from within a handler (a
    handler may interrupt the very lock the event needs). Enter it in the main thread.
    """

    def __init__(
        self,
        stop: Stop,
        *,
        patience: float = PATIENCE_SECONDS,
        exit_now: Callable[[int], Any] = os._exit,
    ) -> None:
        self._stop = stop
        self._patience = patience
        self._exit_now = exit_now
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup_before = -1
        self._stopped: float | None = None

    def __enter__(self) -> Self:
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.getsignal(number) for number in _taken()}
        for number in self._before:
            signal.signal(number, _nothing)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        with suppress(BlockingIOError):
            self._writer.send(_END)
        self._writer.shutdown(socket.SHUT_WR)
        self._thread.join()
        self._reader.close()
        self._writer.close()
        for number, handler in self._before.items():
            signal.signal(number, handler if self._stopped is None else self._repeated)

    def _watch(self) -> None:
        if not self._signalled(None):
            return
        self._stopped = started = time.monotonic()
        self._stop.set()
        while (left := started + self._patience - time.monotonic()) > 0:
            signalled = self._signalled(left)
            if signalled is False:
                return
            if signalled and time.monotonic() - started >= REPEAT_SECONDS:
                break
        self._stop.abandon()
        self._exit_now(CANCELLED_EXIT)

    def _repeated(self, number: int, frame: FrameType | None) -> None:
        """A signal after the end of a stopped block."""
        assert self._stopped is not None
        if time.monotonic() - self._stopped >= REPEAT_SECONDS:
            signal.signal(number, self._before[signal.Signals(number)])
            signal.raise_signal(number)

    def _signalled(self, seconds: float | None) -> bool | None:
        """True: a signal came; False: the block has ended; None: the time is over."""
        self._reader.settimeout(seconds)
        try:
            while received := self._reader.recv(64):
                if _END in received:
                    return False
                # Other signals that have a Python handler are written to the descriptor too.
                if any(number in HANDLED for number in received):
                    return True
        except TimeoutError:
            return None
        return False


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """A block in which each handled signal raises `Interrupted` in the main thread.

    Enter it once, around all that the process does: after a signal has come, all are ignored when the block
    ends, since Python's own way out takes time and a repeated wish must not spoil the exit code.
    """
    came = 0.0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        first = time.monotonic() - came >= REPEAT_SECONDS
        came = came or time.monotonic()
        if first:
            raise Interrupted

    before = {number: signal.getsignal(number) for number in _taken()}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            undisturbed = signal.getsignal(number) == interrupt and not came
            signal.signal(number, handler if undisturbed else signal.SIG_IGN)


def _taken() -> list[signal.Signals]:
    # What the parent ignores stays ignored: that is how `nohup` and a shell's `&` work.
    return [number for number in HANDLED if signal.getsignal(number) not in (signal.SIG_IGN, None)]


def _nothing(number: int, frame: FrameType | None) -> None:
    """Only a Python-level handler makes the C-level one write to the descriptor."""
