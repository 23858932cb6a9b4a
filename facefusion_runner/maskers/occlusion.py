"""Networks that see what is in front of a face: XSeg (DeepFaceLab) and its kin.

An XSeg network takes (n, 256, 256, 3), 0..1, and gives (n, 256, 256, 1) in 0..1: 1 where the face is bare, 0
for hands, hair, microphones, and all that is no face. A segmenter does the same work: what it takes for skin
is bare; an entry without a file names one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.maskers import Masker
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_segmenter, parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import Colour, Layout, Triple, input_size, run, tensor, unfit
from facefusion_runner.segmenters import SKIN, Segmenter

FAMILIES: Final[tuple[str, ...]] = ("occlusion",)


class Parameters(BaseModel):
    """Catalog parameters; defaults: XSeg's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segmenter: str = ""
    """Id of the segmenter whose skin is bare face, for an entry without a file; what follows but `side` has
    no meaning then."""
    template: TemplateName = "dfl_whole_face"
    side: int = Field(256, ge=16, le=1024)
    mean: Triple = (0.0, 0.0, 0.0)
    """Subtracted from 0..255, in the order of `colour`."""
    std: Triple = (255.0, 255.0, 255.0)
    """Divided by after the mean, in the order of `colour`."""
    colour: Colour = "bgr"
    layout: Layout = "nhwc"


def propose(session: Session) -> dict[str, Any]:
    """Layout and side that the graph has."""
    shape = session.inputs[0].shape
    layout = "nchw" if len(shape) == 4 and shape[1] == 3 else "nhwc"
    side = shape[2] if len(shape) == 4 else None
    return {"layout": layout, **({"side": side} if isinstance(side, int) else {})}


def load(entry: ModelEntry, open_model: OpenModel) -> Masker:
    """Raises ModelError when the graph is not one square picture in, one map out."""
    p = parameters(entry, Parameters)
    if p.segmenter:
        return SegmenterMasker(load_segmenter(open_model(p.segmenter).entry, open_model), p.side)
    session = open_model(entry.id)
    if len(session.inputs) != 1 or any(size not in (None, p.side) for size in input_size(session, p.layout)):
        raise unfit(session, f"one input, crops of {p.side} pixels, {p.layout.upper()}")
    shape = session.outputs[0].shape
    sizes = [size for size in shape[1:] if isinstance(size, int) and size != 1]
    if len(shape) not in (3, 4) or len(sizes) > 2 or any(size != p.side for size in sizes):
        raise unfit(session, f"a first output of one map of {p.side} pixels")
    return OcclusionMasker(session, p)


class OcclusionMasker:
    """A network of its own."""

    regions: Final = ()
    usual_regions: Final = ()

    def __init__(self, session: Session, parameters: Parameters) -> None:
        self._session = session
        self._parameters = parameters
        self.template = parameters.template
        self.side = parameters.side

    def weights(self, crops: Sequence[Picture], regions: Collection[str]) -> Float:
        """(n, side, side) float32, as the protocol says."""
        p = self._parameters
        if not len(crops):
            return np.empty((0, p.side, p.side), np.float32)
        maps = run(self._session, tensor(crops, p.mean, p.std, p.colour, p.layout))[0]
        return np.clip(np.nan_to_num(maps.reshape(len(crops), p.side, p.side)), 0.0, 1.0)


class SegmenterMasker:
    """A segmenter's skin."""

    regions: Final = ()
    usual_regions: Final = ()

    def __init__(self, segmenter: Segmenter, side: int) -> None:
        self._segmenter = segmenter
        self.side = side

    @property
    def template(self) -> TemplateName:
        return self._segmenter.template

    def weights(self, crops: Sequence[Picture], regions: Collection[str]) -> Float:
        """(n, side, side) float32, as the protocol says."""
        if not len(crops):
            return np.empty((0, self.side, self.side), np.float32)
        return np.ascontiguousarray(self._segmenter.segment(crops)[:, SKIN])
