"""The network: a small residual trunk, points read off soft maps, and a linear model of the face's shape."""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn

POINTS: Final = 468
SIDE: Final = 128
"""Pixels of the square crop."""
BASIS: Final = 128
"""How many directions the shape may vary in."""
_MAPS: Final = 96
_GLOBAL: Final = 96


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class FaceMesh468(nn.Module):
    """(n, 3, 128, 128), RGB, (pixel - 127.5) / 127.5 -> (n, 1404): x, y, z of each point ÷ the crop's side.

    `_MAPS` soft maps of 16x16 are each read as the mean place of what they light up, so that a shifted face
    gives shifted points; these places and a summary of the coarsest features become `BASIS` weights of a
    linear shape model, which begins as the principal components of the training meshes and is trained on.

    mean: (1404,). basis: (BASIS, 1404), each direction scaled by its standard deviation.
    """

    def __init__(
        self,
        mean: Tensor | None = None,
        basis: Tensor | None = None,
        widths: tuple[int, int, int] = (40, 64, 112),
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.stem = nn.Sequential(
            nn.Conv2d(3, fine, 7, 4, 3, bias=False), nn.BatchNorm2d(fine), nn.ReLU(inplace=True)
        )
        self.fine = Residual(fine)
        self.middle = nn.Sequential(_convolution(fine, middle, 2), Residual(middle), Residual(middle))
        self.coarse = nn.Sequential(_convolution(middle, coarse, 2), Residual(coarse), Residual(coarse))
        self.lateral = nn.Conv2d(coarse, middle, 1)
        self.maps = nn.Sequential(_convolution(middle, middle), nn.Conv2d(middle, _MAPS, 1))
        self.summary = nn.Sequential(
            nn.Conv2d(coarse, 16, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16 * 64, _GLOBAL)
        )
        self.sharpness = nn.Parameter(torch.ones(1, _MAPS, 1))
        self.hidden = nn.Sequential(nn.Linear(2 * _MAPS + _GLOBAL, 192), nn.ReLU(inplace=True))
        self.weights = nn.Linear(2 * _MAPS + _GLOBAL + 192, BASIS)
        self.shape = nn.Linear(BASIS, POINTS * 3)
        rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        places = (torch.stack([columns, rows], -1).reshape(256, 2) + 0.5) / 16 - 0.5
        self.register_buffer("places", places * 8)
        if mean is not None and basis is not None:
            with torch.no_grad():
                self.shape.bias.copy_(mean)
                self.shape.weight.copy_(basis.T)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.middle(self.fine(self.stem(x)))
        coarse = self.coarse(middle)
        merged = middle + nn.functional.interpolate(self.lateral(coarse), scale_factor=2.0, mode="nearest")
        maps = (self.maps(merged).flatten(2) * self.sharpness).softmax(2)
        found = torch.cat([(maps @ self.places).flatten(1), self.summary(coarse)], 1)
        return cast(Tensor, self.shape(self.weights(torch.cat([found, self.hidden(found)], 1))))
