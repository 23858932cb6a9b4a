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
from facefusion_runner.generators.relighting import LUMA, light
from facefusion_runner.generators.skin import skin_likeness
from facefusion_runner.generators.topology import (
    FADE,
    MIRROR,
    OPENINGS,
    OVERGROWN,
    POINTS,
    SKIN,
    TRIANGLES,
    UNROLLED,
    areas,
    facing,
    mesh_points,
)

MARGIN: Final = 0.03
"""Empty border of the texture, as a part of its side."""

THIN: Final = (0.05, 0.25)
"""A triangle that covers less than the first part of its frontal area counts as hidden, above the second
as shown; the weight rises smoothly between."""

SMALL: Final = 64
"""Side at which light is compared."""

ASIDE: Final = (0.3, 0.65)
"""The same for a triangle that faces the viewer that much less than the one on the other side of the face."""


def texture_points(side: int) -> NDArray[np.float64]:
    """(164, 2): where the mesh's points lie in a texture of `side` pixels."""
    low, high = UNROLLED.min(0), UNROLLED.max(0)
    scale = (1 - 2 * MARGIN) / (high - low).max()
    return np.asarray(((UNROLLED - (low + high) / 2) * scale + 0.5) * side - 0.5, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """For each texel (side by side, row by row) the triangle it lies in and its weights on the corners."""

    triangles: NDArray[np.intp]
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
    triangles = ids.ravel()[texel].astype(np.intp)
    y, x = np.divmod(texel, side)
    a, b, c = (points[TRIANGLES[triangles, k]] for k in range(3))
    area = _cross(b - a, c - a)
    p = np.column_stack([x, y]).astype(np.float64)
    weights = np.column_stack([_cross(b - p, c - p), _cross(c - p, a - p), _cross(a - p, b - p)])
    return _Layout(triangles, np.asarray(weights / area[:, None], np.float32))


def _cross(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


def _spread(values: NDArray[np.floating], side: int) -> Float:
    """Values at the mesh's points (164, k) interpolated to every texel: (side, side, k)."""
    layout = _layout(side)
    at = values.astype(np.float32)[TRIANGLES[layout.triangles]]
    return np.asarray(np.einsum("nck,nc->nk", at, layout.weights), np.float32).reshape(side, side, -1)


def visibility(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(164,) 0..1: how well a picture with these landmarks (68, 2) shows the skin around each mesh point.

    Hidden is what is turned over or thin in the picture, and what the head's pose turns so far aside
    that its mirror side shows it much better. Eyes and mouth are left out of the first: whether they
    are open says nothing about being hidden.
    """
    points = mesh_points(landmarks)
    frontal = POINTS[:, :2]
    size = areas(apply(similarity(points, frontal), points)) / areas(frontal)
    thin = _smoothstep(np.where(OPENINGS, 1, size), *THIN)
    shown = np.ones(len(POINTS))
    for corner in range(3):
        np.minimum.at(shown, TRIANGLES[:, corner], thin)
    square = np.maximum(_at_points(facing(landmarks)), 0)
    return np.asarray(shown * _smoothstep(square / np.maximum(square[MIRROR], 0.1), *ASIDE), np.float64)


def _at_points(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the triangles around each point."""
    total, count = np.zeros(len(POINTS)), np.zeros(len(POINTS))
    for corner in range(3):
        np.add.at(total, TRIANGLES[:, corner], values)
        np.add.at(count, TRIANGLES[:, corner], 1)
    return total / count


def _smoothstep(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Unwrapped:
    """One picture's face laid flat."""

    pixels: Float
    """(side, side, 3) BGR 0..255."""
    shown: Float
    """(side, side) 0..1: how well the picture shows each texel."""
    worth: float
    """How much of the face it shows, less where it had to be enlarged."""


def unwrap(picture: Picture, landmarks: NDArray[np.floating], side: int) -> Unwrapped:
    """The face of `picture` with these landmarks (68, 2) as a texture of `side` pixels."""
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
    shown = np.clip(_spread(visibility(landmarks)[:, None], side)[..., 0], 0, 1)
    worth = float(shown.mean()) ** 2 / max(1.0, scale) ** 0.5
    return Unwrapped(np.asarray(pixels, np.float32), np.asarray(shown, np.float32), worth)


def merge(pictures: Sequence[Unwrapped]) -> Picture:
    """Pictures of one person as one texture: (side, side, 4) uint8, BGR and opacity.

    The picture that shows most is taken; what it hides comes from the others, then from the mirror side.
    (An average would blur: pictures never fit to the pixel, and no two have the same expression.) Hair on
    forehead and temples is transparent.
    """
    best, *others = sorted(pictures, key=lambda picture: -picture.worth)
    pixels, shown = best.pixels, best.shown
    for other in others:
        pixels, shown = _completed(pixels, shown, other.pixels, other.shown)
    pixels, shown = _completed(
        pixels, shown, np.ascontiguousarray(pixels[:, ::-1]), np.ascontiguousarray(shown[:, ::-1])
    )
    whole = np.asarray(np.clip(_filled(pixels, np.minimum(shown * 5, 1)), 0, 255), np.float32)
    return np.dstack([np.rint(whole), np.rint(_opacity(whole) * 255)]).astype(np.uint8)


def _completed(pixels: Float, shown: Float, other: Float, other_shown: Float) -> tuple[Float, Float]:
    """`pixels` with what it hides taken from `other`, in the light of `pixels`; and what is shown then."""
    share = (1 - shown) * other_shown / (shown + (1 - shown) * other_shown + np.float32(1e-3))
    if share.max() > 0.01:
        other = _in_light_of(pixels, other, shown * other_shown)
        pixels = np.asarray(pixels + (other - pixels) * share[..., None], np.float32)
    return pixels, np.maximum(shown, other_shown)


def _filled(pixels: Float, shown: Float) -> Float:
    """What neither side shows (the ridge of the nose in a profile) smoothly from what lies around it."""
    if shown.min() == 1:
        return pixels
    sigma = pixels.shape[0] / 30
    share = shown[..., None]
    around = _blurred(pixels * share, sigma) / (_blurred(shown, sigma)[..., None] + np.float32(1e-3))
    return np.asarray(pixels * share + around * (1 - share), np.float32)


def _in_light_of(pixels: Float, other: Float, both: Float) -> Float:
    """`other` with the brightness of `pixels` where both are shown, and that continued to the rest."""
    side = pixels.shape[0]
    size = (SMALL, SMALL)
    of, to, weight = (
        np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
        for image in (other, pixels, both)
    )
    gain, _ = light(of, to, weight * weight + np.float32(1e-4), 0.06 * SMALL)
    return np.asarray(other * cv2.resize(gain @ LUMA, (side, side))[..., None], np.float32)


def _opacity(texture: Float) -> Float:
    """(side, side) 0..1: fades towards the hair, and is 0 where hair lies over forehead and temples."""
    side = texture.shape[0]
    triangles = _layout(side).triangles.reshape(side, side)
    skin = skin_likeness(texture, SKIN[triangles])
    skin = np.where(OVERGROWN[triangles], skin, 1).astype(np.float32)
    reach = max(3, side // 26) | 1
    skin = _blurred(np.asarray(cv2.erode(skin, np.ones((reach, reach), np.uint8)), np.float32), side / 60)
    return np.asarray(np.clip(skin * _spread(FADE[:, None], side)[..., 0], 0, 1), np.float32)


def _blurred(image: Float, sigma: float) -> Float:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
