"""The source's face as one flat picture in the mesh's own layout, put together from several pictures.

What a picture does not show of a face (the far side of a turned head) comes from the other pictures,
and where none shows it from the mirror side of the same face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.geometry import apply, scale_of, similarity
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.generators.topology import (
    OPENINGS,
    POINTS,
    TRIANGLES,
    UNROLLED,
    areas,
    mesh_points,
)

MARGIN: Final = 0.03
"""Empty border of the texture, as a part of its side."""

HIDDEN: Final = 0.15
SHOWN: Final = 0.55
"""A triangle that covers less than the first part of its frontal area counts as hidden, above the second
as fully shown; the weight rises smoothly between."""


def texture_points(side: int) -> NDArray[np.float64]:
    """(164, 2): where the mesh's points lie in a texture of `side` pixels."""
    low, high = UNROLLED.min(0), UNROLLED.max(0)
    scale = (1 - 2 * MARGIN) / (high - low).max()
    return np.asarray(((UNROLLED - (low + high) / 2) * scale + 0.5) * side - 0.5, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """For each texel (side by side, row by row) the triangle it lies in and its weights on the corners."""

    corners: NDArray[np.int32]
    weights: Float


@lru_cache(maxsize=4)
def _layout(side: int) -> _Layout:
    """Texels outside the mesh take the nearest texel inside, so that no border bleeds in."""
    points = texture_points(side)
    ids = np.full((side, side), -1, np.int16)
    for number, triangle in enumerate(TRIANGLES):
        cv2.fillConvexPoly(ids, np.rint(points[triangle] * 16).astype(np.int32), number, shift=4)
    outside = (ids < 0).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE, labelType=cv2.DIST_LABEL_PIXEL
    )
    place = np.zeros(int(nearest.max()) + 1, np.int64)
    inside = np.flatnonzero(outside.ravel() == 0)
    place[nearest.ravel()[inside]] = inside
    texel = place[nearest.ravel()]
    triangles = TRIANGLES[ids.ravel()[texel]]
    y, x = np.divmod(texel, side)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    area = _cross(b - a, c - a)
    p = np.column_stack([x, y]).astype(np.float64)
    weights = np.column_stack([_cross(b - p, c - p), _cross(c - p, a - p), _cross(a - p, b - p)])
    return _Layout(triangles, np.asarray(weights / area[:, None], np.float32))


def _cross(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


def _spread(values: NDArray[np.floating], side: int) -> Float:
    """Values at the mesh's points (164, k) interpolated to every texel: (side, side, k)."""
    layout = _layout(side)
    at = values.astype(np.float32)[layout.corners]
    return np.asarray(np.einsum("nck,nc->nk", at, layout.weights), np.float32).reshape(side, side, -1)


def visibility(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(164,) 0..1: how well a picture with its mesh points (164, 2) shows the skin around each of them.

    Compares each triangle's area with that of the frontal face. Eyes and mouth are left out: whether
    they are open says nothing about being hidden.
    """
    frontal = POINTS[:, :2]
    upright = apply(similarity(points, frontal), points)
    shown = np.clip((areas(upright) / areas(frontal) - HIDDEN) / (SHOWN - HIDDEN), 0, 1)
    total, count = np.zeros(len(POINTS)), np.zeros(len(POINTS))
    weight = np.where(OPENINGS, 1e-6, 1.0)
    for corner in range(3):
        np.add.at(total, TRIANGLES[:, corner], shown * weight)
        np.add.at(count, TRIANGLES[:, corner], weight)
    seen = total / count
    return np.asarray(seen * seen * (3 - 2 * seen), np.float64)


def unwrap(picture: Picture, landmarks: NDArray[np.floating], side: int) -> tuple[Float, Float]:
    """One picture's texture (side, side, 3) float32 BGR 0..255 and its visibility (side, side) 0..1."""
    points = mesh_points(landmarks)
    scale = scale_of(similarity(points, texture_points(side)))
    low = np.maximum(np.floor(points.min(0)).astype(int) - 8, 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + 9, (picture.shape[1], picture.shape[0]))
    part = picture[low[1] : high[1], low[0] : high[0]]
    local = points - low
    if scale < 1:
        size = np.maximum(np.rint(np.array(part.shape[1::-1]) * scale), 1).astype(int)
        ratio = size / part.shape[1::-1]
        part = np.asarray(cv2.resize(part, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA))
        local = (local + 0.5) * ratio - 0.5
    where = _spread(local, side)
    pixels = cv2.remap(part, where[..., 0], where[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    seen = _spread(visibility(points)[:, None], side)[:, :, 0]
    return np.asarray(pixels, np.float32), seen


def merge(textures: Sequence[tuple[Float, Float]]) -> Float:
    """Textures of one person and their visibilities as one texture, hidden parts filled from the mirror side.

    The low frequencies (shade, colour) are the average of all that show a texel, the detail comes from
    the one that shows it best: averaged detail of pictures that never fit to the pixel is blurred.
    """
    pixels = np.stack([texture for texture, _ in textures])
    seen = np.stack([weight for _, weight in textures])
    if len(textures) > 1:
        side = pixels.shape[1]
        low = np.stack([_blurred(texture, side / 24) for texture in pixels])
        smooth = (seen**2 + 1e-4)[..., None]
        base = (low * smooth).sum(0) / smooth.sum(0)
        best = np.argmax(np.stack([_blurred(weight, side / 40) for weight in seen]), 0)
        choice = np.stack([_blurred((best == k).astype(np.float32), side / 100) for k in range(len(pixels))])
        detail = ((pixels - low) * choice[..., None]).sum(0) / choice.sum(0)[..., None]
        one, shown = base + detail, seen.max(0)
    else:
        one, shown = pixels[0], seen[0]
    own = shown + 1e-3
    other = (1 - shown) * shown[:, ::-1]
    share = (other / (own + other))[..., None]
    return np.asarray(np.clip(one * (1 - share) + one[:, ::-1] * share, 0, 255), np.float32)


def _blurred(image: Float, sigma: float) -> Float:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
