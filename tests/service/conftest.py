"""What the tests of the service share: services, pictures and films, keys, and what a refusal looks like."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from insightface.data import get_image
from numpy.typing import NDArray
from skimage.data import astronaut

from tests.support.clips import make_clip, times
from tests.support.service_process import (
    FINAL,
    PATIENCE,
    REPOSITORY,
    JsonObject,
    Key,
    Service,
    environment,
    eventually,
    listening,
    new_key,
    running_service,
    watch,
)

# What tests take from here.
__all__ = [
    "FINAL",
    "PATIENCE",
    "REPOSITORY",
    "JsonObject",
    "Key",
    "Service",
    "environment",
    "eventually",
    "listening",
    "new_key",
    "running_service",
    "watch",
]

Serve = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """A service with settings of its own: `with serve(QUEUE_LIMIT="1") as service`."""

    def start(name: str = "service", **settings: str) -> AbstractContextManager[Service]:
        return running_service(tmp_path / name, **settings)

    return start


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def service(shared_service: Service) -> Iterator[Service]:
    """One for all tests that leave no trace: a test's tasks are deleted, and its files must be gone."""
    yield shared_service
    assert shared_service.process.poll() is None, shared_service.log.read_text()[-4000:]
    delete_all_tasks(shared_service)
    shared_service.wait_until_clean()
    assert list((shared_service.data / "tasks").iterdir()) == []


def delete_all_tasks(service: Service) -> None:
    deadline = time.monotonic() + PATIENCE
    while tasks := service.client.get("/v1/tasks", params={"limit": 200}).json()["tasks"]:
        assert time.monotonic() < deadline, tasks
        for task in tasks:
            service.client.delete(f"/v1/tasks/{task['id']}")
        time.sleep(0.05)


# Pictures and films


@dataclass(frozen=True)
class Media:
    folder: Path
    source: Path
    """A woman's face."""
    picture: Path
    """Another person, 240x240."""
    group: Path
    """Six people, 640 wide."""
    clip: Path
    """The other person, moving, one second at 12 frames a second."""
    long_clip: Path
    """The same for 100 seconds: long enough to be caught at work."""
    group_clip: Path
    """One of the group alone for a second, then two."""
    landscape: Path
    """Nobody."""


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    folder = tmp_path_factory.mktemp("media")
    group: NDArray[np.uint8] = get_image("t1")

    def write(name: str, bgr: NDArray[np.uint8]) -> Path:
        cv2.imwrite(str(folder / name), bgr)
        return folder / name

    def moving(index: int, width: int, height: int) -> NDArray[np.uint8]:
        left = 390 + 2 * abs(index % 20 - 10)
        return np.ascontiguousarray(cv2.resize(group[170:450, left : left + 280], (width, height)))

    def one_then_two(index: int, width: int, height: int) -> NDArray[np.uint8]:
        part = group[160:460, 400:650] if index < 12 else group[160:460, 400:900]
        shown = np.full((300, 500, 3), 128, np.uint8)
        shown[:, : part.shape[1]] = part
        return np.ascontiguousarray(cv2.resize(shown, (width, height)))

    shades = np.mgrid[0:120, 0:160][0].astype(np.uint8)
    return Media(
        folder,
        source=write("source.jpg", cv2.cvtColor(astronaut()[0:280, 84:364], cv2.COLOR_RGB2BGR)),
        picture=write("picture.jpg", cv2.resize(group[170:450, 390:670], (240, 240))),
        group=write("group.jpg", cv2.resize(group[:560], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
        clip=make_clip(folder / "clip.mp4", size=(160, 160), picture=moving),
        long_clip=make_clip(folder / "long.mp4", size=(160, 160), at=times(1200), picture=moving),
        group_clip=make_clip(folder / "group.mp4", size=(500, 300), at=times(24), picture=one_then_two),
        landscape=write("landscape.jpg", np.dstack([shades, shades, shades])),
    )


@pytest.fixture
def pair(media: Media) -> dict[str, Path]:
    """The parts of the smallest request."""
    return {"source": media.source, "target": media.picture}


@pytest.fixture(scope="session")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return new_key("alice", tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return new_key("bob", tmp_path_factory.mktemp("keys"))


# Errors


def refused(answer: httpx.Response, status: int, code: str, *words: str) -> JsonObject:
    """The error of an answer in the envelope; every word is in its one-line message."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    body = answer.json()
    assert set(body) == {"error", "request_id"} and set(body["error"]) == {"code", "message", "detail"}
    assert body["request_id"] == answer.headers["x-request-id"] != ""
    error: JsonObject = body["error"]
    assert error["code"] == code, error
    assert error["message"] and "\n" not in error["message"]
    for word in words:
        assert word in error["message"], error["message"]
    return error
