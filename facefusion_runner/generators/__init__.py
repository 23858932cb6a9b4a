"""Generators: a crop of the target in, the same crop with the source's face out.

One file per family; families that differ only in numbers share a file and read them from the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Crop, Generated, SourceFace


@dataclass(frozen=True, slots=True)
class GeneratorOptions:
    """What the user may change about generation."""

    pixel_boost: int = 1
    """The crop is cut this many times larger and passed as interleaved tiles in one batch."""


class Generator(Protocol):
    """Makes faces. Instances may be used from one thread at a time.

    `prepare` is called once per task, `generate` with as many crops as the pipeline has at hand.
    """

    @property
    def template(self) -> TemplateName:
        """Name of the alignment template the crop is cut along (`faces.geometry.TEMPLATES`)."""
        ...

    @property
    def side(self) -> int:
        """Side of the square crop in pixels, pixel boost included."""
        ...

    @property
    def needs_landmarks(self) -> bool:
        """True: crops and sources must carry 68 landmarks."""
        ...

    @property
    def needs_mesh(self) -> bool:
        """True: crops and sources must carry the mesh of 468 points, and with it the landmarks."""
        ...

    @property
    def embedding_space(self) -> str | None:
        """The encoder space sources must be embedded in; None: no embedding is read."""
        ...

    def prepare(self, sources: Sequence[SourceFace]) -> Any:
        """The source identity in the form `generate` takes; several sources are averaged."""
        ...

    def generate(self, crops: Sequence[Crop], source: Any) -> list[Generated]:
        """One generated face per crop, in order, as one batch where the network allows."""
        ...
