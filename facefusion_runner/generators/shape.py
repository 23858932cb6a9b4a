"""Lends a face some of the shape of another: where eyes, nose and cheeks lie, not only what they look like.
Also raises the mesh's upper edge, which leaves out much of the forehead.

Both meshes are laid on the mean face, where their difference is that of two persons and two expressions.
Made symmetric and smooth, little of an expression remains in it; it fades out towards the outline, and
the mouth, which speaks, keeps most of its own shape.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float
from facefusion_runner.generators.rings import OUTLINE
from facefusion_runner.generators.topology import MIRROR, POINTS

SMOOTH: Final = 0.1
"""Standard deviation of the smoothing in interocular distances: about half the height of an open eye."""

FADE: Final = 0.35
"""Distance from the outline, in interocular distances, from which a point takes its full share."""

MOUTH: Final = 0.25
"""Share of the mouth in parts of that of the rest."""

RAISE: Final = 0.15
"""How far the forehead's edge is moved towards the hair, in interocular distances: the mesh ends well below
most hairlines. Further up a source's fringe and shadows of its hats come along."""

TEMPLES: Final = (-0.3, -0.7)
"""Height (y of the mean face) above which the edge is raised, and from which by all of `RAISE`."""

_X, _Y = POINTS[:, 0], POINTS[:, 1]
_NEAR_MOUTH: Final = (np.abs(_X) < 0.5) & (_Y > 0.8) & (_Y < 1.3)

Array = NDArray[np.float64]


def canonical(mesh: NDArray[np.floating]) -> Array:
    """The mesh (468, 3) laid on the mean face: upright, symmetric, in interocular distances."""
    rotation, scale = _onto_mean(mesh)
    laid = (mesh - mesh.mean(0)) @ rotation.T * scale
    return np.asarray((laid + laid[MIRROR] * (-1, 1, 1)) / 2)


def lent(mesh: NDArray[np.floating], shape: Array, share: float) -> Float:
    """The mesh (468, 3) with `share` (0..1) of the way to a `canonical` shape, in its own place and pose."""
    if share == 0:
        return np.asarray(mesh, np.float32)
    rotation, scale = _onto_mean(mesh)
    change = share * _spread() @ (shape - canonical(mesh))
    return np.asarray(mesh + change @ rotation / scale, np.float32)


def raised(mesh: NDArray[np.floating]) -> Float:
    """The mesh (468, 3) with the edge of its forehead moved up and outwards by `RAISE`, in its own pose."""
    rotation, scale = _onto_mean(mesh)
    return np.asarray(mesh + _raise() @ rotation / scale, np.float32)


def _onto_mean(mesh: NDArray[np.floating]) -> tuple[Array, float]:
    """The rotation (3, 3) and scale that lay a mesh nearest on the mean face (Umeyama, PAMI 1991)."""
    p, q = np.asarray(mesh - mesh.mean(0), np.float64), POINTS - POINTS.mean(0)
    u, stretch, v = np.linalg.svd(q.T @ p)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    return u @ np.diag(signs) @ v, float((stretch * signs).sum() / max(np.square(p).sum(), 1e-9))


@lru_cache(maxsize=1)
def _raise() -> Array:
    """(468, 3): how each point of the mean face moves; 0 but for the forehead's edge."""
    edge = np.isin(np.arange(len(POINTS)), OUTLINE)
    away = POINTS * (1, 1, 0)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    share = np.clip((_Y - TEMPLES[0]) / (TEMPLES[1] - TEMPLES[0]), 0, 1) * edge
    return np.asarray(RAISE * share[:, None] * away)


@lru_cache(maxsize=1)
def _spread() -> Array:
    """(468, 468): how much each point takes of the change of each."""
    apart = np.linalg.norm(POINTS[:, None] - POINTS, axis=2)
    near = np.exp(-np.square(apart / SMOOTH) / 2)
    near /= near.sum(1, keepdims=True)
    inward = np.clip(apart[:, list(OUTLINE)].min(1) / FADE, 0, 1)
    weight = inward * inward * (3 - 2 * inward) * (near @ np.where(_NEAR_MOUTH, MOUTH, 1.0))
    return np.asarray(weight[:, None] * near)
