"""A face takes on the light and the colours of the place it is put into."""

from __future__ import annotations

import numpy as np
import pytest

from facefusion_runner.generators.relighting import LUMA, calm, hue, light, without_glare

SKIN = np.array([110, 140, 190], np.float32)
EVERYWHERE = np.ones((64, 64), np.float32)
SIGMA = 8.0


def test_a_face_takes_the_brightness_and_the_tint_of_its_place() -> None:
    face = np.full((64, 64, 3), 90, np.float32)
    target = np.broadcast_to(SKIN, face.shape).astype(np.float32)
    gain, offset = light(face, target, EVERYWHERE, SIGMA)
    assert (face * gain + offset)[32, 32] == pytest.approx(SKIN, abs=4)


def test_deep_shadow_in_the_source_gives_no_colour() -> None:
    face = np.broadcast_to(np.array([2, 9, 4], np.float32), (64, 64, 3)).astype(np.float32)
    target = np.broadcast_to(SKIN, face.shape).astype(np.float32)
    tone = hue(face, target, EVERYWHERE, SIGMA)[32, 32]
    assert tone[3] == 1
    assert tone[:3] == pytest.approx(SKIN / (SKIN @ LUMA), abs=0.05)


def test_a_lit_source_keeps_its_own_colour() -> None:
    face = np.broadcast_to(SKIN * np.float32(0.8), (64, 64, 3)).astype(np.float32)
    target = np.broadcast_to(SKIN, face.shape).astype(np.float32)
    assert not hue(face, target, EVERYWHERE, SIGMA).any()


def test_without_any_skin_to_compare_nothing_changes() -> None:
    face = np.full((64, 64, 3), 5, np.float32)
    gain, offset = light(face, face + 100, np.zeros((64, 64), np.float32), SIGMA)
    assert (gain == 1).all()
    assert not offset.any()
    assert not hue(face, face + 100, np.zeros((64, 64), np.float32), SIGMA).any()


def test_a_glint_on_brightened_skin_does_not_turn_white() -> None:
    target = np.broadcast_to(SKIN * np.float32(0.6), (64, 64, 3)).astype(np.float32)
    around = calm(target, EVERYWHERE, SIGMA)
    face = target * np.float32(1.1)
    face[30:34, 30:34] *= 2
    tamed = without_glare(face, around, EVERYWHERE)
    assert np.array_equal(tamed[:20], face[:20]), "common detail stays"
    rise = tamed[32, 32] @ LUMA / (face[0, 0] @ LUMA)
    assert 1.2 < rise < 1.6, "brighter than the skin still, by far less than twice"
    assert tamed[32, 32] / tamed[32, 32].sum() == pytest.approx(SKIN / SKIN.sum(), abs=1e-3)
    assert np.array_equal(without_glare(face, around, np.zeros_like(EVERYWHERE)), face)
