"""Enhancers: a made face in, the same face in finer detail out. One file per family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Picture


class Enhancer(Protocol):
    """Adds detail. Instances may be used from one thread at a time."""

    @property
    def template(self) -> TemplateName | None:
        """Alignment template of the faces it restores; None: it takes the generator's crops as they are."""
        ...

    @property
    def side(self) -> int | None:
        """Side of the square crops in pixels; None: any."""
        ...

    @property
    def scale(self) -> int:
        """How many times larger the side is that comes out."""
        ...

    def enhance(self, crops: Sequence[Picture]) -> list[Picture]:
        """(side · scale, side · scale, 3) for each crop (side, side, 3), BGR, in order."""
        ...
