"""The fixed face mesh of the `mesh` generator: FaceMesh's 468 points, our own triangles between them.

topology.npz is written by training.generator.topology from the mean of many upright frontal faces. Units: the
distance between the eyes' centres; origin between the eyes, x to the right as seen, y down, z away from the
viewer. In a picture the same holds in pixels.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from facefusion_runner.generators.rings import INNER_LIPS, LEFT_EYE, RIGHT_EYE

POINT_COUNT: Final = 468


def _stored() -> dict[str, NDArray[Any]]:
    with (files(__package__) / "topology.npz").open("rb") as file, np.load(file) as stored:
        return {name: stored[name] for name in stored.files}


def _fixed(array: NDArray[Any], kind: Any) -> NDArray[Any]:
    array = array.astype(kind)
    array.setflags(write=False)
    return array


_STORED: Final = _stored()

POINTS: Final[NDArray[np.float64]] = _fixed(_STORED["points"], np.float64)
"""(468, 3): the mean face."""

LAYOUT: Final[NDArray[np.float64]] = _fixed(_STORED["layout"], np.float64)
"""(468, 2): the mean face laid flat, its sides turned outwards and its mouth opened; no triangle lies on its
back there."""

TRIANGLES: Final[NDArray[np.int32]] = _fixed(_STORED["triangles"], np.int32)
"""(898, 3): clockwise as seen in a picture (y down), so that areas are positive. The edges of the lids
and the lips' inner edges are edges of triangles."""

MIRROR: Final[NDArray[np.intp]] = _fixed(_STORED["mirror"], np.intp)
"""(468,): the point on the other side of the face."""


def _within(ring: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(np.isin(TRIANGLES, ring).all(1))


MOUTH: Final[NDArray[np.bool_]] = _fixed(_within(INNER_LIPS), np.bool_)
"""(898,): True for the triangles between the lips."""

OPENINGS: Final[NDArray[np.bool_]] = _fixed(MOUTH | _within(LEFT_EYE) | _within(RIGHT_EYE), np.bool_)
"""(898,): True for the triangles between the lips or inside an eye."""

_X, _Y = np.moveaxis(POINTS[TRIANGLES, :2].mean(1), 1, 0)

OVERGROWN: Final[NDArray[np.bool_]] = _fixed((_Y < -0.4) | ((np.abs(_X) > 0.85) & (_Y < 0.3)), np.bool_)
"""(898,): True for the triangles of forehead and temples, where hair may lie over the skin."""

CHEEKS: Final[NDArray[np.bool_]] = _fixed(
    (_Y > 0.15) & (_Y < 0.75) & (np.abs(_X) < 0.9) & ~OPENINGS, np.bool_
)
"""(898,): True for nose and cheeks, where nearly every face shows bare skin."""


def areas(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(898,) signed areas of the triangles for points (468, 2 or 3); negative where one shows its back."""
    a, b, c = (points[TRIANGLES[:, k], :2].astype(np.float64) for k in range(3))
    u, v = b - a, c - a
    return np.asarray((u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2, np.float64)


def facing(mesh: NDArray[np.floating]) -> NDArray[np.float64]:
    """(468,): how squarely the skin around each point of a mesh (468, 3) faces the viewer.

    The cosine between the line of sight and the skin's normal: 1 straight on, 0 from the side.
    """
    a, b, c = (mesh[TRIANGLES[:, k]].astype(np.float64) for k in range(3))
    across = np.cross(b - a, c - a)
    normals = np.zeros((POINT_COUNT, 3))
    for corner in range(3):
        np.add.at(normals, TRIANGLES[:, corner], across)
    return np.asarray(normals[:, 2] / (np.linalg.norm(normals, axis=1) + 1e-9), np.float64)
