"""Stages run together and end together."""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from collections.abc import Iterator

import pytest

from facefusion_runner.errors import Cancelled, MediaError, RunnerError
from facefusion_runner.pipeline.channel import Channel
from facefusion_runner.pipeline.threads import Pipeline, Stage


def double(items: Channel[int]) -> Iterator[int]:
    for item in items:
        yield 2 * item


def fail_at(number: int) -> Stage:
    def run(items: Channel[int]) -> Iterator[int]:
        for item in items:
            if item == number:
                raise MediaError(f"item {number} is damaged")
            yield item

    return Stage("failing", run, 2)


def stage_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stage-")]


def test_items_come_out_in_order() -> None:
    out: list[int] = []
    Pipeline(range(500), [Stage("a", double, 1), Stage("b", double, 3)], out.append, 2).run(threading.Event())
    assert out == [4 * i for i in range(500)]


def test_a_pipeline_without_stages_copies() -> None:
    out: list[int] = []
    Pipeline(range(5), [], out.append, 1).run(threading.Event())
    assert out == [0, 1, 2, 3, 4]


def test_a_stage_may_take_what_is_at_hand_as_one_batch() -> None:
    sizes: list[int] = []

    def batch(items: Channel[int]) -> Iterator[int]:
        while taken := items.take(4):
            sizes.append(len(taken))
            yield from taken

    out: list[int] = []
    Pipeline(range(100), [Stage("batch", batch, 1)], out.append, 8).run(threading.Event())
    assert out == list(range(100))
    assert max(sizes) <= 4


@pytest.mark.parametrize("number", [0, 7, 99])
def test_the_failure_of_a_stage_is_the_failure_of_the_task_and_ends_every_thread(number: int) -> None:
    stages = [Stage("a", double, 1), fail_at(2 * number), Stage("b", double, 1)]
    with pytest.raises(MediaError, match="is damaged"):
        Pipeline(iter(range(10**9)), stages, lambda item: None, 2).run(threading.Event())
    assert stage_threads() == []


def test_the_failure_of_the_source_or_the_sink_ends_every_thread() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise MediaError("truncated")

    def sink(item: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(MediaError, match="truncated"):
        Pipeline(source(), [Stage("a", double, 1)], lambda item: None, 1).run(threading.Event())
    with pytest.raises(OSError, match="No space"):
        Pipeline(iter(range(10**9)), [Stage("a", double, 1)], sink, 1).run(threading.Event())
    assert stage_threads() == []


def test_a_cancelled_task_ends_every_thread() -> None:
    stop = threading.Event()

    def sink(item: int) -> None:
        if item == 2 * 50:
            stop.set()

    with pytest.raises(Cancelled):
        Pipeline(iter(range(10**9)), [Stage("a", double, 1)], sink, 1).run(stop)
    assert stage_threads() == []


def test_an_interrupt_of_the_main_thread_ends_every_thread() -> None:
    def sink(item: int) -> None:
        if item == 50:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Pipeline(iter(range(10**9)), [], sink, 1).run(threading.Event())
    assert stage_threads() == []


def test_a_slow_sink_stops_the_source() -> None:
    made = 0
    release = threading.Event()

    def source() -> Iterator[int]:
        nonlocal made
        while made < 1000:
            made += 1
            yield made

    def sink(item: int) -> None:
        if item == 1:
            while made < 5:
                pass
            release.wait(0.2)
            seen.append(made)

    seen: list[int] = []
    Pipeline(source(), [], sink, 4).run(threading.Event())
    assert seen[0] <= 1 + 4 + 1


def test_where_no_further_thread_can_be_started_those_that_run_are_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def start_two(thread: threading.Thread) -> None:
        if thread.name == "stage-sink":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    with pytest.raises(RunnerError, match="thread"):
        Pipeline(iter(range(10**9)), [Stage("a", double, 1)], lambda item: None, 1).run(threading.Event())
    assert stage_threads() == []


def test_a_failure_holds_nothing_of_the_pipeline_once_it_is_dealt_with() -> None:
    """Frames and networks are large: they must not wait for the garbage collector."""

    class Item:
        pass

    item = Item()
    gone = weakref.ref(item)
    gc.disable()
    try:
        with pytest.raises(MediaError):
            Pipeline([item, 1], [fail_at(1)], lambda item: None, 1).run(threading.Event())
        del item
        assert gone() is None
    finally:
        gc.enable()
