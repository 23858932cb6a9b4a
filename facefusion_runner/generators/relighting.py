"""Gives a face the colours and the light of the place it is put into."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float, Picture

LUMA: Final = np.array([0.114, 0.587, 0.299], np.float32)
"""BT.601 luma of BGR."""

GAIN: Final = (0.3, 3.0)
"""Limits of the change in brightness."""

TINT: Final = (0.45, 1.9)
"""Limits of each channel's change beside it: skin may change its colour, grey hair should not turn green."""

DARK: Final = (1.4, 2.4)
"""Brightening from which a source's colour is given up by and by, and at which nothing of it is left."""

CONTRAST: Final = (0.5, 1.3)
"""Limits of the change in contrast: a poor camera or haze leaves half of a portrait's."""

VIVIDNESS: Final = (0.85, 1.2)
"""Limits of each channel's change in contrast beside it: coloured light makes pale shade vivid."""

GLARE: Final = 1.2
"""Brightness, in parts of the target's around it, above which a face's detail counts as glare."""

GLOSS: Final = 0.4
"""Share that glare keeps above that."""

FINE: Final = 0.01
"""Standard deviation of the blur that sets fine detail apart, as a part of the crop's side."""

DEFINITION: Final = 0.3
"""Least share of its fine detail that a face keeps in a blurred target."""

EDGE: Final = 40.0
"""Fine detail in 8-bit levels beyond which an edge counts no more: a glint, a moustache, glasses."""

REACH: Final = 2.5
"""How far a Gaussian is followed, in standard deviations."""

FLOOR: Final = 4.0
"""Added to both sides of a ratio, so that black does not blow up."""


def light(face: Float, target: Float, weight: Float, sigma: float) -> tuple[Float, Float]:
    """What gives `face` the light of `target`: a gain and an offset per pixel and channel (h, w, 3).

    Both pictures are (h, w, 3) BGR 0..255 in one frame, `weight` (h, w) says where both show skin.
    Light falls on skin by multiplication, so shade and tint are taken over as the ratio of the low
    frequencies (Gaussian, `sigma` pixels) of each channel, and the detail above them is given the
    target's contrast, channel by channel. Where there is no skin near, all continue what is known; without
    any skin they change nothing.
    """
    if not weight.any():
        return np.ones_like(face), np.zeros_like(face)
    there = _low(target, weight, sigma)
    here = _low(face, weight, sigma)
    shade = np.clip((there @ LUMA + FLOOR) / (here @ LUMA + FLOOR), *GAIN)[..., None]
    tint = np.clip((there + FLOOR) / (here * shade + FLOOR), *TINT)
    gain = np.asarray(shade * tint, np.float32)
    wanted, given = (_contrast(detail, weight) for detail in (target - there, (face - here) * gain))
    contrast = np.clip(wanted @ LUMA / (given @ LUMA), *CONTRAST)
    contrast = np.asarray(contrast * np.clip(wanted / given / contrast, *VIVIDNESS), np.float32)
    return gain * contrast, here * gain * (1 - contrast)


def hue(face: Float, target: Float, weight: Float, sigma: float) -> Float:
    """(h, w, 4): the target's colour at a luma of 1 (BGR), times the share in which to take it; that share.

    Pictures, `weight` and `sigma` as for `light`. What lies in deep shadow in the source has no colour
    worth making bright: a camera's noise and compression would be seen as yellow and blue stains.
    """
    if not weight.any():
        return np.zeros((*face.shape[:2], 4), np.float32)
    there = _low(target, weight, sigma)
    here = _low(face, weight, sigma)
    luma = there @ LUMA + FLOOR
    brightened = (luma / (here @ LUMA + FLOOR) - DARK[0]) / np.float32(DARK[1] - DARK[0])
    share = np.clip(brightened, 0, 1)[..., None]
    return np.concatenate([share * (there + FLOOR) / luma[..., None], share], 2)


def calm(target: Float, weight: Float, sigma: float) -> Float:
    """(h, w): the brightness of the target's skin around each pixel; the rest as for `light`."""
    return np.asarray(_low(target, weight, sigma) @ LUMA, np.float32)


def without_glare(face: Float, around: Float, share: Float) -> Float:
    """`face` (h, w, 3) with what is much brighter than `around` (h, w, see `calm`) brought down, by `share`.

    Glints on dark skin come out white when that skin is brightened, as no light skin's do.
    """
    bright = (face @ LUMA) / (around + np.float32(FLOOR))
    over = np.maximum(bright - np.float32(GLARE), 0) * share
    return np.asarray(
        face * (1 - np.float32(1 - GLOSS) * over / np.maximum(bright, 1))[..., None], np.float32
    )


def defined(face: Picture, target: Picture, inside: NDArray[np.bool_], side: int) -> Float:
    """`face` with no more fine detail than `target` has: a portrait is sharper than most frames of a film.

    Both pictures are (h, w, 3) BGR in one frame, parts of a crop of `side` pixels; `inside` (h, w) is where
    they are compared. Detail of another sharpness than what surrounds it looks pasted on, and flickers at
    the least motion. Compared by its root mean square, which edges dominate and not the skin's texture.
    Returns (h, w, 3) float32; a target that is sharper leaves the face as it is.
    """
    sharp = np.asarray(face, np.float32)
    if not inside.any():
        return sharp
    sigma = FINE * side
    share = _sharpness(target, inside, sigma) / max(_sharpness(face, inside, sigma), 1e-6)
    if share >= 1:
        return sharp
    soft = cv2.GaussianBlur(face, (0, 0), sigma)
    share = max(share, DEFINITION)
    return np.asarray(cv2.addWeighted(face, share, soft, 1 - share, 0, dtype=cv2.CV_32F), np.float32)


def _sharpness(picture: Picture, inside: NDArray[np.bool_], sigma: float) -> float:
    """Root mean square of the fine detail of luma, in parts of its mean."""
    luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    detail = np.clip((luma - cv2.GaussianBlur(luma, (0, 0), sigma))[inside], -EDGE, EDGE)
    return float(np.sqrt(np.square(detail).mean()) / (luma[inside].mean() + FLOOR))


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


def _contrast(detail: Float, weight: Float) -> Float:
    """(3,): mean departure of each channel, wherever there is any weight; glare and pupils count less."""
    return np.asarray(np.abs(np.clip(detail[weight > 0], -60, 60)).mean(0) + np.float32(0.5), np.float32)


def _low(values: Float, weight: Float, sigma: float) -> Float:
    """The weighted Gaussian mean around each pixel, per channel; the overall mean where no weight is near."""
    share = weight[..., None]
    mean = ((values * share).sum((0, 1)) / weight.sum()).astype(np.float32)
    reach = 2 * round(REACH * sigma) + 1
    known = cv2.GaussianBlur(np.dstack([(values - mean) * share, weight]), (reach, reach), sigma)
    return np.asarray(mean + known[..., :3] / (known[..., 3:] + np.float32(1e-3)), np.float32)
