"""Makes one score mean the same for faces of all sizes.

The heads learn apart from each other, and the one for small faces doubts more. After calibration each misses
the same share of the faces on canvases as in training at the same score.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from training.detector.data import Mosaics
from training.detector.losses import assign
from training.detector.network import COLUMNS, PRIORS_PER_CELL, SIZES, RetinaFaceLight, priors

SCORE: Final = 0.7
MISSED: Final = 0.16
"""Share of the faces whose best prior stays below `SCORE`. Canvases are harder than pictures."""
_SIDE: Final = 320
_MEAN: Final = torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)


@torch.no_grad()
def calibrate(
    network: RetinaFaceLight, mosaics: Mosaics, rng: np.random.Generator, canvases: int = 400
) -> list[float]:
    """Moves the heads' log odds by what it returns, that of the smallest faces first."""
    network.eval()
    anchors = priors(_SIDE, _SIDE)
    level = np.searchsorted(np.ravel(SIZES), anchors[:, 2].numpy()) // PRIORS_PER_CELL
    best: list[list[float]] = [[] for _ in SIZES]
    for _ in range(canvases // 2):
        for picture, truth in mosaics.pair(rng, _SIDE):
            label, face = assign(truth, anchors.numpy())
            pixels = torch.from_numpy(picture.astype(np.float32).transpose(2, 0, 1)[None])
            logits = network.columns(pixels - _MEAN)[0][0, :, 0].numpy()
            for index in np.flatnonzero(truth.learned):
                for head, seen in enumerate(best):
                    own = (label == 1) & (face == index) & (level == head)
                    if own.any():
                        seen.append(float(logits[own].max()))
    wanted = float(np.log(SCORE / (1 - SCORE)))
    moves = [wanted - float(np.quantile(seen, MISSED)) for seen in best]
    for module, move in zip(network.heads, moves, strict=True):
        assert isinstance(module, torch.nn.Conv2d) and module.bias is not None
        module.bias[::COLUMNS] += move
    return moves
