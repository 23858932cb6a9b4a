"""A small task that runs anywhere: drawn faces, small networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facefusion_runner.pipeline.run import Result, swap
from facefusion_runner.progress import Progress
from facefusion_runner.settings import Settings
from facefusion_runner.signals import Stop
from tests.support.tiny_models import draw_face, face_picture


class Recorder:
    """Keeps what a task reports."""

    def __init__(self) -> None:
        self.events: list[Progress] = []
        self.warnings: list[str] = []

    def progress(self, event: Progress) -> None:
        self.events.append(event)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def close(self) -> None:
        pass

    def stages(self) -> list[str]:
        return list(dict.fromkeys(event.stage for event in self.events))


class SmallTask:
    """Files and settings of one task in a folder of its own; `run` runs it in this process."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder = folder
        self.cache_root = folder / "cache"
        self.output = folder / "out.mp4"
        self.reporter = Recorder()
        self.stop = Stop()
        source = folder / "source.png"
        cv2.imwrite(str(source), face_picture())
        self.options: dict[str, Any] = {
            "source": (source,),
            "target": folder / "target.mp4",
            "output": self.output,
            "cache_root": self.cache_root,
            "cache_grace_seconds": 0.0,
            "model_root": models,
            "detector": "red",
            "encoder": "colours",
            "generator": "narrow",
            "device": "cpu",
            "threads": 1,
            "preset": "ultrafast",
        }

    def settings(self, **changes: Any) -> Settings:
        return Settings(**{**self.options, **changes})

    def run(self, **changes: Any) -> Result:
        return swap(self.settings(**changes), self.reporter, self.stop)

    def caches(self) -> list[str]:
        """Names of the task caches, live or waiting for deletion."""
        if not self.cache_root.exists():
            return []
        trash = self.cache_root / ".trash"
        waiting = sorted(path.name for path in trash.iterdir()) if trash.exists() else []
        live = sorted(path.name for path in self.cache_root.iterdir() if not path.name.startswith("."))
        return live + waiting

    def leftovers(self) -> list[str]:
        """Files beside the output that are neither inputs nor the output, hidden ones included."""
        known = {"source.png", "target.mp4", "cache", self.output.name}
        return sorted(path.name for path in self.folder.iterdir() if path.name not in known)


@pytest.fixture
def task(tmp_path: Path, tiny_models: Path) -> SmallTask:
    small = SmallTask(tmp_path, tiny_models)
    write_clip(tmp_path / "target.mp4", faces(12))
    return small


def faces(count: int, size: tuple[int, int] = (160, 120), width: float = 44) -> list[NDArray[np.uint8]]:
    """BGR frames with one face that moves to the right."""
    frames = []
    for number in range(count):
        frame = face_picture(size, 0)
        frame[:] = np.where(frame[..., 2:] == 220, 90, frame)
        draw_face(frame, (50 + 3 * number, 60), width)
        frames.append(frame)
    return frames


def write_clip(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    *,
    rate: int = 25,
    options: dict[str, str] | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """Encodes BGR frames as H.264 at high quality."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "4", **(options or {})})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        prepare(stream)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "bgr24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_clip(path: Path) -> list[NDArray[np.uint8]]:
    """All frames of a video, BGR."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def times(path: Path) -> list[Fraction]:
    """The frames' times in seconds."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]
