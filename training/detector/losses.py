"""Which prior answers for which face, and how wrong the answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from facefusion_runner.faces.types import Float
from training.detector.data import Truth

CENTRE_VARIANCE: Final = 0.1
SIZE_VARIANCE: Final = 0.2
_NEAR: Final = 0.45
"""Overlap from which a prior answers for a face; below `_FAR` it stands for background."""
_FAR: Final = 0.3
_CLOSEST: Final = 3
"""So many priors answer for each face, however little they overlap."""
_FEWEST: Final = 12
"""Priors with a face that each canvas counts for at least: one without any must not outweigh the others."""
_POINTS_WEIGHT: Final = 2.0
_SCORE_WEIGHT: Final = 6.0
_BOX_WEIGHT: Final = 2.0
_TEACHER_WEIGHT: Final = 1.5
_FEATURES_WEIGHT: Final = 1.0
_QUIET: Final = 0.02
"""How much a place without a face, by teacher and network, counts beside one with a face."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """For a batch, each prior's: 1 face, 0 background, -1 neither; and for the faces' priors their truths."""

    labels: Tensor
    """(n, priors) float32"""
    boxes: Tensor
    """(faces' priors, 4)"""
    points: Tensor
    """(faces' priors, 5, 2)"""


def targets(truths: Sequence[Truth], priors: Float) -> Targets:
    """priors: (n, 3), see `network.priors`."""
    labels, boxes, points = [], [], []
    for truth in truths:
        label, face = assign(truth, priors)
        labels.append(label)
        own = face[label == 1]
        boxes.append(truth.boxes[own])
        points.append(truth.points[own])
    return Targets(
        torch.from_numpy(np.stack(labels)),
        torch.from_numpy(np.concatenate(boxes)),
        torch.from_numpy(np.concatenate(points)),
    )


def assign(truth: Truth, priors: Float) -> tuple[Float, NDArray[np.intp]]:
    """(n,) label of each prior and the face it overlaps most."""
    label = np.zeros(len(priors), np.float32)
    if not len(truth.boxes):
        return label, np.zeros(len(priors), np.intp)
    half = priors[:, 2:] / 2
    corners = np.hstack([priors[:, :2] - half, priors[:, :2] + half])
    shared = np.ones((len(priors), len(truth.boxes)), np.float32)
    for axis in (0, 1):
        far = np.minimum(corners[:, None, axis + 2], truth.boxes[None, :, axis + 2])
        near = np.maximum(corners[:, None, axis], truth.boxes[None, :, axis])
        shared *= np.maximum(far - near, 0)
    extents = truth.boxes[:, 2:] - truth.boxes[:, :2]
    overlap = shared / (priors[:, 2:] ** 2 + extents.prod(1) - shared)
    overlap[:, ~truth.learned] *= 0.999
    face = overlap.argmax(1)
    most = overlap[np.arange(len(priors)), face]
    label[most >= _FAR] = -1
    label[(most >= _NEAR) & truth.learned[face]] = 1
    for index in np.flatnonzero(truth.learned):
        closest = np.argpartition(-overlap[:, index], _CLOSEST)[:_CLOSEST]
        closest = closest[overlap[closest, index] > 0.1]
        label[closest], face[closest] = 1, index
    hidden = truth.boxes[~truth.learned]
    for left, top, right, bottom in hidden:
        inside = (
            (priors[:, 0] > left) & (priors[:, 0] < right) & (priors[:, 1] > top) & (priors[:, 1] < bottom)
        )
        label[inside & (label == 0) & (priors[:, 2] < 2.5 * max(right - left, bottom - top, 8))] = -1
    return label, face


def losses(found: Tensor, wanted: Targets, priors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Focal loss of the scores, GIoU loss of the boxes, smooth L1 loss of the points, ready to be added.

    found: (n, priors, 15).
    """
    is_face = wanted.labels == 1
    count = max(int(is_face.sum()), 1)
    counted = wanted.labels >= 0
    logits, labels = found[..., 0][counted], wanted.labels[counted]
    chance = torch.sigmoid(logits)
    missed = torch.where(labels == 1, 1 - chance, chance)
    weight = torch.where(labels == 1, 0.35, 0.65) * missed**2
    entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    score = _SCORE_WEIGHT * (weight * entropy).sum() / max(count, _FEWEST * len(found))
    own = priors.expand(len(found), -1, -1)[is_face]
    answers = found[is_face]
    centre = own[:, :2] + answers[:, 1:3] * CENTRE_VARIANCE * own[:, 2:]
    half = own[:, 2:] * torch.exp((answers[:, 3:5] * SIZE_VARIANCE).clamp(-4, 4)) / 2
    boxes = torch.cat([centre - half, centre + half], 1)
    extents = wanted.boxes[:, 2:] - wanted.boxes[:, :2]
    size = extents.prod(1).sqrt().clamp(min=8)
    share = _shares(own[:, 2])
    box = (_giou_loss(boxes, wanted.boxes) * share).sum()
    points = own[:, None, :2] + answers[:, 5:].reshape(-1, 5, 2) * CENTRE_VARIANCE * own[:, None, 2:]
    error = (points - wanted.points) / size[:, None, None]
    point = functional.smooth_l1_loss(error * 20, torch.zeros_like(error), beta=0.5, reduction="none")
    return score, _BOX_WEIGHT * box, _POINTS_WEIGHT * (point.mean((1, 2)) * share).sum()


def to_teacher(found: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
    """Smooth L1 loss of the log odds of a face against the teacher's, where the truth is not against it.

    found: (n, priors, 15). labels: (n, priors), see `Targets`. logits: (n, priors).
    """
    agreed = ((labels != 1) | (logits > 0)) & ((labels != 0) | (logits < 0))
    own = found[..., 0]
    near = torch.maximum(torch.sigmoid(own.detach()), torch.sigmoid(logits))
    weight = torch.where(agreed, near + _QUIET, torch.zeros_like(near))
    error = functional.smooth_l1_loss(own, logits, beta=1.0, reduction="none")
    return _TEACHER_WEIGHT * (weight * error).sum() / weight.sum().clamp(min=1)


def features_to_teacher(found: Sequence[Tensor], wanted: Sequence[Tensor], logits: Tensor) -> Tensor:
    """Squared error of features, in units of the teacher's own variance, more where it sees a face.

    found, wanted: per stride (n, channels, height, width). logits: of the teacher, (n, priors).
    """
    total, first = found[0].new_zeros(()), 0
    for ours, theirs in zip(found, wanted, strict=True):
        count, _, height, width = theirs.shape
        cells = logits[:, first : first + 2 * height * width].reshape(count, height, width, 2)
        first += 2 * height * width
        weight = torch.sigmoid(cells).amax(-1)[:, None] + 0.1
        error = (ours - theirs).square().mean(1, keepdim=True) / theirs.var().clamp(min=1e-3)
        total = total + (weight * error).sum() / weight.sum()
    return _FEATURES_WEIGHT * total / len(found)


def _shares(sizes: Tensor) -> Tensor:
    """(n,) weights that sum to at most 1: each stride has the same, however few faces are large."""
    level = (sizes > 32).long() + (sizes > 128).long()
    counts = torch.bincount(level, minlength=3)
    return 1 / (counts.clamp(min=_FEWEST)[level] * max(int((counts > 0).sum()), 1))


def _giou_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """(n,) of boxes (n, 4)."""
    low, high = torch.maximum(found[:, :2], wanted[:, :2]), torch.minimum(found[:, 2:], wanted[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = (found[:, 2:] - found[:, :2]).prod(1) + (wanted[:, 2:] - wanted[:, :2]).prod(1)
    union = areas - shared
    low, high = torch.minimum(found[:, :2], wanted[:, :2]), torch.maximum(found[:, 2:], wanted[:, 2:])
    around = (high - low).prod(1)
    return 1 - shared / union.clamp(min=1e-6) + (around - union) / around.clamp(min=1e-6)
