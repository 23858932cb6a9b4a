"""How long a sweep may go on: until its time is over, or until somebody wants it to end."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Patience:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started = time.monotonic()
        self.signal: int | None = None
        """The signal that asked for the end."""

    def interrupted(self) -> bool:
        return self.signal is not None

    def exhausted(self) -> bool:
        return self.signal is not None or self.elapsed() >= self._seconds

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """A block in which signals only set `signal`: between two entries everything is in order."""

        def heed(number: int, frame: FrameType | None) -> None:
            self.signal = self.signal or number

        # What the parent ignores stays ignored, as `nohup` wants it.
        before = {
            number: signal.getsignal(number)
            for number in _SIGNALS
            if signal.getsignal(number) not in (signal.SIG_IGN, None)
        }
        for number in before:
            signal.signal(number, heed)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
