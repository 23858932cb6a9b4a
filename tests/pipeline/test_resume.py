"""A film whose task was killed goes on where it was, to the very same film."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from facefusion_runner.pipeline import run
from facefusion_runner.pipeline.checkpoints import Checkpoints
from tests.pipeline.conftest import SmallTask, faces, write_clip

RATE = 5
STRETCH = 10
"""Frames, where a stretch is made to last two seconds."""
FRAMES = 36


def decoded(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and pixels of every frame."""
    with av.open(str(path)) as film:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="yuv420p").tobytes())
            for frame in film.decode(video=0)
        ]


def write_target(task: SmallTask, count: int) -> None:
    """A face that goes to and fro."""
    clip = faces(24)
    frames = [clip[min(number % 48, 47 - number % 48)] for number in range(count)]
    write_clip(task.folder / "target.mp4", frames, rate=RATE)


@pytest.fixture
def film(task: SmallTask, monkeypatch: pytest.MonkeyPatch) -> SmallTask:
    """A task whose film has more than three stretches."""
    monkeypatch.setattr(run, "STRETCH_SECONDS", STRETCH / RATE)
    write_target(task, FRAMES)
    return task


class Crash(BaseException):
    """Nothing of the task sees it coming."""


@pytest.fixture
def crash(film: SmallTask, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the task until so many stretches are kept, then ends it as a crash would: its cache stays."""

    def until(stretches: int, **options: Any) -> None:
        add = Checkpoints.add

        def adding(self: Checkpoints, *arguments: Any) -> None:
            add(self, *arguments)
            if len(list(self._folder.glob("*.npz"))) == stretches:
                raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "add", adding)
            with pytest.raises(Crash):
                film.run(task_id="film", cache_keep="always", **options)

    return until


@pytest.mark.parametrize("stretches", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"select": (0,)},
        {"select": "largest", "detect_every": 4},
        {"generator": "plain_mesh", "landmarker": "usual_mesh"},
    ],
    ids=["all", "by position", "largest, tracked between", "mesh"],
)
def test_it_comes_to_the_film_that_an_undisturbed_task_makes(
    film: SmallTask, crash: Callable[..., None], options: dict[str, Any], stretches: int
) -> None:
    whole = film.run(task_id="whole", **options)
    wanted = decoded(film.output)
    film.output.unlink()
    crash(stretches, **options)
    assert not film.output.exists()
    result = film.run(task_id="film", **options)
    assert f"it goes on after {stretches * STRETCH} frames" in " ".join(film.reporter.warnings)
    assert (result.frames, result.faces) == (whole.frames, whole.faces) == (FRAMES, FRAMES)
    assert decoded(film.output) == wanted
    assert film.caches() == [] and film.leftovers() == []


def test_progress_goes_on_as_well(film: SmallTask, crash: Callable[..., None]) -> None:
    crash(2)
    film.reporter.events.clear()
    film.run(task_id="film")
    counts = [event.frames for event in film.reporter.events if event.stage == "swapping"][1:]
    assert counts == list(range(2 * STRETCH, FRAMES + 1))


def test_a_killed_process_is_followed_by_one_that_goes_on(task: SmallTask) -> None:
    write_target(task, 180)
    task.run(task_id="whole")
    wanted = decoded(task.output)
    task.output.unlink()
    flags = {**task.options, "progress": "json", "source": task.options["source"][0], "task_id": "film"}
    command = [sys.executable, "-m", "facefusion_runner", "swap"]
    for name, value in flags.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if (json.loads(line).get("frames") or 0) > 60:
                break
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert task.caches() == ["film"]
    task.run(task_id="film")
    assert re.search("it goes on after (50|100|150) frames", " ".join(task.reporter.warnings))
    assert decoded(task.output) == wanted
    assert task.caches() == []


@pytest.mark.parametrize("change", ["source", "target", "setting", "container"])
def test_another_film_under_the_same_name_begins_at_its_beginning(
    film: SmallTask, crash: Callable[..., None], change: str
) -> None:
    crash(2)
    options: dict[str, Any] = {}
    if change == "setting":
        options["quality"] = 30
    elif change == "container":
        options["output"] = film.folder / "out.mkv"
    else:
        path = film.options["source"][0] if change == "source" else film.folder / "target.mp4"
        os.utime(path, (1, 1))
    assert film.run(task_id="film", **options).frames == FRAMES
    assert "goes on" not in " ".join(film.reporter.warnings)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None], ids=["empty", "cut", "bit rot"])
def test_a_damaged_stretch_and_what_follows_is_made_again(
    film: SmallTask, crash: Callable[..., None], damage: bytes | None
) -> None:
    film.run(task_id="whole")
    wanted = decoded(film.output)
    film.output.unlink()
    crash(3)
    stretch = film.cache_root / "film" / "segments" / "00000001.npz"
    content = bytearray(stretch.read_bytes())
    if damage is None:
        content[len(content) // 3] ^= 255
    stretch.write_bytes(content if damage is None else damage)
    film.run(task_id="film")
    assert f"it goes on after {STRETCH} frames" in " ".join(film.reporter.warnings)
    assert decoded(film.output) == wanted


def test_a_cache_without_room_costs_the_way_back_and_not_the_task(
    film: SmallTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(np, "savez", full)
    assert film.run(task_id="film").frames == FRAMES
    assert [warning for warning in film.reporter.warnings if "No space left" in warning]


def test_a_task_without_a_name_keeps_no_stretches(film: SmallTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(run.Checkpoints, "add", never)
    assert film.run().frames == FRAMES
