"""The face the user meant is swapped, and stays the one that is swapped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facefusion_runner.faces.selection import EveryFace, FacesByPosition, FacesLike, LargestFace
from facefusion_runner.faces.types import Detection, Face, Float, Picture

BLANK: Picture = np.zeros((100, 400, 3), np.uint8)


def face(track: int, left: float, size: float = 50) -> Face:
    box = np.array([left, 10, left + size, 10 + size], np.float32)
    points = np.full((5, 2), track, np.float32)
    return Face(Detection(box, 0.9, points), points, track=track)


def tracks(faces: Sequence[Face]) -> list[int]:
    return [face.track for face in faces]


def test_every_face_is_every_face() -> None:
    assert tracks(EveryFace().select(BLANK, [face(3, 0), face(1, 99)])) == [3, 1]


def test_the_largest_face_is_chosen() -> None:
    assert tracks(LargestFace().select(BLANK, [face(0, 0, 40), face(1, 99, 60)])) == [1]
    assert LargestFace().select(BLANK, []) == []


def test_two_faces_of_like_size_do_not_take_turns() -> None:
    selector = LargestFace()
    sizes = [(50, 52), (53, 51), (50, 54), (55, 50)]
    chosen = [tracks(selector.select(BLANK, [face(0, 0, a), face(1, 99, b)])) for a, b in sizes]
    assert chosen == [[1]] * 4


def test_the_role_of_the_largest_moves_on_to_a_clearly_larger_face() -> None:
    selector = LargestFace()
    assert tracks(selector.select(BLANK, [face(0, 0, 50), face(1, 99, 40)])) == [0]
    assert tracks(selector.select(BLANK, [face(0, 0, 50), face(1, 99, 90)])) == [1]


def test_positions_count_from_the_left() -> None:
    faces = [face(0, 200), face(1, 20), face(2, 110)]
    assert tracks(FacesByPosition([0]).select(BLANK, faces)) == [1]
    assert tracks(FacesByPosition([0, 2]).select(BLANK, faces)) == [1, 0]
    assert FacesByPosition([3]).select(BLANK, faces) == []


def test_a_face_keeps_its_position_when_they_cross() -> None:
    selector = FacesByPosition([0])
    assert tracks(selector.select(BLANK, [face(0, 20), face(1, 200)])) == [0]
    assert tracks(selector.select(BLANK, [face(0, 300), face(1, 200)])) == [0]


def test_a_face_that_enters_on_the_left_does_not_take_a_position_that_is_held() -> None:
    selector = FacesByPosition([0])
    assert tracks(selector.select(BLANK, [face(0, 100)])) == [0]
    assert tracks(selector.select(BLANK, [face(0, 100), face(1, 10)])) == [0]


class EncoderByTrack:
    """Embeds a face as its track number says; counts the faces it was asked about."""

    space = "test"
    dimension = 3

    def __init__(self, people: dict[int, list[list[float]]]) -> None:
        self.people = people
        self.calls: dict[int, int] = {}

    def embed(self, picture: Picture, points: Sequence[Float]) -> Float:
        rows = []
        for each in points:
            track = int(each[0, 0])
            views = self.people[track]
            call = self.calls.get(track, 0)
            self.calls[track] = call + 1
            rows.append(views[min(call, len(views) - 1)])
        return np.array(rows, np.float32)


ANNA, BERT = [5.0, 0.0, 0.0], [0.0, 3.0, 0.5]


def test_only_the_person_of_the_reference_is_chosen() -> None:
    selector = FacesLike(EncoderByTrack({0: [ANNA], 1: [BERT]}), np.array([1, 0.1, 0], np.float32), 0.4)
    assert tracks(selector.select(BLANK, [face(0, 0), face(1, 99)])) == [0]


def test_one_bad_view_does_not_change_who_a_face_is() -> None:
    encoder = EncoderByTrack({0: [ANNA, BERT, ANNA]})
    selector = FacesLike(encoder, np.array(ANNA, np.float32), 0.4)
    assert [tracks(selector.select(BLANK, [face(0, 0)])) for _ in range(4)] == [[0]] * 4


def test_a_tracked_face_is_not_embedded_in_every_frame() -> None:
    encoder = EncoderByTrack({0: [ANNA]})
    selector = FacesLike(encoder, np.array(ANNA, np.float32), 0.4)
    for _ in range(60):
        selector.select(BLANK, [face(0, 0)])
    assert encoder.calls[0] == 4
