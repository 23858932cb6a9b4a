"""The detector that is part of the package finds faces of all sizes, and none where there are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from facefusion_runner.detectors import Detector, DetectorOptions
from facefusion_runner.faces.types import Picture
from facefusion_runner.models.catalog import BUILT_IN, Catalog
from facefusion_runner.models.families import load_detector
from facefusion_runner.models.session import SessionFactory


def _built_in(model_root: Path, options: DetectorOptions) -> Detector:
    entry = Catalog.load(model_root).get("retinaface_light")
    factory = SessionFactory("cpu", threads=1)
    return load_detector(entry, lambda _: factory.open(entry, BUILT_IN / entry.file), options)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return _built_in(tmp_path_factory.mktemp("models"), DetectorOptions())


@pytest.fixture(scope="module")
def astronaut() -> Picture:
    """512 x 512; the face spans about x 177 to 269 and y 62 to 188."""
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


def _nearest(detector: Detector, picture: Picture, x: float, y: float) -> np.ndarray:
    """The box of the face at a place; there must be one."""
    boxes = [face.box for face in detector.detect(picture)]
    around = [box for box in boxes if box[0] < x < box[2] and box[1] < y < box[3]]
    assert around, f"no face at {x:.0f}, {y:.0f}; found {boxes}"
    return around[0]


def test_the_astronaut_is_found_with_the_points_in_their_places(
    detector: Detector, astronaut: Picture
) -> None:
    (face,) = detector.detect(astronaut)
    left, top, right, bottom = face.box
    assert 150 < left < 195 and 255 < right < 290 and 40 < top < 95 and 165 < bottom < 205
    eyes, nose, mouth = face.points[:2], face.points[2], face.points[3:]
    assert eyes[0, 0] < nose[0] < eyes[1, 0] and mouth[0, 0] < mouth[1, 0]
    assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 2.0])
def test_small_and_large_faces_are_found(detector: Detector, astronaut: Picture, scale: float) -> None:
    """The face is 30 to 220 pixels high on the canvas."""
    side = round(512 * scale)
    small = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)
    canvas = np.full((max(640, side), max(640, side), 3), 128, np.uint8)
    canvas[:side, :side] = small
    box = _nearest(detector, canvas, 223 * scale, 125 * scale)
    assert 0.6 < (box[3] - box[1]) / (126 * scale) < 1.5


def test_a_face_that_fills_the_picture_is_found(detector: Detector, astronaut: Picture) -> None:
    cut = np.ascontiguousarray(astronaut[60:190, 175:272])
    box = _nearest(detector, cut, 48, 65)
    assert (box[2] - box[0]) * (box[3] - box[1]) > 0.3 * cut.shape[0] * cut.shape[1]


def test_with_a_strict_score_nothing_is_found_where_there_is_no_face(tmp_path: Path) -> None:
    strict = _built_in(tmp_path, DetectorOptions(score=0.8))
    coffee = np.ascontiguousarray(data.coffee()[:, :, ::-1])
    grass = np.repeat(data.grass()[:, :, None], 3, axis=2)
    for picture in (coffee, grass, np.zeros((200, 300, 3), np.uint8)):
        assert strict.detect(np.ascontiguousarray(picture)) == []


def test_most_faces_of_a_group_photograph_are_found(detector: Detector, shared: Path) -> None:
    """29 people of 1927, 16 to 24 pixels on the canvas; the card says how many are found."""
    picture = cv2.imread(str(shared / "faces" / "test_images" / "solvay1927_29faces.jpg"))
    assert picture is not None
    assert len(detector.detect(np.asarray(picture, np.uint8))) >= 20
