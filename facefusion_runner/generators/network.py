"""What generators share whose work is one network: crops in as tensors, pictures and masks out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from facefusion_runner.errors import RunnerError
from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Crop, Float, Generated, Mask, Picture
from facefusion_runner.generators.pixel_boost import tiles
from facefusion_runner.models.session import Session
from facefusion_runner.models.tensors import (
    LARGEST_BATCH,
    Colour,
    Layout,
    Triple,
    numpy_type,
    tensor,
    unfit,
)

Read = Callable[[Sequence[NDArray[Any]]], tuple[NDArray[Any], NDArray[Any] | None]]
"""(all outputs of the network) -> pictures (n, 3, side, side), in the network's colour order, and masks
(n, 1, side, side) in 0..1 or None."""


class CropParameters(BaseModel, frozen=True, extra="forbid"):
    """What the catalog says about a network that takes and gives RGB crops."""

    template: TemplateName
    """Alignment template of the target's crop."""
    side: int = Field(ge=16)
    """Side of the network's square input and output, in pixels."""
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    """The network sees (x - mean) / std of RGB values x in 0..1."""
    output_range: tuple[float, float] = (0.0, 1.0)
    """What the network writes for black and for white."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if 0.0 in self.std:
            raise ValueError("std must not hold 0")
        if self.output_range[0] >= self.output_range[1]:
            raise ValueError("output_range must be [black, white] with black below white")
        return self


@dataclass(frozen=True, slots=True)
class Form:
    """How a network sees crops."""

    side: int
    mean: Triple
    """Subtracted from 0..255, in the order of `colour`; `std` is what is divided by then."""
    std: Triple
    output_range: tuple[float, float]
    colour: Colour = "rgb"
    layout: Layout = "nchw"

    @classmethod
    def of(cls, p: CropParameters) -> Form:
        return cls(p.side, per_level(p.mean), per_level(p.std), p.output_range)


class CropNetwork:
    """Runs crops through a network, as tiles where they are larger than it."""

    def __init__(
        self,
        session: Session,
        target: str,
        form: Form,
        read: Read,
        *,
        boost: int = 1,
        masks: bool = False,
        alone: bool = False,
    ) -> None:
        """`target`: the input that takes the crops. masks: `read` gives masks. alone: one tile at a time.

        `read` must not be a method of whoever holds this network: in a circle of references the session
        would outlive its task.
        """
        self._session = session
        self._inputs = {node.name: node for node in session.inputs}
        self._target = target
        self._form = form
        self._read = read
        self._boost = boost
        self._masks = masks
        batches = not alone and all(fixed(node.shape[0]) is None for node in session.inputs)
        self._batch = LARGEST_BATCH if batches else 1

    @property
    def side(self) -> int:
        """Side of the crops, pixel boost included."""
        return self._form.side * self._boost

    def generate(self, crops: Sequence[Crop], feeds: Mapping[str, NDArray[Any]]) -> list[Generated]:
        """One generated face per crop (side, side, 3), in order.

        `feeds`: the other inputs, for one tile each. Tiles of all crops share batches where the graph's batch
        is open, else they run one by one. Raises RunnerError when the network writes a value that is not a
        number.
        """
        made = [self._empty(crop) for crop in crops]
        cuts = [tile for crop in crops for tile in tiles(crop.pixels, self._boost)]
        pixels = [tile for one in made for tile in tiles(one.pixels, self._boost)]
        masks = [tile for one in made if one.mask is not None for tile in tiles(one.mask, self._boost)]
        for start in range(0, len(cuts), self._batch):
            batch = slice(start, start + self._batch)
            self._run(cuts[batch], feeds, pixels[batch], masks[batch])
        return made

    def _empty(self, crop: Crop) -> Generated:
        mask = np.empty(crop.pixels.shape[:2], np.uint8) if self._masks else None
        return Generated(np.empty_like(crop.pixels), mask)

    def _run(
        self,
        cuts: Sequence[Picture],
        feeds: Mapping[str, NDArray[Any]],
        pixels: Sequence[Picture],
        masks: Sequence[Mask],
    ) -> None:
        """Runs one batch of (side, side, 3) and writes what comes out into `pixels` and `masks`."""
        form = self._form
        target = tensor(cuts, form.mean, form.std, form.colour, form.layout)
        given = {self._target: target.astype(numpy_type(self._inputs[self._target]), copy=False)}
        for name, value in feeds.items():
            given[name] = np.repeat(value, len(cuts), axis=0).astype(numpy_type(self._inputs[name]))
        pictures, found = self._read(self._session.run(given))
        for picture, into in zip(self._checked(pictures, 3), pixels, strict=True):
            for channel, plane in enumerate(picture):
                into[..., 2 - channel if form.colour == "rgb" else channel] = levels(plane, form.output_range)
        if self._masks:
            assert found is not None
            for mask, into in zip(self._checked(found, 1), masks, strict=True):
                into[...] = levels(mask[0], (0.0, 1.0))

    def _checked(self, output: NDArray[Any], channels: int) -> Float:
        """The output as float32, when it has the shape it should have and every value is a number."""
        entry, side = self._session.entry, self._form.side
        if output.shape[1:] != (channels, side, side):
            raise unfit(self._session, f"an output of (n, {channels}, {side}, {side}), not {output.shape}")
        if not np.isfinite(output).all():
            raise RunnerError(
                f"model {entry.id} wrote values that are not numbers; half precision may be too small for "
                "it on this device: take its full-precision file, or --device cpu"
            )
        return output.astype(np.float32, copy=False)


def per_level(of_unit: Triple) -> Triple:
    """From pixels in 0..1, as generators are described by, to pixels in 0..255."""
    return (of_unit[0] * 255, of_unit[1] * 255, of_unit[2] * 255)


def levels(plane: Float, output_range: tuple[float, float]) -> NDArray[np.uint8]:
    """The plane of an output as 0..255: rounded, and what lies outside the range cut off."""
    black, white = output_range
    gain = 255 / (white - black)
    # With a weight of 0 for the second picture this is OpenCV's one pass that scales, rounds and saturates.
    return np.asarray(cv2.addWeighted(plane, gain, plane, 0, -black * gain, dtype=cv2.CV_8U), np.uint8)


def inputs_of(session: Session, *names: str) -> list[Any]:
    """The graph's inputs by name, when these are all it has; raises ModelError."""
    found = {node.name: node for node in session.inputs}
    if set(found) != set(names):
        raise unfit(session, f"the inputs {' and '.join(names)}")
    return [found[name] for name in names]


def check(session: Session, found: Any, expected: tuple[int | None, ...]) -> None:
    """Raises ModelError unless an input or output has this shape, None or an open axis being any size."""
    shape = found.shape
    fits = len(shape) == len(expected) and all(
        fixed(have) in (None, want) or want is None for have, want in zip(shape, expected, strict=True)
    )
    if not fits or found.type not in ("tensor(float)", "tensor(float16)"):
        sizes = ", ".join("any" if size is None else str(size) for size in expected)
        raise unfit(session, f"{found.name}[{sizes}] or open axes, of tensor(float) or tensor(float16)")


def fixed(size: int | str | None) -> int | None:
    """The size of an axis; None where the graph leaves it open."""
    return size if isinstance(size, int) and size >= 0 else None
