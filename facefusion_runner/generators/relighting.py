"""Gives a face the colours and the light of the place it is put into."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from facefusion_runner.faces.types import Float

LUMA: Final = np.array([0.114, 0.587, 0.299], np.float32)
"""BT.601 luma of BGR."""

GAIN: Final = (0.3, 3.0)
"""Limits of the change in brightness."""

TINT: Final = (0.45, 1.9)
"""Limits of each channel's change beside it: skin may change its colour, grey hair should not turn green."""

CONTRAST: Final = (0.8, 1.3)
"""Limits of the change in contrast."""

FLOOR: Final = 4.0
"""Added to both sides of a ratio, so that black does not blow up."""


def light(face: Float, target: Float, weight: Float, sigma: float) -> tuple[Float, Float]:
    """What gives `face` the light of `target`: a gain and an offset per pixel and channel (h, w, 3).

    Both pictures are (h, w, 3) BGR 0..255 in one frame, `weight` (h, w) says where both show skin.
    Light falls on skin by multiplication, so shade and tint are taken over as the ratio of the low
    frequencies (Gaussian, `sigma` pixels) of each channel, and the detail above them is given the
    target's contrast. Where there is no skin near, all continue what is known; without any skin they
    change nothing.
    """
    if not weight.any():
        return np.ones_like(face), np.zeros_like(face)
    there = _low(target, weight, sigma)
    here = _low(face, weight, sigma)
    shade = np.clip((there @ LUMA + FLOOR) / (here @ LUMA + FLOOR), *GAIN)[..., None]
    tint = np.clip((there + FLOOR) / (here * shade + FLOOR), *TINT)
    gain = np.asarray(shade * tint, np.float32)
    contrast = _contrast(target - there, weight) / _contrast((face - here) * gain, weight)
    contrast = float(np.clip(contrast, *CONTRAST))
    return gain * np.float32(contrast), here * gain * np.float32(1 - contrast)


def colourfulness(face: Float, target: Float, weight: Float) -> float:
    """How much of its colour `face` may keep beside `target`, 0..1: nothing in a black-and-white film.

    `light` matches the colour of areas; what is left are the colours of details, such as lips and veins.
    Pictures as for `light`. Anything down to half as colourful as the face leaves it as it is.
    """
    if not weight.any():
        return 1.0
    ratio = _chroma(target, weight) / (_chroma(face, weight) + 0.1)
    return float(np.clip(2 * ratio, 0, 1))


def _chroma(picture: Float, weight: Float) -> float:
    """Mean departure from grey."""
    departure = np.abs(picture - (picture @ LUMA)[..., None]).mean(2)
    return float((departure * weight).sum() / weight.sum())


def _contrast(detail: Float, weight: Float) -> float:
    """Mean departure of luma, wherever there is any weight; glare and pupils count less."""
    return float(np.abs(np.clip((detail @ LUMA)[weight > 0], -60, 60)).mean()) + 0.5


def _low(values: Float, weight: Float, sigma: float) -> Float:
    """The weighted Gaussian mean around each pixel, per channel; the overall mean where no weight is near."""
    share = weight[..., None]
    mean = ((values * share).sum((0, 1)) / weight.sum()).astype(np.float32)
    near = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None] + np.float32(1e-3)
    return np.asarray(mean + cv2.GaussianBlur((values - mean) * share, (0, 0), sigma) / near, np.float32)
