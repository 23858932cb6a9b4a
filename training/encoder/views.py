"""What the encoder is shown: a face of the pool, aligned a little wrong, by a worse camera, partly hidden."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float, Picture
from training.data.augmentation import photometric
from training.encoder.network import SIDE
from training.encoder.pool import MARGIN, WIDE

_MIRRORED: Final = 0.25
_HIDDEN: Final = 0.2
"""Shares of views."""


def view(rng: np.random.Generator, wide: Picture, other: Picture) -> Picture:
    """(112, 112, 3) BGR from a face of the pool. other: what may hide a part."""
    crop = photometric(rng, _jittered(rng, wide), strength=float(rng.random()))
    if rng.random() < _HIDDEN:
        crop = _hidden(rng, crop, other)
    return crop[:, ::-1] if rng.random() < _MIRRORED else crop


def plain(wide: Picture) -> Picture:
    """The crop that the teacher saw."""
    return wide[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE]


def normalised(crops: NDArray[np.uint8]) -> Float:
    """(n, 3, 112, 112) RGB, (x - 127.5) / 127.5, from (n, 112, 112, 3) BGR."""
    return np.ascontiguousarray((crops[..., ::-1].astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2))


def _jittered(rng: np.random.Generator, wide: Picture) -> Picture:
    """Cut as if the five points had been off by a few hundredths of the face."""
    angle, scale = rng.normal(0, 0.035), np.exp(rng.normal(0, 0.03))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    shift = (SIDE - 1) / 2 + rng.normal(0, 1.3, 2) - linear @ np.full(2, (WIDE - 1) / 2)
    return np.asarray(cv2.warpAffine(wide, np.column_stack([linear, shift]), (SIDE, SIDE)), np.uint8)


def _hidden(rng: np.random.Generator, crop: Picture, other: Picture) -> Picture:
    """A piece of another picture, or one colour, over up to a quarter of the crop."""
    height, width = (int(side) for side in rng.integers(SIDE // 8, SIDE // 2, 2))
    top, left = int(rng.integers(0, SIDE - height)), int(rng.integers(0, SIDE - width))
    hidden = crop.copy()
    piece = other[top : top + height, left : left + width]
    hidden[top : top + height, left : left + width] = piece if rng.random() < 0.5 else rng.integers(0, 256, 3)
    return hidden
