"""Intermediates written into the task's cache for inspection, only those that were asked for.

`frames/`, `swapped/`: whole frames; `crops/`, `masks/`: per face; `landmarks/` (the mesh where there is
one), `transforms/`, `embeddings/`: NumPy arrays. File names begin with the frame's number, faces are
counted from 0.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_runner.cache.task_cache import TaskCache
from facefusion_runner.errors import StorageError
from facefusion_runner.faces.types import Float, Mask, Picture

if TYPE_CHECKING:
    from facefusion_runner.pipeline.stages import FrameTask


class Artifacts:
    """Writes what `CACHE_ARTIFACTS` names; does nothing for the rest."""

    def __init__(self, cache: TaskCache) -> None:
        self._cache = cache

    def embedding(self, number: int, embedding: Float) -> None:
        """The embedding (D,) of the source with this number."""
        if folder := self._cache.artifact_dir("embeddings"):
            _save(folder / f"source{number}.npy", embedding)

    def before_blending(self, task: FrameTask) -> None:
        """The frame as decoded, its crops, masks, landmarks and transforms."""
        name = f"{task.frame.index:08d}"
        if folder := self._cache.artifact_dir("frames"):
            _write(folder / f"{name}.png", task.frame.bgr)
        for number, (face, crop, mask) in enumerate(zip(task.faces, task.crops, task.masks, strict=True)):
            if folder := self._cache.artifact_dir("crops"):
                _write(folder / f"{name}-{number}.png", crop.pixels)
            if folder := self._cache.artifact_dir("masks"):
                _write(folder / f"{name}-{number}.png", mask)
            if folder := self._cache.artifact_dir("transforms"):
                _save(folder / f"{name}-{number}.npy", crop.matrix)
            if folder := self._cache.artifact_dir("landmarks"):
                densest = next(
                    points for points in (face.mesh, face.landmarks, face.points) if points is not None
                )
                _save(folder / f"{name}-{number}.npy", densest)

    def after_blending(self, task: FrameTask) -> None:
        """The frame as it will be encoded."""
        if folder := self._cache.artifact_dir("swapped"):
            _write(folder / f"{task.frame.index:08d}.png", task.frame.bgr)


def _write(path: Path, picture: Picture | Mask) -> None:
    encoded, png = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise StorageError(f"cannot encode {path.name} for the task's cache")
    _write_bytes(path, png.tobytes())


def _save(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    _write_bytes(path, buffer.getvalue())


def _write_bytes(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StorageError(f"cannot write to the task's cache: {path}: {error.strerror}") from error
