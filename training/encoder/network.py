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
        self.embed = nn.Sequential(nn.BatchNorm1d(_LAST), nn.Linear(_LAST, DIMENSION))

    def map(self, pictures: Tensor) -> Tensor:
        """(n, 256, 7, 7): what the embedding is gathered from."""
        return self.last(self.stages(self.stem(pictures)))  # type: ignore[no-any-return]

    def head(self, features: Tensor) -> Tensor:
        return self.embed(self.gather(features).flatten(1))  # type: ignore[no-any-return]

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.map(pictures))


class Block(nn.Module):
    """Two convolutions and what they are added to (He et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)))


def load(source: Path | Mapping[str, Any]) -> Encoder:
    """The trained encoder, frozen, in inference mode; gradients still reach its input.

    source: a checkpoint of `python -m training.encoder`, its content, or a state dictionary.
    """
    if isinstance(source, Path):
        source = torch.load(source, map_location="cpu", weights_only=False)
    network = Encoder()
    network.load_state_dict(source.get("averaged", source))
    return network.eval().requires_grad_(False)


def _convolution(inputs: int, outputs: int, stride: int = 1, side: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
