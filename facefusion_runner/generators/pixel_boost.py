"""Pixel boost: a crop of k times the network's side goes through the network as k² interleaved tiles.

Each tile takes every k-th pixel, so it shows the whole face at the size the network was trained on.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)


def tiles(pixels: NDArray[_Scalar], boost: int) -> list[NDArray[_Scalar]]:
    """The k² tiles of (side · k, side · k, …), each a view (side, side, …), row by row.

    They are views: what is written into the tiles of an empty crop is interleaved in it.
    """
    return [pixels[row::boost, column::boost] for row in range(boost) for column in range(boost)]
