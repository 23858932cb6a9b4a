"""Whenever a swap is told to stop, it stops, and nothing is left behind."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from facefusion_runner.errors import RunnerError
from tests.pipeline.conftest import SmallTask, faces, read_clip, write_clip

STAGES = ["checking", "loading", "preparing", "swapping"]


@pytest.fixture
def long_task(task: SmallTask) -> SmallTask:
    """A target that takes a while: long enough to be caught in the middle."""
    clip = faces(12)
    write_clip(task.folder / "target.mp4", [clip[min(i, 11)] for i in range(1500)])
    return task


@contextmanager
def started(task: SmallTask) -> Iterator[subprocess.Popen[str]]:
    flags = {**task.options, "progress": "json", "source": task.options["source"][0], "task_id": "killed"}
    command = [sys.executable, "-m", "facefusion_runner", "swap"]
    for name, value in flags.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], stage: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event.get("stage") == stage and (stage != "swapping" or event["frames"] > 0):
            return
    pytest.fail(f"ended before it was {stage}: {process.communicate()[1]}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stopped_swap_leaves_no_byte_in_the_cache_and_no_output(
    long_task: SmallTask, stage: str, number: signal.Signals
) -> None:
    with started(long_task) as process:
        wait_for(process, stage)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "Traceback" not in errors
    assert [line for line in errors.splitlines() if line.startswith("error:")]
    assert not long_task.output.exists()
    assert long_task.caches() == long_task.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_once_the_result_is_being_put_in_place_only_cuts_the_grace_period_short(
    task: SmallTask, number: signal.Signals
) -> None:
    task.options["cache_grace_seconds"] = 600.0
    with started(task) as process:
        wait_for(process, "finishing")
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert len(read_clip(task.output)) == 12
    assert task.caches() == task.leftovers() == []


def test_after_sigkill_the_lease_is_free_at_once_and_nothing_lies_beside_the_output(
    long_task: SmallTask,
) -> None:
    with started(long_task) as process:
        wait_for(process, "swapping")
        assert not lease_is_free(long_task.cache_root / "killed")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    assert lease_is_free(long_task.cache_root / "killed")
    assert not long_task.output.exists()
    assert long_task.leftovers() == []


def test_a_task_id_that_is_at_work_is_refused_and_the_first_task_goes_on(
    long_task: SmallTask,
) -> None:
    with started(long_task) as process:
        wait_for(process, "swapping")
        with pytest.raises(RunnerError, match="task killed is running already") as caught:
            long_task.run(task_id="killed", output=long_task.folder / "second.mp4")
        assert caught.value.exit_code == 2
        assert process.poll() is None
        assert not lease_is_free(long_task.cache_root / "killed")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert long_task.caches() == long_task.leftovers() == []


def lease_is_free(cache: Path) -> bool:
    directory = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(directory)
    return True
