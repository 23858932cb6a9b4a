"""The square crop around a detection that a landmark network sees, and the way of its points back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from facefusion_runner.faces.geometry import TEMPLATES, apply, cut, invert, similarity
from facefusion_runner.faces.types import Detection, Float, Landmarks, Matrix, Picture
from facefusion_runner.landmarkers.schemes import SCHEMES, Scheme, of_mesh
from facefusion_runner.models.session import Session
from facefusion_runner.models.tensors import Colour, Layout, Triple, input_size, run, tensor, unfit

_UPRIGHT: Final = TEMPLATES["arcface_112_v2"]


class LandmarkerParameters(BaseModel):
    """Catalog parameters of every landmarker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: Scheme
    """Which points the network finds, in which order."""
    box_scale: float = Field(gt=0)
    """Side of the crop ÷ the longer side of the detector's box; both have the same centre."""
    upright: bool = True
    """Turns the crop so that the face stands upright, by the detector's five points. Networks are trained
    on nearly upright faces: turned so, FaceMesh errs by a fifth as much at a tilt of 40 degrees and the
    others by half as much at 60; below 20 degrees nothing changes. InsightFace does not turn its crops."""
    mean: Triple = (0.0, 0.0, 0.0)
    """Subtracted from 0..255, in the order of `colour`."""
    std: Triple = (255.0, 255.0, 255.0)
    """Divided by after the mean, in the order of `colour`."""
    colour: Colour = "rgb"
    layout: Layout = "nchw"
    side: int | None = None
    """Side of the crop in pixels; needed only where the graph leaves it open."""


Decode = Callable[[Sequence[Float], int], Float]
"""(outputs for n crops, side of the crop) -> (n, points, 2 or 3) in crop pixels, the third a depth."""


class CropLandmarker:
    """Finds the landmarks of all faces of a picture as one batch where the graph allows."""

    def __init__(
        self, session: Session, parameters: LandmarkerParameters, decode: Decode, dimensions: int = 2
    ) -> None:
        """`dimensions`: coordinates of a point. ModelError when the network takes no square pictures."""
        self.gives_mesh = parameters.scheme == "facemesh_468" and dimensions == 3
        self._session = session
        self._parameters = parameters
        self._decode = decode
        self._side = crop_side(session, parameters)

    def landmarks(self, picture: Picture, detections: Sequence[Detection]) -> list[Landmarks]:
        """The landmarks of each detection, in picture pixels."""
        found = self.points(picture, detections)
        if self.gives_mesh:
            return [of_mesh(mesh) for mesh in found]
        to_68 = SCHEMES[self._parameters.scheme].to_68
        return [Landmarks(to_68(points[:, :2])) for points in found]

    def points(self, picture: Picture, detections: Sequence[Detection]) -> list[Float]:
        """The network's own points (n, 2 or 3) float32 per detection, in picture pixels."""
        if not detections:
            return []
        p = self._parameters
        matrices = [crop_matrix(detection, p.box_scale, self._side, p.upright) for detection in detections]
        crops = [cut(picture, matrix, self._side) for matrix in matrices]
        outputs = run(self._session, tensor(crops, p.mean, p.std, p.colour, p.layout))
        found = self._decode(outputs, self._side)
        return [apply(invert(matrix), points) for matrix, points in zip(matrices, found, strict=True)]


def crop_side(session: Session, parameters: LandmarkerParameters) -> int:
    """Side of the crop; ModelError when the graph's input is not square, or open and the catalog silent."""
    height, width = input_size(session, parameters.layout)
    side = height if height is not None else parameters.side
    if side is None:
        raise unfit(session, "a fixed input size, or the parameter 'side'")
    if width not in (None, side) or parameters.side not in (None, side):
        raise unfit(session, f"a square input of {parameters.side or side} pixels")
    return side


def crop_matrix(detection: Detection, box_scale: float, side: int, upright: bool) -> Matrix:
    """Picture pixels to crop pixels: the box's centre comes to (side / 2, side / 2).

    The scale is taken in single precision, as InsightFace does: else a few pixels of the crop would differ.
    """
    left, top, right, bottom = detection.box
    scale = np.float32(side) / (max(right - left, bottom - top) * np.float32(box_scale))
    linear = scale * (_levelling(detection.points) if upright else np.eye(2, dtype=np.float32))
    centre = np.array([left + right, top + bottom]) / np.float32(2)
    return np.column_stack([linear, side / 2 - (linear @ centre).astype(np.float64)])


def _levelling(points: Float) -> Float:
    """The rotation (2, 2) that makes a face upright.

    From all five points, since two eyes alone are too near each other in a profile to tell an angle.
    """
    rotation = similarity(points, _UPRIGHT)[:, :2]
    return np.asarray(rotation / np.sqrt(np.linalg.det(rotation)), np.float32)
