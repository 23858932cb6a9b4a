"""The image, built once, and files to work on. All of it is skipped where no Docker Engine is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from insightface.data import get_image
from skimage.data import astronaut

from tests.support.clips import Bgr, make_clip, times

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD_SCRIPT = REPOSITORY.parent / "shared" / "image" / "build.sh"

Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            # The first test builds the image.
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker Engine that the environment names; the default one is somebody's own and is left alone."""
    if not os.environ.get("DOCKER_HOST"):
        pytest.skip("needs a Docker Engine in DOCKER_HOST")
    if shutil.which("docker") is None:
        pytest.skip("needs the docker command")
    answer = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        pytest.skip(f"the Docker Engine at {os.environ['DOCKER_HOST']} does not answer")


@pytest.fixture(scope="session")
def build(engine: None) -> Build:
    """Builds the CPU variant: build(context, tag, options)."""
    base = os.environ.get("BASE_IMAGE", "localhost/base:bookworm")
    plain = ["docker", "build", "--progress=plain", "--build-arg", f"BASE_IMAGE={base}"]

    def run(context: Path, tag: str, *options: str) -> subprocess.CompletedProcess[str]:
        options = ("--build-arg", "VARIANT=cpu", *options)
        # That script hands in what pip needs on the machine.
        command = (
            [str(BUILD_SCRIPT), str(context), tag, *options]
            if BUILD_SCRIPT.exists()
            else [*plain, "--tag", tag, *options, str(context)]
        )
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500, check=False
        )

    return run


@pytest.fixture(scope="session")
def image(build: Build) -> str:
    """The CPU variant of the image."""
    tag = "facefusion-runner:test"
    result = build(REPOSITORY, tag)
    assert result.returncode == 0, result.stdout[-4000:]
    return tag


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Path:
    """`source.jpg`, and clips in which another face moves: `short.mp4`, `middle.mp4` and `long.mp4`."""
    folder = tmp_path_factory.mktemp("media")
    group = get_image("t1")
    cv2.imwrite(str(folder / "source.jpg"), group[190:450, 400:660])
    for name, count in (("short", 20), ("middle", 60), ("long", 600)):
        make_clip(
            folder / f"{name}.mp4",
            size=(320, 240),
            at=times(count),
            time_base=Fraction(1, 12000),
            picture=_portrait,
        )
    _open_to_all(folder)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that a container may write to, whoever it runs as."""
    folder = tmp_path / "out"
    folder.mkdir()
    _open_to_all(folder)
    return folder


def _portrait(index: int, width: int, height: int) -> Bgr:
    """A face that moves to and fro."""
    head = cv2.resize(astronaut()[0:260, 70:416, ::-1], (width, height), interpolation=cv2.INTER_AREA)
    return np.roll(head, 2 * abs(index % 20 - 10), axis=1)


def _open_to_all(folder: Path) -> None:
    # Containers run as other users, and pytest keeps its folders to itself.
    folder.chmod(0o777)
    for above in folder.parents:
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o001)
