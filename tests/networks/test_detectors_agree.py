"""The families of detectors see the same faces in the photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facefusion_runner.faces.types import Detection, Float
from tests.support.shared_models import SharedModels

FAMILIES = ("scrfd_2.5g", "retinaface_mnet025", "yolov5n_face", "yunet")
EVERY = 8
"""Of the portraits every eighth is looked at: all 1,271 take minutes."""
SMALLEST = 64


def overlap(a: Float, b: Float) -> float:
    """Intersection over union of two boxes."""
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(shared / (sum(areas) - shared))


def seen(box: Float, faces: Sequence[Detection]) -> bool:
    return any(overlap(box, face.box) > 0.35 for face in faces)


def test_a_face_of_64_pixels_that_two_families_see_is_seen_by_all(
    shared: Path, shared_models: SharedModels
) -> None:
    """What one network sees alone is mostly none."""
    portraits = [*(shared / "faces" / "house512").glob("*.jpg")]
    portraits += (shared / "faces" / "congress225x275").glob("*.jpg")
    photos = [*sorted(portraits)[::EVERY], *sorted((shared / "faces" / "test_images").glob("*.jpg"))]
    detectors = {model: shared_models.detector(model) for model in FAMILIES}
    faces = missed = alone = 0
    apart: list[Any] = []
    for path in photos:
        picture = np.asarray(cv2.imread(str(path)), np.uint8)
        found = {model: detector.detect(picture) for model, detector in detectors.items()}
        known: list[Float] = []
        for face in (face for of_model in found.values() for face in of_model):
            if max(face.box[2:] - face.box[:2]) < SMALLEST or any(
                overlap(face.box, box) > 0.35 for box in known
            ):
                continue
            known.append(face.box)
            by = [model for model in FAMILIES if seen(face.box, found[model])]
            faces += len(by) > 1
            alone += len(by) == 1
            missed += len(FAMILIES) - len(by) if len(by) > 1 else 0
            if len(by) == len(FAMILIES):
                apart.append(np.linalg.norm(points_apart(face, found), axis=-1).mean())
    assert faces >= len(photos) - 1
    assert missed <= 0.005 * len(FAMILIES) * faces, f"{missed} of {faces} faces are missed by one"
    assert alone <= 0.03 * faces
    assert np.median(apart) < 0.1 and np.max(apart) < 0.4


def points_apart(face: Detection, found: dict[str, list[Detection]]) -> Float:
    """How far the five points of the same face by each family lie from `face`'s, in eye distances."""
    same = [max(faces, key=lambda other: overlap(face.box, other.box)).points for faces in found.values()]
    eyes = max(float(np.linalg.norm(face.points[0] - face.points[1])), 1.0)
    return np.asarray((np.array(same) - face.points) / eyes, np.float32)
