"""Draws a source's texture on the mesh of a crop, in the crop's colours and light.

A triangle that the target turns away is not drawn, and what lies nearer hides what lies behind. What the
segmentation says is not bare skin (hair, glasses, a hand) stays before the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.generators.relighting import (
    LUMA,
    calm,
    colourfulness,
    defined,
    hue,
    light,
    without_glare,
)
from facefusion_runner.generators.rings import EYES, INNER_LIPS
from facefusion_runner.generators.shape import lent, raised
from facefusion_runner.generators.skin import skin_likeness
from facefusion_runner.generators.texture import Texture, texture_points
from facefusion_runner.generators.topology import (
    CHEEKS,
    OPENINGS,
    OVERGROWN,
    POINT_COUNT,
    TRIANGLES,
    areas,
)
from facefusion_runner.segmenters import GLASSES, SKIN

SMALL: Final = 64
"""Side at which colour and light are compared: both are smooth."""

EDGE: Final = 0.0
FEATHER: Final = 0.024
"""How far inside the drawn mesh the mask begins, and over what length it rises, in parts of the side."""

BARE: Final = (0.1, 0.5)
"""Probability of skin up to which the target stays, and from which the face is drawn."""

RIM: Final = 0.04
"""Standard deviation of the light at the mask's edge, where the face must meet the target's skin, in parts of
the side."""

RIM_REACH: Final = 0.03
"""Depth inside the drawn mesh up to which that light is measured: what lies deeper is the face's own look."""

OPAQUE: Final = 0.3
"""Opacity of the texture below which the target's own skin begins: the face must meet it there too."""

RIM_WIDTH: Final = (0.02, 0.05)
"""Depth inside the drawn mesh up to which that light holds, and from which that of the whole face does."""

FRINGE: Final = 0.02
"""Standard deviation of the light at the edge of the texture across the target's bare forehead, in parts of
the side: the source's fringe shades the skin beside it, so the light must follow closely."""

FRINGE_WIDTH: Final = (0.04, 0.07)
"""As `RIM_WIDTH`, for that edge."""

SMALLEST: Final = 0.5
"""Area in pixels below which a triangle is not worth drawing; a turned one has a negative area."""

Area = tuple[slice, slice]
"""Rows and columns of the crop."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What of the target stays, and how its light is taken over."""

    keep_eyes: bool = False
    keep_glasses: bool = True
    relight: float = 0.16
    """Standard deviation of the light taken from the target, in parts of the crop's side."""
    shape: float = 0.4
    """How much of the sources' shape the face takes on, 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The source's face in the pose, colours and light of one crop; all of the crop's side s."""

    face: Float
    """(s, s, 3) float32, BGR 0..255: the face where the mesh is drawn, the crop elsewhere."""
    mask: Float
    """(s, s) float32, 0..1: where the face is to be; 0 at the crop's border, and where hair, glasses or a
    hand of the target lie before it."""
    visible: Float
    """(s, s) float32, 0..1: how well the sources show what `face` has there; 0 where it was filled in, and
    where nothing is drawn."""
    kept: Float
    """(s, s) float32, 0..1: inside the mask, yet the target's own: the open mouth, and the eyes if wanted.
    It is put over everything else at the end."""


def usable(mesh: NDArray[np.floating]) -> bool:
    """468 finite points that span a face seen from the front, and not a line."""
    if mesh.shape != (POINT_COUNT, 3) or not np.isfinite(mesh).all() or np.abs(mesh).max() >= 1e5:
        return False
    if areas(mesh).sum() <= 0:
        return False
    spread = np.linalg.svd(mesh[:, :2] - mesh[:, :2].mean(0), compute_uv=False)
    return bool(spread[1] > 10.0 and spread[1] > 0.1 * spread[0])


def draw(
    texture: Texture, target: Picture, mesh: NDArray[np.floating], parts: Float | None, look: Look
) -> Drawn | None:
    """The face of `texture` for one crop; None where none can be drawn.

    target: (s, s, 3) uint8 BGR. mesh: (468, 3) in crop pixels. parts: (5, s, s) float32 from a segmenter, the
    probability of each of its classes; None: hair is told from skin by its colour.
    """
    if not usable(mesh):
        return None
    side = target.shape[0]
    kept = _openings(mesh, side, look.keep_eyes)
    mesh = raised(lent(mesh, texture.shape, look.shape))
    order = _painted(mesh, side)
    triangles = _triangle_map(mesh, order, side)
    area = _extent(triangles)
    if area is None:
        return None
    face, shown = _texels(texture, mesh, order, triangles, area)
    bare = None if parts is None else _bare(parts, look.keep_glasses)
    depth = _depth((triangles >= 0).astype(np.uint8))
    lit, bare = _lit(face, target, bare, triangles, area, look)
    inside = triangles[area] >= 0
    whole = target.astype(np.float32)
    np.copyto(whole[area], lit, where=inside[..., None])
    mask = _smoothstep(depth / np.float32(side), EDGE, EDGE + FEATHER) * bare
    mask[area] *= face[..., 3] * np.float32(1 / 255)
    visible = np.zeros((side, side), np.float32)
    np.copyto(visible[area], shown * np.float32(1 / 255), where=inside)
    return Drawn(whole, mask, visible, kept)


def _painted(mesh: NDArray[np.floating], side: int) -> NDArray[np.intp]:
    """The triangles that face the viewer and lie near the crop, farthest first."""
    corners = mesh[TRIANGLES]
    flat = corners[..., :2]
    near = (flat.max((1, 2)) < 8 * side) & (flat.min((1, 2)) > -8 * side)
    order = np.argsort(-corners[..., 2].mean(1), kind="stable")
    return np.asarray(order[(near & (areas(mesh) > SMALLEST * side / 256))[order]], np.intp)


def _triangle_map(mesh: NDArray[np.floating], order: NDArray[np.intp], side: int) -> NDArray[np.int16]:
    """(side, side) int16: the triangle seen at each pixel, -1 for none."""
    drawn = np.full((side, side), -1, np.int16)
    fixed = np.rint(mesh[TRIANGLES[order], :2] * 16).astype(np.int32)
    for triangle, corners in zip(order.tolist(), fixed, strict=True):
        cv2.fillConvexPoly(drawn, corners, triangle, shift=4)
    return drawn


def _extent(triangles: NDArray[np.int16]) -> Area | None:
    """The rows and columns in which anything is drawn."""
    left, top, width, height = cv2.boundingRect((triangles >= 0).astype(np.uint8))
    if width == 0:
        return None
    return slice(top, top + height), slice(left, left + width)


def _texels(
    texture: Texture,
    mesh: NDArray[np.floating],
    order: NDArray[np.intp],
    triangles: NDArray[np.int16],
    area: Area,
) -> tuple[Picture, NDArray[np.uint8]]:
    """The texture on the mesh: (h, w, 4) and (h, w) uint8 of `area`; no meaning where nothing is drawn."""
    maps = np.zeros((6, len(TRIANGLES) + 1), np.float32)
    maps[4:, -1] = -2
    maps[:, order] = _affine(
        mesh[TRIANGLES[order], :2], texture_points(len(texture.pixels))[TRIANGLES[order]]
    )
    at = triangles[area]
    y, x = np.ogrid[area]
    x, y = x.astype(np.float32), y.astype(np.float32)
    u, v = (maps[k].take(at) * x + maps[k + 2].take(at) * y + maps[k + 4].take(at) for k in (0, 1))
    face = cv2.remap(texture.pixels, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shown = cv2.remap(texture.shown, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(face, np.uint8), np.asarray(shown, np.uint8)


def _affine(of: NDArray[np.floating], to: NDArray[np.floating]) -> Float:
    """(6, n): the affine maps of triangles (n, 3, 2): the images of (1, 0) and (0, 1); what is added."""
    a, b, c = np.moveaxis(np.asarray(of, np.float64), 1, 0)
    p, q, r = np.moveaxis(to, 1, 0)
    u, v, s, t = b - a, c - a, q - p, r - p
    area = (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])[:, None]
    along_x = (s * v[:, 1:] - t * u[:, 1:]) / area
    along_y = (t * u[:, :1] - s * v[:, :1]) / area
    origin = p - along_x * a[:, :1] - along_y * a[:, 1:]
    return np.hstack([along_x, along_y, origin]).T.astype(np.float32)


def _bare(parts: Float, keep_glasses: bool) -> Float:
    """(s, s) 0..1: where the target shows skin that may be replaced."""
    skin = parts[SKIN] if keep_glasses else parts[SKIN] + parts[GLASSES]
    return np.asarray(cv2.GaussianBlur(_smoothstep(skin, *BARE), (0, 0), skin.shape[0] / 170), np.float32)


def _depth(inside: NDArray[np.uint8]) -> Float:
    """(side, side): the distance in pixels from the edge of what is `inside`, and from the crop's border."""
    inside[[0, -1]] = 0
    inside[:, [0, -1]] = 0
    return np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_3), np.float32)


def _lit(
    face: Picture,
    target: Picture,
    bare: Float | None,
    triangles: NDArray[np.int16],
    area: Area,
    look: Look,
) -> tuple[Float, Float]:
    """The face of `area` in the target's colours and light, and where the target is bare skin (s, s)."""
    side = target.shape[0]
    there = _shrunk(target)
    whole = np.zeros((side, side, 4), np.uint8)
    whole[area] = face
    small = _shrunk(whole)
    small, opacity = small[..., :3], small[..., 3] / np.float32(255)
    seen = cv2.resize(triangles, (SMALL, SMALL), interpolation=cv2.INTER_NEAREST_EXACT)
    inside = cv2.erode((seen >= 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if bare is None:
        likeness = skin_likeness(there, CHEEKS[seen] & inside)
        weight = likeness * skin_likeness(small, CHEEKS[seen] & inside)
        likeness[~OVERGROWN[seen]] = 1
        bare = np.asarray(cv2.resize(cv2.GaussianBlur(likeness, (0, 0), 1), (side, side)), np.float32)
    else:
        weight = np.asarray(cv2.resize(bare, (SMALL, SMALL), interpolation=cv2.INTER_AREA), np.float32)
    weight = weight * opacity + np.float32(0.02)
    weight[~inside | OPENINGS[seen]] = 0
    gain, offset = light(small, there, weight, look.relight * SMALL)
    outline, fringe = (
        _depth(within.astype(np.uint8)) / np.float32(SMALL)
        for within in (inside, inside & (opacity > OPAQUE))
    )
    share = np.ones_like(outline)
    if (fringe < outline).any():
        share = np.where(fringe < outline, _smoothstep(fringe, *FRINGE_WIDTH), share)
        gain, offset = _between(light(small, there, weight, FRINGE * SMALL), (gain, offset), share)
    at_rim = np.where(outline < RIM_REACH, weight, weight * np.float32(1e-3))
    middle = _smoothstep(outline, *RIM_WIDTH)
    gain, offset = _between(light(small, there, at_rim, RIM * SMALL), (gain, offset), middle)
    middle = middle * share
    within = cv2.erode((triangles[area] >= 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    sharp = defined(np.ascontiguousarray(face[..., :3]), target[area], within, side)
    lit = cv2.multiply(sharp, cv2.resize(gain, (side, side))[area])
    lit = np.asarray(cv2.add(lit, cv2.resize(offset, (side, side))[area]), np.float32)
    tone = hue(small, there, weight, look.relight * SMALL)
    if tone[..., 3].any():
        tone = np.asarray(cv2.resize(tone, (side, side))[area], np.float32)
        lit += (lit @ LUMA)[..., None] * tone[..., :3] - lit * tone[..., 3:]
    around = calm(there, weight, look.relight * SMALL)
    share = np.asarray(cv2.resize(middle, (side, side))[area], np.float32)
    around = np.asarray(cv2.resize(around, (side, side))[area], np.float32)
    lit = without_glare(np.asarray(lit, np.float32), around, share)
    colour = colourfulness(small * gain + offset, there, weight)
    if colour < 1:
        grey = (lit @ LUMA)[..., None]
        lit = np.asarray(grey + colour * (lit - grey), np.float32)
    return np.asarray(np.clip(lit, 0, 255, out=lit)), bare


def _between(one: tuple[Float, Float], other: tuple[Float, Float], share: Float) -> tuple[Float, Float]:
    """`one` gain and offset (h, w, 3), `other` by its `share` (h, w)."""
    (gain, offset), part = one, share[..., None]
    return gain + (other[0] - gain) * part, offset + (other[1] - offset) * part


def _openings(mesh: NDArray[np.floating], side: int, keep_eyes: bool) -> Float:
    """(side, side) 0..1: between the lips as far as they are open, and the eyes."""
    kept = np.zeros((side, side), np.uint8)
    points = mesh[:, :2]
    width = np.linalg.norm(points[308] - points[78]) + 1e-6
    gap = np.linalg.norm(points[[81, 13, 311]] - points[[178, 14, 402]], axis=1).mean() / width
    opening = float(np.clip((gap - 0.03) / 0.05, 0, 1))
    for ring, share in [(INNER_LIPS, opening)] + [(eye, 1.0) for eye in EYES if keep_eyes]:
        fixed = np.rint(np.clip(points[list(ring)], -side, 2 * side) * 16).astype(np.int32)
        cv2.fillPoly(kept, [fixed], round(255 * share), shift=4)
    return np.asarray(cv2.GaussianBlur(kept, (0, 0), side / 170) / np.float32(255), np.float32)


def _smoothstep(values: Float, low: float, high: float) -> Float:
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _shrunk(picture: Picture) -> Float:
    return np.asarray(cv2.resize(picture, (SMALL, SMALL), interpolation=cv2.INTER_AREA), np.float32)
