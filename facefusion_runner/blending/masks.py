"""Masks in a crop's own pixels: where the generated face is taken and where the target stays.

Every mask is (side, side) uint8, 0 keeps the target, 255 takes the generated face. Feathers are
fractions of the crop's side, so they grow and shrink with the face in the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float, Mask, Matrix

FEATHER: Final = 0.15

_BROWS: Final = slice(17, 27)
_NOSE_BASE: Final = 33
# The forehead is about as high as the way from the nose's base to the brows; half of it is
# usually still skin and not hair.
_FOREHEAD: Final = 0.5
# A hull is made of slopes several pixels wide, which a larger crop gets by interpolation.
_HULL_SIDE: Final = 128
# Networks see edges a pixel or two wide, at a fraction of the picture's resolution.
_SOFTNESS: Final = 0.015
# Weights further than half of this from a half count as sure: where a network is less than certain of a
# cheek, both faces would show through each other.
_DOUBT: Final = 0.3


def _slope(depth: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    """0 where `depth` ≤ 0, 1 where it is ≥ `width`, a smoothstep between (no edge the eye catches)."""
    t = np.clip(depth / max(width, 1e-6), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def _to_mask(weights: NDArray[np.floating]) -> Mask:
    return np.asarray(np.rint(weights * 255.0), np.uint8)


# A task needs two; at a pixel boost of 8 a mask may have 16 MB.
@lru_cache(maxsize=4)
def box_mask(
    side: int,
    padding: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    feather: float = FEATHER,
) -> Mask:
    """A rectangle, 0 at its edge and rising inwards over `feather`; cached and read-only.

    `padding` is cut off at the top, right, bottom and left; like `feather` in units of the side.
    """
    top, right, bottom, left = (amount * side for amount in padding)
    centres = np.arange(side) + 0.5
    rows = _slope(np.minimum(centres - top, side - bottom - centres), feather * side)
    columns = _slope(np.minimum(centres - left, side - right - centres), feather * side)
    mask = _to_mask(np.outer(rows, columns))
    mask.setflags(write=False)
    return mask


def hull_mask(landmarks: Float, side: int, feather: float = FEATHER) -> Mask:
    """The convex hull of 68 landmarks (iBUG order, crop pixels) and the lower half of the forehead.

    0 on the hull's edge and outside, rising inwards over `feather` (in units of the side). The hull
    is not rounded to pixels, so that a face that moves a little changes its mask a little.
    """
    points = np.asarray(landmarks, np.float32)
    if points.shape != (68, 2):
        raise ValueError(f"a hull mask needs 68 landmarks (68, 2), not {points.shape}")
    brows = points[_BROWS]
    up = brows.mean(0) - points[_NOSE_BASE]
    hull = cv2.convexHull(np.vstack([points, brows + _FOREHEAD * up])).reshape(-1, 2).astype(np.float64)

    inner = min(side, _HULL_SIDE)
    hull = (hull + 0.5) * (inner / side) - 0.5
    mask = _to_mask(_slope(_depth(hull, inner), feather * inner))
    if inner != side:
        mask = np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
    return mask


def _depth(hull: NDArray[np.float64], side: int) -> Float:
    """How far each pixel of a square lies inside a convex polygon (n, 2); negative outside."""
    edges = np.roll(hull, -1, 0) - hull
    area = float(np.sum(hull[:, 0] * np.roll(hull[:, 1], -1) - hull[:, 1] * np.roll(hull[:, 0], -1)))
    if abs(area) < 1.0:
        return np.full((side, side), -1.0, np.float32)
    # Turned by 90 degrees an edge points inwards, to the side that the polygon's sense of rotation gives.
    normals = np.column_stack([-edges[:, 1], edges[:, 0]]) * np.sign(area)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    offsets = np.sum(normals * hull, 1)
    at = np.arange(side, dtype=np.float64)
    depth = np.full((side, side), np.inf, np.float32)
    for (x, y), offset in zip(normals, offsets, strict=True):
        np.minimum(depth, np.add.outer(at * y - offset, at * x).astype(np.float32), out=depth)
    return depth


def network_mask(weights: Float, onto: Matrix, side: int) -> Mask:
    """What a network lets be replaced, as a mask of a crop of `side` pixels.

    `weights` (s, s) in 0..1, 1 where the new face may be; `onto`: the network's pixels to the crop's. 0 up to
    where the weights cross a half and rising inwards from there, so that nothing of the new face lies on what
    is in front of it. Beyond the network's view its edge goes on.
    """
    decided = np.clip((weights - np.float32(0.5)) / np.float32(_DOUBT) + np.float32(0.5), 0.0, 1.0)
    blurred = cv2.GaussianBlur(decided, (0, 0), _SOFTNESS * weights.shape[0])
    mask = _to_mask(_slope(np.asarray(blurred) - 0.5, 0.5))
    return np.asarray(
        cv2.warpAffine(mask, onto, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def combine(masks: Sequence[Mask]) -> Mask:
    """The minimum of one or more masks of one size: a pixel is taken only where all take it.

    Read-only where the only one is; raises ValueError when there is none.
    """
    if not masks:
        raise ValueError("no masks to combine")
    combined, *rest = masks
    for mask in rest:
        combined = np.asarray(cv2.min(combined, mask), np.uint8)
    return combined
