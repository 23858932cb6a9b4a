"""Which points a network finds, and how they become the 68 of iBUG and the five of the alignment.

iBUG 300-W: 0-16 jaw from the picture's left to right, 17-21 and 22-26 brows, 27-30 bridge of the nose, 31-35
its lower edge, 36-41 and 42-47 eyes, 48-59 outer and 60-67 inner lips.
WFLW: 98 points, 0-32 jaw, brows with both edges. InsightFace: the 106 points of 2d106det, in its own order.
FaceMesh: the 468 vertices of MediaPipe's canonical face.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float

Scheme = Literal["ibug_68", "wflw_98", "insightface_106", "facemesh_468"]


@dataclass(frozen=True, slots=True, eq=False)
class PointScheme:
    """A numbering of landmarks."""

    points: int
    """How many points the network finds."""
    index: NDArray[np.intp]
    """(68,): the point that stands at each place of the iBUG order."""

    def to_68(self, points: Float) -> Float:
        """(points, 2) -> (68, 2), iBUG order."""
        return np.ascontiguousarray(points[self.index], np.float32)


def five_points(landmarks: Float) -> Float:
    """(68, 2) -> (5, 2): left eye, right eye, nose, left and right mouth corner, as detectors put them."""
    eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    return np.array([*eyes, landmarks[30], landmarks[48], landmarks[54]], np.float32)


def _scheme(points: int, *index: int) -> PointScheme:
    table = np.array(index, np.intp)
    table.setflags(write=False)
    return PointScheme(points, table)


SCHEMES: Final = MappingProxyType(
    {
        "ibug_68": _scheme(68, *range(68)),
        "wflw_98": _scheme(
            98,
            *range(0, 33, 2),
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
            1, 10, 12, 14, 16, 3, 5, 7, 0, 23, 21, 19, 32, 30, 28, 26, 17,
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
            162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
            71, 63, 105, 66, 107,
            336, 296, 334, 293, 301,
            168, 197, 5, 4,
            75, 97, 2, 326, 305,
            33, 160, 158, 133, 153, 144,
            362, 385, 387, 263, 373, 380,
            61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
            78, 82, 13, 312, 308, 317, 14, 87,
        ),
    }
)  # fmt: skip
