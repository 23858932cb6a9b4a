"""The mesh: the source's own skin on the target's mesh.

The sources are unrolled once per task into a texture (`texture`); for every crop the texture is drawn on the
target's mesh in the target's colours and light (`drawing`); a blender network, where the catalog names one,
repairs what that cannot know and moves the seam; the target's open mouth is put back last.

The blender takes four tensors of one side, a multiple of 128, float32, colours BGR 0..1:
`face` (n, 3, s, s) and `mask` (n, 1, s, s) and `visibility` (n, 1, s, s), of `drawing.Drawn`, and `target`
(n, 3, s, s), the crop; it gives `blended` (n, 3, s, s), the repaired face, and `alpha` (n, 1, s, s), the mask
that pastes it: 0 where `mask` is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from facefusion_runner.errors import ModelError, NoFaceError
from facefusion_runner.faces.geometry import TemplateName, alignment, cut
from facefusion_runner.faces.types import Crop, Float, Generated, Matrix, Picture, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.generators.drawing import Drawn, Look, draw, usable
from facefusion_runner.generators.texture import Texture, merge, unwrap
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_segmenter, parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import unfit
from facefusion_runner.segmenters import SKIN, Segmenter

FAMILIES: Final[tuple[str, ...]] = ("mesh",)
NEEDS_SOURCE: Final = True

TEXELS: Final = 1.5
"""Side of the texture in units of the crop's side."""

SEEN: Final = 256
"""Side in pixels of the crop in which a source picture is segmented."""


class Parameters(BaseModel, frozen=True, extra="forbid"):
    """What a catalog entry of this family may set."""

    side: int = Field(default=256, ge=64, le=1024)
    template: TemplateName = "ffhq_512"
    keep_eyes: bool = False
    """True: the target's own eyes stay, and with them its gaze."""
    keep_glasses: bool = True
    """False: the target's glasses are drawn over."""
    relight: float = Field(default=0.16, ge=0.03, le=1.0)
    """Standard deviation of the light taken from the target, as a part of the crop's side."""
    shape: float = Field(default=0.4, ge=0.0, le=1.0)
    """How much of the sources' shape the face takes on: more looks more like them, and departs further from
    where the target has its eyes, nose and brows."""
    segmenter: str = ""
    """Id of the model that tells skin from what lies over it; empty: hair is told by its colour, and
    glasses and hands are drawn over."""
    blender: str = ""
    """Id of the network that repairs the drawn face; empty: it stays as drawn."""


class MeshGenerator:
    """Draws one source's texture on the mesh of each crop."""

    needs_landmarks: Final = True
    needs_mesh: Final = True
    embedding_spaces: Final = ()
    most_sources: Final = None

    def __init__(
        self,
        entry: str,
        options: Parameters,
        boost: int = 1,
        segmenter: Segmenter | None = None,
        blender: Blender | None = None,
    ) -> None:
        self._entry = entry
        self._look = Look(options.keep_eyes, options.keep_glasses, options.relight, options.shape)
        self._segmenter = segmenter
        self._blender = blender
        self.template = options.template
        self.side = options.side * boost
        self._texels = round(self.side * TEXELS)

    def prepare(self, sources: Sequence[SourceFace]) -> Texture:
        """The sources as one texture. Those without a usable mesh are left out.

        Raises NoFaceError when none has one.
        """
        textures = [
            unwrap(source.picture, source.face.mesh, self._texels, self._skin(source))
            for source in sources
            if source.face.mesh is not None
            and usable(source.face.mesh)
            and _mostly_inside(source.face.mesh, source.picture)
        ]
        if not textures:
            raise NoFaceError(f"no source picture has the mesh of 468 points that {self._entry} needs")
        return merge(textures)

    def _skin(self, source: SourceFace) -> tuple[Float, Matrix] | None:
        """Where a source shows bare skin, and the transform to that crop."""
        if self._segmenter is None:
            return None
        matrix = alignment(source.face.points, self._segmenter.template, SEEN)
        return self._segmenter.segment([cut(source.picture, matrix, SEEN)])[0, SKIN], matrix

    def generate(self, crops: Sequence[Crop], source: Any) -> list[Generated]:
        """One face per crop; a crop without a usable mesh comes back as it is with an empty mask."""
        drawn = self.draw(crops, source)
        if self._blender is not None:
            drawn = self._blender.blended(crops, drawn)
        return [_finished(crop, one) for crop, one in zip(crops, drawn, strict=True)]

    def draw(self, crops: Sequence[Crop], texture: Texture) -> list[Drawn | None]:
        """The faces as the blender takes them; None for a crop without a usable mesh."""
        parts: Float | list[None] = [None] * len(crops)
        if self._segmenter is not None and crops:
            parts = self._segmenter.segment([crop.pixels for crop in crops])
        return [
            None if crop.mesh is None else draw(texture, crop.pixels, crop.mesh, part, self._look)
            for crop, part in zip(crops, parts, strict=True)
        ]


class Blender:
    """Runs the blender on drawn faces; larger crops are repaired at 256 pixels and keep their own detail."""

    side: Final = 256
    _inputs: Final = ("face", "target", "mask", "visibility")
    _outputs: Final = ("blended", "alpha")

    def __init__(self, session: Session) -> None:
        """Raises ModelError for a graph with other inputs or outputs."""
        self._session = session
        given = {node.name for node in session.inputs}, {node.name for node in session.outputs}
        if given != (set(self._inputs), set(self._outputs)):
            raise unfit(session, f"inputs {', '.join(self._inputs)} and outputs {', '.join(self._outputs)}")
        self._order = [node.name for node in session.outputs]

    def blended(self, crops: Sequence[Crop], drawn: Sequence[Drawn | None]) -> list[Drawn | None]:
        """The faces repaired, each with the network's own mask."""
        return [
            one if one is None else self._one(crop.pixels, one)
            for crop, one in zip(crops, drawn, strict=True)
        ]

    def _one(self, target: Picture, drawn: Drawn) -> Drawn:
        face = self._sized(drawn.face)
        feeds = {
            "face": _planes(face),
            "target": _planes(self._sized(target)),
            "mask": _planes(self._sized(drawn.mask) * 255),
            "visibility": _planes(self._sized(drawn.visible) * 255),
        }
        made = dict(zip(self._order, self._session.run(feeds), strict=True))
        blended = np.ascontiguousarray(made["blended"][0].transpose(1, 2, 0)) * np.float32(255)
        alpha = np.asarray(made["alpha"][0, 0], np.float32)
        if target.shape[0] != self.side:
            size = (target.shape[1], target.shape[0])
            change = cv2.resize(blended - face, size)
            blended = np.clip(drawn.face + change, 0, 255)
            alpha = np.asarray(cv2.resize(alpha, size), np.float32)
        return Drawn(np.asarray(blended, np.float32), alpha, drawn.visible, drawn.kept)

    def _sized(self, image: NDArray[Any]) -> NDArray[Any]:
        if image.shape[0] == self.side:
            return image
        return np.asarray(cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA))


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> MeshGenerator:
    """Opens the segmenter and the blender that the catalog names."""
    options.require_only(entry.id)
    chosen = parameters(entry, Parameters)
    segmenter = None
    if chosen.segmenter:
        segmenter = load_segmenter(open_model(chosen.segmenter).entry, open_model)
        if segmenter.template != chosen.template:
            raise ModelError(
                f"model {entry.id}: parameter template: {chosen.template} is not {segmenter.template}, along "
                f"which segmenter {chosen.segmenter} sees faces"
            )
    blender = Blender(open_model(chosen.blender)) if chosen.blender else None
    return MeshGenerator(entry.id, chosen, options.pixel_boost, segmenter, blender)


def _mostly_inside(mesh: NDArray[np.floating], picture: Picture) -> bool:
    height, width = picture.shape[:2]
    inside = ((mesh[:, :2] >= 0) & (mesh[:, :2] <= (width - 1, height - 1))).all(1)
    return bool(inside.mean() > 0.5)


def _finished(crop: Crop, drawn: Drawn | None) -> Generated:
    if drawn is None:
        return Generated(crop.pixels.copy(), np.zeros(crop.pixels.shape[:2], np.uint8))
    mask = np.asarray(drawn.mask * 255 + np.float32(0.5), np.uint8)
    pixels = crop.pixels.copy()
    left, top, width, height = cv2.boundingRect(mask)
    area = slice(top, top + height), slice(left, left + width)
    face, kept = drawn.face[area], drawn.kept[area][..., None]
    if kept.any():
        face = face + (pixels[area] - face) * kept
    if width:
        np.copyto(pixels[area], cv2.convertScaleAbs(face), where=mask[area][..., None] > 0)
    return Generated(pixels, mask)


def _planes(image: NDArray[Any]) -> Float:
    """(h, w) or (h, w, c) 0..255 as (1, c, h, w) 0..1."""
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return np.ascontiguousarray(planes[None], np.float32) * np.float32(1 / 255)
