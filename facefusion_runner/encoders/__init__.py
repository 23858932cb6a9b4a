"""Encoders: an aligned face in, an identity embedding out. One file per family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from facefusion_runner.faces.types import Float, Picture


class Encoder(Protocol):
    """Tells persons apart. Instances may be used from one thread at a time."""

    @property
    def space(self) -> str:
        """Name of the embedding space; embeddings of different spaces cannot be compared."""
        ...

    @property
    def dimension(self) -> int: ...

    def embed(self, picture: Picture, points: Sequence[Float]) -> Float:
        """(n, dimension) float32, not normalised, for n sets of five points (5, 2) in one picture."""
        ...
