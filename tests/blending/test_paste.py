from __future__ import annotations

import cv2
import numpy as np
import pytest

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.blending.masks import box_mask
from facefusion_runner.blending.modes import BLEND_MODES
from facefusion_runner.blending.paste import Blend, paste
from facefusion_runner.faces.geometry import cut, invert
from facefusion_runner.faces.types import Mask, Matrix, Picture
from tests.blending.scenes import noisy_picture, onto, paste_into, round_mask, smooth_picture

modes = pytest.mark.parametrize("mode", BLEND_MODES.values(), ids=BLEND_MODES.keys())


def full_mask(side: int) -> Mask:
    return np.full((side, side), 255, np.uint8)


def warped_by_opencv(mask: Mask, matrix: Matrix, picture: Picture) -> Mask:
    """The mask on the whole picture, by OpenCV's own warp at full precision."""
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.warpAffine(mask.astype(np.float32), invert(matrix), size), np.float32)


@modes
@pytest.mark.parametrize("degrees", [0, 23, 90, 180, -135])
@pytest.mark.parametrize(("width", "side"), [(300, 128), (128, 128), (100, 256), (150, 512), (260, 512)])
def test_an_unchanged_crop_gives_the_target_back(mode: Blend, degrees: int, width: int, side: int) -> None:
    picture = smooth_picture(420, 480, sigma=6)
    matrix = onto((240.3, 207.8), width, side, degrees)
    left, top, pixels = paste(picture, cut(picture, matrix, side), box_mask(side), matrix, mode)
    there = picture[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    error = np.abs(pixels.astype(int) - there)
    assert pixels.shape[0] > 0.8 * width
    assert error.max() <= 6 and error.mean() < 0.5


@pytest.mark.parametrize("stretch", [0.5, 0.75, 1.4, 2.0])
@pytest.mark.parametrize("side", [96, 256])
def test_pixels_that_are_not_square_are_pasted_where_they_were_cut(stretch: float, side: int) -> None:
    picture = smooth_picture(500, 500, sigma=6)
    matrix = onto((250.3, 247.8), 150, side, 30, stretch)
    left, top, pixels = paste(picture, cut(picture, matrix, side), box_mask(side), matrix)
    there = picture[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    assert np.abs(pixels.astype(int) - there).max() <= 6


def test_a_crop_of_the_pictures_own_scale_is_pasted_bit_for_bit() -> None:
    picture, crop = noisy_picture(200, 220), noisy_picture(64, 64, seed=1)
    matrix = np.array([[1.0, 0, -50], [0, 1.0, -70]])
    left, top, pixels = paste(picture, crop, full_mask(64), matrix)
    inner = pixels[70 - top : 134 - top, 50 - left : 114 - left]
    assert np.array_equal(inner, crop)


@modes
def test_only_pixels_under_the_mask_change(mode: Blend) -> None:
    picture, crop = noisy_picture(300, 300), noisy_picture(128, 128, seed=1)
    for width, degrees in ((200, 33), (128, 0), (60, 80)):
        matrix = onto((150.2, 140.7), width, 128, degrees)
        mask = round_mask(128, 128)
        pasted = picture.copy()
        paste_into(pasted, crop, mask, matrix, mode)
        reached = warped_by_opencv((mask > 0).astype(np.uint8), matrix, picture) > 0
        if width == 60:
            # The crop is shrunk first: what one of its pixels covers grows.
            reached = cv2.dilate(reached.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert np.array_equal(pasted[~reached], picture[~reached])
        assert (pasted[reached] != picture[reached]).mean() > 0.5


@modes
def test_a_modes_result_is_the_target_where_the_mask_is_zero(mode: Blend) -> None:
    target, generated = noisy_picture(111, 97), noisy_picture(111, 97, seed=1)
    for mask in (round_mask(111, 97), (round_mask(111, 97) > 128).astype(np.uint8) * 255):
        result = mode(target, generated, mask)
        assert np.array_equal(result[mask == 0], target[mask == 0])
        assert result is not target


def test_the_pasted_mask_is_the_warped_mask() -> None:
    picture = np.zeros((300, 320, 3), np.uint8)
    for width, side, degrees, stretch in ((200, 64, 20, 1.0), (70, 64, -50, 1.3), (90, 512, 10, 0.8)):
        matrix = onto((160.4, 150.1), width, side, degrees, stretch)
        mask = round_mask(side, side, side // 8)
        pasted = picture.copy()
        paste_into(pasted, np.full((side, side, 3), 255, np.uint8), mask, matrix)
        expected = warped_by_opencv(mask, matrix, picture)
        assert np.abs(pasted[:, :, 0] - expected).max() < 12
        assert np.abs(pasted[:, :, 0] - expected).mean() < 0.5


@modes
def test_the_rectangle_lies_in_the_picture_and_the_picture_is_not_touched(mode: Blend) -> None:
    random = np.random.default_rng(5)
    empty = 0
    for _ in range(150):
        height, width = random.integers(1, 150, 2)
        side = int(random.choice([1, 2, 5, 16, 64, 200]))
        picture = random.integers(0, 256, (height, width, 3), np.uint8)
        picture.setflags(write=False)
        crop = random.integers(0, 256, (side, side, 3), np.uint8)
        mask = full_mask(side) if random.random() < 0.3 else round_mask(side, side, 2 + side // 16)
        matrix = onto(
            tuple(random.uniform(-40, 190, 2)),
            float(np.exp(random.uniform(np.log(1), np.log(700)))),
            side,
            random.uniform(-180, 180),
            random.uniform(0.5, 2),
        )
        left, top, pixels = paste(picture, crop, mask, matrix, mode)
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
        assert 0 <= left <= left + pixels.shape[1] <= width
        assert 0 <= top <= top + pixels.shape[0] <= height
        empty += pixels.size == 0
        reached = warped_by_opencv((mask > 0).astype(np.uint8), matrix, picture) > 0.5
        covered = np.zeros((height, width), bool)
        covered[top : top + pixels.shape[0], left : left + pixels.shape[1]] = True
        assert not (reached & ~covered).any()
    assert 15 < empty < 135


@modes
def test_a_face_half_outside_the_picture_is_the_same_where_it_is_inside(mode: Blend) -> None:
    crop = smooth_picture(128, 128, seed=1)
    wide = smooth_picture(300, 500)
    matrix = onto((250, 150), 160, 128, 15)
    whole = wide.copy()
    paste_into(whole, crop, box_mask(128), matrix, alpha)
    cut_off = wide[:, 250:].copy()
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (250, 0)
    left, _, pixels = paste(cut_off, crop, box_mask(128), shifted, mode)
    assert left == 0 and pixels.shape[1] < 110
    if mode is alpha:
        paste_into(cut_off, crop, box_mask(128), shifted, mode)
        assert np.abs(cut_off.astype(int) - whole[:, 250:]).max() <= 1


@pytest.mark.parametrize("centre", [(-500, 100), (100, -500), (5000, 100), (100, 5000)])
def test_a_face_outside_the_picture_changes_nothing(centre: tuple[float, float]) -> None:
    left, top, pixels = paste(
        noisy_picture(200, 200), noisy_picture(64, 64), full_mask(64), onto(centre, 200, 64)
    )
    assert (left, top, pixels.shape) == (0, 0, (0, 0, 3))


def test_an_empty_mask_changes_nothing() -> None:
    picture = noisy_picture(200, 200)
    matrix = onto((100, 100), 80, 64)
    assert paste(picture, noisy_picture(64, 64), np.zeros((64, 64), np.uint8), matrix)[2].size == 0
    pasted = picture.copy()
    paste_into(pasted, noisy_picture(64, 64), np.zeros((64, 64), np.uint8), matrix)
    assert np.array_equal(pasted, picture)


def test_only_the_masks_part_of_the_crop_is_touched() -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[60:70, 20:30] = 255
    matrix = onto((960, 540), 512, 128)
    pixels = paste(noisy_picture(1080, 1920), noisy_picture(128, 128), mask, matrix)[2]
    assert pixels.shape[0] <= 10 * 4 + 12 and pixels.shape[1] <= 10 * 4 + 12


def test_a_crop_much_larger_than_the_face_does_not_alias() -> None:
    grid = np.zeros((512, 512, 3), np.uint8)
    grid[::2] = 255
    for width in (40, 64, 100):
        picture = np.full((200, 200, 3), 128, np.uint8)
        matrix = onto((100.3, 99.7), width, 512, 7)
        paste_into(picture, grid, full_mask(512), matrix)
        skipping = cv2.warpAffine(grid, invert(matrix), (200, 200))
        face = (slice(100 - width // 4, 100 + width // 4),) * 2
        assert skipping[face].std() > 60
        assert picture[face].std() < 0.25 * skipping[face].std()


def test_an_enlarged_crop_is_smoother_than_bilinear() -> None:
    crop = smooth_picture(64, 64, sigma=1.2)
    picture = np.zeros((600, 600, 3), np.uint8)
    matrix = onto((300, 300), 512, 64, 20)
    left, top, pixels = paste(picture, crop, full_mask(64), matrix)
    back = invert(matrix)
    cubic = cv2.warpAffine(crop, back, (600, 600), flags=cv2.INTER_CUBIC)
    linear = cv2.warpAffine(crop, back, (600, 600), flags=cv2.INTER_LINEAR)
    middle = (slice(200, 400), slice(200, 400))
    ours = np.zeros_like(picture)
    ours[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels

    def away(other: Picture) -> float:
        return float(np.square(ours[middle].astype(float) - other[middle]).mean())

    assert away(np.asarray(cubic, np.uint8)) < 0.3 * float(
        np.square(linear[middle].astype(float) - cubic[middle]).mean()
    )


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((2, 3)),
        np.array([[1.0, 2, 0], [2, 4, 0]]),
        np.array([[np.nan, 0, 0], [0, 1, 0]]),
        np.array([[1.0, 0, np.inf], [0, 1, 0]]),
    ],
)
def test_a_transform_without_inverse_is_refused(matrix: Matrix) -> None:
    with pytest.raises(ValueError, match="no inverse"):
        paste(noisy_picture(50, 50), noisy_picture(16, 16), full_mask(16), matrix)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="mask is"):
        paste(noisy_picture(50, 50), noisy_picture(16, 16), full_mask(17), onto((25, 25), 16, 16))


@modes
def test_a_mask_that_is_full_up_to_the_edge_brings_nothing_in_from_beyond_the_crop(mode: Blend) -> None:
    picture = smooth_picture(300, 320, sigma=30)
    matrix = onto((160.0, 150.0), 128, 110, 12)
    full = np.full((110, 110), 255, np.uint8)
    left, top, pixels = paste(picture, cut(picture, matrix, 110), full, matrix, mode)
    there = picture[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    # The colours of the crop's edge go on for a pixel, where the picture's own are a little other ones.
    assert cv2.absdiff(pixels, there).max() <= 3
