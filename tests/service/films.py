"""A film long enough to have stretches to go on from, and what a test looks for in its result."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
from numpy.typing import NDArray
from skimage.data import astronaut

from tests.support.clips import make_clip, times
from tests.support.service_process import Service

RATE, SECONDS = 4, 24
STRETCHES = (40, 80)
"""Frames after which another run can go on: every ten seconds."""


def make_film(path: Path, seconds: int = SECONDS) -> Path:
    """A face that moves to and fro, 160x120."""
    return make_clip(path, size=(160, 120), at=times(seconds * RATE, RATE), picture=_portrait)


def _portrait(index: int, width: int, height: int) -> NDArray[np.uint8]:
    head = cv2.resize(astronaut()[0:260, 70:416, ::-1], (width, height), interpolation=cv2.INTER_AREA)
    return np.roll(head, 2 * abs(index % 20 - 10), axis=1)


Film = list[tuple[int, bytes]]


def decoded(path: Path) -> Film:
    """Time and pixels of every frame."""
    with av.open(str(path)) as film:
        return [(frame.pts, frame.to_ndarray(format="yuv420p").tobytes()) for frame in film.decode(video=0)]


@dataclass(frozen=True)
class Wanted:
    """What comes of the film where nothing disturbs."""

    film: Film
    seconds: float
    """How long the work took."""


def result_file(service: Service, task_id: str) -> Path:
    """What a finished task keeps beside its small picture."""
    (path,) = {*(service.data / "tasks" / task_id).iterdir()} - {preview_file(service, task_id)}
    return path


def preview_file(service: Service, task_id: str) -> Path:
    return service.data / "tasks" / task_id / "preview.jpg"


def worker_of(service: Service, task_id: str) -> int | None:
    """The process that works on a task now."""
    try:
        pid = int(json.loads((service.cache / task_id / ".lease").read_text())["pid"])
    except (OSError, ValueError, KeyError):
        return None
    return pid if psutil.pid_exists(pid) else None


def kill_worker(service: Service, task_id: str) -> int | None:
    """Kills the process that works on the task; None where nobody does."""
    pid = worker_of(service, task_id)
    if pid is None:
        return None
    with suppress(ProcessLookupError):
        # It may have come to the end of the task just now: only what stands still can be looked at.
        os.kill(pid, signal.SIGSTOP)
        if worker_of(service, task_id) == pid:
            os.kill(pid, signal.SIGKILL)
            return pid
        os.kill(pid, signal.SIGCONT)
    return None


def kill_service(service: Service) -> None:
    """Kills it as a lack of memory would; its processes must end by themselves."""
    children = service.descendants()
    service.process.kill()
    service.process.wait()
    _, left = psutil.wait_procs(children, timeout=20)
    for child in left:
        child.kill()
    assert not left, f"it left processes: {left}"


def all_files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if not path.is_dir())


def kept(service: Service) -> list[str]:
    """What lies in the tasks' folders, but for the small pictures."""
    tasks = service.data / "tasks"
    return sorted(str(path.relative_to(tasks)) for path in all_files(tasks) if path.name != "preview.jpg")
