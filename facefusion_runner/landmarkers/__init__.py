"""Landmarkers: dense points on a detected face. One file per kind of network output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from facefusion_runner.faces.types import Detection, Landmarks, Picture


class Landmarker(Protocol):
    """Finds dense landmarks. Instances may be used from one thread at a time."""

    @property
    def gives_mesh(self) -> bool:
        """True: every face's landmarks come with the mesh of 468 points."""
        ...

    def landmarks(self, picture: Picture, detections: Sequence[Detection]) -> list[Landmarks]:
        """The landmarks of each detection, in picture pixels."""
        ...
