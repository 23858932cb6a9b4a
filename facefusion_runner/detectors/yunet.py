"""YuNet (Wu, Peng and Yu, Machine Intelligence Research 2023), the 12-output form that OpenCV runs.

Per cell of three strides: `cls_*` and `obj_*` probabilities, `bbox_*` (centre offset and logarithm of the
size, in strides) and `kps_*` (five offsets, in strides). The score is the root of cls times obj, as in
OpenCV's FaceDetectorYN, so a threshold means the same here as there; the authors' training code uses the
product itself.
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

FAMILIES: Final[tuple[str, ...]] = ("yunet",)
_HEADS: Final = ("cls", "obj", "bbox", "kps")


class Parameters(DetectorParameters):
    """Defaults: pixels as they are, 0..255 BGR."""

    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    colour: Colour = "bgr"
    canvas: Literal["square", "fit"] = "fit"
    score: float = 0.7
    nms: float = 0.3


def load(entry: ModelEntry, open_model: OpenModel, options: DetectorOptions) -> Detector:
    """Raises ModelError when the graph lacks one of the twelve named outputs."""
    session = open_model(entry.id)
    index = {output.name: i for i, output in enumerate(session.outputs)}
    names = [[f"{head}_{stride}" for head in _HEADS] for stride in STRIDES]
    if not all(name in index for row in names for name in row):
        raise unfit(session, "outputs cls_8, obj_8, bbox_8, kps_8 and the same for 16 and 32")
    order = [[index[name] for name in row] for row in names]

    def decode(outputs: Sequence[Float], canvas: tuple[int, int], score: float) -> Candidates:
        heads = zip(STRIDES, order, strict=True)
        return Candidates.joined([_head(s, [outputs[i] for i in row], canvas, score) for s, row in heads])

    return SingleShotDetector(session, parameters(entry, Parameters), options, decode)


def _head(stride: int, outputs: Sequence[Float], canvas: tuple[int, int], score: float) -> Candidates:
    cls, obj, boxes, points = outputs
    scores = np.sqrt(np.clip(cls.ravel(), 0, 1) * np.clip(obj.ravel(), 0, 1))
    hits = np.flatnonzero(scores >= score)
    corner = cells(hits, 1, canvas[1], stride)
    box = boxes.reshape(-1, 4)[hits]
    centre = corner + box[:, :2] * stride
    half = np.exp(box[:, 2:]) * (stride / 2)
    return Candidates(
        np.hstack([centre - half, centre + half]),
        scores[hits],
        corner[:, np.newaxis] + points.reshape(-1, 5, 2)[hits] * stride,
    )
