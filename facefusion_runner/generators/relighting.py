"""Gives a face the colours and the light of the place it is put into.

Works on BGR 0..255 float32 pictures of one frame and a weight (0..1) that says where both show skin.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float

# BT.601 luma and the two colour differences; linear in BGR, so that a match is one matrix per picture.
_TO_OPPONENT: Final = np.array(
    [[0.114, 0.587, 0.299], [0.5, -0.331264, -0.168736], [-0.081312, -0.418688, 0.5]], np.float64
)

CONTRAST: Final = (0.7, 1.4)
"""Limits of the change in spread, per channel."""

GAIN: Final = (0.5, 1.8)
"""Limits of the local change in brightness."""


def match_colours(face: Float, target: Float, weight: Float) -> NDArray[np.float64]:
    """The (3, 4) transform of BGR that gives `face` the mean and spread of `target` where `weight` is.

    Reinhard et al. (CG&A 2001) with luma and colour differences for axes. The brightest and darkest
    tenth of either (highlights, beards, shadows) do not count. Without any weight: the identity.
    """
    chosen = weight.ravel() > 0.5
    if chosen.sum() < 16:
        return np.eye(3, 4)
    of = face.reshape(-1, 3)[chosen] @ _TO_OPPONENT.T
    to = target.reshape(-1, 3)[chosen] @ _TO_OPPONENT.T
    of_mean, of_spread = _trimmed(of)
    to_mean, to_spread = _trimmed(to)
    gain = np.clip(to_spread / np.maximum(of_spread, 1e-3), *CONTRAST)
    back = np.linalg.inv(_TO_OPPONENT)
    return np.column_stack([back @ np.diag(gain) @ _TO_OPPONENT, back @ (to_mean - gain * of_mean)])


def _trimmed(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.percentile(values[:, 0], (10, 90))
    kept = values[(values[:, 0] >= low) & (values[:, 0] <= high)]
    return kept.mean(0), kept.std(0)


def light(face: Float, target: Float, weight: Float, sigma: float) -> Float:
    """The smooth gain per pixel and channel (h, w, 3) that gives `face` the light of `target`."""
    scale = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None] + 1e-4
    of = (cv2.GaussianBlur(face * weight[..., None], (0, 0), sigma) + 1e-3) / scale
    to = (cv2.GaussianBlur(target * weight[..., None], (0, 0), sigma) + 1e-3) / scale
    return np.asarray(np.clip((to + 8) / (of + 8), *GAIN), np.float32)
