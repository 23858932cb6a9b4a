"""From a still picture to faces: detection, and landmarks where there is a landmarker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from facefusion_runner.detectors import Detector
from facefusion_runner.faces.types import Detection, Face, Matrix, Picture
from facefusion_runner.landmarkers import Landmarker
from facefusion_runner.landmarkers.schemes import five_points


def find_faces(picture: Picture, detector: Detector, landmarker: Landmarker | None) -> list[Face]:
    """The faces of one picture, best score first."""
    return describe(picture, detector.detect(picture), landmarker)


def find_faces_of_still(picture: Picture, detector: Detector, landmarker: Landmarker | None) -> list[Face]:
    """The faces of a photo, numbered as tracks are, best score first.

    A face that fills the photo is larger than what detectors were trained on: where none is found, they
    look again at the photo inside a wide border.
    """
    detections = detector.detect(picture)
    if not detections:
        border = max(picture.shape[:2]) // 2
        bordered = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_REPLICATE)
        detections = [_shifted(found, -border) for found in detector.detect(np.asarray(bordered, np.uint8))]
    faces = describe(picture, detections, landmarker)
    return [replace(face, track=number) for number, face in enumerate(faces)]


def _shifted(detection: Detection, by: int) -> Detection:
    return replace(
        detection,
        box=detection.box + np.float32(by),
        points=detection.points + np.float32(by),
    )


def describe(picture: Picture, detections: Sequence[Detection], landmarker: Landmarker | None) -> list[Face]:
    """Adds landmarks to detections. The five points then come from the landmarks: they jitter less."""
    if landmarker is None or not detections:
        return [Face(detection, detection.points) for detection in detections]
    return [
        Face(detection, five_points(found.points), found.points, found.mesh)
        for detection, found in zip(detections, landmarker.landmarks(picture, detections), strict=True)
    ]


def area(face: Face) -> float:
    """Area of the face's box in square pixels."""
    left, top, right, bottom = face.detection.box
    return float(max(right - left, 0.0) * max(bottom - top, 0.0))


def square_pixels(picture: Picture, pixel_aspect: float) -> Picture:
    """The picture as it is displayed: stretched sideways where its pixels are not square.

    Networks know faces by their shape, so they must see this one.
    """
    if pixel_aspect == 1.0:
        return picture
    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (_square_width(width, pixel_aspect), height)), np.uint8)


def to_square_pixels(width: int, pixel_aspect: float) -> Matrix:
    """(3, 3): pixels of a picture of this width to those of its `square_pixels`, centre to centre."""
    stretch = _square_width(width, pixel_aspect) / width
    return np.array([[stretch, 0, 0.5 * stretch - 0.5], [0, 1, 0], [0, 0, 1]])


def _square_width(width: int, pixel_aspect: float) -> int:
    return max(round(width * pixel_aspect), 1)
