"""SCRFD (Guo et al., ICLR 2022) with InsightFace's nine outputs: det_10g, scrfd_2.5g_bnkps and the like.

Three strides, two anchors in each cell. Per anchor a score, four distances from the cell's corner to the
box's sides and five offsets to the points, both in strides. The outputs are told apart by their shape, so
their order and names do not matter; they may or may not have a batch dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from facefusion_runner.detectors import Detector, DetectorOptions
from facefusion_runner.detectors.single_shot import (
    STRIDES,
    Candidates,
    DetectorParameters,
    SingleShotDetector,
    by_rows,
    cells,
)
from facefusion_runner.faces.types import Float
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel
from facefusion_runner.models.tensors import Colour, Triple, unfit

FAMILIES: Final[tuple[str, ...]] = ("scrfd",)
_COLUMNS: Final = (1, 4, 10)


class Parameters(DetectorParameters):
    """Defaults: InsightFace's. SCRFD misses faces longer than two thirds of the detection size."""

    mean: Triple = (127.5, 127.5, 127.5)
    std: Triple = (128.0, 128.0, 128.0)
    colour: Colour = "rgb"
    canvas: Literal["square", "fit"] = "square"
    second_look: bool = True


def load(entry: ModelEntry, open_model: OpenModel, options: DetectorOptions) -> Detector:
    """Raises ModelError when the graph has other outputs than three scores, boxes and point sets."""
    session = open_model(entry.id)
    if sorted(str(output.shape[-1]) for output in session.outputs) != sorted(map(str, _COLUMNS * 3)):
        raise unfit(session, "nine outputs: three each of 1, 4 and 10 columns")
    return SingleShotDetector(session, parameters(entry, Parameters), options, decode)


def decode(outputs: Sequence[Float], canvas: tuple[int, int], score: float) -> Candidates:
    """Faces at or above `score` in the nine outputs; see `single_shot.Decode`."""
    scores, boxes, points = (by_rows(outputs, columns) for columns in _COLUMNS)
    heads = zip(STRIDES, scores, boxes, points, strict=True)
    return Candidates.joined([_head(*head, canvas, score) for head in heads])


def _head(
    stride: int, scores: Float, boxes: Float, points: Float, canvas: tuple[int, int], score: float
) -> Candidates:
    height, width = canvas
    anchors = len(scores) // ((height // stride) * (width // stride))
    hits = np.flatnonzero(scores[:, 0] >= score)
    corner = cells(hits, anchors, width, stride)
    reach = boxes[hits] * stride
    return Candidates(
        np.hstack([corner - reach[:, :2], corner + reach[:, 2:]]),
        scores[hits, 0],
        corner[:, np.newaxis] + points[hits].reshape(-1, 5, 2) * stride,
    )
