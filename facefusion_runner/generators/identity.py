"""Identity-conditioned generators: a crop of the target and an identity vector in, the swapped crop out.

inswapper, simswap, ghost, hyperswap and hififace differ in numbers only, which the catalog holds:

| family | template | side | mean/std | source | output |
|---|---|---|---|---|---|
| inswapper | arcface_128 | 128 | 0 / 1 | emap | 0..1 |
| simswap | arcface_112_v1 | 256 | ImageNet | through a converter, normalised | 0..1 |
| ghost | arcface_112_v1 | 256 | .5 / .5 | through a converter, raw | -1..1 |
| hyperswap | arcface_128 | 256 | .5 / .5 | normalised | -1..1, and a mask |
| hififace | mtcnn_512 | 256 | .5 / .5 | through a converter, normalised | -1..1 |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from facefusion_runner.errors import ModelError, RunnerError
from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Crop, Float, Generated, Mask, Picture, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.generators.initializer import last_initializer
from facefusion_runner.generators.pixel_boost import tiles
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import LARGEST_BATCH, Triple, tensor, unfit

FAMILIES: Final = ("inswapper", "simswap", "ghost", "hyperswap", "hififace")

_EMAP_SHAPE: Final = (512, 512)
_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Parameters(BaseModel, frozen=True, extra="forbid"):
    """What a catalog entry of these families says about its network."""

    template: TemplateName
    """Alignment template of the target's crop."""
    side: int = Field(ge=16)
    """Side of the network's square input and output, in pixels."""
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    """The network sees (x - mean) / std of RGB values x in 0..1."""
    output_range: tuple[float, float] = (0.0, 1.0)
    """What the network writes for black and for white."""
    mask_output: bool = False
    """True: the second output is a mask (batch, 1, side, side) in 0..1, one where the face is."""
    source: Literal["emap", "normalised", "raw"]
    """What becomes of the source's embedding, after the converter where there is one.

    emap: its direction times the graph's 512x512 matrix, divided by the product's norm; normalised: divided
    by its norm; raw: as it is.
    """
    converter: str | None = None
    """Id of a model that carries the embedding over from `embedding_space` to the network's own."""
    embedding_space: str
    """Space of the encoder that embeds the sources."""
    target_input: str = "target"
    source_input: str = "source"
    """Names of the graph's inputs."""

    @model_validator(mode="after")
    def _usable(self) -> Parameters:
        if 0.0 in self.std:
            raise ValueError("std must not hold 0")
        if self.output_range[0] >= self.output_range[1]:
            raise ValueError("output_range must be [black, white] with black below white")
        return self


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> IdentityGenerator:
    """Opens the network, and its converter where it has one; raises ModelError where a graph does not fit."""
    chosen = parameters(entry, Parameters)
    session = open_model(entry.id)
    vector = _check_generator(session, chosen)
    emap = _read_emap(session, vector) if chosen.source == "emap" else None
    converter = None
    if chosen.converter is not None:
        converter = Converter(open_model(chosen.converter), gives=vector)
    return IdentityGenerator(session, chosen, converter, emap, options.pixel_boost)


class Converter:
    """Carries an embedding from one encoder's space over to another's."""

    def __init__(self, session: Session, gives: int | None) -> None:
        """`gives`: how many values the generator takes; None where its graph leaves that open."""
        if len(session.inputs) != 1 or len(session.outputs) != 1:
            raise unfit(session, "1 input and 1 output")
        self._session = session
        self._input = session.inputs[0]
        _check(session, self._input, (1, None))
        _check(session, session.outputs[0], (1, gives))
        self.takes = _fixed(self._input.shape[1])

    def convert(self, embedding: Float) -> Float:
        """(D,) to (E,) float32."""
        feed = embedding[None].astype(_TYPES[self._input.type])
        return self._session.run({self._input.name: feed})[0].reshape(-1).astype(np.float32)


class IdentityGenerator:
    """A network of one of the families above."""

    def __init__(
        self,
        session: Session,
        parameters: Parameters,
        converter: Converter | None,
        emap: Float | None,
        pixel_boost: int,
    ) -> None:
        self._session = session
        self._parameters = parameters
        self._converter = converter
        self._emap = emap
        self._boost = pixel_boost
        self._mean, self._std = _per_level(parameters.mean), _per_level(parameters.std)
        inputs = {each.name: each for each in session.inputs}
        self._target = inputs[parameters.target_input]
        self._source = inputs[parameters.source_input]
        batches = _fixed(self._target.shape[0]) is None and _fixed(self._source.shape[0]) is None
        self._batch = LARGEST_BATCH if batches else 1

    @property
    def template(self) -> TemplateName:
        return self._parameters.template

    @property
    def side(self) -> int:
        return self._parameters.side * self._boost

    @property
    def needs_landmarks(self) -> bool:
        return False

    @property
    def needs_mesh(self) -> bool:
        return False

    @property
    def embedding_space(self) -> str | None:
        return self._parameters.embedding_space

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
        """One generated face per crop (side, side, 3), in order.

        Tiles of all crops share batches where the graph's batch is open, else they run one by one.
        Raises RunnerError when the network writes a value that is not a number.
        """
        made = [self._empty(crop) for crop in crops]
        cuts = [tile for crop in crops for tile in tiles(crop.pixels, self._boost)]
        pixels = [tile for one in made for tile in tiles(one.pixels, self._boost)]
        masks = [tile for one in made if one.mask is not None for tile in tiles(one.mask, self._boost)]
        for start in range(0, len(cuts), self._batch):
            batch = slice(start, start + self._batch)
            self._run(cuts[batch], source, pixels[batch], masks[batch])
        return made

    def _empty(self, crop: Crop) -> Generated:
        masked = self._parameters.mask_output
        return Generated(
            np.empty_like(crop.pixels), np.empty(crop.pixels.shape[:2], np.uint8) if masked else None
        )

    def _run(
        self, cuts: Sequence[Picture], source: Float, pixels: Sequence[Picture], masks: Sequence[Mask]
    ) -> None:
        """Runs one batch of (side, side, 3) and writes what comes out into `pixels` and `masks`."""
        chosen = self._parameters
        target = tensor(cuts, self._mean, self._std, "rgb")
        outputs = self._session.run(
            {
                self._target.name: target.astype(_TYPES[self._target.type], copy=False),
                self._source.name: np.repeat(source, len(cuts), axis=0).astype(_TYPES[self._source.type]),
            }
        )
        for picture, into in zip(self._output(outputs[0], 3), pixels, strict=True):
            for channel, plane in enumerate(picture):
                into[..., 2 - channel] = _levels(plane, chosen.output_range)
        if chosen.mask_output:
            for mask, into in zip(self._output(outputs[1], 1), masks, strict=True):
                into[...] = _levels(mask[0], (0.0, 1.0))

    def _output(self, output: NDArray[Any], channels: int) -> Float:
        """The output as float32, when it has the shape it should have and every value is a number."""
        entry, side = self._session.entry, self._parameters.side
        if output.shape[1:] != (channels, side, side):
            raise unfit(self._session, f"an output of (n, {channels}, {side}, {side}), not {output.shape}")
        if not np.isfinite(output).all():
            raise RunnerError(
                f"model {entry.id} wrote values that are not numbers; half precision may be too small for "
                "it on this device: take its full-precision file, or --device cpu"
            )
        return output.astype(np.float32, copy=False)

    def _check_length(self, found: int) -> None:
        if self._converter is not None:
            takes = self._converter.takes
        elif self._emap is not None:
            takes = self._emap.shape[0]
        else:
            takes = _fixed(self._source.shape[1])
        if takes is not None and found != takes:
            raise ModelError(
                f"model {self._session.entry.id}: takes embeddings of {takes} values in the space "
                f"{self._parameters.embedding_space}, the encoder gives {found}: choose an encoder of "
                "that space"
            )


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


def _per_level(of_unit: Triple) -> Triple:
    """From pixels in 0..1, as generators are described by, to pixels in 0..255."""
    return (of_unit[0] * 255, of_unit[1] * 255, of_unit[2] * 255)


def _levels(plane: Float, output_range: tuple[float, float]) -> NDArray[np.uint8]:
    """The plane of an output as 0..255: rounded, and what lies outside the range cut off."""
    black, white = output_range
    gain = 255 / (white - black)
    # With a weight of 0 for the second picture this is OpenCV's one pass that scales, rounds and saturates.
    return np.asarray(cv2.addWeighted(plane, gain, plane, 0, -black * gain, dtype=cv2.CV_8U), np.uint8)


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
    inputs = {each.name: each for each in session.inputs}
    if set(inputs) != {chosen.target_input, chosen.source_input}:
        raise unfit(session, f"the inputs {chosen.target_input} and {chosen.source_input}")
    target, source = inputs[chosen.target_input], inputs[chosen.source_input]
    side = chosen.side
    _check(session, target, (1, 3, side, side))
    _check(session, source, (1, None))
    outputs = {3: 0, 1: 1} if chosen.mask_output else {3: 0}
    if len(session.outputs) < len(outputs):
        raise unfit(session, "a mask as the second output")
    for channels, index in outputs.items():
        _check(session, session.outputs[index], (1, channels, side, side))
    return _fixed(source.shape[1])


def _check(session: Session, found: Any, expected: tuple[int | None, ...]) -> None:
    """ModelError unless a tensor's fixed axes and its type are as expected."""
    shape = found.shape
    fits = len(shape) == len(expected) and all(
        _fixed(have) in (None, want) or want is None for have, want in zip(shape, expected, strict=True)
    )
    if not fits or found.type not in _TYPES:
        sizes = ", ".join("any" if size is None else str(size) for size in expected)
        raise unfit(session, f"{found.name}[{sizes}] or open axes, of {' or '.join(_TYPES)}")


def _fixed(size: int | str | None) -> int | None:
    return size if isinstance(size, int) and size >= 0 else None
