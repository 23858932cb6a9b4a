"""Landmarkers: dense points on a detected face. One file per kind of network output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from facefusion_runner.faces.types import Detection, Float, Picture


class Landmarker(Protocol):
    """Finds dense landmarks. Instances may be used from one thread at a time."""

    def landmarks(self, picture: Picture, detections: Sequence[Detection]) -> list[Float]:
        """(68, 2) float32 per detection, iBUG order, in picture pixels."""
        ...
