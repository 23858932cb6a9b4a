"""What every training loop needs: one thread, seeds, a learning rate that rises and falls, averaged weights,
checkpoints that a killed run goes on from."""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


def start(seed: int, threads: int = 1) -> np.random.Generator:
    """Seeds PyTorch and gives the generator of everything else. threads: of PyTorch; OpenCV gets none."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    cv2.setNumThreads(0)
    return np.random.default_rng(seed)


def cosine(step: int, steps: int, peak: float, warm_up: int = 200, floor: float = 0.01) -> float:
    """The learning rate of a step: up to `peak` in a line, then down to `floor` of it along half a cosine."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    share = min((step - warm_up) / max(steps - warm_up, 1), 1.0)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


class AveragedWeights(Generic[N]):
    """An exponential mean of a network's weights, which errs less than the weights of any one step."""

    def __init__(self, network: N, decay: float = 0.998) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 10))
        state = network.state_dict()
        for name, mean in self.network.state_dict().items():
            if mean.dtype.is_floating_point:
                mean.lerp_(state[name], 1 - decay)
            else:
                mean.copy_(state[name])


def save(path: Path, **state: Any) -> None:
    """Writes a checkpoint aside and renames it: a killed run leaves the last whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def restore(path: Path) -> dict[str, Any]:
    return dict(torch.load(path, map_location="cpu", weights_only=False))
