"""Tells bare skin from what lies over it (hair, beard, glasses) by the colours of the face's own cheeks."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float

DARK: Final = 0.3
"""Least tolerance in brightness, as a natural logarithm: shade is not hair."""

TINT: Final = 7.0
"""Least tolerance in colour difference, in 8-bit levels of Cb and Cr."""

BLEACHED: Final = 0.8
"""How far towards white a highlight may take the colour of skin; white hair goes further."""

SURE: Final = 1.6
NEVER: Final = 3.2
"""Distance from the cheeks' colour, in tolerances, up to which a pixel is skin, and from which it is not."""


def skin_likeness(picture: Float, sample: NDArray[np.bool_]) -> Float:
    """(h, w) float32, 1 where `picture` (h, w, 3 BGR 0..255) looks like its own pixels in `sample`, else 0.

    Smooth between. The sample's median counts, so a part of it may be something else. A sample of less
    than 16 pixels tells nothing: all 1.
    """
    if np.count_nonzero(sample) < 16:
        return np.ones(picture.shape[:2], np.float32)
    values = cv2.cvtColor(picture / np.float32(255), cv2.COLOR_BGR2YCrCb)
    values[..., 0] = np.log(np.maximum(values[..., 0], 0.02))
    values[..., 1:] *= 255
    known = values[sample]
    middle = np.median(known, 0)
    spread = 1.5 * np.median(np.abs(known - middle), 0)
    tolerance = np.maximum(spread, (DARK, TINT, TINT)).astype(np.float32)
    values[..., 0] = np.where(
        values[..., 0] > middle[0], middle[0] + (values[..., 0] - middle[0]) / 2, values[..., 0]
    )
    away = values - middle
    # A highlight shifts skin from its own colour towards that of the light (Shafer's dichromatic model).
    bleach = np.float32(128) - middle[1:]
    share = (away[..., 1:] @ bleach) / max(float(bleach @ bleach), 1.0)
    share = np.where(away[..., 0] > 0, np.clip(share, 0, BLEACHED), 0)
    away[..., 1:] -= share[..., None] * bleach
    distance = np.linalg.norm(away / tolerance, axis=2)
    near = np.clip((NEVER - distance) / (NEVER - SURE), 0, 1)
    return np.asarray(near * near * (3 - 2 * near), np.float32)
