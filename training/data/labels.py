"""What the teachers see in every portrait, computed once: box, five points, 468 mesh points, yaw.

Boxes and five points are YuNet's; the mesh is FaceMesh's, the mean of its answers for several crops of the
same face, which are drawn around the mesh of the first and turned upright by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.detectors import Detector
from facefusion_runner.faces.geometry import apply, cut, invert
from facefusion_runner.faces.types import Detection, Float, Matrix, Picture
from facefusion_runner.models.session import Session
from training.data.pictures import Portrait, portraits
from training.data.public_models import PublicModels

FILE: Final = "labels.npz"
MESH: Final = 468
_SIDE: Final = 192
_EYES: Final = (33, 133), (362, 263)
"""Corners of the left and right eye, as seen in the picture."""
_VIEWS: Final = ((1.0, 0.0, 0.0), (1.06, 0.02, 0.0), (0.94, -0.02, 0.0), (1.0, 0.0, 0.02), (1.0, 0.0, -0.02))
"""Relative size and shift of the crops whose answers are averaged."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One row per portrait in which the teachers found a face."""

    files: tuple[str, ...]
    boxes: Float
    """(n, 4): left, top, right, bottom."""
    scores: Float
    """(n,)"""
    points: Float
    """(n, 5, 2): YuNet's left eye, right eye, nose, left and right mouth corner."""
    meshes: Float
    """(n, 468, 3): x, y in picture pixels, z in the same unit, negative towards the viewer."""
    yaws: Float
    """(n,): degrees, positive where the face looks to the picture's right."""

    def of(self, chosen: Sequence[Portrait]) -> tuple[list[Portrait], NDArray[np.intp]]:
        """Those of `chosen` that have a row, and their rows."""
        rows = {file: row for row, file in enumerate(self.files)}
        known = [portrait for portrait in chosen if portrait.file in rows]
        return known, np.array([rows[portrait.file] for portrait in known], np.intp)

    @classmethod
    def load(cls, work: Path) -> Labels:
        with np.load(work / FILE) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return cls(files=tuple(arrays.pop("files").tolist()), **arrays)

    def save(self, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            work / FILE,
            files=np.array(self.files),
            boxes=self.boxes,
            scores=self.scores,
            points=self.points,
            meshes=self.meshes,
            yaws=self.yaws,
        )


def label(data: Path) -> Labels:
    """Asks the teachers about every portrait below `data`; a portrait without a face gets no row."""
    models = PublicModels(data / "models", threads=2)
    detector, session = models.detector("yunet"), models.open("facemesh_468")
    files, detections, meshes = [], [], []
    for portrait in portraits(data):
        picture = portrait.read(data)
        detection = detect(detector, picture)
        if detection is None:
            continue
        files.append(portrait.file)
        detections.append(detection)
        meshes.append(face_mesh(session, picture, detection))
    mesh = np.stack(meshes)
    return Labels(
        tuple(files),
        np.stack([detection.box for detection in detections]),
        np.array([detection.score for detection in detections], np.float32),
        np.stack([detection.points for detection in detections]),
        mesh,
        yaw(mesh),
    )


def detect(detector: Detector, picture: Picture) -> Detection | None:
    """The largest face; a picture that it fills is looked at inside a border."""
    border = max(picture.shape[:2]) // 4
    wide = np.asarray(cv2.copyMakeBorder(picture, *4 * (border,), cv2.BORDER_REPLICATE), np.uint8)
    found = detector.detect(wide)
    if not found:
        return None
    largest = max(found, key=lambda face: float(np.prod(face.box[2:] - face.box[:2])))
    return Detection(largest.box - border, largest.score, largest.points - border)


def face_mesh(session: Session, picture: Picture, detection: Detection) -> Float:
    """(468, 3): FaceMesh's points in picture pixels, the mean over several crops."""
    left, right = detection.points[:2]
    angle = float(np.arctan2(right[1] - left[1], right[0] - left[0]))
    centre = (detection.box[:2] + detection.box[2:]) / 2
    reach = float(max(detection.box[2:] - detection.box[:2]))
    first = _ask(session, picture, _crop(centre, reach * 1.5, angle))
    eyes = [first[list(corners), :2].mean(0) for corners in _EYES]
    angle = float(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
    low, high = first[:, :2].min(0), first[:, :2].max(0)
    reach = 1.35 * float(max(high - low))
    views = [
        _ask(session, picture, _crop((low + high) / 2 + reach * np.array([x, y]), reach * size, angle))
        for size, x, y in _VIEWS
    ]
    return np.asarray(np.mean(views, axis=0), np.float32)


def yaw(meshes: Float) -> Float:
    """(n,) degrees from (n, 468, 3): how far the line between the eyes' outer corners is turned away."""
    across = meshes[:, 263] - meshes[:, 33]
    return np.asarray(np.degrees(np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1]))), np.float32)


def _crop(centre: NDArray[np.floating], reach: float, angle: float) -> Matrix:
    """Picture pixels to an upright square crop of `reach` picture pixels around `centre`."""
    scale = _SIDE / reach
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, sin], [-sin, cos]])
    return np.column_stack([linear, _SIDE / 2 - linear @ centre])


def _ask(session: Session, picture: Picture, matrix: Matrix) -> Float:
    crop = cut(picture, matrix, _SIDE)[None, :, :, ::-1]
    points = session.run({session.inputs[0].name: crop.astype(np.float32) / np.float32(255)})[0]
    points = points.reshape(MESH, 3)
    scale = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    return np.column_stack([apply(invert(matrix), points[:, :2]), points[:, 2] / scale]).astype(np.float32)
