"""ArcFace and its kin (Deng et al., CVPR 2019): an aligned crop in, an embedding of any dimension out.

A network for 112x96 pixels (SphereFace, MobileFaceNet on CASIA) sees the middle columns of the square crop:
8 to 103 of 112.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from facefusion_runner.encoders import Encoder
from facefusion_runner.faces.geometry import TemplateName, alignment
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import Colour, Triple, input_size, run, tensor, unfit

FAMILIES: Final[tuple[str, ...]] = ("arcface",)


class Parameters(BaseModel):
    """Catalog parameters; defaults: InsightFace's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str = ""
    """Name of the embedding space; empty: the model's id. Two models share a name only where the
    embeddings of one may be compared with the other's (the same weights at another precision)."""
    template: TemplateName = "arcface_112_v2"
    side: int = Field(112, ge=16)
    """Side of the aligned square crop in pixels."""
    mean: Triple = (127.5, 127.5, 127.5)
    """Subtracted from 0..255, in the order of `colour`."""
    std: Triple = (127.5, 127.5, 127.5)
    """Divided by after the mean, in the order of `colour`."""
    colour: Colour = "rgb"


def load(entry: ModelEntry, open_model: OpenModel) -> Encoder:
    """Raises ModelError when the graph is not one picture of the crop's size in, one vector out."""
    session = open_model(entry.id)
    p = parameters(entry, Parameters)
    height, width = input_size(session)
    if height not in (None, p.side) or (width is not None and width > p.side):
        raise unfit(session, f"an input for crops of {p.side} pixels")
    dimension = session.outputs[0].shape[-1]
    if len(session.outputs) != 1 or len(session.outputs[0].shape) != 2 or not isinstance(dimension, int):
        raise unfit(session, "one output (n, dimension)")
    return ArcFaceEncoder(session, p, width or p.side, dimension)


class ArcFaceEncoder:
    """Embeds all faces of a picture as one batch where the graph allows."""

    def __init__(self, session: Session, parameters: Parameters, width: int, dimension: int) -> None:
        self._session = session
        self._parameters = parameters
        self._width = width
        self._dimension = dimension

    @property
    def space(self) -> str:
        return self._parameters.space or self._session.entry.id

    @property
    def dimension(self) -> int:
        return self._dimension

    def embed(self, picture: Picture, points: Sequence[Float]) -> Float:
        """(n, dimension) float32, not normalised, for n sets of five points (5, 2) in one picture."""
        if not len(points):
            return np.empty((0, self._dimension), np.float32)
        p = self._parameters
        crops = [self._crop(picture, five) for five in points]
        return run(self._session, tensor(crops, p.mean, p.std, p.colour))[0]

    def _crop(self, picture: Picture, points: Float) -> Picture:
        matrix = alignment(points, self._parameters.template, self._parameters.side)
        matrix[0, 2] -= (self._parameters.side - self._width) // 2
        return np.asarray(cv2.warpAffine(picture, matrix, (self._width, self._parameters.side)), np.uint8)
