"""Many tasks in one process: nothing adds up."""

from __future__ import annotations

import gc
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from facefusion_runner.errors import RunnerError
from facefusion_runner.signals import Stop
from tests.pipeline.conftest import SmallTask

ROUNDS = 20
WARM_UP = 4


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    """What only the collector would free stays, and is seen: it may be a network on a GPU."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def counted() -> tuple[int, int]:
    """Open descriptors, and threads of any kind: Python's, FFmpeg's, ONNX Runtime's."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def megabytes() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def test_tasks_that_succeed_fail_or_are_cancelled_leave_nothing_in_the_process(
    task: SmallTask, no_garbage_collector: None
) -> None:
    chance = random.Random(3)
    target = task.folder / "target.mp4"
    healthy = target.read_bytes()
    ends = {"done": 0, "cancelled": 0, "damaged": 0}
    before, memory = counted(), megabytes()
    for number in range(ROUNDS):
        if number == WARM_UP:
            before, memory = counted(), megabytes()
        for end in ends:
            content, at = bytearray(healthy), chance.randrange(len(healthy))
            if end == "damaged":
                content[at : at + 600] = bytes(len(content[at : at + 600]))
            target.write_bytes(content)
            task.stop = Stop()
            timer = threading.Timer(chance.uniform(0, 0.15), task.stop.set)
            if end == "cancelled":
                timer.start()
            try:
                task.run(overwrite=True)
            except RunnerError as error:
                ends[end] += "\n" not in str(error)
            else:
                ends[end] += end == "done"
            timer.cancel()
            if end == "cancelled":
                timer.join()
            assert task.caches() == task.leftovers() == []
    assert ends["done"] == ROUNDS and ends["damaged"] > ROUNDS / 2 and ends["cancelled"] > 0
    assert counted() == before
    assert megabytes() - memory < 50
