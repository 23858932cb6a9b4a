"""A label can be read, stays in its corner, and fits every picture."""

from __future__ import annotations

import numpy as np
import pytest

from facefusion_runner.blending.label import labelled


@pytest.mark.parametrize("ground", [0, 90, 255])
@pytest.mark.parametrize("size", [(1080, 1920), (360, 640), (640, 360)])
def test_its_letters_stand_out_in_the_lower_left_corner(size: tuple[int, int], ground: int) -> None:
    picture = np.full((*size, 3), ground, np.uint8)
    left, top, pixels = labelled(picture, "AI-generated")
    height, width = pixels.shape[:2]
    assert left + width < size[1] * 0.6 and top > size[0] * 0.85 and top + height <= size[0]
    assert pixels.max() > 240 and pixels.min() <= ground * 0.5
    assert 0.05 < (pixels[..., 1] > 200).mean() < 0.4
    assert (picture == ground).all()


@pytest.mark.parametrize("size", [(1, 1), (8, 200), (200, 8), (16, 16)])
def test_a_small_picture_shows_what_fits(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 128, np.uint8)
    left, top, pixels = labelled(picture, "AI-generated")
    assert left >= 0 and top >= 0
    assert top + pixels.shape[0] <= size[0] and left + pixels.shape[1] <= size[1]


def test_two_texts_look_different() -> None:
    picture = np.full((360, 640, 3), 128, np.uint8)
    assert labelled(picture, "made")[2].shape != labelled(picture, "AI-generated")[2].shape
