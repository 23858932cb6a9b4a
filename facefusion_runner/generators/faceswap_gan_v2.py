"""faceswap-GAN v2 and v2.2 (shaoanlu): an autoencoder of two persons with a decoder for each.

NHWC, BGR -1..1 in, side 64 or 128 (others where trained so); out a tensor (n, s, s, 4) of opacity 0..1 and
BGR -1..1, as the authors' `path_abgr` functions give it, or opacity (n, s, s, 1) and picture (n, s, s, 3)
apart. What is swapped from A to B comes from B's decoder. Each decoder may be a graph of its own (the
parameter `reverse` names the other one) or an output of one graph (the parameter `outputs`). There is no
source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from facefusion_runner.errors import ConfigError
from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Crop, Generated, SourceFace
from facefusion_runner.generators import Direction, GeneratorOptions
from facefusion_runner.generators.network import CropNetwork, Form, check, fixed, per_level
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import unfit

FAMILIES: Final = ("faceswap_gan_v2",)
NEEDS_SOURCE: Final = False


class Parameters(BaseModel, frozen=True, extra="forbid"):
    """Catalog parameters."""

    template: TemplateName = "faceswap_gan"
    side: int | None = Field(None, ge=16)
    """Side of the crop in pixels; needed only where the graph leaves it open."""
    reverse: str = ""
    """Id of the network that swaps from B to A, where the entry's own swaps from A to B only."""
    outputs: Mapping[Direction, tuple[str, ...]] = Field(default_factory=dict)
    """Where one graph holds both decoders: the names of each direction's output, or of its two outputs,
    opacity first. Empty: the first outputs that fit."""


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> FaceswapGan:
    """Raises ModelError when the graph does not fit, ConfigError for a direction that it does not know."""
    options.require_only(entry.id, "direction")
    chosen = parameters(entry, Parameters)
    direction = options.direction or "a_to_b"
    model = entry.id
    if direction == "b_to_a" and "b_to_a" not in chosen.outputs:
        if not chosen.reverse:
            raise ConfigError(
                f"generator {entry.id} swaps from A to B only: its catalog entry names no network (reverse) "
                "and no output (outputs) for b_to_a"
            )
        model = chosen.reverse
    session = open_model(model)
    picture = session.inputs[0]
    side = (fixed(picture.shape[1]) if len(picture.shape) == 4 else None) or chosen.side
    if len(session.inputs) != 1 or side is None or chosen.side not in (None, side):
        wanted = chosen.side or "a fixed side, or the parameter side"
        raise unfit(session, f"one input, a picture (n, s, s, 3) of {wanted}")
    check(session, picture, (1, side, side, 3))
    names = chosen.outputs.get(direction, ())
    return FaceswapGan(session, chosen.template, side, _outputs(session, side, names), options.pixel_boost)


class FaceswapGan:
    """One direction of a network of two persons."""

    needs_landmarks: Final = False
    needs_mesh: Final = False
    most_sources: Final = 0
    embedding_spaces: Final = ()

    def __init__(
        self, session: Session, template: TemplateName, side: int, outputs: Sequence[int], boost: int
    ) -> None:
        """`outputs`: indices of the one output, or of opacity and picture."""
        self.template = template
        halves = per_level((0.5,) * 3)
        form = Form(side, halves, halves, (-1.0, 1.0), colour="bgr", layout="nhwc")
        self._network = CropNetwork(
            session, session.inputs[0].name, form, partial(_read, outputs), boost=boost, masks=True
        )

    @property
    def side(self) -> int:
        return self._network.side

    def prepare(self, sources: Sequence[SourceFace]) -> None:
        """Nothing: both persons are in the weights."""

    def generate(self, crops: Sequence[Crop], source: None) -> list[Generated]:
        """One generated face with its opacity per crop, in order; raises as `CropNetwork.generate`."""
        return self._network.generate(crops, {})


def _read(indices: Sequence[int], outputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Picture and opacity, of one output or of two."""
    parts = [np.moveaxis(outputs[index], 3, 1) for index in indices]
    opacity, picture = (parts[0][:, :1], parts[0][:, 1:]) if len(parts) == 1 else parts
    return picture, opacity


def _outputs(session: Session, side: int, names: Sequence[str]) -> list[int]:
    """The indices of what is read; ModelError where the graph has no such outputs."""
    order = [node.name for node in session.outputs]
    if names and not set(names) <= set(order):
        raise unfit(session, f"the outputs {', '.join(names)}")
    candidates = [order.index(name) for name in names] or range(len(order))

    def first(channels: int) -> list[int]:
        shapes = [(index, session.outputs[index].shape) for index in candidates]
        fitting = (
            index
            for index, shape in shapes
            if len(shape) == 4 and shape[3] == channels and fixed(shape[1]) in (None, side)
        )
        return [index for index in fitting][:1]

    chosen = first(4) or [*first(1), *first(3)]
    if len(chosen) != (1 if first(4) else 2):
        raise unfit(
            session, f"an output (n, {side}, {side}, 4), or two of 1 and of 3 channels, opacity and picture"
        )
    return chosen
