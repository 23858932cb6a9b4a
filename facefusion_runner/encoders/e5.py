"""Any network that maps an aligned crop to a vector: the second encoder slot.

Template, side, normalisation, layout and dimension come from the catalog, so that encoders of other
trainings (AdaFace, MagFace, CosFace, FaceNet, …) need an entry and no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field

from facefusion_runner.encoders import Encoder
from facefusion_runner.encoders.crops import CropEncoder, CropParameters
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import Layout, input_size, unfit

FAMILIES: Final[tuple[str, ...]] = ("e5",)


class Parameters(CropParameters):
    """Catalog parameters."""

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
    return CropEncoder(session, p, dimension, layout=p.layout, output=index)


def _length(shape: Sequence[int | str]) -> int | None:
    """Of a vector (n, D), also one with axes of length 1 besides; None where the graph leaves it open."""
    sizes = [size for size in shape[1:] if size != 1]
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], int) else None
