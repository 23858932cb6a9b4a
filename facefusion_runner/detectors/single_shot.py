"""What all detectors here share: letterbox, one run of the network, non-maximum suppression.

A family adds only how its outputs are decoded. Every decoder works in pixels of the canvas the network
saw and decodes no more than the rows above the score threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from facefusion_runner.detectors import DetectorOptions
from facefusion_runner.errors import ModelError
from facefusion_runner.faces.types import Detection, Float, Picture
from facefusion_runner.models.session import Session
from facefusion_runner.models.tensors import Colour, Triple, input_size, run, tensor

STRIDES: Final = (8, 16, 32)
_DEFAULT_SIZE: Final = 640


class DetectorParameters(BaseModel):
    """Catalog parameters of every detector; a family sets the defaults of its authors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: Triple
    """Subtracted from 0..255, in the order of `colour`."""
    std: Triple
    """Divided by after the mean, in the order of `colour`."""
    colour: Colour
    canvas: Literal["square", "fit"]
    """`square`: the picture lies top left in a square of the detection size. `fit`: only as much canvas as
    the picture needs, in multiples of 32: less work for a picture that is not square. A network with a
    fixed input always gets that input."""
    pad: int = Field(0, ge=0, le=255)
    """Grey value of the canvas outside the picture."""
    second_look: bool = False
    """Looks again at a quarter of the size for faces that fill the picture, for networks that miss them.
    A network with a fixed input, where that costs as much as the first look, does so only when the first
    look found nothing."""
    score: float = Field(0.5, ge=0, le=1)
    """Smallest score of a face where the user names none."""
    nms: float = Field(0.4, ge=0, le=1)
    """Largest overlap of two faces where the user names none."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Faces before suppression, in pixels of the canvas."""

    boxes: Float
    """(n, 4): left, top, right, bottom."""
    scores: Float
    """(n,)."""
    points: Float
    """(n, 5, 2)."""

    @staticmethod
    def joined(parts: Sequence[Candidates]) -> Candidates:
        """All candidates of several heads, in order."""
        return Candidates(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.points for part in parts]),
        )


Decode = Callable[[Sequence[Float], tuple[int, int], float], Candidates]
"""(outputs, (height, width) of the canvas, smallest score) -> candidates at or above that score."""


class SingleShotDetector:
    """A detector that finds all faces in one run of its network."""

    def __init__(
        self, session: Session, parameters: DetectorParameters, options: DetectorOptions, decode: Decode
    ) -> None:
        """Raises ModelError when the network takes no pictures, or is fixed to another size."""
        self._session = session
        self._parameters = parameters
        self._decode = decode
        self._score = parameters.score if options.score is None else options.score
        self._nms = parameters.nms if options.nms is None else options.nms
        self._fixed = _fixed_size(session, options.size)
        self._size = _multiple_of_32(options.size or _DEFAULT_SIZE)

    def detect(self, picture: Picture) -> list[Detection]:
        """Faces in `picture`, best score first; boxes and points may reach beyond its border."""
        faces = self._look(picture, 1)
        if self._parameters.second_look and (self._fixed is None or not faces):
            faces += self._filling(picture, faces)
            faces.sort(key=lambda face: -face.score)
        return faces

    def _look(self, picture: Picture, shrink: int) -> list[Detection]:
        """Faces in the picture at its size on the canvas ÷ `shrink`."""
        p = self._parameters
        canvas, within = self._frame(picture, shrink)
        pixels, scale = letterbox(picture, canvas, within, p.pad)
        outputs = run(self._session, tensor([pixels], p.mean, p.std, p.colour))
        # A damaged network may put out anything: what is not a finite box is no face.
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._decode(outputs, canvas, self._score)
            boxes = found.boxes / np.tile(scale, 2)
            points = found.points / scale
            sane = np.isfinite(boxes).all(1) & np.isfinite(points).all((1, 2))
            sane &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        boxes, scores, points = boxes[sane], found.scores[sane], points[sane]
        return [
            Detection(boxes[i], min(float(scores[i]), 1.0), points[i])
            for i in suppress(boxes, scores, self._nms)
        ]

    def _filling(self, picture: Picture, known: Sequence[Detection]) -> list[Detection]:
        """Faces longer than half the picture that are none of the `known` ones."""
        half = max(picture.shape[:2]) / 2
        large = [face for face in self._look(picture, 4) if max(face.box[2:] - face.box[:2]) >= half]
        boxes = np.array([face.box for face in (*known, *large)], np.float32).reshape(-1, 4)
        # The known ones come first and go out for none of the new ones.
        ranks = -np.arange(len(boxes), dtype=np.float32)
        return [large[i - len(known)] for i in suppress(boxes, ranks, self._nms) if i >= len(known)]

    def _frame(self, picture: Picture, shrink: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """(height, width) of the canvas, and of the part of it that the picture is fitted into."""
        if self._fixed is not None:
            height, width = self._fixed
            return self._fixed, (height // shrink, width // shrink)
        square = (_multiple_of_32(self._size // shrink),) * 2
        if self._parameters.canvas == "square":
            return square, square
        height, width = _fitted(picture, square)
        return (_multiple_of_32(height), _multiple_of_32(width)), (height, width)


def letterbox(
    picture: Picture, canvas: tuple[int, int], within: tuple[int, int], pad: int
) -> tuple[Picture, Float]:
    """The picture on a canvas, scaled to fit top left into the part `within`, and its scale.

    Sizes are (height, width). The scale is (2,) float32: canvas pixels per picture pixel along x and y. The
    two differ where the shorter side is cut down to whole pixels, and both are needed: one alone moves a
    point at the far edge of a 1500 px picture by as much as 3 px. Scaled bilinearly, and cut down rather
    than rounded, as InsightFace does.
    """
    height, width = _fitted(picture, within)
    pixels = np.full((*canvas, 3), pad, np.uint8)
    pixels[:height, :width] = cv2.resize(np.ascontiguousarray(picture), (width, height))
    return pixels, np.array([width / picture.shape[1], height / picture.shape[0]], np.float32)


def suppress(boxes: Float, scores: Float, limit: float) -> list[int]:
    """Greedy non-maximum suppression: indices of the boxes kept, best score first.

    `boxes` (n, 4), `scores` (n,). A box goes when its intersection over union with a better one is above
    `limit`. Sides count one pixel more than right - left, as in the detectors of Girshick and InsightFace.
    """
    left, top, right, bottom = boxes.T
    areas = (right - left + 1) * (bottom - top + 1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        w = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest]) + 1
        h = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest]) + 1
        shared = np.maximum(w, 0) * np.maximum(h, 0)
        order = rest[shared / (areas[best] + areas[rest] - shared) <= limit]
    return kept


def cells(index: NDArray[np.intp], anchors: int, width: int, stride: int) -> Float:
    """(n, 2) x and y of the grid cells that rows `index` of a head belong to, in canvas pixels.

    A head lists its cells row by row, each `anchors` times in a row; `width` is the canvas's.
    """
    cell = index // anchors
    columns = -(-width // stride)
    return np.stack([cell % columns, cell // columns], 1).astype(np.float32) * stride


def by_rows(tensors: Sequence[Float], columns: int) -> list[Float]:
    """The outputs with `columns` columns as (rows, columns), most rows first: stride 8 before 16 and 32."""
    heads = [t.reshape(-1, columns) for t in tensors if t.shape[-1] == columns]
    return sorted(heads, key=len, reverse=True)


def _fixed_size(session: Session, asked: int | None) -> tuple[int, int] | None:
    height, width = input_size(session)
    if height is None or width is None:
        return None
    if asked is not None and asked != max(height, width):
        raise ModelError(
            f"model {session.entry.id} takes {width}x{height} pixels only, so the detection size cannot be "
            f"{asked}: leave it out, or choose a detector without a fixed size"
        )
    return height, width


def _fitted(picture: Picture, within: tuple[int, int]) -> tuple[int, int]:
    height, width = within
    ratio = picture.shape[0] / picture.shape[1]
    if ratio > height / width:
        return height, max(1, int(height / ratio))
    return max(1, int(width * ratio)), width


def _multiple_of_32(size: int) -> int:
    return max(32, -(-size // 32) * 32)
