"""What encoders share that see a face through an aligned crop."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from facefusion_runner.faces.geometry import TemplateName, alignment
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.models.session import Session
from facefusion_runner.models.tensors import Colour, Layout, Triple, run, tensor, unfit


class CropParameters(BaseModel):
    """Catalog parameters of the crop; defaults: InsightFace's."""

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


class CropEncoder:
    """Embeds all faces of a picture as one batch where the graph allows."""

    def __init__(
        self,
        session: Session,
        parameters: CropParameters,
        dimension: int,
        *,
        width: int | None = None,
        layout: Layout = "nchw",
        output: int = 0,
    ) -> None:
        """`width`: of the middle columns of the crop that the network sees; None: all. `output`: the number
        of the one that is the vector."""
        self._session = session
        self._parameters = parameters
        self._dimension = dimension
        self._width = width or parameters.side
        self._layout: Layout = layout
        self._output = output

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
        vectors = run(self._session, tensor(crops, p.mean, p.std, p.colour, self._layout))[self._output]
        if vectors.size != len(crops) * self._dimension:
            raise unfit(self._session, f"vectors of {self._dimension} values, not {list(vectors.shape)}")
        return vectors.reshape(len(crops), self._dimension)

    def _crop(self, picture: Picture, points: Float) -> Picture:
        side = self._parameters.side
        matrix = alignment(points, self._parameters.template, side)
        matrix[0, 2] -= (side - self._width) // 2
        return np.asarray(cv2.warpAffine(picture, matrix, (self._width, side)), np.uint8)
