"""Identity-conditioned generators: a crop of the target and an identity vector in, the swapped crop out.

inswapper, simswap, ghost, hyperswap and hififace differ in numbers only, which the catalog holds:

| family | template | side | mean/std | source | output |
|---|---|---|---|---|---|
| inswapper | arcface_128 | 128 | 0 / 1 | emap | 0..1 |
| simswap | arcface_112_v1 | 256 | ImageNet | normalised | 0..1 |
| ghost | arcface_112_v1 | 256 | .5 / .5 | raw | -1..1 |
| hyperswap | arcface_128 | 256 | .5 / .5 | normalised | -1..1, and a mask |
| hififace | mtcnn_512 | 256 | .5 / .5 | normalised | -1..1 |

Each understands the embeddings of one encoder; converters carry those of others over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from facefusion_runner.errors import ConfigError, ModelError
from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Crop, Float, Generated, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.generators.converter import Converter
from facefusion_runner.generators.initializer import last_initializer
from facefusion_runner.generators.network import CropNetwork, CropParameters, Form, check, fixed, inputs_of
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import unfit

FAMILIES: Final = ("inswapper", "simswap", "ghost", "hyperswap", "hififace")
NEEDS_SOURCE: Final = True

_EMAP_SHAPE: Final = (512, 512)

_HALVES: Final = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "output_range": [-1.0, 1.0]}
_IMAGENET: Final = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
USUAL: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(
    {
        "inswapper": {"template": "arcface_128", "source": "emap"},
        "simswap": {"template": "arcface_112_v1", "source": "normalised", **_IMAGENET},
        "ghost": {"template": "arcface_112_v1", "source": "raw", **_HALVES},
        "hyperswap": {"template": "arcface_128", "source": "normalised", "mask_output": True, **_HALVES},
        "hififace": {"template": "mtcnn_512", "source": "normalised", **_HALVES},
    }
)


class Parameters(CropParameters, frozen=True, extra="forbid"):
    """What a catalog entry of these families says about its network."""

    mask_output: bool = False
    """True: the second output is a mask (batch, 1, side, side) in 0..1, one where the face is."""
    source: Literal["emap", "normalised", "raw"]
    """What becomes of the source's embedding, after the converter where there is one.

    emap: its direction times the graph's 512x512 matrix, divided by the product's norm; normalised: divided
    by its norm; raw: as it is.
    """
    embedding_space: str
    """Space of the embeddings that the network understands."""
    converters: Mapping[str, str] = Field(default_factory=dict)
    """For other spaces the id of the model (role converter) that carries their embeddings over."""
    target_input: str = "target"
    source_input: str = "source"
    """Names of the graph's inputs."""


def propose(session: Session) -> dict[str, Any]:
    """The family's usual parameters, with the side and the names of the graph's inputs."""
    pictures = [node for node in session.inputs if len(node.shape) == 4]
    vectors = [node for node in session.inputs if len(node.shape) == 2]
    usual = dict(USUAL[session.entry.family])
    if len(pictures) == len(vectors) == 1:
        usual |= {"side": fixed(pictures[0].shape[-1]) or 256}
        usual |= {"target_input": pictures[0].name, "source_input": vectors[0].name}
    return usual


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> IdentityGenerator:
    """Opens the network, and the converter that the sources' space needs.

    Raises ModelError where a graph does not fit, ConfigError for a space the network cannot be fed from.
    """
    options.require_only(entry.id)
    chosen = parameters(entry, Parameters)
    session = open_model(entry.id)
    vector = _check_generator(session, chosen)
    emap = _read_emap(session, vector) if chosen.source == "emap" else None
    space = options.space or chosen.embedding_space
    converter = None
    if space != chosen.embedding_space:
        if space not in chosen.converters:
            raise ConfigError(
                f"generator {entry.id} understands embeddings of "
                f"{', '.join([chosen.embedding_space, *chosen.converters])}, not of {space}, and its catalog "
                f"entry names no converter for these"
            )
        converter = Converter(open_model(chosen.converters[space]), gives=vector)
    return IdentityGenerator(session, chosen, converter, emap, space, options.pixel_boost)


class IdentityGenerator:
    """A network of one of the families above."""

    needs_landmarks: Final = False
    needs_mesh: Final = False
    most_sources: Final = None

    def __init__(
        self,
        session: Session,
        parameters: Parameters,
        converter: Converter | None,
        emap: Float | None,
        space: str,
        pixel_boost: int,
    ) -> None:
        self._session = session
        self._parameters = parameters
        self._converter = converter
        self._emap = emap
        self._space = space
        self._source = next(node for node in session.inputs if node.name == parameters.source_input)
        self._network = CropNetwork(
            session,
            parameters.target_input,
            Form.of(parameters),
            _picture_and_mask if parameters.mask_output else _picture,
            boost=pixel_boost,
            masks=parameters.mask_output,
        )

    @property
    def template(self) -> TemplateName:
        return self._parameters.template

    @property
    def side(self) -> int:
        return self._network.side

    @property
    def embedding_spaces(self) -> tuple[str, ...]:
        return (self._parameters.embedding_space, *self._parameters.converters)

    def prepare(self, sources: Sequence[SourceFace]) -> Float:
        """(1, E) float32: the vector the network takes for these sources.

        Several sources are averaged before any conversion, in the encoder's own space (see `average`).
        Raises ModelError when the embeddings are not of the length the network was made for.
        """
        embeddings = [source.face.embedding for source in sources if source.face.embedding is not None]
        if not embeddings:
            raise ValueError("sources must be embedded before they are prepared")
        embedding = average(embeddings)
        self._check_length(len(embedding))
        if self._converter is not None:
            embedding = self._converter.convert(embedding)
        if self._emap is not None:
            embedding = _unit(embedding) @ self._emap
        if self._parameters.source != "raw":
            embedding = _unit(embedding)
        return embedding[None].astype(np.float32)

    def generate(self, crops: Sequence[Crop], source: Float) -> list[Generated]:
        """One generated face per crop (side, side, 3), in order; raises as `CropNetwork.generate`."""
        return self._network.generate(crops, {self._parameters.source_input: source})

    def _check_length(self, found: int) -> None:
        if self._converter is not None:
            takes = self._converter.takes
        elif self._emap is not None:
            takes = self._emap.shape[0]
        else:
            takes = fixed(self._source.shape[1])
        if takes is not None and found != takes:
            raise ModelError(
                f"model {self._session.entry.id}: takes embeddings of {takes} values in the space "
                f"{self._space}, the encoder gives {found}: choose an encoder of that space"
            )


def _picture(outputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], None]:
    return outputs[0], None


def _picture_and_mask(outputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    return outputs[0], outputs[1]


def average(embeddings: Sequence[Float]) -> Float:
    """One embedding (D,) float32 for several pictures of one person.

    The mean of the directions, at the mean of the lengths. A length says how clear a picture is, not who
    it shows, so a picture does not weigh more for it; but converters were trained on embeddings of the
    usual length, so the mean has it too.
    """
    if len(embeddings) == 1:
        return embeddings[0]
    stacked = np.stack(embeddings).astype(np.float64)
    lengths = np.linalg.norm(stacked, axis=1, keepdims=True)
    direction = (stacked / lengths).mean(0)
    return np.asarray(direction / np.linalg.norm(direction) * lengths.mean(), np.float32)


def _unit(vector: Float) -> Float:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _read_emap(session: Session, vector: int | None) -> Float:
    try:
        emap = last_initializer(session.path, _EMAP_SHAPE)
    except ValueError as error:
        raise unfit(session, f"an ONNX file, which it is not ({error})") from None
    if emap is None or vector not in (None, _EMAP_SHAPE[1]):
        raise unfit(session, "a 512x512 initializer (the emap) and a source of 512 values")
    return emap.astype(np.float32)


def _check_generator(session: Session, chosen: Parameters) -> int | None:
    """How many values the source has; None where the graph leaves it open."""
    target, source = inputs_of(session, chosen.target_input, chosen.source_input)
    side = chosen.side
    check(session, target, (1, 3, side, side))
    check(session, source, (1, None))
    outputs = {3: 0, 1: 1} if chosen.mask_output else {3: 0}
    if len(session.outputs) < len(outputs):
        raise unfit(session, "a mask as the second output")
    for channels, index in outputs.items():
        check(session, session.outputs[index], (1, channels, side, side))
    return fixed(source.shape[1])
