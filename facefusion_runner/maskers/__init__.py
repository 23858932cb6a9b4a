"""Maskers: networks that say where in an aligned crop the new face may be put. One file per family.

Two kinds: those for which a pixel is bare face or something in front of it (occlusion), and those that tell
regions of the face apart, of which the user chooses (region).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Float, Picture


class Masker(Protocol):
    """Says what of a face is replaced. Instances may be used from one thread at a time."""

    @property
    def template(self) -> TemplateName:
        """Name of the alignment template that crops must be cut along (`faces.geometry.TEMPLATES`)."""
        ...

    @property
    def side(self) -> int:
        """Side of the square crops in pixels."""
        ...

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions it tells apart; empty: none, it only knows what is in front of a face."""
        ...

    @property
    def usual_regions(self) -> tuple[str, ...]:
        """Those that are replaced where the user names none."""
        ...

    def weights(self, crops: Sequence[Picture], regions: Collection[str]) -> Float:
        """(n, side, side) float32 in 0..1 for n crops (side, side, 3), BGR: 1 where the face may be replaced.

        `regions`: what is replaced, all among `self.regions`; without meaning where there are none.
        """
        ...
