"""The blender and its adversary.

The blender sees a warped face that has the target's light, and the target around it. It answers with the
face repaired (streaks, hidden sides, shadows, seams, sharpness) and with where the seam should run. It works
at a quarter of the crop's side and adds what it changes to the warp, so that the warp's detail survives.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUTS: Final = ("face", "target", "mask", "visibility")
OUTPUTS: Final = ("blended", "alpha")

WIDTHS: Final = (48, 80, 128, 160)
"""Channels at 1/4, 1/8, 1/16 and 1/32 of the crop's side."""

SLOPE: Final = 0.2


class Residual(nn.Module):
    """Two convolutions added to what comes in; it begins as nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(F.leaky_relu(x, SLOPE)), SLOPE))


class Blender(nn.Module):
    """See `forward`. 1.2 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        first, *deeper = WIDTHS
        self.stem = nn.Conv2d(48 + 12 + 4 + 4 + 1, first, 3, padding=1)
        self.outer = Residual(first)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 2, stride=2) for a, b in zip(WIDTHS[:-1], deeper, strict=True)
        )
        self.inner = nn.ModuleList(Residual(width) for width in deeper)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(WIDTHS[:-1], deeper, strict=True))
        self.after = nn.ModuleList(Residual(width) for width in WIDTHS[:-1])
        self.head = nn.Conv2d(first, 4 * 5, 3, padding=1)
        nn.init.normal_(self.head.weight, std=3e-3)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self, face: Tensor, target: Tensor, mask: Tensor, visibility: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All (n, c, s, s) float32, s a multiple of 64, colours BGR 0..1.

        face: the source's face in the target's pose, colours and light; outside the mask anything.
        target: the crop. mask: 1 where the face is to be, 0 where the target stays, smooth between.
        visibility: how well the source shows what `face` has there, 0 where it was filled in.
        Returns the repaired face (n, 3, s, s), not yet put into the target, and alpha (n, 1, s, s): the mask
        with its slope moved; 1 where the mask is 1 and 0 where it is 0.
        """
        around = filled(target, mask)
        visible = visibility * mask
        luma = (around * around.new_tensor([0.114, 0.587, 0.299]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        face = face * mask.clamp(max=0.02) * 50 + _enlarged(around, 2) * (1 - mask.clamp(max=0.02) * 50)
        x = torch.cat(
            [
                F.pixel_unshuffle(face, 4) - 0.5,
                F.pixel_unshuffle(around, 2) - 0.5,
                F.pixel_unshuffle(F.avg_pool2d(mask, 2), 2),
                F.pixel_unshuffle(F.avg_pool2d(visible, 2), 2),
                _enlarged(F.avg_pool2d(luma, 16), 8) - 0.5,
            ],
            1,
        )
        x = self.outer(self.stem(x))
        skipped = []
        for down, inner in zip(self.down, self.inner, strict=True):
            skipped.append(x)
            x = inner(F.leaky_relu(down(x), SLOPE))
        for up, after, skip in zip(
            reversed(self.up),
            reversed(self.after),
            reversed(skipped),
            strict=True,  # type: ignore[call-overload]
        ):
            x = after(_enlarged(up(x), 2) + skip)
        out = F.pixel_shuffle(self.head(F.leaky_relu(x, SLOPE)), 2)
        low = _enlarged(F.avg_pool2d(face, 4), 4)
        fine = face - low
        change = _enlarged(torch.cat([0.5 * torch.tanh(out[:, :3]), 2 * torch.sigmoid(out[:, 3:4])], 1), 2)
        blended = low + change[:, 3:4] * fine + change[:, :3]
        if not self.training:
            blended = blended.clamp(0, 1)
        slope = torch.exp(3 * torch.tanh(_enlarged(out[:, 4:], 2)))
        alpha = mask * slope / (1 - mask + mask * slope)
        return blended, alpha


def filled(target: Tensor, mask: Tensor) -> Tensor:
    """(n, 3, s/2, s/2): the target at half size, what the mask covers filled smoothly from around it."""
    levels = [(F.avg_pool2d(target * (1 - mask), 2), 1 - F.avg_pool2d(mask, 2))]
    while levels[-1][1].shape[-1] % 2 == 0:
        levels.append((F.avg_pool2d(levels[-1][0], 2), F.avg_pool2d(levels[-1][1], 2)))
    colour, weight = levels.pop()
    around = colour / (weight + 1e-4)
    while levels:
        colour, weight = levels.pop()
        around = colour + (1 - weight) * _enlarged(around, 2)
    return around


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class Critic(nn.Module):
    """Says of every patch of a crop how real it looks: (n, 3, s, s) to (n, 1, s/8, s/8).

    Spectral norm (Miyato et al., 2018) keeps it smooth. A patch is 46 pixels wide.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 48, 64)) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        layers: list[nn.Module] = []
        before = 3
        for width in widths:
            layers += [norm(nn.Conv2d(before, width, 4, stride=2, padding=1)), nn.LeakyReLU(SLOPE)]
            before = width
        layers += [norm(nn.Conv2d(before, widths[-1], 3, padding=1)), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, norm(nn.Conv2d(widths[-1], 1, 1)))

    def forward(self, picture: Tensor) -> Tensor:
        return torch.as_tensor(self.layers(picture - 0.5))
