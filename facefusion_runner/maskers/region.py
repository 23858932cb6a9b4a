"""Face parsers (BiSeNet and its kin): a class for each pixel, of which the user chooses.

In (n, 3, 512, 512), RGB with ImageNet's normalisation; out logits (n, 19, 512, 512) in the order of
CelebAMask-HQ, as zllrunning's BiSeNet has it. Left is the person's own left, the right of the picture.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Final, Literal, Self

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.maskers import Masker
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import Colour, Triple, input_size, run, tensor, unfit

FAMILIES: Final[tuple[str, ...]] = ("region",)

CELEBAMASK_HQ: Final = (
    *("background", "skin", "left_brow", "right_brow", "left_eye", "right_eye", "glasses", "left_ear"),
    *("right_ear", "earring", "nose", "mouth", "upper_lip", "lower_lip", "neck", "necklace", "clothes"),
    *("hair", "hat"),
)
FACE: Final = (
    *("skin", "left_brow", "right_brow", "left_eye", "right_eye", "nose", "mouth", "upper_lip", "lower_lip"),
)
"""The bare face: hair, glasses, hats and ears stay the target's."""


class Parameters(BaseModel):
    """Catalog parameters; defaults: those of zllrunning's BiSeNet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Annotated[tuple[str, ...], Field(min_length=2)] = CELEBAMASK_HQ
    """What each channel of the output shows, in its order."""
    usual: tuple[str, ...] = FACE
    """The classes that are replaced where the user names none."""
    values: Literal["probabilities", "logits"] = "logits"
    """What the output holds."""
    template: TemplateName = "ffhq_512"
    side: int = Field(512, ge=16, le=1024)
    mean: Triple = (123.675, 116.28, 103.53)
    """Subtracted from 0..255, in the order of `colour`."""
    std: Triple = (58.395, 57.12, 57.375)
    """Divided by after the mean, in the order of `colour`."""
    colour: Colour = "rgb"

    @model_validator(mode="after")
    def _usual_ones_exist(self) -> Self:
        if unknown := sorted(set(self.usual) - set(self.classes)):
            raise ValueError(f"usual: {unknown[0]!r} is none of the classes")
        return self


def propose(session: Session) -> dict[str, Any]:
    """The side that the graph has."""
    shape = session.inputs[0].shape
    side = shape[3] if len(shape) == 4 and shape[1] == 3 else None
    return {"side": side} if isinstance(side, int) else {}


def load(entry: ModelEntry, open_model: OpenModel) -> Masker:
    """Raises ModelError when the graph is not one square picture in, a map per class first of its outputs."""
    session = open_model(entry.id)
    p = parameters(entry, Parameters)
    if len(session.inputs) != 1 or any(size not in (None, p.side) for size in input_size(session)):
        raise unfit(session, f"one input, crops of {p.side} pixels")
    shape = session.outputs[0].shape
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != len(p.classes)):
        raise unfit(session, f"a first output (n, {len(p.classes)}, rows, columns)")
    return RegionMasker(session, p)


class RegionMasker:
    """Adds up the probabilities of the regions chosen."""

    def __init__(self, session: Session, parameters: Parameters) -> None:
        self._session = session
        self._parameters = parameters
        self.template = parameters.template
        self.side = parameters.side
        self.regions = parameters.classes
        self.usual_regions = parameters.usual

    def weights(self, crops: Sequence[Picture], regions: Collection[str]) -> Float:
        """(n, side, side) float32, as the protocol says."""
        p = self._parameters
        if not len(crops):
            return np.empty((0, p.side, p.side), np.float32)
        maps: Float = run(self._session, tensor(crops, p.mean, p.std, p.colour))[0]
        if p.values == "logits":
            raised = np.exp(maps - maps.max(1, keepdims=True))
            maps = np.asarray(raised / raised.sum(1, keepdims=True), np.float32)
        chosen = np.isin(p.classes, list(regions))
        weights = np.nan_to_num(maps[:, chosen].sum(1))
        if weights.shape[1:] != (p.side, p.side):
            weights = np.stack([cv2.resize(one, (p.side, p.side)) for one in weights])
        return np.clip(np.asarray(weights, np.float32), 0.0, 1.0)
