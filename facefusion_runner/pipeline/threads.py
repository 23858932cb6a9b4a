"""Runs stages at the same time, one thread each, and ends them all together.

A stage is a generator: it takes what the stage before it yields, and yields what the next one takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from facefusion_runner.errors import Cancelled, RunnerError
from facefusion_runner.pipeline.channel import Aborted, Channel


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the pipeline; `run` is called once with the channel it reads."""

    name: str
    run: Callable[[Channel[Any]], Iterator[Any]]
    capacity: int
    """How many finished items may wait for the next stage."""


class Pipeline:
    """A source, stages and a sink, joined by bounded channels.

    The memory in use is bounded by the capacities: a slow stage stops the ones before it.
    """

    def __init__(
        self, source: Iterable[Any], stages: Sequence[Stage], sink: Callable[[Any], None], capacity: int
    ) -> None:
        self._source = source
        self._stages = stages
        self._sink = sink
        self._channels: list[Channel[Any]] = [Channel(capacity)]
        self._channels += [Channel(stage.capacity) for stage in stages]
        self._failure: BaseException | None = None
        self._failed = threading.Lock()
        self._over = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Returns when the sink has had every item.

        Raises the first failure of any stage, or Cancelled when `stop` is set; by then every thread
        has ended.
        """
        threads = [self._thread("source", self._feed)]
        threads += [
            self._thread(stage.name, self._work, stage, before, after)
            for stage, before, after in zip(self._stages, self._channels, self._channels[1:], strict=False)
        ]
        threads.append(self._thread("sink", self._drain))
        started: list[threading.Thread] = []
        try:
            for thread in threads:
                _start(thread)
                started.append(thread)
            # Short waits: Python delivers a signal to the main thread only between them.
            while not self._over.wait(0.1):
                if stop.is_set():
                    self._fail(Cancelled("the task was cancelled"))
        except BaseException as failure:
            self._fail(failure)
        for thread in started:
            thread.join()
        first, self._failure = self._failure, None
        try:
            if first is not None:
                raise first
        finally:
            # Else its traceback and this frame would hold each other, and frames and networks with them,
            # until the garbage collector comes by.
            del first

    def _thread(self, name: str, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        return threading.Thread(target=self._guard, name=f"stage-{name}", args=(target, *arguments))

    def _guard(self, target: Callable[..., None], *arguments: Any) -> None:
        with suppress(Aborted):
            try:
                target(*arguments)
            except Aborted:
                raise
            except BaseException as failure:
                self._fail(failure)

    def _feed(self) -> None:
        for item in self._source:
            self._channels[0].put(item)
        self._channels[0].close()

    def _work(self, stage: Stage, before: Channel[Any], after: Channel[Any]) -> None:
        for item in stage.run(before):
            after.put(item)
        after.close()

    def _drain(self) -> None:
        for item in self._channels[-1]:
            self._sink(item)
        self._over.set()

    def _fail(self, failure: BaseException) -> None:
        with self._failed:
            if self._failure is None:
                self._failure = failure
        for channel in self._channels:
            channel.abort()
        self._over.set()


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        raise RunnerError(f"no further thread can be started ({error}); allow more processes") from None


@dataclass(slots=True)
class Stopwatch:
    """Adds up the seconds one stage spends at work, its waiting left out."""

    seconds: float = 0.0
    _since: float = 0.0

    def __enter__(self) -> Stopwatch:
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since
