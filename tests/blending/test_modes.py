from __future__ import annotations

import cv2
import numpy as np
import pytest

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.blending.modes import BLEND_MODES
from facefusion_runner.blending.paste import Blend
from facefusion_runner.blending.pyramid import pyramid
from facefusion_runner.blending.seamless import seamless
from facefusion_runner.faces.types import Mask, Picture
from tests.blending.scenes import noisy_picture, round_mask, smooth_picture

modes = pytest.mark.parametrize("mode", BLEND_MODES.values(), ids=BLEND_MODES.keys())


def centre(size: int, share: float = 0.1) -> tuple[slice, slice]:
    reach = slice(round(size * (0.5 - share)), round(size * (0.5 + share)))
    return reach, reach


def hard(mask: Mask) -> Mask:
    return (mask >= 128).astype(np.uint8) * 255


def step_at_the_edge(result: Picture, target: Picture, mask: Mask) -> float:
    """Mean change from a pixel just outside the half-full line to its neighbour just inside, less the
    target's own."""
    inside = (mask >= 128).astype(np.uint8)
    edge = (cv2.dilate(inside, np.ones((3, 3), np.uint8)) - inside).astype(bool)

    def steps(picture: Picture) -> float:
        values = picture.astype(np.float32)
        inner = cv2.blur(values * inside[:, :, None], (3, 3)) / np.maximum(
            cv2.blur(inside.astype(np.float32), (3, 3)), 1e-6
        ).reshape(*inside.shape, 1)
        return float(np.abs(inner - values)[edge].mean())

    return steps(result) - steps(target)


def test_alpha_is_the_weighted_mean_to_one_level() -> None:
    target, generated = noisy_picture(256, 255), noisy_picture(256, 255, seed=1)
    mask = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 255, 1)
    weight = mask[:, :, None] / 255
    exact = target * (1 - weight) + generated * weight
    result = alpha(target, generated, mask)
    assert np.abs(result - exact).max() <= 1.0
    assert abs(float((result - exact).mean())) < 0.02
    assert np.array_equal(result[255], generated[255]) and np.array_equal(result[0], target[0])


@modes
def test_equal_pictures_blend_to_themselves(mode: Blend) -> None:
    picture = noisy_picture(180, 160)
    assert np.array_equal(mode(picture, picture.copy(), round_mask(180, 160)), picture)


@pytest.mark.parametrize("mode", [alpha, pyramid])
@pytest.mark.parametrize("size", [24, 64, 200, 500])
def test_deep_inside_the_generated_face_is_itself(mode: Blend, size: int) -> None:
    target, generated = noisy_picture(size, size), noisy_picture(size, size, seed=1)
    result = mode(target, generated, round_mask(size, size, max(2, size // 12)))
    assert np.abs(result[centre(size)].astype(int) - generated[centre(size)]).max() <= 1


def test_seamless_keeps_the_generated_gradients_and_takes_the_targets_light() -> None:
    face = smooth_picture(300, 300).astype(int) // 2
    target, generated = (face + 100).astype(np.uint8), (face + 20).astype(np.uint8)
    mask = hard(round_mask(300, 300))
    result = seamless(target, generated, mask)
    assert np.abs(result.astype(int) - target).max() <= 1


def test_seamless_solves_poissons_equation() -> None:
    size = 96
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    # The difference is harmonic, so it is its own membrane.
    harmonic = 0.02 * ((columns - 48) ** 2 - (rows - 40) ** 2) + 0.3 * (columns - rows)
    generated = smooth_picture(size, size).astype(np.float32) / 3 + 90
    target = np.clip(np.rint(generated + harmonic[:, :, None]), 0, 255).astype(np.uint8)
    mask = hard(round_mask(size, size, 4))
    inside = mask > 0
    elsewhere = target.copy()
    elsewhere[inside] = 0
    result = seamless(elsewhere, generated.astype(np.uint8), mask)
    error = np.abs(result.astype(int) - target)[inside]
    assert np.abs(harmonic[inside]).max() > 30
    assert error.max() <= 6 and error.mean() < 1.5


def test_seamless_leaves_no_step_where_alpha_does() -> None:
    target, generated = smooth_picture(300, 300, 1), smooth_picture(300, 300, 2)
    generated = cv2.add(generated // 2, np.full_like(generated, 60))
    mask = hard(round_mask(300, 300))
    steps = {
        name: step_at_the_edge(mode(target, generated, mask), target, mask)
        for name, mode in (("alpha", alpha), ("seamless", seamless))
    }
    assert steps["alpha"] > 20
    assert steps["seamless"] < 0.2 * steps["alpha"]


def test_seamless_does_not_shift_the_face() -> None:
    for size in (100, 101):
        for margin in (20, 21):
            target = np.full((size, size, 3), 100, np.uint8)
            generated = np.full((size, size, 3), 100, np.uint8)
            generated[50, 47] = 250
            mask = np.zeros((size, size), np.uint8)
            mask[margin:-20, margin + 1 : -20] = 255
            result = seamless(target, generated, mask)
            assert np.array_equal(result, generated)


def test_seamless_takes_the_light_also_where_the_mask_touches_the_border() -> None:
    face = smooth_picture(200, 200).astype(int) // 2
    target, generated = (face + 100).astype(np.uint8), (face + 20).astype(np.uint8)
    mask = np.zeros((200, 200), np.uint8)
    mask[40:, 60:] = 255
    assert np.abs(seamless(target, generated, mask).astype(int) - target).max() <= 2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40])
def test_seamless_without_an_edge_or_an_inside_is_alpha(size: int) -> None:
    target, generated = noisy_picture(size, size), noisy_picture(size, size, seed=1)
    for level in (0, 1, 127, 128, 255):
        mask = np.full((size, size), level, np.uint8)
        assert np.array_equal(seamless(target, generated, mask), alpha(target, generated, mask))


@modes
def test_masks_of_a_few_pixels_are_blended(mode: Blend) -> None:
    for size in (1, 2, 3, 5, 9, 33):
        target, generated = noisy_picture(size, size), noisy_picture(size, size, seed=1)
        for spot in ((0, 0), (size // 2, size // 2), (size - 1, size // 2)):
            mask = np.zeros((size, size), np.uint8)
            mask[spot] = 255
            result = mode(target, generated, mask)
            assert np.array_equal(result[mask == 0], target[mask == 0])


def test_pyramid_changes_detail_over_faster_than_light() -> None:
    size = 256
    target = np.full((size, size, 3), 60, np.uint8)
    generated = np.full((size, size, 3), 160, np.uint8)
    mask = np.zeros((size, size), np.uint8)
    ramp = np.clip((np.arange(size) - 64) / 128 * 255, 0, 255).astype(np.uint8)
    mask[:] = ramp
    light = pyramid(target, generated, mask)[128, :, 0].astype(float)
    light = (light - 60) / 100
    changing = np.flatnonzero((light > 0.05) & (light < 0.95))
    assert np.ptp(changing) > 24

    stripes = np.full((size, size, 3), 60, np.uint8)
    stripes[:, ::2] = 160
    flat = np.full((size, size, 3), 110, np.uint8)
    fine = pyramid(flat, stripes, mask)[128, :, 0].astype(float)
    contrast = np.abs(np.diff(fine)) / 100
    changing = np.flatnonzero((contrast > 0.05) & (contrast < 0.95))
    assert np.ptp(changing) < 8


def test_pyramid_ignores_what_is_generated_outside_the_mask() -> None:
    target, generated = smooth_picture(200, 200), smooth_picture(200, 200, 1)
    mask = round_mask(200, 200, 24)
    black = generated.copy()
    black[mask == 0] = 0
    assert np.array_equal(pyramid(target, generated, mask), pyramid(target, black, mask))


def test_seamless_ignores_what_is_generated_outside_a_feathered_mask() -> None:
    target, generated = smooth_picture(200, 200), smooth_picture(200, 200, 1)
    mask = round_mask(200, 200, 24)
    black = generated.copy()
    black[mask == 0] = 0
    assert np.array_equal(seamless(target, generated, mask), seamless(target, black, mask))
