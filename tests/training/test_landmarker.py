"""The landmarker learns from the crops that the product cuts; its mirror and its loss are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from facefusion_runner.faces.types import Detection  # noqa: E402
from facefusion_runner.landmarkers.crops import crop_matrix  # noqa: E402
from training.landmarker import data as crops  # noqa: E402
from training.landmarker.evaluate import landmarker  # noqa: E402
from training.landmarker.losses import emphasis, mesh_loss, point_error  # noqa: E402
from training.landmarker.network import SIDE, FaceMesh468  # noqa: E402


def face() -> Detection:
    points = np.array([[90, 110], [128, 118], [105, 140], [84, 155], [116, 161]], np.float32)
    return Detection(np.array([60, 60, 150, 190], np.float32), 1.0, points)


def test_a_crop_without_jitter_is_the_one_that_the_product_cuts() -> None:
    wide = crop_matrix(face(), crops.WIDE, crops.WIDE_SIDE, upright=True)
    product = crop_matrix(face(), crops.BOX_SCALE, SIDE, upright=True)
    narrow = crops.narrowed()
    np.testing.assert_allclose(narrow[:, :2] @ wide[:, :2], product[:, :2], atol=1e-5)
    np.testing.assert_allclose(narrow[:, :2] @ wide[:, 2] + narrow[:, 2], product[:, 2], atol=1e-3)


@pytest.mark.parametrize("flipped", [False, True])
def test_the_mesh_stays_on_the_picture_through_crop_and_mirror(flipped: bool) -> None:
    rng = np.random.default_rng(3)
    mesh = np.column_stack([rng.uniform(80, 160, (468, 2)), np.zeros(468)]).astype(np.float32)
    mesh[:] = mesh[0]
    picture = np.zeros((crops.WIDE_SIDE, crops.WIDE_SIDE, 3), np.uint8)
    x, y = np.rint(mesh[0, :2]).astype(int)
    mesh[:, :2] = x, y
    picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    partner = np.arange(468) if flipped else None
    for _ in range(8):
        crop, seen, _ = crops.view(rng, picture, mesh, partner, strength=0.0)
        weight = crop.astype(float).mean(2)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        np.testing.assert_allclose(seen[0, :2] * SIDE, centre, atol=0.35)


def test_depth_grows_with_the_picture() -> None:
    mesh = np.full((468, 3), 10, np.float32)
    doubled = crops.transformed(mesh, np.array([[2.0, 0, 0], [0, 2.0, 0]]))
    np.testing.assert_allclose(doubled, 20)


def test_the_mirror_s_partner_of_a_left_eye_s_corner_is_the_right_eye_s(shared: Path) -> None:
    partner = crops.mirrored(shared)
    assert [partner[i] for i in (33, 133, 61, 1, 234)] == [263, 362, 291, 1, 454]
    assert (partner[partner] == np.arange(468)).all()


def test_a_guessed_detection_is_where_the_mesh_is() -> None:
    mesh = np.random.default_rng(0).uniform(100, 200, (468, 3)).astype(np.float32)
    mesh[0, :2], mesh[1, :2] = 100, 200
    left, top, right, bottom = crops.guessed(mesh).box
    assert left == pytest.approx(300 - right, abs=1e-3)
    assert bottom - top == pytest.approx(100 / 0.857, rel=1e-3)
    assert (top + bottom) / 2 < 150


def test_answers_that_differ_between_two_views_cost_more_than_one_common_error() -> None:
    truth = torch.rand(2, 468, 3)
    truth[1] = truth[0]
    still = torch.eye(2).expand(2, 2, 2)
    shift = torch.tensor([0.05, 0.0, 0.0])
    common = mesh_loss(truth + shift, truth, still, emphasis())[0]
    apart = mesh_loss(truth + shift * torch.tensor([1.0, -1.0])[:, None, None], truth, still, emphasis())[0]
    assert apart > common > mesh_loss(truth, truth, still, emphasis())[0]


def test_two_views_turned_against_each_other_agree_when_their_answers_turn_along() -> None:
    truth = torch.rand(1, 468, 3)
    linear = torch.stack([torch.eye(2), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])])
    flat = torch.stack([truth[0, :, :2] @ matrix.T for matrix in linear])
    both = torch.cat([flat, truth[..., 2:].expand(2, -1, -1)], 2)
    error = torch.stack([torch.tensor([0.03, 0.01]) @ matrix.T for matrix in linear])
    found = both + torch.nn.functional.pad(error, (0, 1))[:, None]
    turned = mesh_loss(found, both, linear, emphasis())[0]
    swapped = mesh_loss(
        found - 2 * torch.nn.functional.pad(error, (0, 1))[:, None] * torch.tensor([0.0, 1.0])[:, None, None],
        both,
        linear,
        emphasis(),
    )[0]
    assert turned < swapped


def test_error_is_counted_in_distances_between_the_eyes() -> None:
    truth = torch.zeros(1, 468, 3)
    truth[:, [33, 133], 0], truth[:, [362, 263], 0] = -2.0, 2.0
    assert point_error(truth + torch.tensor([1.0, 0.0, 0.0]), truth).mean() == pytest.approx(0.25)


def test_a_new_network_answers_near_the_mean_face_and_opens_as_the_product_opens_it(tmp_path: Path) -> None:
    from training.export import export

    torch.manual_seed(0)
    mean = torch.rand(1404) * 0.2 + 0.4
    network = FaceMesh468(mean, torch.rand(128, 1404) * 1e-3)
    export(network, tmp_path / "face_mesh.onnx", {"input": torch.zeros(2, 3, SIDE, SIDE)}, ["mesh"])
    found = landmarker(tmp_path / "face_mesh.onnx", 1).landmarks(
        np.zeros((240, 240, 3), np.uint8), [face()] * 3
    )
    assert [landmarks.points.shape for landmarks in found] == [(68, 2)] * 3
    left, top, right, bottom = face().box
    mesh = found[0].mesh
    assert mesh is not None and mesh.shape == (468, 3)
    assert np.linalg.norm(mesh[:, :2].mean(0) - [(left + right) / 2, (top + bottom) / 2]) < 10
