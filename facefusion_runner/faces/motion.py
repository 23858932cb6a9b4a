"""What happened between two frames: a new scene, or how a face moved (optical flow)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float, Matrix, Picture

# Precise enough to move a box, and a tenth of the time of 1080p.
_REDUCED_SIDE: Final = 640
# Two frames of one scene correlate at least this well in their layout or in their histograms.
_SCENE_LAYOUT: Final = 0.6
_SCENE_HISTOGRAM: Final = 0.8
# A point that flow takes forth and back must return this near, in reduced pixels.
_RETURN_DISTANCE: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class ReducedFrame:
    """A frame as motion sees it: gray, at most 640 pixels long."""

    gray: NDArray[np.uint8]
    scale: float
    """Reduced pixels per pixel of the full picture."""


def reduce(picture: Picture) -> ReducedFrame:
    """The gray, reduced copy of a BGR picture."""
    scale = min(_REDUCED_SIDE / max(picture.shape[:2]), 1.0)
    height, width = (max(round(length * scale), 1) for length in picture.shape[:2])
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR) if scale < 1 else picture
    return ReducedFrame(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8), scale)


def is_new_scene(before: ReducedFrame, after: ReducedFrame) -> bool:
    """Whether two frames belong to different shots.

    Both must hold: the layout of light and dark changed, which a flash or a dimmed lamp leaves as it
    is, and the histogram changed, which a fast pan leaves as it is.
    """
    if before.gray.shape != after.gray.shape:
        return True
    first, second = (
        cv2.resize(frame.gray, (32, 32), interpolation=cv2.INTER_AREA) for frame in (before, after)
    )
    if float(cv2.matchTemplate(first, second, cv2.TM_CCOEFF_NORMED)[0, 0]) > _SCENE_LAYOUT:
        return False
    histograms = [cv2.calcHist([frame.gray], [0], None, [32], [0, 256]) for frame in (before, after)]
    return float(cv2.compareHist(histograms[0], histograms[1], cv2.HISTCMP_CORREL)) < _SCENE_HISTOGRAM


def flow(before: ReducedFrame, after: ReducedFrame, box: Float) -> Matrix | None:
    """The similarity (2, 3) that takes a face from one frame to the next, in full picture pixels.

    Pyramidal Lucas-Kanade (Bouguet 2001) on a grid inside the box (4,), every point tracked forth and
    back (Kalal, ICPR 2010). None when the face is lost: fewer than half of the points return.
    """
    left, top, right, bottom = (float(edge) * before.scale for edge in box)
    columns = left + (right - left) * np.linspace(0.15, 0.85, 8)
    rows = top + (bottom - top) * np.linspace(0.15, 0.85, 8)
    start = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 1, 2).astype(np.float32)
    there, found, _ = cv2.calcOpticalFlowPyrLK(before.gray, after.gray, start, np.empty_like(start))
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after.gray, before.gray, there, np.empty_like(start))
    distance = np.linalg.norm(back - start, axis=2)
    good = ((found == 1) & (returned == 1) & (distance < _RETURN_DISTANCE)).ravel()
    if int(good.sum()) * 2 < len(start):
        return None
    move, _ = cv2.estimateAffinePartial2D(start[good], there[good], method=cv2.RANSAC)
    if move is None:
        return None
    matrix = np.asarray(move, np.float64)
    matrix[:, 2] /= before.scale
    return matrix
