"""YOLOv5-Face (Qi et al., 2021): 16 columns per anchor, decoded in the graph or not.

Columns: centre x, centre y, width, height, objectness, five points x y, class; the score is objectness times
class. A decoded export has one output (1, n, 16) in canvas pixels. A raw export has one output per stride,
(1, 3, rows, columns, 16) or (1, 48, rows, columns), that still needs sigmoid, anchors and grid.
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
    cells,
)
from facefusion_runner.faces.types import Float
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel
from facefusion_runner.models.tensors import Colour, Triple, unfit

FAMILIES: Final[tuple[str, ...]] = ("yolov5_face",)
_COLUMNS: Final = 16
_ANCHORS: Final = (
    ((4, 5), (8, 10), (13, 16)),
    ((23, 29), (43, 55), (73, 105)),
    ((146, 217), (231, 300), (335, 433)),
)


class Parameters(DetectorParameters):
    """Defaults: the authors'."""

    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (255.0, 255.0, 255.0)
    colour: Colour = "rgb"
    canvas: Literal["square", "fit"] = "fit"
    pad: int = 114
    nms: float = 0.5
    second_look: bool = True


def load(entry: ModelEntry, open_model: OpenModel, options: DetectorOptions) -> Detector:
    """Raises ModelError when the graph's outputs are neither a decoded nor a raw export."""
    session = open_model(entry.id)
    shapes = [list(output.shape) for output in session.outputs]
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][-1] == _COLUMNS:
        decode = decode_rows
    elif len(shapes) == 3 and all(_is_raw(shape) for shape in shapes):
        decode = decode_raw
    else:
        raise unfit(session, "one output (1, n, 16), or three of (1, 3, rows, columns, 16)")
    return SingleShotDetector(session, parameters(entry, Parameters), options, decode)


def decode_rows(outputs: Sequence[Float], canvas: tuple[int, int], score: float) -> Candidates:
    """Faces at or above `score` in a decoded export; see `single_shot.Decode`."""
    rows = outputs[0][0]
    scores = rows[:, 4] * rows[:, 15]
    hits = scores >= score
    rows = rows[hits]
    half = rows[:, 2:4] / 2
    return Candidates(
        np.hstack([rows[:, :2] - half, rows[:, :2] + half]),
        scores[hits],
        rows[:, 5:15].reshape(-1, 5, 2),
    )


def decode_raw(outputs: Sequence[Float], canvas: tuple[int, int], score: float) -> Candidates:
    """Faces at or above `score` in a raw export; see `single_shot.Decode`."""
    heads = sorted((_as_rows(output) for output in outputs), key=len, reverse=True)
    parts = [
        _decoded(head, np.array(anchors, np.float32), stride, canvas, score)
        for head, anchors, stride in zip(heads, _ANCHORS, STRIDES, strict=True)
    ]
    return decode_rows([np.concatenate(parts)[np.newaxis]], canvas, score)


def _is_raw(shape: Sequence[int | str | None]) -> bool:
    return (len(shape) == 5 and shape[-1] == _COLUMNS) or (len(shape) == 4 and shape[1] == 3 * _COLUMNS)


def _as_rows(head: Float) -> Float:
    """(anchors * rows * columns, 16)."""
    if head.ndim == 4:
        head = head.reshape(1, 3, _COLUMNS, *head.shape[2:]).transpose(0, 1, 3, 4, 2)
    return head.reshape(-1, _COLUMNS)


def _decoded(head: Float, anchors: Float, stride: int, canvas: tuple[int, int], score: float) -> Float:
    hits = np.flatnonzero(_sigmoid(head[:, 4]) * _sigmoid(head[:, 15]) >= score)
    per_anchor = len(head) // len(anchors)
    rows = head[hits]
    corner = cells(hits % per_anchor, 1, canvas[1], stride)
    anchor = anchors[hits // per_anchor]
    boxes = _sigmoid(rows[:, :4]) * 2
    points = rows[:, 5:15].reshape(-1, 5, 2) * anchor[:, np.newaxis] + corner[:, np.newaxis]
    return np.hstack(
        [
            (boxes[:, :2] - 0.5) * stride + corner,
            boxes[:, 2:] ** 2 * anchor,
            _sigmoid(rows[:, 4:5]),
            points.reshape(-1, 10),
            _sigmoid(rows[:, 15:16]),
        ]
    ).astype(np.float32)


def _sigmoid(x: Float) -> Float:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)
