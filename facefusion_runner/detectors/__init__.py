"""Face detectors: a picture in, boxes with scores and five points out. One file per family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from facefusion_runner.faces.types import Detection, Picture


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What the user may change about detection; None takes the catalog's value."""

    size: int | None = None
    """Longer side in pixels that the picture is scaled to before the network sees it, rounded up to a
    multiple of 32. None: 640, or the size the network is fixed to. Any other size than the fixed one is
    refused."""
    score: float | None = None
    """Smallest score of a face, 0 to 1."""
    nms: float | None = None
    """Largest intersection over union of two boxes that are both kept, 0 to 1."""


class Detector(Protocol):
    """Finds faces. Instances may be used from one thread at a time."""

    def detect(self, picture: Picture) -> list[Detection]:
        """Faces above the score threshold after non-maximum suppression, best score first."""
        ...
