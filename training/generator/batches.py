"""Batches of samples, and the damage that costs too little to be drawn beforehand."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.generator.losses import Batch
from training.generator.samples import SIDE, Samples


def batch_of(samples: Samples, rows: NDArray[np.intp], mirror: bool = False) -> Batch:
    """The samples of `rows` as tensors, mirrored or not."""
    pixels = np.stack([samples.pixels[row] for row in rows])
    matrices = samples.matrices[rows].copy()
    if mirror:
        pixels = pixels[:, :, ::-1]
        matrices[:, 0] = -matrices[:, 0]
        matrices[:, 0, 2] += SIDE - 1
    stack = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
    face, target, mask, visibility, kept = stack.split([3, 3, 1, 1, 1], 1)
    swap = torch.from_numpy(samples.swap[rows])
    return Batch(
        face.contiguous(memory_format=torch.channels_last),
        target.contiguous(memory_format=torch.channels_last),
        mask,
        visibility,
        kept,
        torch.from_numpy(matrices),
        torch.from_numpy(samples.source[rows]),
        torch.from_numpy(samples.target[rows]),
        swap,
    )


def varied(rng: np.random.Generator, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both pictures of each sample under the same change of brightness, contrast and tint."""
    shape = (len(first), 1, 1, 1)
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.15, shape)).astype(np.float32))
    tint = torch.from_numpy(np.exp(rng.normal(0, 0.05, (len(first), 3, 1, 1))).astype(np.float32))
    return (first * gain * tint).clamp(0, 1), (second * gain * tint).clamp(0, 1)


def worsened(rng: np.random.Generator, face: Tensor) -> Tensor:
    """The drawn face blurred or off in colour by chance: what relighting left undone."""
    shape = (len(face), 3, 1, 1)
    off = torch.from_numpy(np.exp(rng.normal(0, 0.04, shape) * (rng.random((len(face), 1, 1, 1)) < 0.5)))
    face = (face * off.float()).clamp(0, 1)
    soft = F.avg_pool2d(face, 3, 1, 1)
    share = torch.from_numpy((rng.random((len(face), 1, 1, 1)) < 0.25) * rng.random((len(face), 1, 1, 1)))
    return face + share.float() * (soft - face)
