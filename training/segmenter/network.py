"""A U-Net for 128 pixels that works on four pixels at once: nothing is computed at the full side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from facefusion_runner.segmenters import CLASSES

SIDE: Final = 128
MEAN: Final = 127.5
STD: Final = 64.0
BIAS: Final = (0.0, 0.0, 0.0, 0.0, -0.7)
"""Added to the logits of what is exported: things in front of a face are rarer than in training."""

WIDTHS: Final = (24, 48, 72, 96)
"""Channels at a half, a quarter, an eighth and a sixteenth of the side."""


class Segmenter(nn.Module):
    """(n, 3, 128, 128) RGB, (pixel - MEAN) / STD -> (n, 5, 128, 128) logits of `CLASSES`."""

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first = widths[0]
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), _convolution(12, first), _convolution(first, first))
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(before, after, stride=2), _convolution(after, after))
            for before, after in pairwise(widths)
        )
        self.bottom = nn.Sequential(_convolution(widths[-1], widths[-1]), _Context(widths[-1]))
        self.narrow = nn.ModuleList(
            nn.Conv2d(before, after, 1) for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.up = nn.ModuleList(_convolution(width, width) for width in widths[-2::-1])
        self.head = nn.Sequential(nn.Conv2d(first, 4 * len(CLASSES), 3, padding=1), nn.PixelShuffle(2))

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.stem(pictures)
        seen = [x]
        for down in self.down:
            x = down(x)
            seen.append(x)
        x = self.bottom(seen.pop())
        for narrow, up in zip(self.narrow, self.up, strict=True):
            x = functional.interpolate(narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = up(x + seen.pop())
        logits: Tensor = self.head(x)
        return logits


class Shipped(nn.Module):
    """What is exported: probabilities, after a bias that makes the rarer classes less likely."""

    def __init__(self, network: nn.Module, bias: Sequence[float] = (0.0,) * len(CLASSES)) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("bias", torch.tensor(bias).view(1, -1, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.softmax(self.network(pictures) + self.bias, 1)


class _Context(nn.Module):
    """Adds what the whole picture shows to every place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.whole = nn.Linear(width, width)
        self.local = _convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        whole = torch.relu(self.whole(x.mean((2, 3))))
        added: Tensor = self.local(x) + whole[:, :, None, None]
        return added


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
