"""Segmenters: an aligned crop in, what each of its pixels shows out. One file per family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Float, Picture

ClassName = Literal["background", "skin", "hair", "glasses", "occluder"]

CLASSES: Final[tuple[ClassName, ...]] = ("background", "skin", "hair", "glasses", "occluder")
"""What a pixel may show, in the order of a segmenter's output.

background: all that is behind or beside the face, neck, ears, clothes and hats too. skin: the face with
brows, eyes, nose, lips, the open mouth and a beard. hair: of the head, also where it hangs over the face.
glasses: frames, and lenses that hide the eye or reflect; what is seen through clear lenses is skin.
occluder: what is in front of the face, such as hands, microphones and cups.
"""

BACKGROUND, SKIN, HAIR, GLASSES, OCCLUDER = range(len(CLASSES))


class Segmenter(Protocol):
    """Tells skin from what is beside and before it. Instances may be used from one thread at a time."""

    @property
    def template(self) -> TemplateName:
        """Name of the alignment template that crops must be cut along (`faces.geometry.TEMPLATES`)."""
        ...

    def segment(self, crops: Sequence[Picture]) -> Float:
        """(n, 5, h, w) float32: the probability of each of `CLASSES`, summing to 1, for every pixel.

        `crops`: n square crops of one size (h, w, 3), BGR, cut along `template`; the network's own size does
        not matter to the caller, though a crop of 256 pixels shows it all it can see.
        """
        ...
