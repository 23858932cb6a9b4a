"""A small picture of the newest finished frame, for whoever watches."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2

from facefusion_runner.faces.types import Picture

SECONDS: Final = 2.0
"""Between two pictures."""
_SIDE: Final = 640


class Preview:
    """Writes the picture now and then; that it cannot is no reason for a task to fail."""

    def __init__(self, path: Path) -> None:
        """`path`: a JPEG to be."""
        self._path = path
        self._next = 0.0

    def offer(self, picture: Picture, pixel_aspect: float = 1.0) -> None:
        """A finished frame: (height, width, 3) uint8 BGR, and width ÷ height of its pixels."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SECONDS
        width, height = picture.shape[1] * pixel_aspect, picture.shape[0]
        scale = min(_SIDE / max(width, height), 1.0)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        encoded, jpeg = cv2.imencode(".jpg", cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        aside = self._path.with_suffix(".partial")
        with suppress(OSError):
            if encoded:
                aside.write_bytes(jpeg.tobytes())
                os.replace(aside, self._path)
