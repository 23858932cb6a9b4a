"""YOLOv8-Face in the form of yoloface_8n: one output (1, 20, n), decoded in the graph.

Rows: centre x, centre y, width, height, score, then x, y and visibility of five points; canvas pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from facefusion_runner.detectors import Detector, DetectorOptions
from facefusion_runner.detectors.single_shot import Candidates, DetectorParameters, SingleShotDetector
from facefusion_runner.faces.types import Float
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel
from facefusion_runner.models.tensors import Colour, Triple, unfit

FAMILIES: Final[tuple[str, ...]] = ("yolov8_face",)


class Parameters(DetectorParameters):
    """Defaults: Ultralytics'."""

    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (255.0, 255.0, 255.0)
    colour: Colour = "rgb"
    canvas: Literal["square", "fit"] = "fit"
    pad: int = 114


def load(entry: ModelEntry, open_model: OpenModel, options: DetectorOptions) -> Detector:
    """Raises ModelError when the graph's first output is not (1, 20, n)."""
    session = open_model(entry.id)
    shape = session.outputs[0].shape
    if len(shape) != 3 or shape[1] != 20:
        raise unfit(session, "a first output of (1, 20, n)")
    return SingleShotDetector(session, parameters(entry, Parameters), options, decode)


def decode(outputs: Sequence[Float], canvas: tuple[int, int], score: float) -> Candidates:
    """Faces at or above `score`; see `single_shot.Decode`."""
    rows = outputs[0][0].T
    rows = rows[rows[:, 4] >= score]
    half = rows[:, 2:4] / 2
    return Candidates(
        np.hstack([rows[:, :2] - half, rows[:, :2] + half]),
        rows[:, 4],
        rows[:, 5:].reshape(-1, 5, 3)[:, :, :2],
    )
