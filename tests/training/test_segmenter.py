"""The segmenter's lessons: what is drawn in front of a face is what the truth says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facefusion_runner.faces.types import Float
from facefusion_runner.segmenters import CLASSES, GLASSES, OCCLUDER, SKIN

torch = pytest.importorskip("torch")

from training.export import export  # noqa: E402
from training.segmenter import glasses, occluders  # noqa: E402
from training.segmenter.data import OCCLUDERS, painted_truth  # noqa: E402
from training.segmenter.drawing import capsules, polygon  # noqa: E402
from training.segmenter.evaluate import segmenter  # noqa: E402
from training.segmenter.frames import split  # noqa: E402
from training.segmenter.losses import loss  # noqa: E402
from training.segmenter.network import SIDE, Segmenter, Shipped  # noqa: E402
from training.segmenter.occluders import Scene  # noqa: E402
from training.segmenter.renders import sure  # noqa: E402

TONE = np.array([110.0, 140.0, 200.0])


@pytest.fixture
def scene() -> Scene:
    """A plain face: 468 points on an egg, those of eyes and ears where they belong."""
    t = np.linspace(0, 2 * np.pi, 468, endpoint=False)
    mesh = np.column_stack([64 + 28 * np.cos(t), 70 + 36 * np.sin(t), np.zeros(468)])
    mesh[33], mesh[133], mesh[362], mesh[263] = (46, 60, 0), (57, 60, 0), (71, 60, 0), (82, 60, 0)
    mesh[10], mesh[152], mesh[127], mesh[356] = (64, 34, 0), (64, 106, 0), (36, 62, 14), (92, 62, 14)
    picture = np.full((SIDE, SIDE, 3), TONE, np.float32)
    cut_out = np.zeros((40, 40, 4), np.uint8)
    cv2.circle(cut_out, (20, 20), 15, (0, 255, 0, 255), cv2.FILLED)

    def texture(rng: np.random.Generator) -> Float:
        return rng.uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32)

    return Scene(
        picture, np.zeros((SIDE, SIDE), np.float32), mesh.astype(np.float32), TONE, texture, lambda _: cut_out
    )


@pytest.mark.parametrize("name", [name for name, _, _ in OCCLUDERS])
def test_an_occluder_is_a_picture_with_an_outline(scene: Scene, name: str) -> None:
    draw = {kind: function for kind, _, function in OCCLUDERS}[name]
    covered = []
    for seed in range(12):
        layer, opacity = draw(np.random.default_rng(seed), scene)
        assert layer.shape == (SIDE, SIDE, 3) and opacity.shape == (SIDE, SIDE)
        assert np.isfinite(layer).all() and layer.min() >= 0
        assert opacity.min() >= 0 and opacity.max() <= 1
        covered.append((opacity > 0.5).mean())
    assert 0.001 < np.median(covered) < 0.7


def test_the_same_seed_draws_the_same(scene: Scene) -> None:
    one, other = (occluders.hand(np.random.default_rng(4), scene)[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_frames_go_round_the_eyes_and_leave_them_free(scene: Scene) -> None:
    hidden = np.mean([glasses.put_on(np.random.default_rng(seed), scene)[1] for seed in range(40)], axis=0)
    eye, rim = hidden[58:63, 49:54].mean(), hidden[44:80, 30:98].max()
    assert rim > 0.6 and eye < 0.5 * rim
    assert hidden[100:].max() == 0, "no glasses on the chin"


def test_what_is_painted_over_a_pixel_takes_its_class(scene: Scene) -> None:
    truth = np.zeros((SIDE, SIDE, len(CLASSES)), np.float32)
    truth[..., SKIN] = 1
    opacity = polygon(np.array([[20, 20], [60, 20], [60, 60], [20, 60]]))

    after = painted_truth(truth, OCCLUDER, opacity)

    np.testing.assert_allclose(after.sum(2), 1, atol=1e-6)
    assert after[40, 40, OCCLUDER] == 1 and after[90, 90, SKIN] == 1
    assert truth[40, 40, SKIN] == 1, "the truth before stays as it was"


def test_a_capsule_is_as_wide_as_its_radius() -> None:
    opacity, height = capsules([(np.array([20.0, 64.0]), np.array([100.0, 64.0]), 10.0, 10.0)])
    assert abs(float(opacity[:, 60].sum()) - 20) < 1
    assert height[64, 60] == pytest.approx(10, abs=0.1) and height[64, 2] == 0


def portrait_with_glasses(lens: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    picture = np.full((256, 256, 3), 170, np.uint8)
    parts = np.zeros((256, 256, 3), np.uint8)
    parts[..., 0] = 255
    for x in (80, 176):
        cv2.ellipse(picture, (x, 110), (36, 28), 0, 0, 360, lens, cv2.FILLED)
        cv2.ellipse(picture, (x, 110), (36, 28), 0, 0, 360, (20, 20, 20), 5)
        for channel, value in ((0, 0), (2, 255)):
            plane = np.ascontiguousarray(parts[..., channel])
            cv2.ellipse(plane, (x, 110), (38, 30), 0, 0, 360, value, cv2.FILLED)
            parts[..., channel] = plane
    return picture, parts


def test_clear_lenses_become_skin_and_frames_stay_glasses() -> None:
    known = split(*portrait_with_glasses((165, 165, 165)))
    assert known[110, 80, 0] == 255 and known[110, 80, 2] == 0
    assert known[110, 80 - 36, 2] > 200
    assert known[200, 80, 0] == 255


def test_dark_lenses_stay_glasses() -> None:
    known = split(*portrait_with_glasses((25, 25, 25)))
    assert known[110, 80, 2] == 255 and known[110, 80, 3] == 255


@pytest.mark.parametrize("yaw", [50.0, -50.0])
def test_of_a_turned_face_the_side_it_looks_to_is_background(yaw: float) -> None:
    face = np.zeros((256, 256), np.uint8)
    cv2.ellipse(face, (128, 128), (50, 70), 0, 0, 360, 255, cv2.FILLED)
    mesh = np.zeros((468, 3), np.float32)
    mesh[10], mesh[152] = (128, 58, 0), (128, 198, 0)

    known = sure(face, yaw, mesh)

    before, behind = (220, 36) if yaw > 0 else (36, 220)
    assert known[128, 128] == 255 and known[150, before] == 255
    assert known[150, behind] == 0, "there may be hair and ears"
    assert known[20, 128] == 0, "there may be hair and forehead"


def test_nothing_is_learned_where_the_truth_is_unknown() -> None:
    logits = torch.zeros(1, 5, 8, 8)
    classes = torch.zeros(1, 5, 8, 8)
    classes[:, SKIN] = 1
    weights = torch.ones(1, 8, 8)
    weights[:, :4] = 0
    before = float(loss(logits, classes, weights))
    logits[:, GLASSES, :4] = 50.0
    assert float(loss(logits, classes, weights)) == pytest.approx(before)


def test_the_exported_network_runs_in_the_product(tmp_path: Path) -> None:
    path = tmp_path / "face_segmentation.onnx"
    network = Segmenter((8, 8, 8, 8))
    export(Shipped(network), path, {"input": torch.zeros(2, 3, SIDE, SIDE)}, ["output"])

    found = segmenter(path).segment([np.full((256, 256, 3), 90, np.uint8)] * 3)

    assert found.shape == (3, len(CLASSES), 256, 256)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-4)
