"""Networks that give each pixel of an aligned crop one of several classes (BiSeNet, U-Net).

Parsers tell more parts apart than are needed here: the catalog says which of ours each channel of the
output belongs to, and channels of one class are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import Colour, Triple, input_size, run, tensor, unfit
from facefusion_runner.segmenters import CLASSES, ClassName, Segmenter

FAMILIES: Final[tuple[str, ...]] = ("face_parts",)


class Parameters(BaseModel):
    """Catalog parameters; defaults: ImageNet's normalisation, as most parsers are trained with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Annotated[tuple[ClassName, ...], Field(min_length=2)]
    """What each channel of the output shows, in its order; a name may come several times."""
    values: Literal["probabilities", "logits"] = "probabilities"
    """What the output holds."""
    template: TemplateName = "ffhq_512"
    side: int = Field(256, ge=16, le=1024)
    """Side in pixels of the square crop that the network sees."""
    mean: Triple = (123.675, 116.28, 103.53)
    """Subtracted from 0..255, in the order of `colour`."""
    std: Triple = (58.395, 57.12, 57.375)
    """Divided by after the mean, in the order of `colour`."""
    colour: Colour = "rgb"


def load(entry: ModelEntry, open_model: OpenModel) -> Segmenter:
    """Raises ModelError when the graph is not one square picture in, a map per class first among its outputs.

    The maps may be smaller than the picture.
    """
    session = open_model(entry.id)
    p = parameters(entry, Parameters)
    if any(size not in (None, p.side) for size in input_size(session)):
        raise unfit(session, f"an input for crops of {p.side} pixels")
    shape = session.outputs[0].shape
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != len(p.classes)):
        raise unfit(session, f"a first output (n, {len(p.classes)}, rows, columns)")
    return FacePartsSegmenter(session, p)


class FacePartsSegmenter:
    """Segments all crops as one batch where the graph allows."""

    def __init__(self, session: Session, parameters: Parameters) -> None:
        self._session = session
        self._parameters = parameters
        wanted = np.array(CLASSES)[:, None] == np.array(parameters.classes)
        self._sums: Float = wanted.astype(np.float32)

    @property
    def template(self) -> TemplateName:
        return self._parameters.template

    def segment(self, crops: Sequence[Picture]) -> Float:
        """(n, 5, h, w) float32, as the protocol says."""
        if not len(crops):
            return np.empty((0, len(CLASSES), 0, 0), np.float32)
        p = self._parameters
        seen = [_resized(crop, p.side) for crop in crops]
        maps = run(self._session, tensor(seen, p.mean, p.std, p.colour))[0]
        if p.values == "logits":
            maps = _softmax(maps)
        maps = np.einsum("oc,nchw->nohw", self._sums, maps)
        height, width = crops[0].shape[:2]
        if maps.shape[2:] == (height, width):
            return np.ascontiguousarray(maps, np.float32)
        enlarged = [cv2.resize(one.transpose(1, 2, 0), (width, height)).transpose(2, 0, 1) for one in maps]
        return np.ascontiguousarray(enlarged, np.float32)


def _resized(crop: Picture, side: int) -> Picture:
    # Where a crop shrinks, its pixels are averaged: bilinear would skip thin frames and strands.
    shrinks = crop.shape[0] > side
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return (
        crop
        if crop.shape[0] == side
        else np.asarray(cv2.resize(crop, (side, side), interpolation=how), np.uint8)
    )


def _softmax(logits: Float) -> Float:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)
