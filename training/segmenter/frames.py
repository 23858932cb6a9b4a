"""From glasses with their lenses, as the teacher paints them, to what hides the face: frames, dark lenses."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float, Picture

RIM: Final = 0.035
"""How far inside the outline of the glasses a frame may reach, in parts of the picture's side."""

DARK: Final = 0.45
CLEAR: Final = 0.7
"""Brightness of what is seen through a lens, as a part of the skin's: below DARK the lens hides the eye,
above CLEAR it does not; between the two nobody can tell."""

LEAST: Final = 0.002
"""Share of the picture below which glasses are taken for the teacher's noise."""


def split(picture: Picture, parts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(side, side, 4) uint8: skin, hair, glasses, weight, times 255, from the teacher's skin, hair, glasses.

    What is seen through clear lenses becomes skin. weight: 0 where it is not known whether a pixel is frame,
    lens or skin; nothing is learned there.
    """
    side = len(picture)
    known = np.dstack([parts, np.full(parts.shape[:2], 255, np.uint8)])
    inside = parts[..., 2] > 127
    if inside.mean() < LEAST:
        known[..., 0] = np.minimum(known[..., 0].astype(np.int32) + known[..., 2], 255)
        known[..., 2] = 0
        return known
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
    rim = RIM * side
    lens = depth > rim
    skin = parts[..., 0] > 200
    if not lens.any() or not skin.any() or np.median(grey[lens]) < DARK * np.median(grey[skin]):
        return known
    frame = _frame(picture, inside, depth, rim)
    glasses = known[..., 2].astype(np.float32)
    through = glasses * (1 - frame)
    known[..., 2] = glasses - through
    known[..., 0] = np.minimum(known[..., 0] + through, 255)
    unsure = (frame > 0.2) & (frame < 0.8) & inside
    if np.median(grey[lens]) < CLEAR * np.median(grey[skin]):
        unsure |= lens
    else:
        unsure |= lens & (grey > 1.5 * np.median(grey[lens])) & (grey > np.median(grey[skin]))
    known[..., 3][unsure] = 0
    return known


def _frame(picture: Picture, inside: NDArray[np.bool_], depth: Float, rim: float) -> Float:
    """(side, side) float32, 0..1: how much a pixel is frame: near the outline, and unlike what is around."""
    blurred = cv2.medianBlur(picture, 2 * int(rim * 1.3) + 1)
    unlike = np.abs(picture.astype(np.float32) - blurred).max(2)
    unlike = cv2.dilate(unlike, np.ones((2, 2), np.uint8))
    likely = np.clip((unlike - 14) / 22, 0, 1)
    # Bridge and temples are frame throughout: no lens fits into them.
    radius = int(rim * 0.75)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    narrow = inside & (cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, disc) == 0)
    likely[narrow] = 1
    likely[depth > rim] = 0
    return np.asarray(likely, np.float32)
