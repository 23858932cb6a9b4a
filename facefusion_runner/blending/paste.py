"""Paste-back: a generated crop goes back into the picture it was cut from.

Only the rectangle that the mask reaches in the picture is read and computed. Crop and mask are
warped together as the four channels of one picture, which costs less than half of two warps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.faces.geometry import invert
from facefusion_runner.faces.types import Mask, Matrix, Picture

Blend = Callable[[Picture, Picture, Mask], Picture]
"""(target, generated, mask), all of one size, to a new picture: `target` unchanged where mask is 0."""

# A crop that the warp would enlarge more than twice is doubled with a cubic kernel first: OpenCV's
# cubic warp takes four times as long as the bilinear one, and bilinear alone shows facets.
_DOUBLED_FROM: Final = 2.0
# A crop of more than twice the picture's resolution is shrunk by area to twice: bilinear would skip
# pixels and alias. Shrunk to the picture's own resolution it would lose detail to the warp.
_OVERSAMPLING: Final = 2.0
# Modes look at the generated picture up to a pixel beyond the mask: two of the crop's pixels at this
# oversampling, and one more for the kernel.
_RING: Final = 4


def paste(
    picture: Picture, crop_pixels: Picture, mask: Mask, matrix: Matrix, mode: Blend = alpha
) -> tuple[int, int, Picture]:
    """The part of `picture` that changes, with the crop blended in: (left, top, pixels).

    `crop_pixels` (h, w, 3) uint8 BGR, `mask` (h, w) uint8, `matrix` (2, 3) any affine transform
    from picture pixels to crop pixels. The returned pixels are new, (height, width, 3) uint8, lie
    wholly within the picture, and equal it where the warped mask is 0; they are (0, 0, 3) at (0, 0)
    when the mask is empty or nothing of it lies in the picture. `picture` is not changed.

    Raises ValueError for a mask of another size than the crop or a transform without inverse.
    """
    if mask.shape != crop_pixels.shape[:2]:
        raise ValueError(f"the mask is {mask.shape} but the crop is {crop_pixels.shape[:2]}")
    if not np.isfinite(matrix).all() or np.linalg.det(matrix[:, :2]) == 0.0:
        raise ValueError(f"the crop's transform has no inverse: {matrix.tolist()}")

    crop, mask, back = _at_picture_scale(crop_pixels, mask, invert(matrix))
    left, top, right, bottom = _reach(mask, back, picture.shape[1], picture.shape[0])
    if left >= right or top >= bottom:
        return 0, 0, np.zeros((0, 0, 3), np.uint8)

    back = back @ np.array([[1, 0, -_RING], [0, 1, -_RING], [0, 0, 1]])
    back[:, 2] -= (left, top)
    warped = cv2.warpAffine(_layers(crop, mask), back, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    pixels = mode(
        picture[top:bottom, left:right],
        np.asarray(cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR), np.uint8),
        np.asarray(cv2.extractChannel(warped, 3), np.uint8),
    )
    return left, top, pixels


def _at_picture_scale(crop: Picture, mask: Mask, back: Matrix) -> tuple[Picture, Mask, Matrix]:
    """Crop and mask near the picture's own scale, and their transform to the picture."""
    height, width = mask.shape
    size = (
        _resized(width, math.hypot(back[0, 0], back[1, 0])),
        _resized(height, math.hypot(back[0, 1], back[1, 1])),
    )
    if size == (width, height):
        return crop, mask, back
    shrinks = size[0] < width or size[1] < height
    step_x, step_y = width / size[0], height / size[1]
    to_crop = np.array([[step_x, 0, 0.5 * step_x - 0.5], [0, step_y, 0.5 * step_y - 0.5], [0, 0, 1]])
    return (
        _resize(crop, size, cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC),
        # A cubic kernel would ring: the mask would reach beyond its own support.
        _resize(mask, size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR),
        back @ to_crop,
    )


def _layers(crop: Picture, mask: Mask) -> Picture:
    """Crop and mask as one BGRA picture, a ring larger: the crop's edge repeated under a mask of 0.

    So a mask that is full up to the edge ends there smoothly, and no black from outside is mixed in.
    """
    ring = (_RING, _RING, _RING, _RING)
    layers = cv2.cvtColor(cv2.copyMakeBorder(crop, *ring, cv2.BORDER_REPLICATE), cv2.COLOR_BGR2BGRA)
    cv2.insertChannel(cv2.copyMakeBorder(mask, *ring, cv2.BORDER_CONSTANT), layers, 3)
    return np.asarray(layers, np.uint8)


def _resized(length: int, scale: float) -> int:
    """How many pixels a crop of `length` pixels should have before it is warped to `scale` its size."""
    if scale > _DOUBLED_FROM:
        return 2 * length
    return min(length, max(1, round(length * scale * _OVERSAMPLING)))


def _resize(pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), np.uint8)


def _reach(mask: Mask, back: Matrix, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (exclusive) of the mask's support in a picture of this size."""
    x, y, w, h = cv2.boundingRect(mask)
    if w == 0 or h == 0:
        return 0, 0, 0, 0
    # A bilinear kernel reaches one pixel beyond the outermost pixels.
    corners = np.array([(cx, cy, 1) for cx in (x - 1, x + w) for cy in (y - 1, y + h)])
    around = corners @ back.T
    # One pixel of mask 0 all around, where the picture goes on: modes need to see the mask's edge.
    low = np.clip(np.ceil(around.min(0)) - 1, 0, (width, height)).astype(int)
    high = np.clip(np.floor(around.max(0)) + 2, 0, (width, height)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
