"""The detector's training: canvases whose truths are true, and a network that the run-time family reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from facefusion_runner.detectors.retinaface import decode  # noqa: E402
from training.data.backgrounds import Backgrounds, laid_on, pattern  # noqa: E402
from training.data.public_models import PublicModels  # noqa: E402
from training.detector.calibration import calibrate  # noqa: E402
from training.detector.data import Mosaics, Subject, Truth, face_box, subject  # noqa: E402
from training.detector.evaluate import matched, opened, overlap  # noqa: E402
from training.detector.export import write  # noqa: E402
from training.detector.losses import (  # noqa: E402
    CENTRE_VARIANCE,
    SIZE_VARIANCE,
    assign,
    features_to_teacher,
    losses,
    targets,
    to_teacher,
)
from training.detector.network import RetinaFaceLight, priors  # noqa: E402
from training.detector.teacher import Teacher  # noqa: E402


@pytest.fixture(scope="module")
def pool() -> list[Subject]:
    """Portraits of nobody: a red disc with the mesh's points inside."""
    rng = np.random.default_rng(0)
    mesh = np.zeros((468, 3), np.float32)
    angle, reach = rng.uniform(0, 2 * np.pi, 468), np.sqrt(rng.uniform(0, 1, 468))
    mesh[:, 0] = 100 + 50 * reach * np.cos(angle)
    mesh[:, 1] = 110 + 60 * reach * np.sin(angle)
    picture = np.full((240, 200, 3), 90, np.uint8)
    picture[50:170, 50:150] = (40, 60, 200)
    return [subject(picture, mesh, 0.0)]


@pytest.fixture(scope="module")
def mosaics(pool: list[Subject]) -> Mosaics:
    rng = np.random.default_rng(0)
    thing = np.full((40, 40, 4), 255, np.uint8)
    return Mosaics(pool, Backgrounds([pattern(rng, 400, 500)], [thing]))


@pytest.fixture(scope="module")
def truth() -> Truth:
    boxes = np.array([[30, 40, 62, 84], [100, 90, 300, 310], [200, 20, 214, 38]], np.float32)
    points = boxes[:, None, :2] + np.linspace(0.2, 0.8, 5)[None, :, None] * (
        boxes[:, None, 2:] - boxes[:, None, :2]
    )
    return Truth(boxes, points.astype(np.float32), np.array([True, True, True]))


def test_faces_lie_on_the_canvas_and_the_learned_ones_are_seen(mosaics: Mosaics) -> None:
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(12):
        for picture, truth in mosaics.pair(rng, 160):
            assert picture.shape == (160, 160, 3) and picture.dtype == np.uint8
            assert (truth.boxes >= 0).all() and (truth.boxes <= 159).all()
            assert len(truth.boxes) == len(truth.points) == len(truth.learned)
            seen += int(truth.learned.sum())
    assert seen > 24


def test_the_second_canvas_of_a_pair_is_the_mirror_image_with_left_and_right_exchanged(
    mosaics: Mosaics,
) -> None:
    rng = np.random.default_rng(2)
    pairs = [mosaics.pair(rng, 160) for _ in range(6)]
    for (_, first), (_, second) in pairs:
        np.testing.assert_allclose(second.boxes[:, 0], 159 - first.boxes[:, 2])
        np.testing.assert_allclose(second.points[:, 0, 0], 159 - first.points[:, 1, 0], atol=1e-4)
        np.testing.assert_allclose(second.points[:, 3, 1], first.points[:, 4, 1])


def test_the_box_reaches_from_above_the_brows_to_below_the_chin() -> None:
    box = face_box(np.array([[10, 20], [110, 120]], np.float32))
    np.testing.assert_allclose(box, [10, 6.1, 110, 122], atol=1e-4)


def test_every_learned_face_has_a_prior_and_a_hidden_one_is_no_background(truth: Truth) -> None:
    anchors = priors(320, 320).numpy()
    label, face = assign(truth, anchors)
    assert set(face[label == 1]) == {0, 1, 2}
    hidden = Truth(truth.boxes, truth.points, np.array([True, False, True]))
    label, face = assign(hidden, anchors)
    assert set(face[label == 1]) == {0, 2}
    middle = np.hypot(*(anchors[:, :2] - [200, 200]).T) < 20
    assert (label[middle] == -1).all()


def test_what_the_losses_want_is_what_the_family_reads(truth: Truth) -> None:
    """Answers without any loss are decoded to the faces themselves."""
    anchors = priors(320, 320)
    label, face = assign(truth, anchors.numpy())
    boxes, points = truth.boxes[face], truth.points[face]
    x, size = anchors.numpy()[:, :2], anchors.numpy()[:, 2:]
    centre, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    columns = np.hstack(
        [
            np.where(label == 1, 9.0, -9.0)[:, None],
            (centre - x) / size / CENTRE_VARIANCE,
            np.log(extent / size) / SIZE_VARIANCE,
            ((points - x[:, None]) / size[:, None] / CENTRE_VARIANCE).reshape(-1, 10),
        ]
    ).astype(np.float32)
    wanted = targets([truth], anchors.numpy())
    assert all(float(loss) < 2e-3 for loss in losses(torch.from_numpy(columns[None]), wanted, anchors))
    chance = 1 / (1 + np.exp(-columns[:, :1]))
    found = decode(
        [columns[None, :, 1:5], np.hstack([1 - chance, chance])[None], columns[None, :, 5:]], (320, 320), 0.5
    )
    assert len(found.boxes) == (label == 1).sum()
    np.testing.assert_allclose(found.boxes, boxes[label == 1], atol=1e-2)
    np.testing.assert_allclose(found.points, points[label == 1], atol=1e-2)


def test_the_teacher_counts_except_where_the_truth_is_against_it() -> None:
    labels = torch.tensor([[1.0, 1.0, 0.0, 0.0, -1.0]])
    logits = torch.tensor([[3.0, -3.0, 3.0, -3.0, 3.0]])
    found = torch.zeros(1, 5, 15)
    found[..., 0] = logits
    assert float(to_teacher(found, labels, logits)) == 0
    for place, counts in enumerate((True, False, False, True, True)):
        wrong = found.clone()
        wrong[0, place, 0] += 2
        assert (float(to_teacher(wrong, labels, logits)) > 0) is counts


def test_features_like_the_teacher_s_cost_nothing_and_others_more_the_surer_it_is_of_a_face() -> None:
    wanted = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    logits = torch.full((2, 32), -8.0)
    logits[0, 0] = 8.0
    assert float(features_to_teacher([wanted], [wanted], logits)) == 0

    def cost(row: int) -> float:
        found = wanted.clone()
        found[row, :, 0, 0] += 1
        return float(features_to_teacher([found], [wanted], logits))

    assert cost(0) > 5 * cost(1) > 0


def test_the_teacher_answers_for_our_priors(shared: Path) -> None:
    """It sees a face at the very rows that the truth assigns to that face."""
    from insightface.data import get_image

    picture = np.ascontiguousarray(get_image("t1")[:640, :640])
    answer = Teacher(shared).answer(picture)
    anchors = priors(640, 640).numpy()
    assert answer.logits.shape == (len(anchors),)
    assert [level.shape for level in answer.features] == [(64, 80, 80), (64, 40, 40), (64, 20, 20)]
    faces = PublicModels(shared / "models").detector("yunet").detect(picture)
    boxes = np.array([face.box for face in faces])
    truth = Truth(boxes, np.zeros((len(boxes), 5, 2), np.float32), np.ones(len(boxes), bool))
    label, _ = assign(truth, anchors)
    assert answer.logits[label == 1].mean() > 0 > -5 > answer.logits[label == 0].mean()


def test_after_calibration_each_head_misses_the_same_share_of_faces(mosaics: Mosaics) -> None:
    torch.manual_seed(0)
    network = RetinaFaceLight((8, 8, 16, 16, 16), 16)
    with torch.no_grad():
        for head, bias in zip(network.heads, (-3.0, 0.0, 4.0), strict=True):
            head.bias[::15] = bias
    moves = calibrate(network, mosaics, np.random.default_rng(0), canvases=40)
    assert moves[0] > moves[1] > moves[2]
    again = calibrate(network, mosaics, np.random.default_rng(0), canvases=40)
    assert np.abs(again).max() < 1e-4


def test_an_untrained_network_is_exported_for_pictures_of_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write(RetinaFaceLight((8, 8, 16, 16, 16), 16), tmp_path / "tiny.onnx")
    detector = opened(tmp_path / "tiny.onnx", {"score": 0.0}, size=96)
    for height, width in ((96, 96), (50, 90), (200, 70)):
        assert detector.detect(np.zeros((height, width, 3), np.uint8))


def test_overlap_and_matching_count_each_face_once() -> None:
    from facefusion_runner.faces.types import Detection

    box, points = np.array([0, 0, 10, 10], np.float32), np.zeros((5, 2), np.float32)
    assert overlap(box, box) == 1
    assert overlap(box, box + 5) == pytest.approx(25 / 175)
    twice = [Detection(box, 0.9, points), Detection(box + 1, 0.8, points)]
    assert matched(twice, box[None]) == ([0], [1])


def test_a_thing_laid_on_a_picture_stays_inside_it() -> None:
    rng = np.random.default_rng(0)
    thing = np.full((30, 60, 4), 255, np.uint8)
    picture = laid_on(rng, np.zeros((40, 50, 3), np.uint8), thing, 0.5)
    assert picture.shape == (40, 50, 3) and (picture == 255).all(-1).sum() == 10 * 20
