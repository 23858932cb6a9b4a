"""DFM: what DeepFaceLab exports for DeepFaceLive, a network that turns any face into one person's.

NHWC, BGR 0..1, any side. Input `in_face:0` (n, s, s, 3), and of AMP models `morph_value:0` (1,), how far the
face goes to the person. Outputs `out_face_mask:0` (n, s, s, 1), where the target's face is,
`out_celeb_face:0` (n, s, s, 3), and `out_celeb_face_mask:0` (n, s, s, 1), where the made face is; the face
is pasted where both masks have it. There is no source: the person is in the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from facefusion_runner.errors import ConfigError
from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Crop, Generated, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.generators.network import CropNetwork, Form, check, fixed, per_level
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import unfit

FAMILIES: Final = ("dfm",)
NEEDS_SOURCE: Final = False

_FACE: Final = "in_face:0"
_MORPH: Final = "morph_value:0"
_OUTPUTS: Final = ("out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0")


class Parameters(BaseModel, frozen=True, extra="forbid"):
    """Catalog parameters."""

    template: TemplateName = "dfl_whole_face"
    """Alignment template of the crop: the face type the network was trained on."""
    side: int | None = Field(None, ge=16)
    """Side of the crop in pixels; needed only where the graph leaves it open."""


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> DfmGenerator:
    """Raises ModelError when the graph does not fit, ConfigError for a morph that it cannot do."""
    chosen = parameters(entry, Parameters)
    session = open_model(entry.id)
    inputs = {node.name: node for node in session.inputs}
    outputs = {node.name: node for node in session.outputs}
    if _FACE not in inputs or not set(inputs) <= {_FACE, _MORPH} or set(outputs) != set(_OUTPUTS):
        raise unfit(session, f"the inputs {_FACE} and maybe {_MORPH}, the outputs {', '.join(_OUTPUTS)}")
    options.require_only(entry.id, "morph")
    if options.morph is not None and _MORPH not in inputs:
        raise ConfigError(f"generator {entry.id} has no morph input; leave --morph out")
    shape = inputs[_FACE].shape
    side = (fixed(shape[1]) if len(shape) == 4 else None) or chosen.side
    if side is None or chosen.side not in (None, side):
        raise unfit(session, f"crops of {chosen.side or 'a fixed side, or the parameter side'}")
    check(session, inputs[_FACE], (1, side, side, 3))
    for name, channels in zip(_OUTPUTS, (1, 3, 1), strict=True):
        check(session, outputs[name], (1, side, side, channels))
    return DfmGenerator(session, chosen.template, side, options)


class DfmGenerator:
    """A network of one person."""

    needs_landmarks: Final = False
    needs_mesh: Final = False
    most_sources: Final = 0
    embedding_spaces: Final = ()

    def __init__(
        self, session: Session, template: TemplateName, side: int, options: GeneratorOptions
    ) -> None:
        self.template = template
        order = [node.name for node in session.outputs]
        morphs = any(node.name == _MORPH for node in session.inputs)
        morph = 1.0 if options.morph is None else options.morph
        self._feeds = {_MORPH: np.array([morph], np.float32)} if morphs else {}
        form = Form(
            side, per_level((0.0,) * 3), per_level((1.0,) * 3), (0.0, 1.0), colour="bgr", layout="nhwc"
        )
        # One morph value holds for a whole batch, so its axis is none of the batch.
        self._network = CropNetwork(
            session, _FACE, form, partial(_read, order), boost=options.pixel_boost, masks=True, alone=morphs
        )

    @property
    def side(self) -> int:
        return self._network.side

    def prepare(self, sources: Sequence[SourceFace]) -> None:
        """Nothing: the person is in the weights."""

    def generate(self, crops: Sequence[Crop], source: None) -> list[Generated]:
        """One generated face with its mask per crop, in order; raises as `CropNetwork.generate`."""
        return self._network.generate(crops, self._feeds)


def _read(order: Sequence[str], outputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The made face and where both masks have it; `order`: names of the outputs."""
    of = dict(zip(order, outputs, strict=True))
    target_mask, picture, made_mask = (np.moveaxis(of[name], 3, 1) for name in _OUTPUTS)
    return picture, np.minimum(target_mask, made_mask)
