"""Image-conditioned generators: a crop of the target and one of the source in, the swapped crop out.

blendswap and uniface differ in numbers only, which the catalog holds:

| family | template | side | mean/std | source | output |
|---|---|---|---|---|---|
| blendswap | ffhq_512 | 256 | 0 / 1 | arcface_112_v2 at 112, RGB 0..1 | 0..1 |
| uniface | ffhq_512 | 256 | .5 / .5 | ffhq_512 at 256, RGB 0..1 | -1..1 |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Self

from numpy.typing import NDArray
from pydantic import Field, model_validator

from facefusion_runner.faces.geometry import TemplateName, alignment, cut
from facefusion_runner.faces.types import Crop, Float, Generated, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.generators.network import (
    CropNetwork,
    CropParameters,
    Form,
    check,
    fixed,
    inputs_of,
    per_level,
)
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import Triple, tensor

FAMILIES: Final = ("blendswap", "uniface")
NEEDS_SOURCE: Final = True

USUAL: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(
    {
        "blendswap": {"source_template": "arcface_112_v2", "source_side": 112},
        "uniface": {
            "source_template": "ffhq_512",
            "source_side": 256,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "output_range": [-1.0, 1.0],
        },
    }
)


class Parameters(CropParameters, frozen=True, extra="forbid"):
    """What a catalog entry of these families says about its network."""

    template: TemplateName = "ffhq_512"
    side: int = Field(256, ge=16)
    source_template: TemplateName
    """Alignment template of the source's crop."""
    source_side: int = Field(ge=16)
    """Side of the source's crop in pixels."""
    source_mean: Triple = (0.0, 0.0, 0.0)
    source_std: Triple = (1.0, 1.0, 1.0)
    """The network sees (x - mean) / std of the source's RGB values x in 0..1."""
    target_input: str = "target"
    source_input: str = "source"
    """Names of the graph's inputs."""

    @model_validator(mode="after")
    def _source_usable(self) -> Self:
        if 0.0 in self.source_std:
            raise ValueError("source_std must not hold 0")
        return self


def propose(session: Session) -> dict[str, Any]:
    """The family's usual parameters, with the sides that the graph has."""
    usual = dict(USUAL[session.entry.family])
    sides = {node.name: fixed(node.shape[-1]) for node in session.inputs if len(node.shape) == 4}
    usual |= {"side": sides.get("target") or 256}
    return usual | {"source_side": sides.get("source") or usual["source_side"]}


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> ImageGenerator:
    """Raises ModelError when the graph does not fit, ConfigError for an option that has no meaning here."""
    options.require_only(entry.id)
    chosen = parameters(entry, Parameters)
    session = open_model(entry.id)
    target, source = inputs_of(session, chosen.target_input, chosen.source_input)
    check(session, target, (1, 3, chosen.side, chosen.side))
    check(session, source, (1, 3, chosen.source_side, chosen.source_side))
    check(session, session.outputs[0], (1, 3, chosen.side, chosen.side))
    return ImageGenerator(session, chosen, options.pixel_boost)


class ImageGenerator:
    """A network of one of the families above."""

    needs_landmarks: Final = False
    needs_mesh: Final = False
    most_sources: Final = 1
    embedding_spaces: Final = ()

    def __init__(self, session: Session, parameters: Parameters, pixel_boost: int) -> None:
        self._parameters = parameters
        self.template = parameters.template
        self._network = CropNetwork(
            session, parameters.target_input, Form.of(parameters), _picture, boost=pixel_boost
        )

    @property
    def side(self) -> int:
        return self._network.side

    def prepare(self, sources: Sequence[SourceFace]) -> Float:
        """(1, 3, source_side, source_side) float32: the crop of the one source."""
        (source,) = sources
        p = self._parameters
        matrix = alignment(source.face.points, p.source_template, p.source_side)
        crop = cut(source.picture, matrix, p.source_side)
        return tensor([crop], per_level(p.source_mean), per_level(p.source_std), "rgb")

    def generate(self, crops: Sequence[Crop], source: Float) -> list[Generated]:
        """One generated face per crop (side, side, 3), in order; raises as `CropNetwork.generate`."""
        return self._network.generate(crops, {self._parameters.source_input: source})


def _picture(outputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], None]:
    return outputs[0], None
