"""Landmark networks that put out a heatmap per point: the hourglasses of Bulat and Tzimiropoulos (2dfan4).

A point lies at its map's peak, between pixels by the parabola through the logarithms of the peak and its
neighbours, which is exact for the Gaussian blobs these networks learn (Zhang et al., CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float
from facefusion_runner.landmarkers import Landmarker
from facefusion_runner.landmarkers.crops import CropLandmarker, LandmarkerParameters
from facefusion_runner.landmarkers.schemes import SCHEMES
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel
from facefusion_runner.models.tensors import unfit

FAMILIES: Final[tuple[str, ...]] = ("heatmap",)
_FLOOR: Final = 1e-6


class Parameters(LandmarkerParameters):
    """Catalog parameters."""


def load(entry: ModelEntry, open_model: OpenModel) -> Landmarker:
    """Raises ModelError when no output of the graph is (n, points, rows, columns)."""
    session = open_model(entry.id)
    p = parameters(entry, Parameters)
    points = SCHEMES[p.scheme].points
    shapes = [list(output.shape) for output in session.outputs]
    # Some exports leave even the number of maps open.
    maps = [i for i, s in enumerate(shapes) if len(s) == 4 and (s[1] == points or not isinstance(s[1], int))]
    if not maps:
        raise unfit(session, f"an output (n, {points}, rows, columns)")

    def decode(outputs: Sequence[Float], side: int) -> Float:
        return peaks(outputs[maps[0]], side)

    return CropLandmarker(session, p, decode)


def peaks(maps: Float, side: int) -> Float:
    """(n, points, rows, columns) -> (n, points, 2) in pixels of a crop of `side`."""
    n, points, rows, columns = maps.shape
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)), "reflect")
    logs = np.log(np.maximum(np.nan_to_num(padded), _FLOOR))
    row, column = np.divmod(np.nan_to_num(maps).reshape(n, points, -1).argmax(2), columns)
    i, k = np.ogrid[:n, :points]

    def at(down: int, right: int) -> NDArray[np.floating]:
        return np.asarray(logs[i, k, row + 1 + down, column + 1 + right])

    x = column + _vertex(at(0, -1), at(0, 0), at(0, 1))
    y = row + _vertex(at(-1, 0), at(0, 0), at(1, 0))
    # A map's pixel covers side / columns pixels of the crop: its centre is not at a multiple of that.
    found = np.stack([(x + 0.5) * side / columns, (y + 0.5) * side / rows], 2) - 0.5
    return np.asarray(found, np.float32)


def _vertex(
    before: NDArray[np.floating], peak: NDArray[np.floating], after: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Where the parabola through three values at -1, 0 and 1 is highest; 0 where they are level."""
    bend = 2 * peak - before - after
    return np.clip((after - before) / np.where(bend > 0, 2 * bend, np.inf), -0.5, 0.5)
