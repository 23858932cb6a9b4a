"""The source's face as one flat picture in the mesh's own layout, put together from several pictures.

Each part comes from the picture that shows it best. What none shows (the far side of a turned head, what lies
under hair, glasses or a hand) comes from the mirror side of the same face, and what neither side shows is
continued smoothly from around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.geometry import apply, scale_of, similarity
from facefusion_runner.faces.types import Float, Matrix, Picture
from facefusion_runner.generators.relighting import LUMA, light
from facefusion_runner.generators.rings import EYES
from facefusion_runner.generators.shape import canonical, raised
from facefusion_runner.generators.skin import skin_likeness
from facefusion_runner.generators.topology import (
    CHEEKS,
    LAYOUT,
    MIRROR,
    OPENINGS,
    OVERGROWN,
    TRIANGLES,
    areas,
    facing,
)

MARGIN: Final = 0.03
"""Empty border of the texture, as a part of its side."""

SQUARE: Final = (0.05, 0.3)
"""Skin that faces the viewer by less than the first cosine counts as hidden, above the second as shown."""

ASIDE: Final = (0.3, 0.65)
"""The same for skin that faces the viewer that much less than its counterpart on the face's other side."""

BEHIND: Final = 0.12
"""Depth in interocular distances by which skin lies hidden behind a nearer part of the face."""

CLEAR: Final = 0.45
"""Brightness of an eye, in parts of the cheeks', below which something dark lies before it."""

CHOOSY: Final = 6
"""Power that lets the better of two pictures win."""

SMALL: Final = 64
"""Side at which light is compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """A source's face, laid flat."""

    pixels: Picture
    """(side, side, 4) uint8: BGR and opacity; 0 where the target's own skin is better than a guess."""
    shown: NDArray[np.uint8]
    """(side, side) uint8: 255 where a source shows it, 0 where it was filled in."""
    shape: NDArray[np.float64]
    """(468, 3): the mean of the sources' shapes, see `shape.canonical`."""


@dataclass(frozen=True, slots=True, eq=False)
class Unwrapped:
    """One picture's face laid flat."""

    pixels: Float
    """(side, side, 3) BGR 0..255."""
    shown: Float
    """(side, side) 0..1: how well the picture shows each texel."""
    detail: float
    """0..1: resolution, in parts of the texture's own."""
    shape: NDArray[np.float64]
    """(468, 3), see `shape.canonical`."""


@lru_cache(maxsize=4)
def texture_points(side: int) -> NDArray[np.float64]:
    """(468, 2): where the mesh's points lie in a texture of `side` pixels."""
    low, high = LAYOUT.min(0), LAYOUT.max(0)
    scale = (1 - 2 * MARGIN) / (high - low).max()
    return np.asarray(((LAYOUT - (low + high) / 2) * scale + 0.5) * side - 0.5, np.float64)


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
    """Values at the mesh's points (468, k) interpolated to every texel: (side, side, k)."""
    layout = _layout(side)
    at = values.astype(np.float32)[TRIANGLES[layout.triangles]]
    return np.asarray(np.einsum("nck,nc->nk", at, layout.weights), np.float32).reshape(side, side, -1)


def visibility(mesh: NDArray[np.floating]) -> Float:
    """(468,) 0..1: how well a picture with this mesh (468, 3) shows the skin around each point.

    Hidden is what is turned away, and what is turned so far aside that its counterpart on the other side of
    the face is seen much better.
    """
    square = np.maximum(facing(mesh), 0)
    aside = square / np.maximum(square[MIRROR], 0.1)
    return _smoothstep(square, *SQUARE) * _smoothstep(aside, *ASIDE)


def _smoothstep(values: Any, low: float, high: float) -> Float:
    t = np.clip((np.asarray(values, np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def unwrap(
    picture: Picture, mesh: NDArray[np.floating], side: int, skin: tuple[Float, Matrix] | None = None
) -> Unwrapped:
    """The face of `picture` with this mesh (468, 3) as a texture of `side` pixels.

    skin: the probability of bare skin in a crop (h, w) 0..1, and the transform from picture to crop pixels;
    None: hair over forehead and temples is told by its colour.
    """
    shape, mesh = canonical(mesh), raised(mesh)
    points = np.asarray(mesh[:, :2], np.float64)
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
    pixels = np.asarray(
        cv2.remap(part, where[..., 0], where[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )
    shown = np.clip(_spread(visibility(mesh)[:, None], side)[..., 0], 0, 1) * _uncovered(mesh, side)
    if skin is None:
        shown = shown * _hairless(pixels)
    else:
        bare, matrix = skin
        sure = cv2.erode(bare, np.ones((3, 3), np.uint8), iterations=max(1, round(bare.shape[0] / 85)))
        at = _spread(apply(matrix, points), side)
        bare = _smoothstep(cv2.remap(sure, at[..., 0], at[..., 1], cv2.INTER_LINEAR), 0.4, 0.8)
        shown = shown * _through_clear_lenses(bare, pixels)
    shown *= _within_picture(points, picture, side)
    return Unwrapped(pixels, np.asarray(shown, np.float32), min(1.0, 1 / scale), shape)


def _within_picture(points: NDArray[np.float64], picture: Picture, side: int) -> NDArray[np.bool_]:
    where = _spread(points, side)
    height, width = picture.shape[:2]
    return np.asarray(((where >= 0) & (where <= (width - 1, height - 1))).all(2))


def _uncovered(mesh: NDArray[np.floating], side: int) -> Float:
    """(side, side) 0 or 1: 0 where another part of the face, such as the nose, lies before it."""
    small = 192
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    scale = (small - 1) / float((high - low).max())
    points = (mesh - [*low, 0]) * scale
    depth = np.full((small, small), np.inf, np.float32)
    corners = points[TRIANGLES]
    fixed = np.rint(corners[..., :2] * 16).astype(np.int32)
    near = np.argsort(-corners[..., 2].mean(1), kind="stable")
    for triangle in near[areas(points)[near] > 0].tolist():
        cv2.fillConvexPoly(depth, fixed[triangle], float(corners[triangle, :, 2].max()), shift=4)
    at = _spread(points, side)
    before = cv2.remap(
        depth, at[..., 0], at[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=np.inf
    )
    eyes = float(np.linalg.norm(points[33] - points[263])) / 1.4
    return np.asarray(at[..., 2] - before < BEHIND * eyes, np.float32)


def _hairless(texture: Float) -> Float:
    """(side, side) 0..1: 0 where hair lies over forehead and temples, by its colour."""
    side = texture.shape[0]
    triangles = _layout(side).triangles.reshape(side, side)
    skin = np.where(OVERGROWN[triangles], skin_likeness(texture, CHEEKS[triangles]), 1).astype(np.float32)
    reach = max(3, side // 26) | 1
    return _blurred(np.asarray(cv2.erode(skin, np.ones((reach, reach), np.uint8)), np.float32), side / 60)


def merge(pictures: Sequence[Unwrapped]) -> Texture:
    """Pictures of one person as one texture.

    No two pictures fit to the pixel or show the same expression, so an average would blur: everywhere one
    picture wins, all in the light of the one that shows most.
    """
    first, *others = sorted(pictures, key=lambda picture: -picture.detail * float(picture.shown.mean()))
    pixels, shown = first.pixels, first.shown
    weight = _choice(first)
    for other in others:
        fitted = _in_light_of(pixels, other.pixels, shown * other.shown)
        own = _choice(other)
        share = own / (weight + own + np.float32(1e-6))
        pixels = np.asarray(pixels + (fitted - pixels) * share[..., None], np.float32)
        shown, weight = np.maximum(shown, other.shown), weight + own
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    pixels, shown = _completed(pixels, shown, mirrored, np.ascontiguousarray(shown[:, ::-1]))
    sure = _smoothstep(shown, 0.1, 0.5)
    whole = np.clip(continued(pixels, sure), 0, 255)
    opacity = np.minimum(_opacity(sure), _eyes(sure))
    return Texture(
        np.dstack([np.rint(whole), np.rint(opacity * 255)]).astype(np.uint8),
        np.rint(sure * 255).astype(np.uint8),
        np.mean([picture.shape for picture in pictures], 0),
    )


def _choice(picture: Unwrapped) -> Float:
    """How much a picture counts at each texel, smooth from place to place."""
    return _blurred(
        np.asarray(np.power(picture.shown * np.float32(picture.detail), CHOOSY), np.float32),
        picture.shown.shape[0] / 60,
    )


def _completed(pixels: Float, shown: Float, other: Float, other_shown: Float) -> tuple[Float, Float]:
    """`pixels` with what it hides taken from `other`, in the light of `pixels`; and what is shown then."""
    share = (1 - shown) * other_shown / (shown + (1 - shown) * other_shown + np.float32(1e-3))
    if share.max() > 0.01:
        near = _blurred(np.asarray(share, np.float32), pixels.shape[0] / 100)
        share = np.maximum(share, np.minimum(near, other_shown))
        other = _in_light_of(pixels, other, shown * other_shown)
        pixels = np.asarray(pixels + (other - pixels) * share[..., None], np.float32)
    return pixels, np.maximum(shown, other_shown)


def continued(pixels: Float, known: Float) -> Float:
    """(h, w, 3) with what is not `known` (h, w, 0..1) filled smoothly from around it, at any distance.

    A pyramid of weighted means, from coarse to fine (pull and push: Gortler and others, SIGGRAPH 1996).
    """
    if known.min() >= 1:
        return pixels
    size = (max(pixels.shape[1] // 2, 1), max(pixels.shape[0] // 2, 1))
    weight = np.asarray(cv2.resize(known, size, interpolation=cv2.INTER_AREA))
    if size == (1, 1) or pixels.shape[0] < 8:
        coarse = np.broadcast_to(
            (pixels * known[..., None]).sum((0, 1)) / (known.sum() + np.float32(1e-6)), (*size[::-1], 3)
        ).astype(np.float32)
    else:
        total = cv2.resize(pixels * known[..., None], size, interpolation=cv2.INTER_AREA)
        coarse = continued(
            np.asarray(total / (weight[..., None] + np.float32(1e-6)), np.float32),
            np.minimum(weight * 4, np.float32(1)),
        )
    fine = cv2.resize(coarse, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine + (pixels - fine) * known[..., None], np.float32)


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


def _opacity(shown: Float) -> Float:
    """(side, side) 0..1: 0 where no source shows forehead and temples: there the target's own skin stays."""
    side = shown.shape[0]
    triangles = _layout(side).triangles.reshape(side, side)
    bare = np.where(OVERGROWN[triangles] & ~OPENINGS[triangles], shown, 1).astype(np.float32)
    reach = max(3, side // 50) | 1
    return _blurred(np.asarray(cv2.erode(bare, np.ones((reach, reach), np.uint8)), np.float32), side / 60)


def _through_clear_lenses(bare: Float, pixels: Float) -> Float:
    """`bare` with the eyes where they are seen through something that is not bare skin, such as clear lenses.

    What hides an eye, sunglasses or hair, is much darker than the cheeks. Where a segmenter takes clear
    glasses as a whole, the source keeps them: brows and lids cannot be made up.
    """
    side = bare.shape[0]
    luma = pixels @ LUMA
    cheeks = CHEEKS[_layout(side).triangles.reshape(side, side)] & (bare > 0.5)
    if not cheeks.any() or np.median(luma[_lids(side, 0) > 0]) < CLEAR * np.median(luma[cheeks]):
        return bare
    whole = bare[_lids(side, 0) > 0].mean() < 0.5
    return np.maximum(bare, _lids(side, side // 13 if whole else side // 80))


def _eyes(shown: Float) -> Float:
    """(side, side) 0..1: 0 around both eyes where neither side of the face shows them, as behind sunglasses.

    A face without eyes is none, so the target's look through.
    """
    side = shown.shape[0]
    seen = float(shown[_lids(side, 0) > 0].mean())
    return 1 - _blurred(_lids(side, side // 26), side / 80) * (1 - _smoothstep(seen, 0.7, 0.95))


def _lids(side: int, reach: int) -> Float:
    """(side, side) 0 or 1: both eyes, `reach` texels more above and below, and twice as many beside them."""
    points = texture_points(side)
    eyes = np.zeros((side, side), np.uint8)
    for ring in EYES:
        cv2.fillPoly(eyes, [np.rint(points[list(ring)]).astype(np.int32)], 1)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (4 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(eyes, around), np.float32)


def _blurred(image: Float, sigma: float) -> Float:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
