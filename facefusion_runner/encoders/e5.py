"""Any network that maps an aligned crop to a vector: the second encoder slot.

Template, side, normalisation, layout and dimension come from the catalog, so that encoders of other
trainings (AdaFace, MagFace, CosFace, FaceNet, …) need an entry and no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from facefusion_runner.encoders import Encoder
from facefusion_runner.faces.geometry import TemplateName, alignment, cut
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import Colour, Layout, Triple, input_size, run, tensor, unfit

FAMILIES: Final[tuple[str, ...]] = ("e5",)


class Parameters(BaseModel):
    """Catalog parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str = ""
    """Name of the embedding space; empty: the model's id."""
    template: TemplateName = "arcface_112_v2"
    side: int = Field(112, ge=16)
    """Side of the aligned square crop in pixels."""
    mean: Triple = (127.5, 127.5, 127.5)
    """Subtracted from 0..255, in the order of `colour`."""
    std: Triple = (127.5, 127.5, 127.5)
    """Divided by after the mean, in the order of `colour`."""
    colour: Colour = "rgb"
    layout: Layout = "nchw"
    output: str = ""
    """Name of the output that is the vector; empty: the first."""
    dimension: int | None = Field(None, ge=2)
    """Length of the vector; needed only where the graph leaves it open."""


def propose(session: Session) -> dict[str, Any]:
    """Side, layout and dimension that the graph has."""
    shape = session.inputs[0].shape
    layout = "nhwc" if len(shape) == 4 and shape[3] == 3 else "nchw"
    side = shape[1] if layout == "nhwc" else shape[-1]
    found: dict[str, Any] = {"layout": layout, "side": side if isinstance(side, int) else 112}
    length = _length(session.outputs[0].shape)
    return found | ({} if length is None else {"dimension": length})


def load(entry: ModelEntry, open_model: OpenModel) -> Encoder:
    """Raises ModelError when the graph is not one square picture in, one vector out."""
    session = open_model(entry.id)
    p = parameters(entry, Parameters)
    if len(session.inputs) != 1 or any(size not in (None, p.side) for size in input_size(session, p.layout)):
        raise unfit(session, f"one input, crops of {p.side} pixels, {p.layout.upper()}")
    names = [node.name for node in session.outputs]
    if p.output and p.output not in names:
        raise unfit(session, f"an output {p.output}")
    index = names.index(p.output) if p.output else 0
    found = _length(session.outputs[index].shape)
    dimension = found or p.dimension
    if dimension is None or p.dimension not in (None, dimension):
        wanted = p.dimension or "a fixed number of, or else the parameter dimension for,"
        raise unfit(session, f"a vector of {wanted} values as output {names[index]}")
    return CropEncoder(session, p, index, dimension)


class CropEncoder:
    """Embeds all faces of a picture as one batch where the graph allows."""

    def __init__(self, session: Session, parameters: Parameters, output: int, dimension: int) -> None:
        self._session = session
        self._parameters = parameters
        self._output = output
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
        crops = [cut(picture, alignment(five, p.template, p.side), p.side) for five in points]
        vectors = run(self._session, tensor(crops, p.mean, p.std, p.colour, p.layout))[self._output]
        if vectors.size != len(crops) * self._dimension:
            raise unfit(self._session, f"vectors of {self._dimension} values, not {list(vectors.shape)}")
        return vectors.reshape(len(crops), self._dimension)


def _length(shape: Sequence[int | str]) -> int | None:
    """Of a vector (n, D), also one with axes of length 1 besides; None where the graph leaves it open."""
    sizes = [size for size in shape[1:] if size != 1]
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], int) else None
