"""`demo`: from nothing but the installation to a swapped picture and film."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from insightface.data import get_image

from facefusion_runner.demo import FRAMES, RATE, SIZE, pan_and_zoom
from tests.cli.conftest import REPOSITORY, Program

RESULTS = {"portrait-swapped.jpg", "group-swapped.jpg", "film-swapped.mp4", "before-after.jpg"}
GIVEN = {"portrait.jpg", "person.jpg", "group.jpg", "film.mp4"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]], Path]:
    """The folder that a demo filled on a machine without models and network, its events, its home."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(REPOSITORY),
        "CACHE_ROOT": str(home / "cache"),
        "CACHE_GRACE_SECONDS": "0",
        "OFFLINE": "true",
    }
    result = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "demo", "--progress", "json"],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return home / "facefusion-demo", [json.loads(line) for line in result.stdout.splitlines()], home


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_it_leaves_source_target_and_result_and_no_cache(
    shown: tuple[Path, list[dict[str, object]], Path],
) -> None:
    folder, _, home = shown
    assert {path.name for path in folder.iterdir()} == RESULTS | GIVEN
    assert [path for path in (home / "cache").iterdir() if not path.name.startswith(".")] == []


def test_it_says_what_it_does_and_where_the_results_are(
    shown: tuple[Path, list[dict[str, object]], Path],
) -> None:
    _, events, home = shown
    stages = [str(event.get("stage")) for event in events]
    assert "portrait-swapped.jpg: swapping" in stages and "film-swapped.mp4: swapping" in stages
    done = events[-1]
    assert done["event"] == "done"
    # One in the portrait, the group's, and some of them in every frame.
    assert int(str(done["faces"])) >= 1 + 5 + 2 * FRAMES
    for role in ("sheet", "portrait_swapped", "group_swapped", "film_swapped"):
        assert (home / str(done[role])).is_file()


def test_faces_are_swapped_and_nothing_else(shown: tuple[Path, list[dict[str, object]], Path]) -> None:
    folder = shown[0]
    for name, least, most in (("portrait", 0.01, 0.1), ("group", 0.02, 0.2)):
        before, after = (cv2.imread(str(folder / f"{name}{end}.jpg")) for end in ("", "-swapped"))
        changed = cv2.absdiff(before, after).max(2) > 12
        assert least < changed.mean() < most


def test_the_film_keeps_its_frames(shown: tuple[Path, list[dict[str, object]], Path]) -> None:
    folder = shown[0]
    before, after = frames_of(folder / "film.mp4"), frames_of(folder / "film-swapped.mp4")
    assert len(before) == len(after) == FRAMES
    for first, second in list(zip(before, after, strict=True))[::20]:
        assert first.shape == second.shape == (SIZE[1], SIZE[0], 3)
        assert 0.01 < (cv2.absdiff(first, second).max(2) > 20).mean() < 0.2
    with av.open(str(folder / "film-swapped.mp4")) as container:
        assert container.streams.video[0].average_rate == RATE


def test_the_camera_moves_slowly() -> None:
    views = list(pan_and_zoom(get_image("t1")))
    assert {view.shape for view in views} == {(SIZE[1], SIZE[0], 3)}
    for before, after in zip(views[::10], views[1::10], strict=True):
        grey = [cv2.cvtColor(view, cv2.COLOR_BGR2GRAY).astype(np.float32) for view in (before, after)]
        (x, y), _ = cv2.phaseCorrelate(*grey)
        assert abs(x) < 10 and abs(y) < 3


def test_an_earlier_demo_is_not_replaced_unasked(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "facefusion-demo"
    folder.mkdir()
    (folder / "group-swapped.jpg").write_bytes(b"mine")
    result = program("demo")
    assert (result.returncode, result.stdout) == (2, "")
    line = "error: facefusion-demo/group-swapped.jpg exists; say --overwrite to replace it"
    assert result.stderr.splitlines() == [line]
    assert [path.name for path in folder.iterdir()] == ["group-swapped.jpg"]


@pytest.mark.parametrize("there", [False, True], ids=["new folder", "own folder"])
def test_a_demo_that_fails_leaves_nothing(program: Program, tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "own"
    if there:
        folder.mkdir()
        (folder / "note.txt").write_text("mine")
    result = program("demo", "--output", "own", "--detector", "nosuch")
    assert result.returncode == 2 and result.stderr.splitlines()[-1].startswith(
        "error: no detector is called"
    )
    assert [path.name for path in folder.iterdir()] == ["note.txt"] if there else not folder.exists()


def test_a_signal_ends_it_and_leaves_nothing(clean_environment: dict[str, str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "facefusion_runner", "demo", "--progress", "json"],
        env=clean_environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    with process:
        for line in process.stdout:
            if json.loads(line).get("stage") == "film.mp4: drawing":
                process.send_signal(signal.SIGTERM)
                break
        process.stdout.read()
        (message,) = process.stderr.read().splitlines()
    assert process.returncode == 4 and message.startswith("error: ")
    assert not (tmp_path / "facefusion-demo").exists()
    root = Path(clean_environment["CACHE_ROOT"])
    assert [path for path in root.iterdir() if not path.name.startswith(".")] == []


def test_a_folder_that_cannot_be_made_is_one_line(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        result = program("demo", "--output", name)
        assert result.returncode in (1, 2)
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ") and name in line
