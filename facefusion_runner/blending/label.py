"""A line of text in the corner of a picture, for people who see no metadata."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facefusion_runner.faces.types import Float, Picture

HEIGHT: Final = 0.035
"""Of the letters, as a part of the picture's shorter side."""
SMALLEST: Final = 10
"""Pixels; below it letters cannot be read."""
_DARK: Final = 0.55
"""Opacity of the ground behind the letters."""


def labelled(picture: Picture, text: str) -> tuple[int, int, Picture]:
    """Left and top of the label, and the pixels (h, w, 3) uint8 BGR that replace the picture there.

    picture: (height, width, 3) uint8 BGR. White on a dark ground in the lower left corner; a picture that is
    narrower than the text shows its beginning.
    """
    height, width = picture.shape[:2]
    letters = _drawn(text, max(round(HEIGHT * min(height, width)), SMALLEST))[:height, :width]
    gap = min(letters.shape[0] // 2, height - letters.shape[0], width - letters.shape[1])
    left, top = gap, height - letters.shape[0] - gap
    below = picture[top : top + letters.shape[0], left : left + letters.shape[1]]
    ground = below * np.float32(1 - _DARK)
    return left, top, np.asarray(ground + (255 - ground) * letters[..., None] + np.float32(0.5), np.uint8)


@lru_cache(maxsize=4)
def _drawn(text: str, size: int) -> Float:
    """(h, w) 0..1: the text with a margin around it."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    margin = max(size // 3, 2)
    image = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin))
    ImageDraw.Draw(image).text((margin - left, margin - top), text, 255, font)
    return np.asarray(image, np.float32) / np.float32(255)
