"""Colour transfer between faces (Reinhard et al., IEEE CG&A 2001): mean and spread of each Lab channel.

The target keeps its face and takes on the source's complexion. There is no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from facefusion_runner.faces.geometry import TemplateName, alignment, cut
from facefusion_runner.faces.types import Crop, Generated, Picture, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel

FAMILIES = ("colour_transfer",)
NEEDS_SOURCE = True


class Parameters(BaseModel, frozen=True, extra="forbid"):
    """Catalog parameters."""

    template: TemplateName = "arcface_112_v2"
    side: int = Field(256, ge=32, le=1024)
    strength: float = Field(1.0, ge=0.0, le=1.0)
    """0 leaves the target as it is."""


@dataclass(frozen=True)
class Colours:
    """Mean and standard deviation of L, a and b, each (3,)."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]


def load(entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions) -> ColourTransfer:
    """Raises ModelError for a bad parameter, ConfigError for an option that has no meaning here."""
    options.require_only(entry.id)
    return ColourTransfer(parameters(entry, Parameters), options.pixel_boost)


class ColourTransfer:
    """A generator as `facefusion_runner.generators.Generator` describes it."""

    needs_landmarks = False
    needs_mesh = False
    embedding_spaces = ()
    most_sources = None

    def __init__(self, chosen: Parameters, pixel_boost: int) -> None:
        self.template = chosen.template
        self.side = chosen.side * pixel_boost
        self._strength = chosen.strength

    def prepare(self, sources: Sequence[SourceFace]) -> Colours:
        """The mean colours of all sources."""
        found = [
            colours(cut(source.picture, alignment(source.face.points, self.template, self.side), self.side))
            for source in sources
        ]
        return Colours(np.mean([c.mean for c in found], axis=0), np.mean([c.spread for c in found], axis=0))

    def generate(self, crops: Sequence[Crop], source: Colours) -> list[Generated]:
        """Each crop with its own colours moved and stretched to the source's."""
        return [Generated(self._recoloured(crop.pixels, source)) for crop in crops]

    def _recoloured(self, pixels: Picture, wanted: Colours) -> Picture:
        own, lab = colours(pixels), to_lab(pixels)
        moved = (lab - own.mean) * (wanted.spread / np.maximum(own.spread, 1.0)) + wanted.mean
        mixed = lab + self._strength * (moved - lab)
        rounded = np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
        return np.asarray(cv2.cvtColor(rounded, cv2.COLOR_LAB2BGR), np.uint8)


def colours(crop: Picture) -> Colours:
    """Of the crop's inner half, which is face and not background."""
    quarter = crop.shape[0] // 4
    inner = to_lab(crop)[quarter:-quarter, quarter:-quarter].reshape(-1, 3)
    return Colours(inner.mean(axis=0), inner.std(axis=0))


def to_lab(crop: Picture) -> NDArray[np.float32]:
    """OpenCV's 8-bit Lab as float32."""
    return cv2.cvtColor(crop, cv2.COLOR_BGR2LAB).astype(np.float32)
