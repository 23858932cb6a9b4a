"""Between a frame's luma and chroma planes and BGR, in the stream's own matrix, range and depth.

Chroma is repeated on the way to BGR and averaged over its block on the way back, so that the two are each
other's inverse: what is converted again and again does not drift. swscale's fast path is not used because it
darkens green by 1.5 levels and red and blue by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import av
import cv2
import numpy as np
from av.video.plane import VideoPlane
from cv2.typing import MatLike
from numpy.typing import NDArray

from facefusion_runner.faces.types import Mask, Picture

Plane = NDArray[np.uint8] | NDArray[np.uint16]
"""(height, width) uint8, or uint16 above 8 bits; a view onto the frame's memory."""

# ITU-T H.273, table 4: matrix coefficients; the numbers are those of AVColorSpace.
RGB: Final = 0
BT709: Final = 1
UNSPECIFIED: Final = 2
BT601: Final = 6
LIMITED: Final = 1
FULL: Final = 2

# Weights of red and blue in luma.
_WEIGHTS: Final = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
MATRICES: Final = frozenset(_WEIGHTS)
"""The matrices that can be converted; YCgCo, ICtCp and XYZ are none of them."""

_PLANAR: Final = re.compile(r"yuv(?P<full>j?)(?P<chroma>4[0-4][0-4])p(?P<bits>9|10|12|14|16)?(le)?")


def is_planar_yuv(pix_fmt: str) -> bool:
    """Whether `pix_fmt` is one that `Colours` works on: three planes, no alpha, little endian."""
    return _PLANAR.fullmatch(pix_fmt) is not None


def likely_matrix(width: int, height: int) -> int:
    """The matrix players take where a stream names none: BT.601 up to 576 lines, BT.709 above."""
    return BT709 if max(width, height) > 1024 or min(width, height) > 576 else BT601


def planes(picture: av.VideoFrame) -> list[Plane]:
    """Writable views of a planar frame's planes, without the padding."""
    dtype = np.dtype(np.uint16 if picture.format.components[0].bits > 8 else np.uint8)
    return [_view(plane, dtype) for plane in picture.planes]


def _view(plane: VideoPlane, dtype: np.dtype[Any]) -> Plane:
    stride = plane.line_size
    # A negative line size means that the rows lie from the bottom to the top.
    offset = (plane.height - 1) * -stride if stride < 0 else 0
    return np.ndarray(
        (plane.height, plane.width),
        dtype,
        buffer=memoryview(plane),
        offset=offset,
        strides=(stride, dtype.itemsize),
    )


@dataclass(frozen=True)
class Colours:
    """How the numbers in a stream's planes stand for colours."""

    matrix: int
    """One of `MATRICES`."""
    full_range: bool
    bits: int
    horizontal: int
    """Luma columns that share a chroma sample: 1, 2 or 4."""
    vertical: int

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Colours:
        """Of a frame in a format for which `is_planar_yuv` holds.

        Unspecified range is limited, as H.273 has it; an unspecified matrix is `likely_matrix`.
        """
        match = _PLANAR.fullmatch(picture.format.name)
        if match is None:
            raise ValueError(f"{picture.format.name} is not planar YUV")
        matrix = picture.colorspace
        if matrix not in MATRICES:
            matrix = likely_matrix(picture.width, picture.height)
        horizontal, vertical = {
            "444": (1, 1), "440": (1, 2), "422": (2, 1), "420": (2, 2), "411": (4, 1), "410": (4, 4),
        }[match["chroma"]]  # fmt: skip
        full = bool(match["full"]) or picture.color_range == FULL
        return cls(matrix, full, int(match["bits"] or 8), horizontal, vertical)

    def to_bgr(self, views: list[Plane]) -> Picture:
        """A frame's three planes as (h, w, 3) uint8 BGR."""
        luma, blue, red = views
        height, width = luma.shape
        eight = [self._luma_in_8_bits(luma), *(self._spread(c, width, height) for c in (blue, red))]
        return np.asarray(cv2.transform(cv2.merge(eight), self._backward), np.uint8)

    def write(self, bgr: Picture, changed: Mask | None, into: list[Plane]) -> None:
        """Convert `bgr` into the three plane views `into`, where `changed` is not 0 (None: everywhere).

        bgr (h, w, 3) uint8, changed (h, w) uint8; `into` begins on a chroma sample. A chroma sample is
        written when any pixel of its block changed, with the mean of the whole block.
        """
        luma, blue, red = into
        height, width = luma.shape
        fine: Plane = bgr
        if self.bits > 8:
            # Room for the means of chroma blocks, which are no whole 8-bit levels.
            fine = np.left_shift(bgr, _FINE, dtype=np.uint16)
        colours = cv2.transform(fine, self._forward)
        _put(cv2.extractChannel(colours, 0), changed, luma)
        if self.horizontal * self.vertical > 1:
            rows, columns = blue.shape
            right, bottom = columns * self.horizontal - width, rows * self.vertical - height
            padded = cv2.copyMakeBorder(fine, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
            size = (columns, rows)
            colours = cv2.transform(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), self._forward)
            if changed is not None:
                whole = cv2.copyMakeBorder(changed, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
                # A block of 16 with one changed pixel of value 1 would round to 0.
                whole = cv2.threshold(whole, 0, 255, cv2.THRESH_BINARY)[1]
                changed = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)
        _put(cv2.extractChannel(colours, 1), changed, blue)
        _put(cv2.extractChannel(colours, 2), changed, red)

    def _luma_in_8_bits(self, luma: Plane) -> Picture:
        if self.bits == 8:
            return np.asarray(luma, np.uint8)
        scale = 255 / (2**self.bits - 1) if self.full_range else 2.0 ** (8 - self.bits)
        return np.asarray(cv2.convertScaleAbs(luma, alpha=scale), np.uint8)

    def _spread(self, chroma: Plane, width: int, height: int) -> Picture:
        small = chroma if self.bits == 8 else cv2.convertScaleAbs(chroma, alpha=2.0 ** (8 - self.bits))
        wide = np.ascontiguousarray(small, np.uint8)
        for _ in range(self.horizontal.bit_length() - 1):
            # One byte times 257 is that byte twice: far quicker than np.repeat along rows.
            wide = (wide.astype(np.uint16) * np.uint16(257)).view(np.uint8)
        return np.repeat(wide, self.vertical, axis=0)[:height, :width]

    @cached_property
    def _forward(self) -> NDArray[np.float64]:
        """(3, 4): BGR, as `write` gives it, to luma, blue and red difference at the stream's depth."""
        matrix = self._matrix(self.bits)
        if self.bits > 8:
            matrix[:, :3] /= 1 << _FINE
        return matrix

    @cached_property
    def _backward(self) -> NDArray[np.float64]:
        """(3, 4): luma and chroma in 8 bits to BGR."""
        matrix = self._matrix(8)
        inverse = np.linalg.inv(matrix[:, :3])
        return np.hstack([inverse, -inverse @ matrix[:, 3:]])

    def _matrix(self, bits: int) -> NDArray[np.float64]:
        """(3, 4): 8-bit BGR to luma and chroma of `bits`; H.273, equations 8-20 to 8-31."""
        red, blue = _WEIGHTS[self.matrix]
        luma = np.array([blue, 1 - red - blue, red])
        rows = np.stack(
            [
                luma,
                (np.array([1, 0, 0]) - luma) / (2 * (1 - blue)),
                (np.array([0, 0, 1]) - luma) / (2 * (1 - red)),
            ]
        )
        unit = 2.0 ** (bits - 8)
        if self.full_range:
            rows *= (2**bits - 1) / 255
            offsets = np.array([0, 128 * unit, 128 * unit])
        else:
            rows *= np.array([[219], [224], [224]]) * unit / 255
            offsets = np.array([16, 128, 128]) * unit
        return np.hstack([rows, offsets[:, None]])


_FINE: Final = 6


def _put(values: MatLike, changed: Mask | None, into: Plane) -> None:
    if changed is None:
        into[...] = values
    else:
        cv2.copyTo(values, changed, into)
