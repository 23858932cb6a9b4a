"""Alignment is InsightFace's own, to the pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from insightface.data import get_image
from insightface.utils import face_align

from facefusion_runner.faces.geometry import (
    TEMPLATES,
    alignment,
    apply,
    cut,
    invert,
    scale_of,
    similarity,
)


def faces(count: int) -> list[Any]:
    """Five points of faces turned, scaled, placed and shaped at random within the picture t1."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        angle, scale = random.normal() * 0.6, random.uniform(20, 500)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shape = TEMPLATES["arcface_112_v2"] - 0.5 + random.normal(size=(5, 2)) * 0.03
        place = random.uniform([0, 0], [1280, 886])
        made.append((shape @ turn.T * scale + place).astype(np.float32))
    return made


@pytest.mark.parametrize(
    ("template", "side"),
    [
        ("arcface_112_v2", 112),
        ("arcface_112_v2", 224),
        ("arcface_128", 128),
        ("arcface_128", 256),
        ("arcface_128", 512),
    ],
)
def test_crops_are_insightface_s_to_the_pixel(template: str, side: int) -> None:
    picture = get_image("t1")
    for points in faces(40):
        their_crop, their_matrix = face_align.norm_crop2(picture, points, side)
        matrix = alignment(points, template, side)
        np.testing.assert_allclose(matrix, their_matrix, rtol=1e-12, atol=1e-9)
        np.testing.assert_array_equal(cut(picture, matrix, side), their_crop)


def test_a_similarity_is_found_again() -> None:
    points = faces(1)[0]
    known = np.array([[0.3, -0.4, 12.0], [0.4, 0.3, -7.0]])
    found = similarity(points, apply(known, points))
    np.testing.assert_allclose(found, known, atol=1e-3)
    assert scale_of(found) == pytest.approx(0.5, abs=1e-5)


def test_mirrored_points_are_not_mirrored_back() -> None:
    points = faces(1)[0]
    found = similarity(points * [-1, 1], points)
    assert np.linalg.det(found[:, :2]) > 0


def test_points_on_one_line_are_aligned() -> None:
    line = np.array([[0, 0], [10, 0], [20, 0]], np.float32)
    found = similarity(line, line @ np.array([[0, 1], [-1, 0]]) + [5, 6])
    np.testing.assert_allclose(found, [[0, -1, 5], [1, 0, 6]], atol=1e-5)


def test_points_that_coincide_are_shifted() -> None:
    found = similarity(np.full((5, 2), 7.0), np.full((5, 2), 9.0))
    np.testing.assert_array_equal(found, [[1, 0, 2], [0, 1, 2]])


def test_a_transform_and_its_inverse_cancel() -> None:
    points = faces(1)[0]
    matrix = alignment(points, "ffhq_512", 512)
    np.testing.assert_allclose(apply(invert(matrix), apply(matrix, points)), points, atol=1e-3)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_scales_with_the_side(template: str) -> None:
    points = faces(1)[0]
    small, large = (apply(alignment(points, template, side), points) for side in (128, 256))
    np.testing.assert_allclose(large, small * 2, atol=1e-2)
