"""How wrong a batch of meshes is."""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor

from facefusion_runner.landmarkers.schemes import SCHEMES

LEFT_EYE: Final = (33, 133)
RIGHT_EYE: Final = (362, 263)
"""The corners, as seen in the picture."""
_DEPTH: Final = 0.4
_AGREEMENT: Final = 0.4
_STILL: Final = 1e-3


def interocular(meshes: Tensor) -> Tensor:
    """(n, 468, 3) -> (n,): distance of the eyes' centres, each midway between its corners, in space."""
    left, right = (meshes[:, list(corners)].mean(1) for corners in (LEFT_EYE, RIGHT_EYE))
    return cast(Tensor, torch.linalg.vector_norm(right - left, dim=1))


def point_error(found: Tensor, truth: Tensor) -> Tensor:
    """(n, 468): distance in the picture ÷ the interocular distance."""
    distance = cast(Tensor, torch.linalg.vector_norm((found - truth)[..., :2], dim=2))
    return distance / interocular(truth)[:, None]


def emphasis() -> Tensor:
    """(468,), mean 1: the points that the 68 of iBUG are made of (eyes, lips, contour) count three times."""
    used = torch.from_numpy(SCHEMES["facemesh_468"].weights.any(0))
    weights = torch.where(used, 3.0, 1.0)
    return weights / weights.mean()


def mesh_loss(found: Tensor, truth: Tensor, linear: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, mean distance of points), both ÷ the interocular distance.

    found, truth: (2 n, 468, 3), row i and row n + i being two views of one face. linear: (2 n, 2, 2), from
    the face's common pixels to each view. The loss is the points' distance in the picture, their error in
    depth, and the distance between the two views' answers in the common pixels: what trembles in a video.
    """
    size = interocular(truth)[:, None]
    error = found - truth
    flat, depth = error[..., :2], error[..., 2].abs() / size
    distance = (flat.square().sum(2) + (_STILL * size) ** 2).sqrt() / size
    common = flat @ torch.linalg.inv(linear).transpose(1, 2)
    scale = torch.linalg.det(linear).sqrt()[:, None, None]
    first, second = (common * scale.mean()).chunk(2)
    between = ((first - second).square().sum(2) + 1e-8).sqrt() / size.chunk(2)[0]
    terms = (distance + _DEPTH * depth) @ weights / len(weights)
    agreement = between @ weights / len(weights)
    return terms.mean() + _AGREEMENT * agreement.mean(), distance.detach().mean()
