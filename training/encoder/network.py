"""The encoder's network: a small residual one of dense convolutions, which a CPU trains and runs fast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

DIMENSION: Final = 128
SIDE: Final = 112
_STEM: Final = 24
_WIDTHS: Final = (56, 112, 192)
"""At a quarter, an eighth and a sixteenth of the crop's side."""
_BLOCKS: Final = (1, 2, 2)
_LAST: Final = 256


class Encoder(nn.Module):
    """(n, 3, 112, 112) RGB, (x - 127.5) / 127.5, to (n, 128) embeddings, not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(2), _convolution(12, _STEM), _convolution(_STEM, _WIDTHS[0], stride=2)
        )
        stages: list[nn.Module] = []
        for index, (width, blocks) in enumerate(zip(_WIDTHS, _BLOCKS, strict=True)):
            if index:
                stages.append(_convolution(_WIDTHS[index - 1], width, stride=2))
            stages += [Block(width) for _ in range(blocks)]
        self.stages = nn.Sequential(*stages)
        self.last = _convolution(_WIDTHS[-1], _LAST, side=1)
        # A weight per place and channel (MobileFaceNet's global depthwise convolution): an aligned face has
        # its parts in known places, which a mean over the map forgets.
        self.gather = nn.Conv2d(_LAST, _LAST, SIDE // 16, groups=_LAST, bias=False)
        self.embed = nn.Linear(_LAST, DIMENSION)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.last(self.stages(self.stem(pictures)))
        return self.embed(self.gather(features).flatten(1))  # type: ignore[no-any-return]


class Shipped(nn.Module):
    """The encoder as it is used: a face and its mirror image are seen, and the embedding is whitened.

    A network that is not sure leans to the mean: it tells little in the directions in which persons are hard
    to tell, and too much in the others. The covariance of its own embeddings says which are which.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.zeros(DIMENSION))
        self.register_buffer("whitening", torch.eye(DIMENSION))

    def forward(self, pictures: Tensor) -> Tensor:
        """As `Encoder`; not normalised."""
        both = self.encoder(torch.cat([pictures, pictures.flip(3)]))
        embedding = functional.normalize(both.reshape(2, -1, DIMENSION).sum(0))
        return (embedding - self.mean) @ self.whitening

    @torch.no_grad()
    def whiten(self, pictures: Tensor) -> None:
        """Takes the mean and the covariance from pictures (n, 3, 112, 112) of many persons.

        The covariance is drawn half way to a multiple of the identity: its small eigenvalues are noise.
        """
        self.mean.zero_()
        self.whitening.copy_(torch.eye(DIMENSION))
        found = torch.cat([self(part) for part in pictures.split(32)])
        covariance = found.T.cov()
        values, vectors = torch.linalg.eigh(covariance + covariance.diagonal().mean() * torch.eye(DIMENSION))
        self.mean.copy_(found.mean(0))
        self.whitening.copy_(vectors / values.sqrt())


class Block(nn.Module):
    """Two convolutions and what they are added to (He et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)))


def load(source: Path | Mapping[str, Any]) -> Shipped:
    """The trained encoder, frozen, in inference mode; gradients still reach its input.

    source: a checkpoint of `python -m training.encoder` or its content.
    """
    if isinstance(source, Path):
        source = torch.load(source, map_location="cpu", weights_only=False)
    network = Shipped(Encoder())
    network.encoder.load_state_dict(source["averaged"])
    if "shipped" in source:
        network.load_state_dict(source["shipped"])
    return network.eval().requires_grad_(False)


def _convolution(inputs: int, outputs: int, stride: int = 1, side: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
