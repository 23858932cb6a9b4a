"""How a task tells what it is doing: progress events and the reporters that show them."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import IO, Any, Final, Literal, Protocol, Self

Mode = Literal["auto", "bar", "lines", "json", "none"]
Unit = Literal["frames", "bytes"]
Clock = Callable[[], float]

WINDOW: Final = 10.0
"""Seconds the rate is taken over: long enough to be calm, short enough to follow a change."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one stage is."""

    stage: str
    frames: int = 0
    """Frames that are done; in a download bytes."""
    total: int | None = None
    rate: float | None = None
    """Frames per second over the last seconds; None until it is known."""
    eta: float | None = None
    """Seconds that are left; None where the total or the rate is not known."""


class Reporter(Protocol):
    """Shows progress and warnings. May be used from any thread; a reader that is gone is no error."""

    def progress(self, event: Progress) -> None: ...

    def warning(self, message: str) -> None:
        """A message is shown once however often it comes."""
        ...

    def close(self) -> None:
        """Leaves the terminal clean; further events are not shown. May be called twice."""
        ...


class Meter:
    """Counts one stage's frames and reports them with rate and time left."""

    def __init__(
        self,
        reporter: Reporter,
        stage: str,
        total: int | None = None,
        *,
        start: int = 0,
        clock: Clock = time.monotonic,
    ) -> None:
        """`start`: what an earlier run has done; it does not count for the rate."""
        self._reporter = reporter
        self._stage = stage
        self._total = total
        self._clock = clock
        self._frames = start
        self._samples: deque[tuple[float, int]] = deque([(clock(), start)])
        reporter.progress(Progress(stage, start, total))

    @property
    def frames(self) -> int:
        return self._frames

    def advance(self, frames: int = 1) -> None:
        self._frames += frames
        now = self._clock()
        self._samples.append((now, self._frames))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()
        self._reporter.progress(self._event(now))

    def _event(self, now: float) -> Progress:
        since, before = self._samples[0]
        rate = (self._frames - before) / (now - since) if now > since else None
        left = None if self._total is None else max(0, self._total - self._frames)
        eta = left / rate if rate and left is not None else None
        return Progress(self._stage, self._frames, self._total, rate, eta)


class Throttle:
    """Lets an event through when it is a stage's first or last, or enough time has gone by."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._stage: str | None = None
        self._next = 0.0

    def admits(self, event: Progress) -> bool:
        now = self._clock()
        ended = event.total is not None and event.frames >= event.total
        if event.stage == self._stage and not ended and now < self._next:
            return False
        self._stage, self._next = event.stage, now + self._seconds
        return True


class BaseReporter:
    """What all reporters share: a lock, warnings once, and peace when nothing can be written."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self._closed = False

    def progress(self, event: Progress) -> None:
        with self._lock, self._unheard():
            if not self._closed:
                self._show(event)

    def warning(self, message: str) -> None:
        with self._lock, self._unheard():
            if message not in self._warned:
                self._warned.add(message)
                self._warn(message)

    def close(self) -> None:
        with self._lock, self._unheard():
            if not self._closed:
                self._closed = True
                self._end()

    def done(self, summary: str, data: dict[str, Any]) -> None:
        """The last event of a task that succeeded: a line for people, the data for programs."""
        self.close()
        with self._lock, self._unheard():
            self._finish(summary, data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """That nobody reads, or a log has no room, does not end the task."""
        try:
            yield
        except OSError:
            silence(self._stream)

    def _show(self, event: Progress) -> None: ...

    def _warn(self, message: str) -> None: ...

    def _end(self) -> None: ...

    def _finish(self, summary: str, data: dict[str, Any]) -> None: ...


class LineReporter(BaseReporter):
    """One line every few seconds, for logs."""

    def __init__(
        self, stream: IO[str], unit: Unit = "frames", seconds: float = 5.0, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(stream)
        self._unit: Unit = unit
        self._throttle = Throttle(seconds, clock)

    def _show(self, event: Progress) -> None:
        if self._throttle.admits(event):
            print(_sentence(event, self._unit), file=self._stream, flush=True)

    def _warn(self, message: str) -> None:
        print(f"warning: {message}", file=self._stream, flush=True)

    def _finish(self, summary: str, data: dict[str, Any]) -> None:
        print(summary, file=self._stream, flush=True)


class QuietReporter(LineReporter):
    """Warnings only."""

    def _show(self, event: Progress) -> None: ...

    def _finish(self, summary: str, data: dict[str, Any]) -> None: ...


class JsonReporter(BaseReporter):
    """One JSON object a line, for programs."""

    def __init__(self, stream: IO[str], seconds: float = 0.5, clock: Clock = time.monotonic) -> None:
        super().__init__(stream)
        self._throttle = Throttle(seconds, clock)

    def _show(self, event: Progress) -> None:
        if self._throttle.admits(event):
            self._write({"event": "progress", **asdict(event)})

    def _warn(self, message: str) -> None:
        self._write({"event": "warning", "message": message})

    def _finish(self, summary: str, data: dict[str, Any]) -> None:
        self._write({"event": "done", **data})

    def _write(self, data: dict[str, Any]) -> None:
        print(json.dumps(data), file=self._stream, flush=True)


def silence(stream: IO[str]) -> None:
    """What is still buffered goes nowhere: the interpreter would complain when it flushes at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def make_reporter(
    mode: Mode, unit: Unit = "frames", stdout: IO[str] | None = None, stderr: IO[str] | None = None
) -> BaseReporter:
    """The reporter for `--progress`. JSON goes to stdout, all that people read to stderr."""
    errors = sys.stderr if stderr is None else stderr
    if mode == "json":
        return JsonReporter(sys.stdout if stdout is None else stdout)
    if mode == "none":
        return QuietReporter(errors)
    if mode == "bar" or (mode == "auto" and errors.isatty()):
        from facefusion_runner.bar import BarReporter

        return BarReporter(errors, unit)
    return LineReporter(errors, unit)


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _sentence(event: Progress, unit: Unit) -> str:
    if event.frames == 0 and event.total is None:
        return event.stage
    if unit == "bytes":
        count = _megabytes(event.frames) + ("" if event.total is None else f" of {_megabytes(event.total)}")
    else:
        count = f"{event.frames} frames" if event.total is None else f"{event.frames} of {event.total} frames"
    return ", ".join(filter(None, (f"{event.stage}: {count}", pace(event, unit))))


def pace(event: Progress, unit: Unit) -> str:
    """`12.3 frames/s, 1:02 left`, as far as it is known."""
    parts = []
    if event.rate is not None:
        parts.append(f"{_megabytes(event.rate)}/s" if unit == "bytes" else f"{event.rate:.1f} frames/s")
    if event.eta is not None:
        parts.append(f"{duration(event.eta)} left")
    return ", ".join(parts)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB"
