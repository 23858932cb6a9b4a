"""Which points a network finds, and how they become the 68 of iBUG and the five of the alignment.

iBUG 300-W: 0-16 jaw from the picture's left to right, 17-21 and 22-26 brows, 27-30 bridge of the nose, 31-35
its lower edge, 36-41 and 42-47 eyes, 48-59 outer and 60-67 inner lips.
WFLW: 98 points, 0-32 jaw, brows with both edges. InsightFace: the 106 points of 2d106det, in its own order.
FaceMesh: the 468 vertices of MediaPipe's canonical face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from facefusion_runner.faces.types import Float, Landmarks

Scheme = Literal["ibug_68", "wflw_98", "insightface_106", "facemesh_468"]


@dataclass(frozen=True, slots=True, eq=False)
class PointScheme:
    """A numbering of landmarks."""

    points: int
    """How many points the network finds."""
    weights: Float
    """(68, points): how much of each point goes into each place of the iBUG order; rows sum to 1."""

    def to_68(self, points: Float) -> Float:
        """(points, 2) -> (68, 2), iBUG order."""
        return np.asarray(self.weights @ points, np.float32)


def five_points(landmarks: Float) -> Float:
    """(68, 2) -> (5, 2): left eye, right eye, nose, left and right mouth corner, as detectors put them."""
    eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    return np.array([*eyes, landmarks[30], landmarks[48], landmarks[54]], np.float32)


def of_mesh(mesh: Float) -> Landmarks:
    """The landmarks that hold a mesh (468, 3)."""
    return Landmarks(SCHEMES["facemesh_468"].to_68(mesh[:, :2]), mesh)


def _scheme(points: int, jaw: Float, *index: int) -> PointScheme:
    """A scheme with its own points, by number, at the 51 places behind the jaw's."""
    weights = np.concatenate([jaw, _pick(points, *index)])
    weights.setflags(write=False)
    return PointScheme(points, weights)


def _pick(points: int, *index: int) -> Float:
    return np.eye(points, dtype=np.float32)[list(index)]


def _along(points: int, contour: Sequence[int]) -> Float:
    """17 places at equal steps along a contour, from its second point to its last but one."""
    position = np.linspace(1, len(contour) - 2, 17)
    before = position.astype(int)
    after = np.minimum(before + 1, len(contour) - 1)
    share = (position - before).astype(np.float32)[:, np.newaxis]
    points_of = _pick(points, *contour)
    return np.asarray(points_of[before] * (1 - share) + points_of[after] * share, np.float32)


# The 106 points' jaw from the picture's left to right: it begins and ends one step above iBUG's.
_JAW_106: Final = (1, *range(9, 17), *range(2, 9), 0, *range(24, 17, -1), *range(32, 24, -1), 17)

SCHEMES: Final = MappingProxyType(
    {
        "ibug_68": _scheme(68, _pick(68, *range(17)), *range(17, 68)),
        "wflw_98": _scheme(
            98,
            _pick(98, *range(0, 33, 2)),
            33, 34, 35, 36, 37,
            42, 43, 44, 45, 46,
            51, 52, 53, 54,
            55, 56, 57, 58, 59,
            60, 61, 63, 64, 65, 67,
            68, 69, 71, 72, 73, 75,
            *range(76, 96),
        ),
        "insightface_106": _scheme(
            106,
            _along(106, _JAW_106),
            43, 48, 49, 51, 50,
            102, 103, 104, 105, 101,
            72, 73, 74, 86,
            78, 79, 80, 85, 84,
            35, 41, 42, 39, 37, 36,
            89, 95, 96, 93, 91, 90,
            52, 64, 63, 71, 67, 68, 61, 58, 59, 53, 56, 55,
            65, 66, 62, 70, 69, 57, 60, 54,
        ),
        "facemesh_468": _scheme(
            468,
            _pick(468, 127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
            46, 63, 105, 66, 107,
            336, 296, 334, 293, 276,
            168, 197, 5, 4,
            75, 97, 2, 326, 305,
            33, 160, 158, 133, 153, 144,
            362, 385, 387, 263, 373, 380,
            61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91,
            78, 82, 13, 312, 308, 317, 14, 87,
        ),
    }
)  # fmt: skip
