"""Blend mode `seamless`: the generated face's gradients under the target's light at the edge.

Poisson image editing (Pérez, Gangnet and Blake, SIGGRAPH 2003). With the gradients of the generated
picture as guidance its solution is that picture plus a membrane: the harmonic function that equals
target - generated on the edge. The membrane is solved here by coarse-to-fine relaxation.

`cv2.seamlessClone` is not used: it solves over the mask's bounding box, so that it changes pixels
outside the mask and the edge of a mask that is no rectangle keeps a step; it moves the result by the
parity of the box, refuses masks that touch the picture's border, and takes fifteen times as long.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.faces.types import Float, Mask, Picture

_HALF_FULL: Final = 128
_COARSEST: Final = 8
_COARSEST_STEPS: Final = 40
_STEPS: Final = 6
# A coarse cell that the edge crosses is held fixed unless more of it than this lies inside. Were it
# always, the edge would move inwards by up to a cell; five times the error against the exact solution.
_INSIDE: Final = 0.8
_NEIGHBOURS: Final = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4
_CROSS: Final = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def seamless(target: Picture, generated: Picture, mask: Mask) -> Picture:
    """Clones `generated` where the mask is at least half full, then blends by the mask.

    Outside that edge `target` stays, and at the edge the clone meets it, so that the mask's feather
    only hides what texture the edge has. At the picture's border the membrane is free. Where the
    mask leaves no edge or nothing inside it (a face that fills the picture, an almost empty mask)
    there is nothing to solve and the result is that of `alpha`.
    """
    inside = np.asarray(mask >= _HALF_FULL, np.uint8)
    edge = cv2.subtract(cv2.dilate(inside, _CROSS), inside)
    if not inside.any() or not edge.any():
        return alpha(target, generated, mask)
    membrane = _membrane(
        np.asarray(cv2.subtract(target, generated, dtype=cv2.CV_32F), np.float32),
        np.asarray(edge, np.float32),
        np.asarray(inside, np.float32),
    )
    clone = cv2.add(generated, membrane, dtype=cv2.CV_8U)
    cv2.copyTo(target, 1 - inside, clone)
    return alpha(target, np.asarray(clone, np.uint8), mask)


def _membrane(values: Float, edge: Float, inside: Float) -> Float:
    """The surface that equals `values` (h, w, 3) on the edge and is harmonic between; free at the border.

    `edge` and `inside` (h, w) are the parts of each pixel that lie on the edge and inside it.
    Solved on half the resolution first, which leaves only short waves to relax here.
    """
    height, width = edge.shape
    fixed = np.asarray((edge > 0) & (inside <= _INSIDE), np.uint8)
    if max(height, width) <= _COARSEST:
        mean = np.average(values.reshape(-1, 3), axis=0, weights=edge.ravel())
        return _relax(np.full(values.shape, mean, np.float32), values, fixed, _COARSEST_STEPS)
    half = ((width + 1) // 2, (height + 1) // 2)
    half_edge = _resize(edge, half, cv2.INTER_AREA)
    weighted = _resize(values * edge[:, :, None], half, cv2.INTER_AREA)
    half_values = np.asarray(weighted / np.maximum(half_edge, 1e-9)[:, :, None], np.float32)
    half_surface = _membrane(half_values, half_edge, _resize(inside, half, cv2.INTER_AREA))
    return _relax(_resize(half_surface, (width, height), cv2.INTER_LINEAR), values, fixed, _STEPS)


def _relax(surface: Float, values: Float, fixed: NDArray[np.uint8], steps: int) -> Float:
    """Jacobi steps towards the surface whose every pixel that is not fixed is its neighbours' mean."""
    cv2.copyTo(values, fixed, surface)
    for _ in range(steps):
        surface = np.asarray(
            cv2.filter2D(surface, -1, _NEIGHBOURS, borderType=cv2.BORDER_REPLICATE), np.float32
        )
        cv2.copyTo(values, fixed, surface)
    return surface


def _resize(values: Float, size: tuple[int, int], interpolation: int) -> Float:
    return np.asarray(cv2.resize(values, size, interpolation=interpolation), np.float32)
