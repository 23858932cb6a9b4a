"""What the blender is rewarded for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.generator.identity import Identity
from training.generator.network import Blender, Critic

CORE = 0.98
"""Mask from which on a pixel is wholly the face's."""

RIM = 8
"""Pixels inside the core in which the face must have come near to the target's own colour."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples as tensors, colours BGR 0..1. The first half reconstructs, the second half swaps."""

    face: Tensor
    target: Tensor
    mask: Tensor
    visibility: Tensor
    kept: Tensor
    matrices: Tensor
    source: Tensor
    """(n, d): the embedding to reach."""
    avoid: Tensor
    """(n, d): the target's embedding."""
    swap: Tensor
    """(n,): bool."""


def composite(batch: Batch, blended: Tensor, alpha: Tensor) -> Tensor:
    """The crop with the face in it, and the target's open mouth over that."""
    return batch.target + alpha * (1 - batch.kept) * (blended - batch.target)


def mean_inside(values: Tensor, weight: Tensor) -> Tensor:
    """The mean over the pixels of all samples alike, each weighted; (n, c, h, w) and (n, 1, h, w)."""
    return (values * weight).sum() / (weight.sum() * values.shape[1] + 1)


def detail(x: Tensor, reach: int = 8) -> Tensor:
    """What lies above the frequencies that `reach` pixels can hold."""
    low = F.avg_pool2d(x, reach)
    return x - F.interpolate(low, scale_factor=reach, mode="bilinear", align_corners=False)


def middle(x: Tensor) -> Tensor:
    """The part of a crop (template ffhq_512) in which the face lies: 3/4 of its side."""
    side = x.shape[-1]
    part = x[:, :, side // 4 :, side // 8 : side // 8 * 7]
    return part.contiguous(memory_format=torch.channels_last)


def put_back(part: Tensor, whole: Tensor) -> Tensor:
    """`whole` with its middle replaced."""
    side = whole.shape[-1]
    lines = torch.cat(
        [whole[:, :, side // 4 :, : side // 8], part, whole[:, :, side // 4 :, side // 8 * 7 :]], 3
    )
    return torch.cat([whole[:, :, : side // 4], lines], 2)


def steps(x: Tensor) -> Tensor:
    """Differences of neighbours: (n, 2c, h - 1, w - 1)."""
    return torch.cat([x[..., 1:, 1:] - x[..., 1:, :-1], x[..., 1:, 1:] - x[..., :-1, 1:]], 1)


def blender_losses(
    batch: Batch,
    blended: Tensor,
    alpha: Tensor,
    critic: Critic | None,
    identity: Identity | None,
    jitter: Tensor,
    whole: Tensor,
) -> dict[str, Tensor]:
    """The weighted terms, from the middles of the crops; of critic and identity those that are given.

    jitter: (n, 2, 3) moves what the encoder sees, so that no pixel grid is learned. whole: the target crops.
    """
    picture = composite(batch, blended, alpha)
    inside = (batch.mask > 0.02).float() * (batch.kept < 0.5)
    swap, own = batch.swap, ~batch.swap
    terms: dict[str, Tensor] = {}

    truth, where = batch.target[own], inside[own]
    terms["pixels"] = 8 * mean_inside((picture[own] - truth).abs(), where)
    terms["edges"] = 4 * mean_inside((steps(picture[own]) - steps(truth)).abs(), where[..., 1:, 1:])

    made, face, target = picture[swap], batch.face[swap], batch.target[swap]
    trusted = batch.visibility[swap] * (batch.mask[swap] > CORE).float()
    terms["detail"] = 6 * mean_inside((detail(made) - detail(face)).abs(), trusted)
    light = (F.avg_pool2d(made, 32, 16) - F.avg_pool2d(target, 32, 16)).abs()
    rim = inside[swap] * (F.avg_pool2d(batch.mask, 2 * RIM + 1, 1, RIM)[swap] < CORE)
    edge = (F.avg_pool2d(made, 9, 1, 4) - F.avg_pool2d(target, 9, 1, 4)).abs()
    terms["rim"] = 2 * mean_inside(edge, rim)
    terms["light"] = 2 * mean_inside(light, F.avg_pool2d(inside[swap], 32, 16))

    band = ((batch.mask > 0.02) & (batch.mask < CORE)).float()
    natural = steps(batch.face) * batch.mask[..., 1:, 1:] + steps(batch.target) * (
        1 - batch.mask[..., 1:, 1:]
    )
    terms["seam"] = 8 * mean_inside((steps(picture) - natural).abs(), band[..., 1:, 1:])

    if identity is not None:
        found = identity(put_back(made, whole[swap]), (batch.matrices + jitter)[swap])
        near = (found * batch.source[swap]).sum(1)
        far = F.relu((found * batch.avoid[swap]).sum(1))
        terms["identity"] = 3 * (1 - near).mean() + 1.5 * far.mean()

    if critic is not None:
        terms["adversary"] = -0.6 * mean_inside(critic(picture), F.avg_pool2d(inside, 8))
    return terms


def critic_loss(critic: Critic, real: Tensor, made: Tensor, inside: Tensor) -> Tensor:
    """Hinge, on the face alone: everywhere else the two are the same picture."""
    weight = F.avg_pool2d(inside, 8)
    return mean_inside(F.relu(1 - critic(real)), weight) + mean_inside(F.relu(1 + critic(made)), weight)


def steadiness(
    network: Blender, batch: Batch, blended: Tensor, alpha: Tensor, shift: tuple[int, int]
) -> Tensor:
    """How much the answer departs from a shift when all inputs are shifted and gain some noise."""
    part = slice(0, len(batch.face), 4)

    def moved(x: Tensor) -> Tensor:
        return torch.roll(x[part], shift, (2, 3))

    noise = 0.01 * torch.randn_like(batch.face[part])
    again, alpha_again = network(
        moved(batch.face) + noise, moved(batch.target), moved(batch.mask), moved(batch.visibility)
    )
    inside = moved((batch.mask > 0.02).float())
    with torch.no_grad():
        expected, alpha_expected = moved(blended) + noise, moved(alpha)
    return 4 * mean_inside((again - expected).abs(), inside) + mean_inside(
        (alpha_again - alpha_expected).abs(), inside
    )
