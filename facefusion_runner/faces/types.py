"""The values that pass between the networks: pictures, detections, landmarks, faces.

Coordinates are pixels, x to the right and y down, the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width, 3) uint8, BGR."""

Mask = NDArray[np.uint8]
"""(height, width) uint8, 0 keeps the target and 255 takes the generated face."""

Float = NDArray[np.float32]

Matrix = NDArray[np.float64]
"""(2, 3) affine transform that maps column vectors (x, y, 1)."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face as a detector sees it."""

    box: Float
    """(4,) float32: left, top, right, bottom."""
    score: float
    points: Float
    """(5, 2) float32: left eye, right eye, nose, left and right mouth corner, as seen in the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Dense points of one face."""

    points: Float
    """(68, 2) float32 in the iBUG order."""
    mesh: Float | None = None
    """(468, 3) float32 in the order of MediaPipe's canonical face, of which `points` are a part: x, y in
    picture pixels, z in the same unit, negative towards the viewer; None where the network gives none."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A detection with all that was learned about it; the unit that is selected, tracked and swapped."""

    detection: Detection
    points: Float
    """(5, 2) float32: from the landmarks where there is a landmarker, else the detector's; smoothed."""
    landmarks: Float | None = None
    """(68, 2) float32 in the iBUG order, smoothed; None without a landmarker."""
    mesh: Float | None = None
    """(468, 3) float32 as in `Landmarks`, smoothed, with `landmarks` as a part; None without one."""
    embedding: Float | None = None
    """(D,) float32, as the encoder gave it, not normalised."""
    track: int = -1
    """The track's number, the same for one person from frame to frame."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceFace:
    """The face that is put in: one per source picture."""

    picture: Picture
    face: Face


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A face cut out of the target along an alignment template."""

    pixels: Picture
    """(side, side, 3) uint8, BGR."""
    matrix: Matrix
    """(2, 3): target pixels to crop pixels."""
    landmarks: Float | None = None
    """(68, 2) float32 in crop pixels; None without a landmarker."""
    mesh: Float | None = None
    """(468, 3) float32 as in `Landmarks`, in crop pixels; None where the landmarker gives none."""


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """What a generator made of one crop."""

    pixels: Picture
    """(side, side, 3) uint8, BGR, in the crop's own frame."""
    mask: Mask | None = field(default=None)
    """(side, side) uint8 where the network or the mesh knows which pixels are face; None: all."""
