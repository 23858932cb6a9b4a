"""Blend mode `alpha`: the mask is the generated face's opacity."""

from __future__ import annotations

import cv2
import numpy as np

from facefusion_runner.faces.types import Mask, Picture


def alpha(target: Picture, generated: Picture, mask: Mask) -> Picture:
    """target · (1 - mask/255) + generated · mask/255, each product rounded to a whole level.

    Exactly `target` where the mask is 0, exactly `generated` where it is 255, exactly both where
    they are equal; elsewhere at most one level off. 8-bit products are twice as fast here as
    16-bit sums rounded once, and three times as fast as `cv2.blendLinear`.
    """
    weight = cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)
    over = cv2.multiply(generated, weight, scale=1 / 255)
    cv2.bitwise_not(weight, dst=weight)
    under = cv2.multiply(target, weight, dst=weight, scale=1 / 255)
    return np.asarray(cv2.add(over, under, dst=over), np.uint8)
