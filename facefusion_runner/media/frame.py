"""One decoded picture on its way from the decoder to the encoder.

A frame keeps the decoder's own planes. BGR is made when it is first asked for, and what is pasted is
converted back only where it differs from the BGR there: every other sample keeps the decoder's bits at any
depth and chroma format, and a frame nobody looked at reaches the encoder untouched.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Self

import av
import cv2
import numpy as np

from facefusion_runner.faces.types import Mask, Picture
from facefusion_runner.media import colour
from facefusion_runner.media.colour import Colours


class Frame:
    """One upright picture of a video. Used by one thread at a time."""

    __slots__ = ("_bgr", "_colours", "_picture", "duration", "index", "pixel_aspect", "time")

    def __init__(
        self,
        picture: av.VideoFrame,
        *,
        index: int,
        time: Fraction,
        duration: Fraction,
        pixel_aspect: float = 1.0,
        bgr: Picture | None = None,
    ) -> None:
        """`picture` is planar YUV (`colour.is_planar_yuv`); `bgr` is given where the source was RGB."""
        self.index = index
        """Counted from 0 in the order of display, after trimming and resampling."""
        self.time = time
        """Seconds from the beginning of the output."""
        self.duration = duration
        """Seconds until the next frame; 0 where the file does not say."""
        self.pixel_aspect = pixel_aspect
        """Width ÷ height of one pixel."""
        self._picture = picture
        self._colours = Colours.of(picture)
        self._bgr = bgr

    @classmethod
    def of_picture(cls, bgr: Picture, *, index: int, time: Fraction, duration: Fraction) -> Self:
        """A frame of a new film, out of (height, width, 3) uint8 BGR; 8 bits, BT.709 as in HD films."""
        height, width = bgr.shape[:2]
        picture = av.VideoFrame(width, height, "yuv420p")
        picture.colorspace, picture.color_range = colour.BT709, colour.LIMITED
        Colours.of(picture).write(bgr, None, colour.planes(picture))
        return cls(picture, index=index, time=time, duration=duration)

    @property
    def width(self) -> int:
        return self._picture.width

    @property
    def height(self) -> int:
        return self._picture.height

    @property
    def picture(self) -> av.VideoFrame:
        """The planes as they go to the encoder."""
        return self._picture

    @property
    def bgr(self) -> Picture:
        """(height, width, 3) uint8 BGR, read-only; HDR stays in its own transfer curve.

        The same memory from call to call: `paste` is seen in it.
        """
        if self._bgr is None:
            self._bgr = self._colours.to_bgr(colour.planes(self._picture))
        view = self._bgr.view()
        view.flags.writeable = False
        return view

    def paste(self, left: int, top: int, pixels: Picture) -> None:
        """Replace the rectangle that begins at column `left`, row `top` with `pixels`, (h, w, 3) uint8 BGR.

        Samples of pixels that stay as they are in `bgr` keep their bits; a chroma sample changes when any
        pixel it belongs to does. Raises ValueError when the rectangle reaches beyond the frame.
        """
        height, width = pixels.shape[:2]
        if left < 0 or top < 0 or left + width > self.width or top + height > self.height:
            raise ValueError(
                f"{width}x{height} pixels at ({left}, {top}) reach beyond {self.width}x{self.height}"
            )
        before = self.bgr[top : top + height, left : left + width]
        blue, green, red = cv2.split(cv2.absdiff(pixels, before))
        changed = np.asarray(cv2.bitwise_or(cv2.bitwise_or(blue, green), red), np.uint8)
        x, y, w, h = cv2.boundingRect(changed)
        if w > 0:
            kept = np.s_[y : y + h, x : x + w]
            self._write(left + x, top + y, pixels[kept], changed[kept])

    def _write(self, left: int, top: int, pixels: Picture, changed: Mask) -> None:
        assert self._bgr is not None
        height, width = pixels.shape[:2]
        self._bgr[top : top + height, left : left + width] = pixels
        across, down = self._colours.horizontal, self._colours.vertical
        x0, y0 = left // across * across, top // down * down
        x1 = min(-(-(left + width) // across) * across, self.width)
        y1 = min(-(-(top + height) // down) * down, self.height)
        mask: Mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        mask[top - y0 : top - y0 + height, left - x0 : left - x0 + width] = changed
        # The decoder may still refer to these planes for the frames to come.
        self._picture.make_writable()
        luma, *chroma = colour.planes(self._picture)
        c0, c1, r0, r1 = x0 // across, -(-x1 // across), y0 // down, -(-y1 // down)
        into = [luma[y0:y1, x0:x1], *(plane[r0:r1, c0:c1] for plane in chroma)]
        self._colours.write(np.ascontiguousarray(self._bgr[y0:y1, x0:x1]), mask, into)
