"""RetinaFace (Deng et al., CVPR 2020) with classic priors and a light backbone of plain 3x3 convolutions.

Input: (n, 3, height, width) float32 BGR minus (104, 117, 123), sides multiples of 32. Strides 8, 16 and 32
with two priors in each cell; their sizes and variances are those of the family `retinaface`.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES: Final = (8, 16, 32)
SIZES: Final = ((16, 32), (64, 128), (256, 512))
PRIORS_PER_CELL: Final = 2
COLUMNS: Final = 1 + 4 + 10
"""Of each prior: score, box, five points."""
NECK: Final = 48
"""Channels that the heads see."""
_UNIT: Final = 1 / 64
Widths = tuple[int, int, int, int, int]


def _convolution(inputs: int, outputs: int, stride: int = 1, side: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """Two convolutions around which the input passes."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)))


class RetinaFaceLight(nn.Module):
    """Answers as the family reads it; `columns` are for the losses."""

    def __init__(
        self, widths: tuple[int, int, int, int, int] = (16, 32, 48, 80, 128), neck: int = NECK
    ) -> None:
        super().__init__()
        stem, quarter, eighth, sixteenth, last = widths
        self.stem = nn.Sequential(_convolution(3, stem, 2), _convolution(stem, quarter, 2))
        self.eighth = nn.Sequential(_convolution(quarter, eighth, 2), _Residual(eighth))
        self.sixteenth = nn.Sequential(_convolution(eighth, sixteenth, 2), _Residual(sixteenth))
        self.last = nn.Sequential(_convolution(sixteenth, last, 2), _Residual(last), _Residual(last, 2))
        self.whole = nn.Sequential(_convolution(last, last, 2), _convolution(last, neck, 1))
        self.laterals = nn.ModuleList(_convolution(w, neck, side=1) for w in (eighth, sixteenth, last))
        self.merges = nn.ModuleList(_convolution(neck, neck) for _ in STRIDES)
        self.towers = nn.ModuleList(_convolution(neck, neck) for _ in STRIDES)
        self.heads = nn.ModuleList(nn.Conv2d(neck, PRIORS_PER_CELL * COLUMNS, 1) for _ in STRIDES)
        for head in self.heads:
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
            with torch.no_grad():
                head.bias[::COLUMNS] = -4.0

    def columns(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(n, priors, 15): logit, four of the box, ten of the points; and what the heads see per stride."""
        eighth = self.eighth(self.stem(pictures * _UNIT))
        sixteenth = self.sixteenth(eighth)
        last = self.last(sixteenth)
        above = self.whole(last)
        rows, seen = [], []
        levels = zip(
            (eighth, sixteenth, last), self.laterals, self.merges, self.towers, self.heads, strict=True
        )
        for features, lateral, merge, tower, head in reversed(list(levels)):
            above = merge(lateral(features) + _enlarged(above, features))
            seen.append(tower(above))
            found = head(seen[-1]).permute(0, 2, 3, 1)
            rows.append(found.reshape(found.shape[0], -1, COLUMNS))
        return torch.cat(rows[::-1], 1), seen[::-1]

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found, _ = self.columns(pictures)
        face = torch.sigmoid(found[..., :1])
        return found[..., 1:5], torch.cat([1 - face, face], -1), found[..., 5:]


def _enlarged(coarse: Tensor, fine: Tensor) -> Tensor:
    """Twice as large, cut down to `fine` where its side was odd."""
    twice = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    return twice[:, :, : fine.shape[2], : fine.shape[3]]


def priors(height: int, width: int) -> Tensor:
    """(n, 3) float32: centre x, y and size of each prior in pixels, in the order of the rows."""
    rows = []
    for stride, sizes in zip(STRIDES, SIZES, strict=True):
        y, x = torch.meshgrid(
            torch.arange(height // stride, dtype=torch.float32),
            torch.arange(width // stride, dtype=torch.float32),
            indexing="ij",
        )
        cells = torch.stack([x, y], -1).reshape(-1, 1, 2) * stride + stride / 2
        both = torch.tensor(sizes, dtype=torch.float32).reshape(1, -1, 1)
        rows.append(
            torch.cat([cells.expand(-1, len(sizes), -1), both.expand(len(cells), -1, -1)], -1).reshape(-1, 3)
        )
    return torch.cat(rows)
