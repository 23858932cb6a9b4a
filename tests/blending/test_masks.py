from __future__ import annotations

import weakref
from itertools import pairwise

import cv2
import numpy as np
import pytest

from facefusion_runner.blending.masks import box_mask, combine, hull_mask
from tests.blending.scenes import landmarks68


@pytest.mark.parametrize("side", [64, 128, 256, 512])
def test_a_box_rises_from_its_edge_to_full_over_the_feather(side: int) -> None:
    mask = box_mask(side, feather=0.25)
    middle = mask[side // 2].astype(int)
    assert middle[0] <= 2 and middle[-1] <= 2
    assert (np.diff(middle[: side // 2]) >= 0).all()
    assert (middle[side // 4 : side - side // 4] == 255).all()
    assert middle[side // 8 - 1] < 128 < middle[side // 8]
    assert mask[side // 2, side // 2] == 255


def test_a_feather_scales_with_the_crop() -> None:
    small = box_mask(128, feather=0.2)
    large = box_mask(512, feather=0.2)
    shrunk = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - shrunk).max() <= 2


def test_padding_is_top_right_bottom_left() -> None:
    mask = box_mask(100, padding=(0.1, 0.2, 0.3, 0.4), feather=0.0)
    assert cv2.boundingRect(mask) == (40, 10, 40, 60)
    assert (mask[10:70, 40:80] == 255).all()


def test_padding_that_leaves_nothing_gives_an_empty_mask() -> None:
    assert not box_mask(64, padding=(0.6, 0.0, 0.6, 0.0)).any()


def test_a_cached_mask_cannot_be_spoiled() -> None:
    mask = box_mask(96)
    assert box_mask(96) is mask
    with pytest.raises(ValueError, match="read-only"):
        mask[0, 0] = 1


@pytest.mark.parametrize("side", [96, 128, 256, 512])
def test_a_hull_covers_the_face_and_nothing_beyond_it(side: int) -> None:
    points = landmarks68(side)
    feather = 0.06
    mask = hull_mask(points, side, feather=feather)
    brows, nose = points[17:27], points[33]
    lifted = brows + 0.5 * (brows.mean(0) - nose)
    hull = cv2.convexHull(np.vstack([points, lifted]))
    slack = side / 128 + 1
    for y in range(0, side, 7):
        for x in range(0, side, 7):
            depth = cv2.pointPolygonTest(hull, (float(x), float(y)), True)
            if depth < -slack:
                assert mask[y, x] == 0
            elif depth > feather * side + slack:
                assert mask[y, x] == 255
    assert mask[round(float(brows[:, 1].mean() - 0.03 * side)), side // 2] > 0


def test_a_hull_follows_movements_below_a_pixel() -> None:
    points = landmarks68(128)
    moved = [points + np.array([shift, 0.0]) for shift in (0.0, 0.25, 0.5, 0.75)]
    left_halves = [int(hull_mask(landmarks, 128)[:, :64].sum()) for landmarks in moved]
    assert all(before > after for before, after in pairwise(left_halves))


def test_a_hull_does_not_depend_on_the_sense_of_rotation() -> None:
    points = landmarks68(128)
    mirrored = points * np.array([-1, 1]) + np.array([127, 0])
    assert np.abs(hull_mask(points, 128).astype(int) - hull_mask(mirrored, 128)[:, ::-1]).max() <= 1


def test_landmarks_on_one_line_or_one_point_give_an_empty_hull() -> None:
    line = np.column_stack([np.linspace(10, 100, 68), np.linspace(10, 100, 68)]).astype(np.float32)
    assert not hull_mask(line, 128).any()
    assert not hull_mask(np.full((68, 2), 50, np.float32), 128).any()


def test_a_hull_outside_the_crop_is_empty_and_one_around_it_is_full() -> None:
    assert not hull_mask(landmarks68(128) + 500, 128).any()
    assert (hull_mask((landmarks68(128) - 64) * 40 + 64, 128) == 255).all()


def test_a_hull_of_five_points_is_refused() -> None:
    with pytest.raises(ValueError, match="68 landmarks"):
        hull_mask(np.zeros((5, 2), np.float32), 128)


def test_combined_masks_take_a_pixel_only_where_all_do() -> None:
    own = np.zeros((128, 128), np.uint8)
    own[:, 64:] = 200
    box, hull = box_mask(128), hull_mask(landmarks68(128), 128)
    assert np.array_equal(combine([own, box, hull]), np.minimum(np.minimum(box, hull), own))
    assert np.array_equal(combine([own]), own)
    assert own[0, 64] == 200


def test_nothing_to_combine_is_refused() -> None:
    with pytest.raises(ValueError, match="no masks"):
        combine([])


def test_masks_of_many_kinds_do_not_pile_up() -> None:
    masks = [weakref.ref(box_mask(64, feather=number / 100)) for number in range(30)]
    assert sum(mask() is not None for mask in masks) <= 4
