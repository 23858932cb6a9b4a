"""Blend mode `pyramid`: each band of spatial frequencies is blended over a width of its own.

Multi-band blending (Burt and Adelson, ACM Transactions on Graphics 2, 1983): fine detail changes
over within a pixel or two, which leaves no double image, and light and colour over the whole feather.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.faces.types import Float, Mask, Picture

_HALF_FULL: Final = 128
# The coarsest level keeps at least this many pixels along the shorter side; with fewer the lowest
# band's change-over would reach the middle of the face.
_COARSEST: Final = 8
# Mask values over which the result fades into the target, whatever the bands still differ by there.
_FADE: Final = 32


def pyramid(target: Picture, generated: Picture, mask: Mask) -> Picture:
    """Joins the Laplacian pyramids of both along the line where the mask is half full.

    The lowest band changes over within a quarter of the rectangle to either side. The result fades
    into `target` over the mask's lowest eighth, so that it is `target` where the mask is 0 however
    narrow its feather. A rectangle with a side under 16 pixels has one band: `alpha`.
    """
    levels = (min(mask.shape) // _COARSEST).bit_length() - 1
    if levels < 1:
        return alpha(target, generated, mask)
    weight = np.asarray(mask >= _HALF_FULL, np.float32)
    # Where the mask is 0 the generated picture need not show anything of use to the lower bands.
    shown = np.asarray(mask > 0, np.uint8)
    difference = np.asarray(cv2.subtract(generated, target, mask=shown, dtype=cv2.CV_32F), np.float32)
    joined = cv2.add(target, _joined(difference, weight, levels), dtype=cv2.CV_8U)
    fade = np.asarray(cv2.convertScaleAbs(mask, alpha=255 / _FADE), np.uint8)
    return alpha(target, np.asarray(joined, np.uint8), fade)


def _joined(difference: Float, weight: Float, levels: int) -> Float:
    """What the target's pyramid gains: every band of `difference` (h, w, 3) times `weight` (h, w).

    Pyramids are linear, so the sum of target · (1 - weight) + generated · weight over all bands is
    the target plus this, and one pyramid does the work of two.
    """
    if levels == 0:
        return difference * weight[:, :, None]
    size = (weight.shape[1], weight.shape[0])
    coarse = np.asarray(cv2.pyrDown(difference), np.float32)
    band = difference - cv2.pyrUp(coarse, dstsize=size)
    band *= weight[:, :, None]
    band += cv2.pyrUp(_joined(coarse, np.asarray(cv2.pyrDown(weight), np.float32), levels - 1), dstsize=size)
    return np.asarray(band, np.float32)
