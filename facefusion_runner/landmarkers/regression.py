"""Landmark networks that put out coordinates: PFLD, 2d106det, Peppa, FaceMesh."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from facefusion_runner.faces.types import Float
from facefusion_runner.landmarkers import Landmarker
from facefusion_runner.landmarkers.crops import CropLandmarker, LandmarkerParameters
from facefusion_runner.landmarkers.schemes import SCHEMES
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import unfit

FAMILIES: Final[tuple[str, ...]] = ("regression",)


class Parameters(LandmarkerParameters):
    """Catalog parameters."""

    units: Literal["unit", "signed", "pixels"]
    """What the output counts in: `unit` 0..1 of the crop's side, `signed` -1..1, `pixels` of the crop."""
    output: str = ""
    """Name of the output that begins with the points, where more follows them or several fit; empty: the
    one with as many numbers as the points have coordinates."""


def load(entry: ModelEntry, open_model: OpenModel) -> Landmarker:
    """Raises ModelError when no output of the graph fits the scheme."""
    session = open_model(entry.id)
    p = parameters(entry, Parameters)
    points = SCHEMES[p.scheme].points
    index, dimensions = _output(session, points, p.output)

    def decode(outputs: Sequence[Float], side: int) -> Float:
        flat = outputs[index].reshape(len(outputs[index]), -1)[:, : points * dimensions]
        return _in_pixels(flat.reshape(-1, points, dimensions), p.units, side)

    return CropLandmarker(session, p, decode, dimensions)


def _output(session: Session, points: int, name: str) -> tuple[int, int]:
    """Which output holds the points, and how many coordinates each has."""
    sizes = [
        math.prod(n for n in output.shape[1:] if isinstance(n, int)) if len(output.shape) > 1 else 0
        for output in session.outputs
    ]
    for i, output in enumerate(session.outputs):
        if name and output.name == name and sizes[i] >= points * 2:
            return i, 3 if sizes[i] == points * 3 else 2
        if not name and sizes[i] in (points * 2, points * 3):
            return i, sizes[i] // points
    raise unfit(session, f"an output {name or ''} with {points} points".replace("  ", " "))


def _in_pixels(points: Float, units: str, side: int) -> Float:
    """A depth has its zero where the network puts it; only its unit changes."""
    if units == "unit":
        return points * np.float32(side)
    if units == "signed":
        origin = np.array([1, 1, 0][: points.shape[2]], np.float32)
        return (points + origin) * np.float32(side // 2)
    return points
