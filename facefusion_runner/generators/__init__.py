"""Generators: a crop of the target in, the same crop with the source's face out.

One file per family; families that differ only in numbers share a file and read them from the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from facefusion_runner.errors import ConfigError
from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Crop, Generated, SourceFace

Direction = Literal["a_to_b", "b_to_a"]
"""Of a network made for one pair of persons: whose face becomes whose."""


@dataclass(frozen=True, slots=True)
class GeneratorOptions:
    """What the task may change about generation."""

    pixel_boost: int = 1
    """The crop is cut this many times larger and passed as interleaved tiles in one batch."""
    space: str | None = None
    """Space that the sources are embedded in; None: the first of the generator's `embedding_spaces`."""
    domain: str | None = None
    """The look that the face takes on, for networks that know several; None: the catalog's choice."""
    morph: float | None = None
    """How far the face goes from the target, 0, to the network's person, 1; None: all the way."""
    direction: Direction | None = None
    """None: from A to B."""

    def require_only(self, model: str, *understood: str) -> None:
        """Raises ConfigError for a domain, morph or direction that `model` would ignore."""
        for name in ("domain", "morph", "direction"):
            if getattr(self, name) is not None and name not in understood:
                raise ConfigError(f"generator {model} knows no {name}; leave --{name} out")


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
    def embedding_spaces(self) -> tuple[str, ...]:
        """The encoder spaces that sources may be embedded in, the network's own first; empty: no embedding
        is read."""
        ...

    @property
    def most_sources(self) -> int | None:
        """How many source pictures are of use: 0 where the person is in the weights, None for any number."""
        ...

    def prepare(self, sources: Sequence[SourceFace]) -> Any:
        """The source identity in the form `generate` takes; several sources are averaged."""
        ...

    def generate(self, crops: Sequence[Crop], source: Any) -> list[Generated]:
        """One generated face per crop, in order, as one batch where the network allows."""
        ...
