"""A still picture with the face of a video frame, so that both go through the same stages."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from facefusion_runner.faces.types import Picture


class Still:
    """One picture; the counterpart of `Frame`."""

    pixel_aspect: Final = 1.0
    index: Final = 0
    time: Final = Fraction(0)

    def __init__(self, picture: Picture) -> None:
        """`picture` (h, w, 3) uint8 BGR is changed in place by `paste`."""
        self.bgr = picture

    def paste(self, left: int, top: int, pixels: Picture) -> None:
        """Replaces the rectangle that begins at column `left`, row `top` with `pixels` (h, w, 3)."""
        height, width = pixels.shape[:2]
        self.bgr[top : top + height, left : left + width] = pixels
