"""How a stored picture is turned and mirrored to stand upright: the display matrix, baked into the planes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import cv2
import numpy as np

from facefusion_runner.media import colour


@dataclass(frozen=True)
class Orientation:
    """First transpose, then mirror: one of eight, all turns by 90° and their mirror images."""

    transpose: bool = False
    flip_horizontal: bool = False
    flip_vertical: bool = False

    @classmethod
    def from_display_matrix(cls, data: bytes) -> Orientation:
        """From FFmpeg's display matrix: nine native int32, rows (a b u) (c d v) (x y w), 16.16 fixed point.

        It takes the point (p, q) to (a p + c q, b p + d q). What is no multiple of 90° is taken to the
        nearest one.
        """
        a, b, _, c, d, *_ = struct.unpack("=9i", data[:36])
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @property
    def clockwise(self) -> int:
        """The turn in degrees clockwise, 0, 90, 180 or 270; a mirror image is then flipped vertically."""
        if self.transpose:
            return 90 if self.flip_horizontal else 270
        return 180 if self.flip_horizontal else 0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return (height, width) if self.transpose else (width, height)

    def pixel_aspect(self, aspect: Fraction) -> Fraction:
        """Width ÷ height of the upright picture's pixels."""
        return 1 / aspect if self.transpose else aspect

    def pix_fmt(self, name: str) -> str:
        """The format `apply` gives: 4:2:2 and 4:1:1 transposed would share chroma between rows, which no
        encoder takes, so they become 4:4:4."""
        if not self.transpose:
            return name
        for chroma in ("422", "440", "411"):
            name = name.replace(chroma, "444")
        return name

    def apply(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The upright picture, planar YUV as `picture`; a new frame unless there is nothing to do."""
        if self == UPRIGHT:
            return picture
        width, height = self.size(picture.width, picture.height)
        upright = av.VideoFrame(width, height, self.pix_fmt(picture.format.name))
        copy_properties(picture, upright)
        for plane, into in zip(colour.planes(picture), colour.planes(upright), strict=True):
            turned = cv2.transpose(plane) if self.transpose else plane
            rows, columns = into.shape
            for axis, wanted in ((0, rows), (1, columns)):
                factor = -(-wanted // turned.shape[axis])
                if factor > 1:
                    turned = np.repeat(turned, factor, axis=axis)
            turned = turned[:rows, :columns]
            if self.flip_horizontal or self.flip_vertical:
                turned = cv2.flip(turned, _FLIP_CODE[self.flip_horizontal, self.flip_vertical])
            into[...] = turned
        return upright


UPRIGHT: Final = Orientation()

_FLIP_CODE: Final = {(True, True): -1, (True, False): 1, (False, True): 0}


def copy_properties(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """Give `target` the colours and the time of `source`."""
    target.colorspace = source.colorspace
    target.color_range = source.color_range
    target.color_trc = source.color_trc
    target.color_primaries = source.color_primaries
    target.pts = source.pts
    if source.time_base is not None:
        target.time_base = source.time_base
    target.duration = source.duration
