"""Faces keep their number and their points stay calm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facefusion_runner.faces.motion import flow, is_new_scene, reduce
from facefusion_runner.faces.tracking import FaceTracker, overlap
from facefusion_runner.faces.types import Detection, Float, Landmarks, Picture
from facefusion_runner.landmarkers.schemes import SCHEMES, of_mesh

ASTRONAUT: Picture = np.ascontiguousarray(astronaut()[..., ::-1])
FACE_BOX = np.array([175, 60, 275, 195], np.float32)
FACE_POINTS = np.array([[203, 110], [245, 108], [227, 135], [208, 158], [246, 156]], np.float32)


def moved(shift: tuple[float, float]) -> Picture:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    return np.asarray(
        cv2.warpAffine(ASTRONAUT, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def detection(shift: tuple[float, float] = (0, 0), noise: Float | None = None) -> Detection:
    offset = np.array(shift, np.float32)
    points = FACE_POINTS + offset + (0 if noise is None else noise)
    return Detection(FACE_BOX + np.tile(offset, 2), 0.9, points.astype(np.float32))


class DetectorByFrame:
    """Says for each call what the detector finds, and counts the calls."""

    def __init__(self, found: Callable[[int], list[Detection]]) -> None:
        self.found = found
        self.calls = 0

    def detect(self, picture: Picture) -> list[Detection]:
        self.calls += 1
        return self.found(self.calls - 1)


def test_a_moving_face_keeps_its_number() -> None:
    shifts = [(4.0 * i, 2.0 * i) for i in range(12)]
    tracker = FaceTracker(DetectorByFrame(lambda call: [detection(shifts[call])]), None)
    numbers = [tracker.update(moved(shift), i / 25)[0].track for i, shift in enumerate(shifts)]
    assert set(numbers) == {0}


def test_two_faces_do_not_exchange_their_numbers_when_the_detector_lists_them_the_other_way() -> None:
    def found(call: int) -> list[Detection]:
        both = [detection(), detection((180, 40))]
        return both if call % 2 == 0 else both[::-1]

    tracker = FaceTracker(DetectorByFrame(found), None)
    for i in range(6):
        faces = tracker.update(ASTRONAUT, i / 25)
        assert {face.track: float(face.detection.box[0]) for face in faces} == {0: 175.0, 1: 355.0}


def test_a_face_is_followed_between_detections() -> None:
    shifts = [(3.0 * i, -1.0 * i) for i in range(10)]
    detector = DetectorByFrame(lambda call: [detection(shifts[call * 5])])
    tracker = FaceTracker(detector, None, detect_every=5)
    for i, shift in enumerate(shifts):
        (face,) = tracker.update(moved(shift), i / 25)
        assert face.track == 0
        np.testing.assert_allclose(face.detection.box, FACE_BOX + np.tile(shift, 2), atol=1.0)
    assert detector.calls == 2


def test_a_face_the_detector_misses_for_two_frames_is_still_there() -> None:
    tracker = FaceTracker(DetectorByFrame(lambda call: [] if call in (3, 4) else [detection()]), None)
    assert [[face.track for face in tracker.update(ASTRONAUT, i / 25)] for i in range(7)] == [[0]] * 7


def test_a_face_that_one_of_few_detections_misses_is_still_there() -> None:
    detector = DetectorByFrame(lambda call: [] if call == 1 else [detection()])
    tracker = FaceTracker(detector, None, detect_every=10)
    assert [[face.track for face in tracker.update(ASTRONAUT, i / 25)] for i in range(25)] == [[0]] * 25
    assert detector.calls == 4


def test_a_face_that_has_gone_is_not_invented() -> None:
    tracker = FaceTracker(DetectorByFrame(lambda call: [detection()] if call == 0 else []), None)
    counts = [len(tracker.update(ASTRONAUT, i / 25)) for i in range(12)]
    assert counts[0] == 1
    assert counts[-5:] == [0] * 5


def test_a_new_scene_gives_a_new_number_and_forgets_the_smoothing() -> None:
    other = np.ascontiguousarray(255 - ASTRONAUT[::-1])
    noise = np.full((5, 2), 9, np.float32)
    tracker = FaceTracker(DetectorByFrame(lambda call: [detection(noise=noise if call == 3 else None)]), None)
    for i in range(3):
        assert tracker.update(ASTRONAUT, i / 25)[0].track == 0
    (face,) = tracker.update(other, 3 / 25)
    assert face.track == 1
    np.testing.assert_array_equal(face.points, FACE_POINTS + noise)


def test_the_points_of_a_still_face_jitter_less_than_the_detectors() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, (60, 5, 2)).astype(np.float32)
    tracker = FaceTracker(DetectorByFrame(lambda call: [detection(noise=noise[call])]), None)
    points = np.array([tracker.update(ASTRONAUT, i / 30)[0].points for i in range(60)])
    assert np.abs(np.diff(points[20:], axis=0)).mean() < 0.5 * np.abs(np.diff(noise[20:], axis=0)).mean()


def test_the_points_of_a_moving_face_do_not_lag() -> None:
    shifts = [(8.0 * i, 0.0) for i in range(20)]
    tracker = FaceTracker(DetectorByFrame(lambda call: [detection(shifts[call])]), None)
    for i, shift in enumerate(shifts):
        (face,) = tracker.update(moved(shift), i / 30)
    lag = np.abs(face.points - (FACE_POINTS + shifts[-1])).max()
    assert lag < 0.04 * 42, "more than 4 % of the distance between the eyes"


def test_flow_finds_shift_and_scale() -> None:
    matrix = np.array([[1.03, 0, 2.0], [0, 1.03, -5.0]])
    after = np.asarray(cv2.warpAffine(ASTRONAUT, matrix, (512, 512)), np.uint8)
    move = flow(reduce(ASTRONAUT), reduce(after), FACE_BOX)
    assert move is not None
    np.testing.assert_allclose(move @ [225, 130, 1], matrix @ [225, 130, 1], atol=0.5)
    np.testing.assert_allclose(move[0, 0], 1.03, atol=0.005)


def test_flow_in_a_large_picture_is_in_the_large_pictures_pixels() -> None:
    large = np.asarray(cv2.resize(ASTRONAUT, (2048, 2048)), np.uint8)
    after = np.roll(large, 12, axis=1)
    move = flow(reduce(large), reduce(after), FACE_BOX * 4)
    assert move is not None
    np.testing.assert_allclose(move @ [900, 520, 1], [912, 520], atol=1.5)


def test_flow_knows_when_a_face_is_lost() -> None:
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, ASTRONAUT.shape, np.uint8)
    assert flow(reduce(ASTRONAUT), reduce(noise), FACE_BOX) is None


@pytest.mark.parametrize("change", [lambda p: p, lambda p: np.roll(p, 60, axis=1), lambda p: p // 2 + 60])
def test_a_pan_or_a_change_of_light_is_no_new_scene(change: Callable[[Picture], Picture]) -> None:
    assert not is_new_scene(reduce(ASTRONAUT), reduce(np.ascontiguousarray(change(ASTRONAUT))))


def test_overlap_of_boxes() -> None:
    box = np.array([0, 0, 10, 10], np.float32)
    assert overlap(box, box) == 1.0
    assert overlap(box, box + 20) == 0.0
    assert overlap(box, np.array([5, 0, 15, 10], np.float32)) == pytest.approx(1 / 3)


def test_the_points_of_a_moving_face_jitter_as_little_as_those_of_a_still_one() -> None:
    def jitter(step: float) -> float:
        noise = np.random.default_rng(0).normal(0, 1, (40, 5, 2)).astype(np.float32)
        shifts = [(step * i, 0.0) for i in range(40)]
        tracker = FaceTracker(DetectorByFrame(lambda call: [detection(shifts[call], noise[call])]), None)
        points = [tracker.update(moved(shift), i / 30)[0].points for i, shift in enumerate(shifts)]
        return float(
            np.abs(np.diff([p - s for p, s in zip(points, shifts, strict=True)], axis=0)[10:]).mean()
        )

    assert jitter(5.0) < 1.3 * jitter(0.0)


class LandmarkerBeside:
    """Puts all landmarks of a face beside where the detector sees it."""

    def __init__(self, by: Callable[[int], float]) -> None:
        self.by = by
        self.calls = 0

    gives_mesh = False

    def landmarks(self, picture: Picture, detections: Sequence[Detection]) -> list[Landmarks]:
        self.calls += 1
        return [Landmarks(self._face(found)) for found in detections]

    def _face(self, found: Detection) -> Float:
        eyes = np.repeat(found.points[:2], 6, axis=0)
        points = np.tile(found.points.mean(0), (68, 1))
        points[36:48], points[30], points[[48, 54]] = eyes, found.points[2], found.points[3:]
        return np.asarray(points + np.array([0, self.by(self.calls - 1)]), np.float32)


def test_no_face_begins_where_landmarks_and_detector_see_different_ones() -> None:
    tracker = FaceTracker(DetectorByFrame(lambda _: [detection()]), LandmarkerBeside(lambda _: 40.0))
    assert [tracker.update(ASTRONAUT, i / 25) for i in range(4)] == [[]] * 4


def test_a_face_once_followed_stays_when_its_landmarks_fit_badly() -> None:
    landmarker = LandmarkerBeside(lambda call: 40.0 if call > 2 else 5.0)
    tracker = FaceTracker(DetectorByFrame(lambda _: [detection()]), landmarker)
    assert [len(tracker.update(ASTRONAUT, i / 25)) for i in range(8)] == [1] * 8


class JitteringMesh:
    """A face's mesh where the detector sees the face, every point off by noise of its own."""

    gives_mesh = True

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.given: list[Float] = []

    def landmarks(self, picture: Picture, detections: Sequence[Detection]) -> list[Landmarks]:
        found = []
        for detection in detections:
            mesh = np.zeros((468, 3), np.float32)
            mesh[:, :2] = detection.points.mean(0)
            for ring, point in zip(_RINGS, detection.points, strict=True):
                mesh[list(ring), :2] = point
            mesh += self.random.normal(0, 1, mesh.shape).astype(np.float32)
            self.given.append(mesh)
            found.append(of_mesh(mesh))
        return found


_RINGS = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380), (4,), (61,), (291,))
"""The mesh's points from which the five of the alignment are made."""


def test_a_still_face_has_a_calm_mesh_of_which_its_landmarks_are_a_part() -> None:
    landmarker = JitteringMesh()
    tracker = FaceTracker(DetectorByFrame(lambda _: [detection()]), landmarker)
    meshes = []
    for i in range(60):
        (face,) = tracker.update(ASTRONAUT, i / 30)
        assert face.mesh is not None and face.landmarks is not None
        np.testing.assert_array_equal(face.landmarks, SCHEMES["facemesh_468"].to_68(face.mesh[:, :2]))
        meshes.append(face.mesh)
    jitter, before = (np.abs(np.diff(each[20:], axis=0)).mean((0, 1)) for each in (meshes, landmarker.given))
    assert (jitter < 0.5 * before).all(), "x, y and depth"


def test_the_mesh_of_a_moving_face_does_not_lag() -> None:
    shifts = [(8.0 * i, 0.0) for i in range(20)]
    landmarker = JitteringMesh()
    tracker = FaceTracker(DetectorByFrame(lambda call: [detection(shifts[call])]), landmarker)
    for i, shift in enumerate(shifts):
        (face,) = tracker.update(moved(shift), i / 30)
    assert face.mesh is not None
    assert abs(float((face.mesh - landmarker.given[-1])[:, 0].mean())) < 0.04 * 42
