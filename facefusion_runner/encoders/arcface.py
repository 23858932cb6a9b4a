"""ArcFace and its kin (Deng et al., CVPR 2019): an aligned crop in, an embedding of any dimension out.

A network for 112x96 pixels (SphereFace, MobileFaceNet on CASIA) sees the middle columns of the square crop:
8 to 103 of 112.
"""

from __future__ import annotations

from typing import Final

from facefusion_runner.encoders import Encoder
from facefusion_runner.encoders.crops import CropEncoder, CropParameters
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel
from facefusion_runner.models.tensors import input_size, unfit

FAMILIES: Final[tuple[str, ...]] = ("arcface",)


Parameters = CropParameters


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
    return CropEncoder(session, p, dimension, width=width)
