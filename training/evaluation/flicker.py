"""Flicker: what changes from frame to frame beside motion, in the swapped region and in the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.blending.paste import paste
from facefusion_runner.faces.geometry import alignment, apply, cut
from facefusion_runner.faces.tracking import FaceTracker
from facefusion_runner.faces.types import Crop, Face, Float, Mask, Picture
from facefusion_runner.generators import Generator
from facefusion_runner.pipeline.networks import Networks

SECONDS: Final = 2.0
_COVERED: Final = 64
"""From what opacity on a pixel belongs to the swapped region."""
_FEWEST: Final = 50
"""Pixels of the region below which two frames are not compared."""


@dataclass(frozen=True, slots=True)
class Flicker:
    """Means over the frames of one clip, in 8-bit levels."""

    swapped: float
    original: float
    faces: float
    """Faces per frame."""

    @property
    def ratio(self) -> float:
        return self.swapped / self.original


def flicker(networks: Networks, source: Any, clip: Path, seconds: float = SECONDS) -> Flicker | None:
    """Swaps the first seconds of `clip` as the pipeline does, without encoding; None where no face is seen.

    source: what the generator's `prepare` gave. Motion is the original's own dense optical flow (DIS: Kroeger
    et al., ECCV 2016), for both; compared is the mean absolute difference of a frame and its predecessor
    carried along that flow, over the pixels that either frame's masks cover.
    """
    frames, times = _decoded(clip, seconds)
    tracker = FaceTracker(networks.detector, networks.landmarker)
    results, masks, found = [], [], []
    for frame, time in zip(frames, times, strict=True):
        faces = tracker.update(frame, time)
        result, mask = _swapped(frame, faces, networks.generator, source)
        results.append(result)
        masks.append(mask)
        found.append(len(faces))
    changes = differences(frames, results, masks)
    if not len(changes):
        return None
    swapped, original = changes.mean(0)
    return Flicker(float(swapped), float(original), float(np.mean(found)))


def _decoded(clip: Path, seconds: float) -> tuple[list[Picture], list[float]]:
    frames: list[Picture] = []
    times: list[float] = []
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            time = float(frame.time or 0)
            if times and time - times[0] >= seconds:
                break
            frames.append(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
            times.append(time)
    return frames, times


def _swapped(
    frame: Picture, faces: Sequence[Face], generator: Generator, source: Any
) -> tuple[Picture, Mask]:
    """The frame with all its faces swapped, and where."""
    result, covered = frame.copy(), np.zeros(frame.shape[:2], np.uint8)
    for face in faces:
        matrix = alignment(face.points, generator.template, generator.side)
        assert face.landmarks is not None and face.mesh is not None
        crop = Crop(
            cut(frame, matrix, generator.side),
            matrix,
            apply(matrix, face.landmarks),
            apply(matrix, face.mesh),
        )
        generated = generator.generate([crop], source)[0]
        assert generated.mask is not None
        left, top, pixels = paste(result, generated.pixels, generated.mask, matrix, alpha)
        result[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        size = (frame.shape[1], frame.shape[0])
        mask = cv2.warpAffine(generated.mask, matrix, size, flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR)
        covered = np.maximum(covered, np.asarray(mask, np.uint8))
    return result, covered


def differences(
    frames: Sequence[Picture], results: Sequence[Picture], masks: Sequence[Mask]
) -> NDArray[np.float64]:
    """(pairs of frames, 2): the mean change of the swapped clip and of the original, in 8-bit levels.

    All three lists are of the same length; two frames whose masks cover next to nothing get no row.
    """
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8) for frame in frames]
    height, width = grey[0].shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(np.float32)
    rows = []
    for now in range(1, len(frames)):
        there: Float = grid + flow.calc(grey[now], grey[now - 1], None)

        def carried(image: NDArray[np.uint8], there: Float = there) -> NDArray[np.uint8]:
            return np.asarray(cv2.remap(image, there[..., 0], there[..., 1], cv2.INTER_LINEAR), np.uint8)

        region = np.maximum(masks[now], carried(masks[now - 1])) > _COVERED
        if region.sum() < _FEWEST:
            continue
        rows.append(
            [
                np.abs(carried(clip[now - 1]).astype(np.float32) - clip[now])[region].mean()
                for clip in (results, frames)
            ]
        )
    return np.array(rows)
