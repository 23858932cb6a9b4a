"""The built-in landmarker finds the mesh of real faces, upright, tilted, small, alone and together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facefusion_runner.faces.geometry import apply
from facefusion_runner.faces.types import Detection, Float, Matrix, Picture
from facefusion_runner.landmarkers import Landmarker
from facefusion_runner.models.catalog import BUILT_IN, Catalog
from facefusion_runner.models.families import load_landmarker
from facefusion_runner.models.session import Session, SessionFactory
from tests.support.shared_models import SharedModels

EYES = (33, 133), (362, 263)
# Astronaut Eileen Collins, as scikit-image's `astronaut` shows her.
POINTS = np.array([[205, 97], [247.5, 103], [222, 127], [201, 141], [239, 146]], np.float32)
BOX = np.array([181, 54, 274, 178], np.float32)


@pytest.fixture(scope="module")
def landmarker(tmp_path_factory: pytest.TempPathFactory) -> Landmarker:
    entry = Catalog.load(tmp_path_factory.mktemp("models")).get("face_mesh_468")
    session: Session = SessionFactory("cpu", threads=1).open(entry, BUILT_IN / entry.file)
    return load_landmarker(entry, lambda _: session)


@pytest.fixture(scope="module")
def astronaut() -> Picture:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


def found(landmarker: Landmarker, picture: Picture, matrix: Matrix | None = None) -> Float:
    """The mesh of the astronaut, her picture and what the detector sees moved along `matrix` before."""
    box, points = BOX, POINTS
    if matrix is not None:
        corners = np.array([[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]]])
        moved, points = apply(matrix, corners), apply(matrix, POINTS)
        centre, scale = moved.mean(0), np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        half = (BOX[2:] - BOX[:2]) / 2 * scale
        box = np.concatenate([centre - half, centre + half]).astype(np.float32)
        picture = np.asarray(cv2.warpAffine(picture, matrix, (512, 512)), np.uint8)
    mesh = landmarker.landmarks(picture, [Detection(box, 1.0, points)])[0].mesh
    assert mesh is not None
    return mesh


def apart(one: Float, other: Float) -> float:
    """Mean distance of the points ÷ that of the eyes of `other`."""
    left, right = (other[list(eye), :2].mean(0) for eye in EYES)
    return float(np.linalg.norm(one[:, :2] - other[:, :2], axis=1).mean() / np.linalg.norm(right - left))


def test_eyes_nose_and_mouth_are_where_a_person_sees_them(landmarker: Landmarker, astronaut: Picture) -> None:
    mesh = found(landmarker, astronaut)
    left, right = (mesh[list(eye), :2].mean(0) for eye in EYES)
    seen = np.stack([left, right, mesh[4, :2], mesh[61, :2], mesh[291, :2]])
    assert np.linalg.norm(seen - POINTS, axis=1).max() < 8


def test_the_nose_is_nearer_than_the_cheeks_and_the_depth_grows_with_the_picture(
    landmarker: Landmarker, astronaut: Picture
) -> None:
    mesh = found(landmarker, astronaut)
    assert mesh[4, 2] < mesh[[234, 454], 2].min() - 20
    doubled = found(landmarker, astronaut, np.array([[2.0, 0, -200], [0, 2.0, -50]]))
    assert np.ptp(doubled[:, 2]) == pytest.approx(2 * np.ptp(mesh[:, 2]), rel=0.1)


@pytest.mark.parametrize("degrees", [-90, -20, 20, 45, 180])
def test_a_tilted_face_has_the_same_mesh_tilted(
    landmarker: Landmarker, astronaut: Picture, degrees: int
) -> None:
    matrix = np.asarray(cv2.getRotationMatrix2D((228, 116), degrees, 1.0), np.float64)
    matrix[:, 2] += [28, 140]
    upright = found(landmarker, astronaut)
    assert apart(found(landmarker, astronaut, matrix), apply(matrix, upright[:, :2])) < 0.03


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.5])
def test_a_face_of_any_size_has_the_same_mesh(
    landmarker: Landmarker, astronaut: Picture, scale: float
) -> None:
    matrix = np.array([[scale, 0, 256 - 228 * scale], [0, scale, 256 - 116 * scale]])
    upright = found(landmarker, astronaut)
    assert apart(found(landmarker, astronaut, matrix), apply(matrix, upright[:, :2])) < 0.05


def test_faces_found_together_are_found_as_alone(landmarker: Landmarker, astronaut: Picture) -> None:
    faces = [Detection(BOX + shift, 1.0, POINTS + shift) for shift in (-4, 0, 5)]
    together = landmarker.landmarks(astronaut, faces)
    for face, one in zip(faces, together, strict=True):
        alone = landmarker.landmarks(astronaut, [face])[0].points
        np.testing.assert_allclose(one.points, alone, atol=1e-2)


def test_it_agrees_with_the_network_it_learned_from(
    landmarker: Landmarker, shared: Path, shared_models: SharedModels
) -> None:
    portraits = sorted((shared / "faces" / "house512").glob("*.jpg"))[::60]
    assert portraits
    detector, teacher = shared_models.detector("yunet"), shared_models.landmarker("facemesh_468")
    errors = []
    for path in portraits:
        picture = np.asarray(cv2.imread(str(path)), np.uint8)
        detections = detector.detect(picture)[:1]
        for ours, theirs in zip(
            landmarker.landmarks(picture, detections), teacher.landmarks(picture, detections), strict=True
        ):
            assert ours.mesh is not None and theirs.mesh is not None
            errors.append(apart(ours.mesh, theirs.mesh))
    assert np.mean(errors) < 0.042
