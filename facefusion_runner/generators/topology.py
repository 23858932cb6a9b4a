"""The fixed face mesh of the `mesh` generator: its points, its triangles, and how 68 landmarks move them.

The layout is our own. The 68 iBUG points are the mean of upright frontal faces, in units of the
distance between the eyes' centres, origin between the eyes, x to the right as seen, y down, z towards
the viewer. Their depth is the one that explains, as an affine camera's third direction, how the points
of turned faces depart from the frontal ones (factorisation: Tomasi and Kanade, IJCV 1992). The points
after the 68th (forehead, cheeks, sides of the nose, chin) lie on the same surface. The triangles are a
Delaunay triangulation of one unrolled half and its mirror picture, computed once; lips and mouth by hand.
"""

from __future__ import annotations

from functools import cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

LANDMARKS: Final = 68

T = TypeVar("T", bound=np.generic)

# fmt: off
_POINTS: Final = (
    (-1.06, -0.17, -0.76), (-1.05, 0.28, -0.97), (-1.04, 0.5, -0.98), (-0.93, 0.98, -0.9),
    (-0.84, 1.18, -0.76), (-0.73, 1.33, -0.58), (-0.47, 1.55, -0.27), (-0.19, 1.69, -0.04), (0, 1.71, 0),
    (0.19, 1.69, -0.04), (0.47, 1.55, -0.27), (0.73, 1.33, -0.58), (0.84, 1.18, -0.76), (0.93, 0.98, -0.9),
    (1.04, 0.5, -0.98), (1.05, 0.28, -0.97), (1.06, -0.17, -0.76), (-0.95, -0.28, -0.38),
    (-0.79, -0.31, -0.04), (-0.64, -0.35, 0.1), (-0.45, -0.35, 0.22), (-0.23, -0.32, 0.29),
    (0.23, -0.32, 0.29), (0.45, -0.35, 0.22), (0.64, -0.35, 0.1), (0.79, -0.31, -0.04),
    (0.95, -0.28, -0.38), (0, -0.06, 0.3), (0, 0.17, 0.47), (0, 0.39, 0.64), (0, 0.52, 0.71),
    (-0.21, 0.65, 0.38), (-0.12, 0.71, 0.41), (0, 0.72, 0.45), (0.12, 0.71, 0.41), (0.21, 0.65, 0.38),
    (-0.71, 0, -0.1), (-0.6, -0.06, -0.02), (-0.44, -0.07, 0.02), (-0.27, 0.02, 0.06), (-0.41, 0.06, 0.04),
    (-0.57, 0.05, 0), (0.27, 0.02, 0.06), (0.44, -0.07, 0.02), (0.6, -0.06, -0.02), (0.71, 0, -0.1),
    (0.57, 0.05, 0), (0.41, 0.06, 0.04), (-0.42, 1.03, 0.1), (-0.25, 0.94, 0.34), (-0.13, 0.91, 0.42),
    (0, 0.93, 0.45), (0.13, 0.91, 0.42), (0.25, 0.94, 0.34), (0.42, 1.03, 0.1), (0.23, 1.19, 0.25),
    (0.13, 1.23, 0.3), (0, 1.24, 0.33), (-0.13, 1.23, 0.3), (-0.23, 1.19, 0.25), (-0.37, 1.02, 0.09),
    (-0.1, 1.02, 0.32), (0, 1.02, 0.35), (0.1, 1.02, 0.32), (0.37, 1.02, 0.09), (0.1, 1.09, 0.3),
    (0, 1.1, 0.33), (-0.1, 1.09, 0.3), (0, -0.74, 0.25), (0, -0.53, 0.31), (0, -0.3, 0.33), (0, 0.82, 0.41),
    (0, 1.42, 0.18), (0, 1.57, 0.15), (0.3, -0.73, 0.19), (0.58, -0.66, 0.04), (0.82, -0.53, -0.2),
    (0.99, -0.36, -0.54), (0.26, -0.53, 0.26), (0.52, -0.5, 0.15), (0.76, -0.42, -0.05),
    (0.13, -0.28, 0.32), (0.27, -0.15, 0.18), (0.46, -0.2, 0.14), (0.66, -0.18, 0.04), (0.84, -0.14, -0.16),
    (0.96, 0, -0.45), (0.19, 0.06, 0.14), (0.26, 0.18, 0.13), (0.42, 0.19, 0.04), (0.6, 0.18, -0.03),
    (0.78, 0.1, -0.19), (0.14, 0.2, 0.35), (0.16, 0.38, 0.48), (0.13, 0.55, 0.63), (0.27, 0.42, 0.27),
    (0.3, 0.58, 0.35), (0.46, 0.38, 0.11), (0.68, 0.36, -0.01), (0.88, 0.26, -0.22), (0.44, 0.62, 0.15),
    (0.66, 0.6, 0.03), (0.86, 0.52, -0.15), (0.34, 0.78, 0.25), (0.17, 0.8, 0.37), (0.54, 0.8, 0.09),
    (0.75, 0.78, -0.1), (0.54, 1.02, 0.02), (0.7, 1.02, -0.16), (0.5, 1.22, -0.06), (0.66, 1.22, -0.24),
    (0.43, 1.18, 0.03), (0.24, 1.34, 0.11), (0.2, 1.5, 0.11), (0.42, 1.38, -0.04), (1, 0.1, -0.5),
    (0.99, 0.38, -0.52), (0.94, 0.7, -0.48), (0.83, 0.96, -0.38), (-0.3, -0.73, 0.19), (-0.58, -0.66, 0.04),
    (-0.82, -0.53, -0.2), (-0.99, -0.36, -0.54), (-0.26, -0.53, 0.26), (-0.52, -0.5, 0.15),
    (-0.76, -0.42, -0.05), (-0.13, -0.28, 0.32), (-0.27, -0.15, 0.18), (-0.46, -0.2, 0.14),
    (-0.66, -0.18, 0.04), (-0.84, -0.14, -0.16), (-0.96, 0, -0.45), (-0.19, 0.06, 0.14),
    (-0.26, 0.18, 0.13), (-0.42, 0.19, 0.04), (-0.6, 0.18, -0.03), (-0.78, 0.1, -0.19), (-0.14, 0.2, 0.35),
    (-0.16, 0.38, 0.48), (-0.13, 0.55, 0.63), (-0.27, 0.42, 0.27), (-0.3, 0.58, 0.35), (-0.46, 0.38, 0.11),
    (-0.68, 0.36, -0.01), (-0.88, 0.26, -0.22), (-0.44, 0.62, 0.15), (-0.66, 0.6, 0.03),
    (-0.86, 0.52, -0.15), (-0.34, 0.78, 0.25), (-0.17, 0.8, 0.37), (-0.54, 0.8, 0.09), (-0.75, 0.78, -0.1),
    (-0.54, 1.02, 0.02), (-0.7, 1.02, -0.16), (-0.5, 1.22, -0.06), (-0.66, 1.22, -0.24),
    (-0.43, 1.18, 0.03), (-0.24, 1.34, 0.11), (-0.2, 1.5, 0.11), (-0.42, 1.38, -0.04), (-1, 0.1, -0.5),
    (-0.99, 0.38, -0.52), (-0.94, 0.7, -0.48), (-0.83, 0.96, -0.38),
)

_TRIANGLES: Final = (
    (101, 102, 106), (102, 117, 106), (116, 117, 102), (105, 101, 106), (94, 93, 95), (29, 94, 30),
    (94, 29, 93), (10, 110, 11), (109, 110, 10), (107, 110, 109), (93, 88, 95), (26, 76, 77), (26, 77, 16),
    (117, 118, 106), (12, 118, 13), (118, 117, 13), (118, 12, 11), (110, 118, 11), (14, 116, 15),
    (14, 117, 116), (117, 14, 13), (94, 35, 34), (108, 105, 106), (108, 107, 105), (108, 110, 107),
    (118, 108, 106), (108, 118, 110), (107, 54, 105), (92, 88, 93), (92, 29, 28), (29, 92, 93),
    (105, 100, 101), (100, 97, 101), (89, 88, 47), (88, 89, 95), (89, 97, 95), (76, 80, 75), (86, 85, 26),
    (86, 26, 16), (94, 33, 30), (33, 94, 34), (56, 72, 57), (114, 109, 10), (54, 111, 55), (114, 111, 109),
    (111, 107, 109), (111, 54, 107), (87, 92, 28), (92, 87, 88), (103, 100, 105), (103, 54, 53),
    (54, 103, 105), (97, 96, 95), (100, 96, 97), (96, 94, 95), (96, 35, 94), (96, 103, 35), (103, 96, 100),
    (89, 90, 97), (74, 78, 68), (78, 69, 68), (70, 69, 81), (85, 25, 26), (26, 25, 76), (25, 80, 76),
    (25, 85, 84), (116, 115, 15), (115, 16, 15), (115, 86, 16), (73, 9, 8), (71, 52, 51), (71, 33, 34),
    (112, 56, 55), (111, 112, 55), (112, 111, 114), (56, 112, 72), (27, 87, 28), (27, 70, 81), (88, 42, 47),
    (87, 42, 88), (42, 43, 47), (35, 104, 34), (103, 104, 35), (104, 71, 34), (71, 104, 52), (52, 104, 53),
    (104, 103, 53), (46, 89, 47), (46, 90, 89), (43, 46, 47), (115, 99, 86), (99, 116, 102), (99, 115, 116),
    (97, 98, 101), (90, 98, 97), (101, 98, 102), (98, 99, 102), (79, 23, 78), (79, 74, 75), (74, 79, 78),
    (80, 79, 75), (42, 82, 43), (82, 27, 81), (27, 82, 87), (82, 42, 87), (113, 73, 72), (112, 113, 72),
    (73, 113, 9), (113, 112, 114), (9, 113, 10), (113, 114, 10), (44, 46, 43), (24, 79, 80), (79, 24, 23),
    (24, 25, 84), (25, 24, 80), (22, 82, 81), (23, 22, 78), (69, 22, 81), (22, 69, 78), (82, 83, 43),
    (83, 22, 23), (22, 83, 82), (44, 83, 84), (83, 44, 43), (83, 24, 84), (24, 83, 23), (85, 45, 84),
    (45, 44, 84), (46, 45, 90), (44, 45, 46), (45, 91, 90), (91, 98, 90), (98, 91, 99), (91, 45, 85),
    (86, 91, 85), (99, 91, 86), (54, 64, 53), (53, 64, 63), (53, 63, 52), (52, 63, 51), (51, 63, 62),
    (54, 55, 64), (64, 55, 65), (55, 56, 65), (56, 57, 65), (57, 66, 65), (64, 65, 63), (63, 66, 62),
    (63, 65, 66), (146, 151, 147), (147, 151, 162), (161, 147, 162), (150, 151, 146), (139, 140, 138),
    (29, 30, 139), (139, 138, 29), (6, 5, 155), (154, 6, 155), (152, 154, 155), (138, 140, 133),
    (17, 122, 121), (17, 0, 122), (162, 151, 163), (4, 3, 163), (163, 3, 162), (163, 5, 4), (155, 5, 163),
    (2, 1, 161), (2, 161, 162), (162, 3, 2), (139, 32, 31), (153, 151, 150), (153, 150, 152),
    (153, 152, 155), (163, 151, 153), (153, 155, 163), (152, 150, 48), (137, 138, 133), (137, 28, 29),
    (29, 138, 137), (150, 146, 145), (145, 146, 142), (134, 40, 133), (133, 140, 134), (134, 140, 142),
    (121, 120, 125), (131, 17, 130), (131, 0, 17), (139, 30, 33), (33, 32, 139), (58, 57, 72),
    (159, 6, 154), (48, 59, 156), (159, 154, 156), (156, 154, 152), (156, 152, 48), (132, 28, 137),
    (137, 133, 132), (148, 150, 145), (148, 49, 48), (48, 150, 148), (142, 140, 141), (145, 142, 141),
    (141, 140, 139), (141, 139, 31), (141, 31, 148), (148, 145, 141), (134, 142, 135), (119, 68, 123),
    (123, 68, 69), (70, 126, 69), (130, 17, 18), (17, 121, 18), (18, 121, 125), (18, 129, 130),
    (161, 1, 160), (160, 1, 0), (160, 0, 131), (73, 8, 7), (71, 51, 50), (71, 32, 33), (157, 59, 58),
    (156, 59, 157), (157, 159, 156), (58, 72, 157), (27, 28, 132), (27, 126, 70), (133, 40, 39),
    (132, 133, 39), (39, 40, 38), (31, 32, 149), (148, 31, 149), (149, 32, 71), (71, 50, 149),
    (50, 49, 149), (149, 49, 148), (41, 40, 134), (41, 134, 135), (38, 40, 41), (160, 131, 144),
    (144, 147, 161), (144, 161, 160), (142, 146, 143), (135, 142, 143), (146, 147, 143), (143, 147, 144),
    (124, 123, 20), (124, 120, 119), (119, 123, 124), (125, 120, 124), (39, 38, 127), (127, 126, 27),
    (27, 132, 127), (127, 132, 39), (158, 72, 73), (157, 72, 158), (73, 7, 158), (158, 159, 157),
    (7, 6, 158), (158, 6, 159), (37, 38, 41), (19, 125, 124), (124, 20, 19), (19, 129, 18), (18, 125, 19),
    (21, 126, 127), (20, 123, 21), (69, 126, 21), (21, 123, 69), (127, 38, 128), (128, 20, 21),
    (21, 127, 128), (37, 129, 128), (128, 38, 37), (128, 129, 19), (19, 20, 128), (130, 129, 36),
    (36, 129, 37), (41, 135, 36), (37, 41, 36), (36, 135, 136), (136, 135, 143), (143, 144, 136),
    (136, 130, 36), (131, 130, 136), (144, 131, 136), (48, 49, 60), (49, 61, 60), (49, 50, 61),
    (50, 51, 61), (51, 62, 61), (48, 60, 59), (60, 67, 59), (59, 67, 58), (58, 67, 57), (57, 67, 66),
    (60, 61, 67), (61, 62, 66), (61, 66, 67),
)
# fmt: on


def _fixed(values: object, kind: type[T]) -> NDArray[T]:
    array = np.array(values, kind)
    array.setflags(write=False)
    return array


POINTS: Final[NDArray[np.float64]] = _fixed(_POINTS, np.float64)
"""(164, 3): x, y, z of every mesh point; the first 68 are the landmarks in iBUG order."""

TRIANGLES: Final[NDArray[np.int32]] = _fixed(_TRIANGLES, np.int32)
"""(300, 3): indices into POINTS, clockwise as seen in a picture (y down), so that areas are positive."""

MIRROR: Final[NDArray[np.intp]] = _fixed(
    np.linalg.norm(POINTS[:, None] * (-1, 1, 1) - POINTS, axis=2).argmin(1), np.intp
)
"""(164,): the point on the other side of the face."""

LEFT_EYE: Final = slice(36, 42)
RIGHT_EYE: Final = slice(42, 48)
INNER_LIPS: Final = slice(60, 68)

OPENINGS: Final[NDArray[np.bool_]] = _fixed(
    [any(set(t) <= set(range(68)[ring]) for ring in (LEFT_EYE, RIGHT_EYE, INNER_LIPS)) for t in _TRIANGLES],
    np.bool_,
)
"""(300,): True for the triangles inside an eye or between the lips."""

_FOREHEAD_EDGE: Final = (68, 74, 75, 76, 77, 119, 120, 121, 122)
_FOREHEAD: Final = (69, 78, 79, 80, 123, 124, 125)
_TEMPLES: Final = (0, 1, 2, 14, 15, 16)

OVERGROWN: Final[NDArray[np.bool_]] = _fixed(
    [not {*_FOREHEAD_EDGE, *_FOREHEAD, *_TEMPLES}.isdisjoint(t) for t in _TRIANGLES], np.bool_
)
"""(300,): True for the triangles of forehead and temples, where hair may lie over the skin."""

SKIN: Final[NDArray[np.bool_]] = _fixed(
    [
        min(t) > 26 and all(-0.05 < _POINTS[k][1] < 0.85 and abs(_POINTS[k][0]) < 0.95 for k in t)
        for t in _TRIANGLES
    ]
    & ~OPENINGS,
    np.bool_,
)
"""(300,): True for nose and cheeks, where nearly every face shows bare skin."""

UNROLLED: Final[NDArray[np.float64]] = _fixed(
    np.column_stack([POINTS[:, 0] * (1 + 0.5 * np.maximum(0, -POINTS[:, 2])), POINTS[:, 1]]), np.float64
)
"""(164, 2): where each point lies in the texture; the receding sides are unrolled to give them room."""

FADE: Final[NDArray[np.float64]] = _fixed(
    [0.4 if k in _FOREHEAD_EDGE else 1.0 for k in range(len(_POINTS))], np.float64
)
"""(164,): the face's opacity; it fades out towards the hair."""

STIFFNESS: Final = 0.3
"""How far the points of the skin may stay behind the landmarks' own deviation from a rigid face."""


@cache
def _weights() -> NDArray[np.float64]:
    """(164, 68): every mesh point as a fixed linear combination of the landmarks; rows sum to 1.

    A biharmonic spline in space (Duchon, 1977) with an affine part: exact for any affine camera,
    so the points added to the landmarks follow a turned or nodding head; smooth for any expression.
    """
    known = POINTS[:LANDMARKS]
    distances = np.linalg.norm(known[:, None] - known, axis=2)
    affine = np.column_stack([known, np.ones(LANDMARKS)])
    system = np.zeros((LANDMARKS + 4, LANDMARKS + 4))
    system[:LANDMARKS, :LANDMARKS] = -distances + STIFFNESS * np.eye(LANDMARKS)
    system[:LANDMARKS, LANDMARKS:] = affine
    system[LANDMARKS:, :LANDMARKS] = affine.T
    added = POINTS[LANDMARKS:]
    basis = np.column_stack([-np.linalg.norm(added[:, None] - known, axis=2), added, np.ones(len(added))])
    rows = np.linalg.solve(system, basis.T).T[:, :LANDMARKS]
    return np.vstack([np.eye(LANDMARKS), rows])


def mesh_points(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(164, 2) mesh points in the frame of the 68 landmarks (68, 2)."""
    return np.asarray(_weights() @ landmarks, np.float64)


def areas(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(300,) signed areas of the triangles for points (164, 2); negative where a triangle is turned over."""
    a, b, c = (points[TRIANGLES[:, k]] for k in range(3))
    u, v = b - a, c - a
    return np.asarray((u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2, np.float64)


def camera(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(4, 2): the affine camera that best explains the landmarks (68, 2): [x, y, z, 1] @ camera."""
    known = np.column_stack([POINTS[:LANDMARKS], np.ones(LANDMARKS)])
    return np.asarray(np.linalg.lstsq(known, np.asarray(landmarks, np.float64), rcond=None)[0], np.float64)


def nearness(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(300,) how near each triangle is to the viewer, in arbitrary units, larger is nearer.

    A triangle's place along the camera's line of sight orders what hides what: a turned head's nose
    lies in front of its far cheek.
    """
    lens = camera(landmarks)[:3]
    sight = np.cross(lens[:, 0], lens[:, 1])
    return np.asarray((POINTS @ sight)[TRIANGLES].mean(1), np.float64)


def facing(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(300,) how squarely each triangle of a rigid head in this pose faces the viewer.

    Its area in parts of its area in the frontal view; 0 edge-on, negative from behind.
    """
    lens = camera(landmarks)
    scale = abs(lens[0, 0] * lens[1, 1] - lens[0, 1] * lens[1, 0])
    seen = areas(POINTS @ lens[:3]) / max(scale, float(np.square(lens[:2]).sum()) / 4)
    return np.asarray(seen / areas(POINTS[:, :2]), np.float64)
