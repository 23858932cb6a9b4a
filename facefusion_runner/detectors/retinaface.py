"""RetinaFace (Deng et al., CVPR 2020) with the classic priors, as biubug6's mnet0.25 and resnet50 export it.

Three outputs: `loc` (n, 4), `conf` (n, 2) after softmax, `landms` (n, 10); n counts the priors of strides
8, 16 and 32, two sizes in each cell. Offsets are in prior sizes times a variance of 0.1, sizes in logarithms
times 0.2. InsightFace's own "retinaface" heads (det_10g and the like) are the family `scrfd`.
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

FAMILIES: Final[tuple[str, ...]] = ("retinaface",)
_SIZES: Final = ((16, 32), (64, 128), (256, 512))
_CENTRE_VARIANCE: Final = 0.1
_SIZE_VARIANCE: Final = 0.2


class Parameters(DetectorParameters):
    """Defaults: the authors'; the mean is Caffe's, BGR."""

    mean: Triple = (104.0, 117.0, 123.0)
    std: Triple = (1.0, 1.0, 1.0)
    colour: Colour = "bgr"
    canvas: Literal["square", "fit"] = "fit"


def load(entry: ModelEntry, open_model: OpenModel, options: DetectorOptions) -> Detector:
    """Raises ModelError when the graph has other outputs than boxes, two classes and points."""
    session = open_model(entry.id)
    if sorted(str(output.shape[-1]) for output in session.outputs) != ["10", "2", "4"]:
        raise unfit(session, "three outputs of 4, 2 and 10 columns")
    return SingleShotDetector(session, parameters(entry, Parameters), options, decode)


def decode(outputs: Sequence[Float], canvas: tuple[int, int], score: float) -> Candidates:
    """Faces at or above `score` in the three outputs; see `single_shot.Decode`."""
    (boxes,), (classes,), (points,) = (by_rows(outputs, columns) for columns in (4, 2, 10))
    hits = np.flatnonzero(classes[:, 1] >= score)
    centre, size = _priors(hits, canvas)
    middle = centre + boxes[hits, :2] * _CENTRE_VARIANCE * size
    half = size * np.exp(boxes[hits, 2:] * _SIZE_VARIANCE) / 2
    offsets = points[hits].reshape(-1, 5, 2) * _CENTRE_VARIANCE
    return Candidates(
        np.hstack([middle - half, middle + half]),
        classes[hits, 1],
        centre[:, np.newaxis] + offsets * size[:, np.newaxis],
    )


def _priors(index: np.ndarray[tuple[int], np.dtype[np.intp]], canvas: tuple[int, int]) -> tuple[Float, Float]:
    """Centres (n, 2) and sizes (n, 1) of the priors at rows `index` of the outputs."""
    centres, sizes, first = [], [], 0
    for stride, of_level in zip(STRIDES, _SIZES, strict=True):
        count = -(-canvas[0] // stride) * -(-canvas[1] // stride) * len(of_level)
        own = index[(index >= first) & (index < first + count)] - first
        centres.append(cells(own, len(of_level), canvas[1], stride) + stride / 2)
        sizes.append(np.array(of_level, np.float32)[own % len(of_level), np.newaxis])
        first += count
    return np.concatenate(centres), np.concatenate(sizes)
