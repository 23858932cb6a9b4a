"""Flicker is what changes beside motion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facefusion_runner.faces.types import Picture
from training.evaluation.flicker import differences

MASK = np.zeros((96, 96), np.uint8)
MASK[24:72, 24:72] = 255


@pytest.fixture
def moving() -> list[Picture]:
    """A texture that moves by a pixel and a half from frame to frame."""
    noise = np.random.default_rng(1).integers(0, 255, (24, 24, 3), np.uint8)
    still = cv2.GaussianBlur(cv2.resize(noise, (160, 160), interpolation=cv2.INTER_CUBIC), (0, 0), 2)
    moves = [np.float32([[1, 0, -10 - 1.5 * step], [0, 1, -20]]) for step in range(5)]
    return [np.asarray(cv2.warpAffine(still, move, (96, 96)), np.uint8) for move in moves]


def test_a_swap_that_moves_with_the_picture_flickers_no_more_than_it(moving: list[Picture]) -> None:
    brighter = [cv2.add(frame, (12, 12, 12, 0)) for frame in moving]
    swapped, original = differences(moving, brighter, [MASK] * len(moving)).mean(0)
    assert swapped == pytest.approx(original, rel=0.05)


def test_a_swap_whose_light_jumps_from_frame_to_frame_flickers_more(moving: list[Picture]) -> None:
    jumping = [cv2.add(frame, (step % 2 * 12.0,) * 3 + (0,)) for step, frame in enumerate(moving)]
    swapped, original = differences(moving, jumping, [MASK] * len(moving)).mean(0)
    assert swapped > original + 5


def test_what_lies_outside_the_swapped_region_does_not_count(moving: list[Picture]) -> None:
    edges = [frame.copy() for frame in moving]
    for step, frame in enumerate(edges):
        frame[:8] = 255 * (step % 2)
    rows = differences(moving, edges, [MASK] * len(moving))
    assert rows[:, 0] == pytest.approx(rows[:, 1])


def test_frames_without_a_face_are_left_out(moving: list[Picture]) -> None:
    assert not len(differences(moving, moving, [np.zeros_like(MASK)] * len(moving)))
