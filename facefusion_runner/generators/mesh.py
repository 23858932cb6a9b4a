"""Family `mesh`: the source's own skin on the target's landmarks, without a network.

The source is unrolled once per task into a texture (`texture`); for every crop the texture is drawn on
the target's mesh points (`topology`), given the target's colours and light (`relighting`), and the
target's open mouth is put back. A fixed triangulation cannot fold; a triangle that the target turns
away is not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, Field

from facefusion_runner.errors import NoFaceError
from facefusion_runner.faces.geometry import TEMPLATES
from facefusion_runner.faces.types import Crop, Float, Generated, Mask, Picture, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.generators.relighting import light, match_colours
from facefusion_runner.generators.texture import merge, texture_points, unwrap
from facefusion_runner.generators.topology import (
    INNER_LIPS,
    LANDMARKS,
    LEFT_EYE,
    OPENINGS,
    RIGHT_EYE,
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


def _known_template(name: str) -> str:
    if name not in TEMPLATES:
        raise ValueError(f"unknown template {name!r}; known are {', '.join(TEMPLATES)}")
    return name


class Parameters(BaseModel, frozen=True, extra="forbid"):
    """What a catalog entry of this family may set."""

    side: int = Field(default=256, ge=64, le=1024)
    template: Annotated[str, AfterValidator(_known_template)] = "ffhq_512"
    keep_eyes: bool = False
    """True: the target's own eyes stay, and with them its gaze."""
    relight: float = Field(default=0.11, ge=0.03, le=1.0)
    """Standard deviation of the light taken from the target, as a part of the crop's side."""


class MeshGenerator:
    """Draws one source's texture on the mesh of each crop."""

    needs_landmarks: Final = True
    embedding_space: Final = None

    def __init__(self, entry: str, options: Parameters, boost: int) -> None:
        self._entry = entry
        self._options = options
        self.template = options.template
        self.side = options.side * boost
        self._texels = round(self.side * TEXELS)

    def prepare(self, sources: Sequence[SourceFace]) -> Float:
        """The texture (s, s, 3) float32 BGR. Sources without usable landmarks are left out.

        Raises NoFaceError when none has landmarks.
        """
        textures = [
            unwrap(source.picture, source.face.landmarks, self._texels)
            for source in sources
            if source.face.landmarks is not None and _usable(source.face.landmarks)
        ]
        if not textures:
            raise NoFaceError(f"no source picture has the 68 landmarks that {self._entry} needs")
        return merge(textures)

    def generate(self, crops: Sequence[Crop], source: Any) -> list[Generated]:
        """One face per crop; a crop without usable landmarks comes back as it is with an empty mask."""
        return [self._one(crop, source) for crop in crops]

    def _one(self, crop: Crop, texture: Float) -> Generated:
        landmarks = crop.landmarks
        if landmarks is None or not _usable(landmarks):
            return Generated(crop.pixels, np.zeros(crop.pixels.shape[:2], np.uint8))
        points = mesh_points(landmarks)
        drawn = _triangle_map(points, _painted(landmarks, points), self.side)
        face = _draw(texture, points, drawn)
        mask = _mask(drawn)
        face = self._lit(face, crop.pixels, drawn)
        openings = _openings(landmarks, self.side, self._options.keep_eyes)
        pixels = _blend(face, crop.pixels, openings)
        return Generated(pixels, mask)

    def _lit(self, face: Float, target: Picture, drawn: NDArray[np.int16]) -> Float:
        size = (SMALL, SMALL)
        skin = ((drawn >= 0) & ~OPENINGS[drawn]).astype(np.float32)
        weight = np.asarray(cv2.resize(skin, size, interpolation=cv2.INTER_AREA), np.float32)
        weight = np.where(weight > 0.9, weight, 0).astype(np.float32)
        small = np.asarray(cv2.resize(face, size, interpolation=cv2.INTER_AREA), np.float32)
        there = cv2.resize(target, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        matrix = match_colours(small, there, weight)
        small = np.asarray(cv2.transform(small, matrix), np.float32)
        gain = light(np.clip(small, 0, 255), there, weight, self._options.relight * SMALL)
        full = cv2.resize(gain, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.transform(face, matrix) * full, np.float32)


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> MeshGenerator:
    """Opens no network: the family has no weights."""
    return MeshGenerator(entry.id, parameters(entry, Parameters), options.pixel_boost)


def _usable(landmarks: NDArray[np.floating]) -> bool:
    """68 finite points that span a face and not a line."""
    if landmarks.shape != (LANDMARKS, 2) or not np.isfinite(landmarks).all():
        return False
    spread = np.linalg.svd(landmarks - landmarks.mean(0), compute_uv=False)
    return bool(spread[1] > 1.0 and spread[1] > 0.1 * spread[0] and np.abs(landmarks).max() < 1e5)


def _painted(landmarks: NDArray[np.floating], points: NDArray[np.float64]) -> NDArray[np.intp]:
    """The triangles that face the viewer, farthest first."""
    order = np.argsort(nearness(landmarks), kind="stable")
    return order[areas(points)[order] > 0.05]


def _triangle_map(points: NDArray[np.float64], order: NDArray[np.intp], side: int) -> NDArray[np.int16]:
    """(side, side) int16: the triangle seen at each pixel, -1 for none."""
    drawn = np.full((side, side), -1, np.int16)
    corners = points[TRIANGLES]
    near = (corners.max((1, 2)) < 8 * side) & (corners.min((1, 2)) > -8 * side)
    fixed = np.rint(corners * 16).astype(np.int32)
    for triangle in order[near[order]]:
        cv2.fillConvexPoly(drawn, fixed[triangle], int(triangle), shift=4)
    return drawn


def _draw(texture: Float, points: NDArray[np.float64], drawn: NDArray[np.int16]) -> Float:
    """The texture on the mesh: (side, side, 3) float32, black where nothing is drawn."""
    side = drawn.shape[0]
    corners = np.concatenate([points[TRIANGLES], np.ones((len(TRIANGLES), 3, 1))], 2)
    shown = np.unique(drawn)
    shown = shown[shown >= 0]
    maps = np.zeros((len(TRIANGLES), 6), np.float32)
    solved = np.linalg.solve(corners[shown], texture_points(texture.shape[0])[TRIANGLES][shown])
    maps[shown] = solved.reshape(-1, 6)
    y, x = np.nonzero(drawn >= 0)
    m = maps[drawn[y, x]]
    where = np.full((side, side, 2), -1, np.float32)
    where[y, x] = m[:, 0:2] * x[:, None] + m[:, 2:4] * y[:, None] + m[:, 4:6]
    return np.asarray(cv2.remap(texture, where[..., 0], where[..., 1], cv2.INTER_LINEAR), np.float32)


def _mask(drawn: NDArray[np.int16]) -> Mask:
    """Opaque well inside what is drawn, 0 at its edge and at the crop's border, smooth between."""
    side = drawn.shape[0]
    inside = (drawn >= 0).astype(np.uint8)
    inside[[0, -1]] = 0
    inside[:, [0, -1]] = 0
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_3)
    ramp = np.clip((depth - 0.012 * side) / (0.05 * side), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.asarray(np.rint(ramp * 255), np.uint8)


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


def _blend(face: Float, target: Picture, kept: Float) -> Picture:
    share = kept[..., None]
    return np.asarray(np.clip(face * (1 - share) + target * share + 0.5, 0, 255), np.uint8)
