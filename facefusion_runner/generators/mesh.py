"""Family `mesh`: the source's own skin on the target's landmarks, without a network.

The source is unrolled once per task into a texture (`texture`); for every crop the texture is drawn on
the target's mesh points (`topology`), given the target's colours and light (`relighting`), and the
target's open mouth is put back. A fixed triangulation cannot fold; a triangle that the target turns
away is not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from facefusion_runner.errors import NoFaceError
from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Crop, Float, Generated, Picture, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.generators.relighting import LUMA, colourfulness, defined, light
from facefusion_runner.generators.skin import skin_likeness
from facefusion_runner.generators.texture import merge, texture_points, unwrap
from facefusion_runner.generators.topology import (
    INNER_LIPS,
    LANDMARKS,
    LEFT_EYE,
    OPENINGS,
    OVERGROWN,
    RIGHT_EYE,
    SKIN,
    TRIANGLES,
    areas,
    mesh_points,
    nearness,
)
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel

FAMILIES: Final[tuple[str, ...]] = ("mesh",)

TEXELS: Final = 1.5
"""Side of the texture in units of the crop's side."""

SMALL: Final = 64
"""Side at which colour and light are compared: both are smooth."""

EDGE: Final = 0.012
FEATHER: Final = 0.035
"""How far inside the drawn mesh the mask begins, and over what length it rises, in parts of the side."""

SMALLEST: Final = 0.5
"""Area in pixels below which a triangle is not worth drawing; a turned one has a negative area."""

Area = tuple[slice, slice]
"""Rows and columns of the crop."""


class Parameters(BaseModel, frozen=True, extra="forbid"):
    """What a catalog entry of this family may set."""

    side: int = Field(default=256, ge=64, le=1024)
    template: TemplateName = "ffhq_512"
    keep_eyes: bool = False
    """True: the target's own eyes stay, and with them its gaze."""
    relight: float = Field(default=0.09, ge=0.03, le=1.0)
    """Standard deviation of the light taken from the target, as a part of the crop's side."""


class MeshGenerator:
    """Draws one source's texture on the mesh of each crop."""

    needs_landmarks: Final = True
    needs_mesh: Final = False
    embedding_space: Final = None

    def __init__(self, entry: str, options: Parameters, boost: int) -> None:
        self._entry = entry
        self._options = options
        self.template = options.template
        self.side = options.side * boost
        self._texels = round(self.side * TEXELS)

    def prepare(self, sources: Sequence[SourceFace]) -> Picture:
        """The texture (s, s, 4) uint8, BGR and opacity. Sources without usable landmarks are left out.

        Raises NoFaceError when none has landmarks.
        """
        textures = [
            unwrap(source.picture, source.face.landmarks, self._texels)
            for source in sources
            if source.face.landmarks is not None
            and _usable(source.face.landmarks)
            and _mostly_inside(source.face.landmarks, source.picture)
        ]
        if not textures:
            raise NoFaceError(f"no source picture has the 68 landmarks that {self._entry} needs")
        return merge(textures)

    def generate(self, crops: Sequence[Crop], source: Any) -> list[Generated]:
        """One face per crop; a crop without usable landmarks comes back as it is with an empty mask."""
        return [self._one(crop, source) for crop in crops]

    def _one(self, crop: Crop, texture: Picture) -> Generated:
        pixels, mask = crop.pixels.copy(), np.zeros(crop.pixels.shape[:2], np.uint8)
        if crop.landmarks is None or not _usable(crop.landmarks):
            return Generated(pixels, mask)
        points = mesh_points(crop.landmarks)
        order = _painted(crop.landmarks, points, self.side)
        drawn = _triangle_map(points, order, self.side)
        area = _extent(drawn)
        if area is None:
            return Generated(pixels, mask)
        face = _draw(texture, points, order, drawn, area)
        lit, bare = self._lit(face[..., :3], pixels, drawn, area)
        kept = _openings(crop.landmarks, self.side, self._options.keep_eyes)[area]
        mask[area] = _mask(drawn)[area] * bare * face[..., 3] + np.float32(0.5)
        pixels[area] = np.where(drawn[area][..., None] < 0, pixels[area], _mixed(lit, pixels[area], kept))
        return Generated(pixels, mask)

    def _lit(
        self, face: Picture, target: Picture, drawn: NDArray[np.int16], area: Area
    ) -> tuple[Float, Float]:
        """The face of `area` in the target's colours and light, and where the target is bare skin, 0..1."""
        there = _shrunk(target)
        whole = np.zeros_like(target)
        whole[area] = face
        small = _shrunk(whole)
        seen = cv2.resize(drawn, (SMALL, SMALL), interpolation=cv2.INTER_NEAREST_EXACT)
        inside = cv2.erode((seen >= 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        sample = SKIN[seen] & inside
        bare = skin_likeness(there, sample)
        weight = bare * skin_likeness(small, sample) + np.float32(0.3)
        weight[~inside | OPENINGS[seen]] = 0
        gain, offset = light(small, there, weight, self._options.relight * SMALL)
        bare[~OVERGROWN[seen]] = 1
        fields = np.dstack([gain, offset, cv2.GaussianBlur(bare, (0, 0), 1)])
        fields = cv2.resize(fields, (self.side, self.side))[area]
        within = cv2.erode((drawn[area] >= 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        face_there = defined(face, target[area], within, self.side)
        lit = np.asarray(face_there * fields[..., :3] + fields[..., 3:6], np.float32)
        colour = colourfulness(small * gain + offset, there, weight)
        if colour < 1:
            grey = (lit @ LUMA)[..., None]
            lit = np.asarray(grey + colour * (lit - grey), np.float32)
        return lit, np.asarray(fields[..., 6], np.float32)


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> MeshGenerator:
    """Opens no network: the family has no weights."""
    return MeshGenerator(entry.id, parameters(entry, Parameters), options.pixel_boost)


def _usable(landmarks: NDArray[np.floating]) -> bool:
    """68 finite points that span a face and not a line."""
    if landmarks.shape != (LANDMARKS, 2) or not np.isfinite(landmarks).all():
        return False
    spread = np.linalg.svd(landmarks - landmarks.mean(0), compute_uv=False)
    return bool(spread[1] > 1.0 and spread[1] > 0.1 * spread[0] and np.abs(landmarks).max() < 1e5)


def _mostly_inside(landmarks: NDArray[np.floating], picture: Picture) -> bool:
    height, width = picture.shape[:2]
    inside = ((landmarks >= 0) & (landmarks <= (width - 1, height - 1))).all(1)
    return bool(inside.mean() > 0.5)


def _painted(landmarks: NDArray[np.floating], points: NDArray[np.float64], side: int) -> NDArray[np.intp]:
    """The triangles that face the viewer and lie near the crop, farthest first."""
    corners = points[TRIANGLES]
    near = (corners.max((1, 2)) < 8 * side) & (corners.min((1, 2)) > -8 * side)
    order = np.argsort(nearness(landmarks), kind="stable")
    return np.asarray(order[(near & (areas(points) > SMALLEST))[order]], np.intp)


def _triangle_map(points: NDArray[np.float64], order: NDArray[np.intp], side: int) -> NDArray[np.int16]:
    """(side, side) int16: the triangle seen at each pixel, -1 for none."""
    drawn = np.full((side, side), -1, np.int16)
    fixed = np.rint(points[TRIANGLES] * 16).astype(np.int32)
    for triangle in order.tolist():
        cv2.fillConvexPoly(drawn, fixed[triangle], triangle, shift=4)
    return drawn


def _extent(drawn: NDArray[np.int16]) -> Area | None:
    """The rows and columns in which anything is drawn."""
    left, top, width, height = cv2.boundingRect((drawn >= 0).astype(np.uint8))
    if width == 0:
        return None
    return slice(top, top + height), slice(left, left + width)


def _draw(
    texture: Picture,
    points: NDArray[np.float64],
    order: NDArray[np.intp],
    drawn: NDArray[np.int16],
    area: Area,
) -> Picture:
    """The texture on the mesh: (h, w, 4) uint8 of `area`; without meaning where nothing is drawn."""
    corners = np.concatenate([points[TRIANGLES[order]], np.ones((len(order), 3, 1))], 2)
    maps = np.zeros((6, len(TRIANGLES) + 1), np.float32)
    maps[4:, -1] = -2
    maps[:, order] = np.linalg.solve(corners, texture_points(len(texture))[TRIANGLES[order]]).reshape(-1, 6).T
    at = drawn[area]
    y, x = np.ogrid[area]
    x, y = x.astype(np.float32), y.astype(np.float32)
    u, v = (maps[k][at] * x + maps[k + 2][at] * y + maps[k + 4][at] for k in (0, 1))
    return np.asarray(cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _mask(drawn: NDArray[np.int16]) -> Float:
    """(side, side) 0..1: 1 well inside what is drawn, 0 at its edge and at the crop's border."""
    side = drawn.shape[0]
    inside = (drawn >= 0).astype(np.uint8)
    inside[[0, -1]] = 0
    inside[:, [0, -1]] = 0
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_3)
    ramp = np.clip((depth - EDGE * side) / (FEATHER * side), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def _openings(landmarks: NDArray[np.floating], side: int, keep_eyes: bool) -> Float:
    """(side, side) 0..1: what stays the target's: between the lips as far as they are open, the eyes."""
    kept = np.zeros((side, side), np.uint8)
    width = np.linalg.norm(landmarks[54] - landmarks[48]) + 1e-6
    gap = np.linalg.norm(landmarks[[61, 62, 63]] - landmarks[[67, 66, 65]], axis=1).mean() / width
    opening = float(np.clip((gap - 0.03) / 0.05, 0, 1))
    rings = [(INNER_LIPS, opening)] + [(eye, 1.0) for eye in (LEFT_EYE, RIGHT_EYE) if keep_eyes]
    for ring, share in rings:
        fixed = np.rint(np.clip(landmarks[ring], -side, 2 * side) * 16).astype(np.int32)
        cv2.fillPoly(kept, [fixed], round(255 * share), shift=4)
    return np.asarray(cv2.GaussianBlur(kept, (0, 0), side / 170) / np.float32(255), np.float32)


def _mixed(face: Float, target: Picture, kept: Float) -> Picture:
    return np.asarray(np.clip(face + (target - face) * kept[..., None] + 0.5, 0, 255), np.uint8)


def _shrunk(picture: Picture) -> Float:
    return np.asarray(cv2.resize(picture, (SMALL, SMALL), interpolation=cv2.INTER_AREA), np.float32)
