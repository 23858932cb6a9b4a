"""What the encoder is trained by: the teacher's answers, and an angular margin between persons."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

_SCALE: Final = 32.0
_MARGIN: Final = 0.3
"""Radians."""
_ALIKE: Final = 0.5
"""Centres with a higher cosine by the teacher are let be: a mixture resembles what it was mixed from."""


class AngularMargin(nn.Module):
    """ArcFace's loss (Deng et al., CVPR 2019): a softmax over the cosines to the centres of all persons, in
    which a face must be nearer to its own by a margin in the angle.

    centres: (persons, 128) to begin with, or None for random ones, of which any two may be told apart.
    """

    def __init__(self, persons: int, dimension: int, centres: Tensor | None = None) -> None:
        super().__init__()
        known = centres is not None
        first = centres.clone() if centres is not None else torch.randn(persons, dimension) * 0.1
        self.centres = nn.Parameter(first)
        self.register_buffer("given", functional.normalize(first) if known else None)

    def forward(self, embeddings: Tensor, persons: Tensor) -> Tensor:
        """embeddings: (n, dimension). persons: (n,) from 0."""
        cosines = functional.normalize(embeddings) @ functional.normalize(self.centres).T
        own = cosines.gather(1, persons[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        sharpened = torch.cos((own.acos() + _MARGIN).clamp(max=torch.pi))
        if self.given is not None:
            alike = self.given[persons] @ self.given.T > _ALIKE
            cosines = cosines.masked_fill(alike, -1.0)
        logits = cosines.scatter(1, persons[:, None], sharpened)
        return functional.cross_entropy(_SCALE * logits, persons)


def to_teacher(embeddings: Tensor, targets: Tensor) -> Tensor:
    """1 - cosine, the mean over the batch."""
    return 1 - functional.cosine_similarity(embeddings, targets).mean()
