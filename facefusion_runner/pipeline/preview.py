"""A small picture of the newest finished frame in the task's cache, for whoever watches."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2

from facefusion_runner.media.frame import Frame

NAME: Final = "preview.jpg"
SECONDS: Final = 2.0
"""Between two pictures."""
_SIDE: Final = 640


class Preview:
    """Writes the picture now and then; that it cannot is no reason for a task to fail."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._next = 0.0

    def offer(self, frame: Frame) -> None:
        """A finished frame."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SECONDS
        width, height = frame.width * frame.pixel_aspect, frame.height
        scale = min(_SIDE / max(width, height), 1.0)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        encoded, jpeg = cv2.imencode(".jpg", cv2.resize(frame.bgr, size, interpolation=cv2.INTER_AREA))
        aside = self._path.with_suffix(".partial")
        with suppress(OSError):
            if encoded:
                aside.write_bytes(jpeg.tobytes())
                os.replace(aside, self._path)
