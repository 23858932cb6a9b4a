"""The encoder's faces lie on its template, its losses ask for what they say, its figures are right."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from facefusion_runner.faces.geometry import TEMPLATES, alignment, cut  # noqa: E402
from facefusion_runner.faces.types import Float, Picture  # noqa: E402
from training.data.public_models import PublicModels  # noqa: E402
from training.encoder import evaluate, views  # noqa: E402
from training.encoder.losses import AngularMargin, to_teacher  # noqa: E402
from training.encoder.network import DIMENSION, SIDE, Encoder, Shipped, load  # noqa: E402
from training.encoder.pool import MARGIN, WIDE, mixture, rotation, shape, warp  # noqa: E402
from training.encoder.teacher import ID, answers  # noqa: E402
from training.export import export  # noqa: E402

FIVE = np.array([[90, 100], [150, 96], [122, 140], [98, 170], [148, 168]], np.float32)


@pytest.fixture
def face() -> tuple[Picture, Float]:
    """A smooth picture and a mesh over it that is flat at the rim and raised in the middle."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(
        rng.integers(0, 256, (16, 16, 3), np.uint8), (256, 256), interpolation=cv2.INTER_CUBIC
    )
    places = rng.uniform([70, 60], [170, 200], (468, 2))
    depth = -40 * np.exp(-(((places - [120, 130]) / 40) ** 2).sum(1))
    return picture, np.column_stack([places, depth]).astype(np.float32)


def test_a_face_of_the_pool_is_cut_as_the_run_time_cuts_it(face: tuple[Picture, Float]) -> None:
    picture, mesh = face
    points = shape(FIVE, mesh).flat()
    crop = views.plain(warp(picture, points, points)).astype(float)
    expected = cut(picture, alignment(FIVE, "arcface_112_v2", SIDE), SIDE)
    assert np.abs(crop - expected).mean() < 2


def test_a_turned_face_keeps_its_five_points_on_the_template(face: tuple[Picture, Float]) -> None:
    _, mesh = face
    own = shape(FIVE, mesh)
    turned = own.flat(rotation(np.random.default_rng(1)))
    assert np.abs(turned - own.flat()).max() > 2
    dots = np.zeros((256, 256, 3), np.uint8)
    for x, y in FIVE:
        cv2.circle(dots, (round(float(x)), round(float(y))), 3, (255, 255, 255), -1)
    found = warp(dots, own.flat(), turned)
    placed = (TEMPLATES["arcface_112_v2"] * SIDE + MARGIN).round().astype(int)
    for x, y in placed:
        assert found[y - 6 : y + 7, x - 6 : x + 7].max() > 128


def test_a_mixture_of_a_face_with_itself_is_that_face(face: tuple[Picture, Float]) -> None:
    picture, mesh = face
    own = shape(FIVE, mesh)

    class Exact(np.random.Generator):
        """Never adds the random change of shape."""

        def random(self, *_: object) -> float:  # type: ignore[override]
            return 0.4

    mixed = mixture(Exact(np.random.PCG64(2)), (picture, picture), (own, own)).astype(float)
    assert mixed.shape == (WIDE, WIDE, 3)
    assert np.abs(mixed - warp(picture, own.flat(), own.flat())).mean() < 1


def test_views_differ_and_stay_near_the_crop(face: tuple[Picture, Float]) -> None:
    picture, mesh = face
    points = shape(FIVE, mesh).flat()
    wide = warp(picture, points, points)
    rng = np.random.default_rng(3)
    seen = [views.view(rng, wide, wide[::-1]) for _ in range(40)]
    assert {crop.shape for crop in seen} == {(SIDE, SIDE, 3)}
    assert len({crop.tobytes() for crop in seen}) == 40
    crop = views.plain(wide)
    likeness = [np.corrcoef(crop.ravel(), one.ravel())[0, 1] for one in seen]
    of_mirrored = [np.corrcoef(crop[:, ::-1].ravel(), one.ravel())[0, 1] for one in seen]
    assert np.median(np.maximum(likeness, of_mirrored)) > 0.8
    assert 2 < np.sum(np.array(of_mirrored) > likeness) < 20


def test_the_input_is_what_the_family_feeds() -> None:
    crop = np.zeros((1, 112, 112, 3), np.uint8)
    crop[..., 2] = 255
    fed = views.normalised(crop)
    assert fed.shape == (1, 3, 112, 112)
    assert (fed[0, 0] == 1).all() and (fed[0, 1:] == -1).all()


def test_the_margin_asks_for_more_than_being_nearest() -> None:
    centres = torch.eye(3, 4)
    loss = AngularMargin(3, 4, centres)
    at_centre = loss(torch.eye(3, 4), torch.arange(3))
    at_border = loss(torch.tensor([[1.0, 0.95, 0, 0]]), torch.tensor([0]))
    plain = torch.nn.functional.cross_entropy(
        32 * torch.nn.functional.normalize(torch.tensor([[1.0, 0.95, 0, 0]])) @ centres.T, torch.tensor([0])
    )
    assert at_centre.item() < 1e-3 < plain.item() < at_border.item()


def test_persons_alike_by_the_teacher_are_not_pushed_apart() -> None:
    alike = torch.tensor([[1.0, 0.1, 0], [1.0, -0.1, 0], [0, 0, 1.0]])
    embedding = torch.tensor([[1.0, 0.0, 0.0]])
    known = AngularMargin(3, 3, alike)(embedding, torch.tensor([0]))
    unknown = AngularMargin(3, 3)
    unknown.centres.data = alike
    assert known.item() < 0.01 < unknown(embedding, torch.tensor([0])).item()


def test_a_face_and_its_mirror_image_have_one_embedding() -> None:
    torch.manual_seed(0)
    network = Shipped(Encoder()).eval()
    pictures = torch.rand(3, 3, SIDE, SIDE)
    with torch.no_grad():
        assert torch.allclose(network(pictures), network(pictures.flip(3)), atol=1e-5)
        assert torch.allclose(network(pictures)[1:2], network(pictures[1:2]), atol=1e-5)


def test_whitening_makes_the_directions_more_alike() -> None:
    torch.manual_seed(0)
    network, pictures = Shipped(Encoder()).eval(), torch.rand(200, 3, SIDE, SIDE)
    with torch.no_grad():
        before = torch.linalg.eigvalsh(network(pictures).T.cov())
        network.whiten(pictures)
        found = network(pictures)
    after = torch.linalg.eigvalsh(found.T.cov())
    assert found.mean(0).abs().max().item() < 1e-4
    assert (after.max() / after.mean()).item() < (before.max() / before.mean()).item()
    assert after.max().item() <= 1.001


def test_the_teacher_s_loss_is_zero_for_its_own_direction() -> None:
    targets = torch.nn.functional.normalize(torch.randn(4, DIMENSION))
    assert float(to_teacher(5 * targets, targets)) == pytest.approx(0, abs=1e-5)
    assert float(to_teacher(-targets, targets)) == pytest.approx(2, abs=1e-5)


def test_gradients_reach_the_pixels_and_no_weight() -> None:
    torch.manual_seed(0)
    network = load({"averaged": Encoder().state_dict()})
    pictures = torch.rand(2, 3, SIDE, SIDE, requires_grad=True)
    network(pictures).square().sum().backward()
    assert pictures.grad is not None and float(pictures.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_exported_network_is_an_encoder_of_the_run_time(
    tmp_path: Path, face: tuple[Picture, Float]
) -> None:
    torch.manual_seed(0)
    network, path = Shipped(Encoder()).eval(), tmp_path / "untrained.onnx"
    export(network, path, {"input": torch.rand(2, 3, SIDE, SIDE) * 2 - 1}, ["embedding"])
    found = evaluate.shipped(path).embed(face[0], [FIVE, FIVE + 3])
    crops = [cut(face[0], alignment(five, "arcface_112_v2", SIDE), SIDE) for five in (FIVE, FIVE + 3)]
    with torch.no_grad():
        expected = network(torch.from_numpy(views.normalised(np.stack(crops)))).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_the_teacher_answers_as_it_does_in_the_run_time(shared: Path, face: tuple[Picture, Float]) -> None:
    picture, mesh = face
    points = shape(FIVE, mesh).flat()
    wide = np.stack([warp(picture, points, points), warp(picture[::-1].copy(), points, points)])
    targets = answers(shared, wide, MARGIN)
    template = (TEMPLATES["arcface_112_v2"] * SIDE + MARGIN).astype(np.float32)
    encoder = PublicModels(shared / "models").encoder(ID)
    expected = evaluate.unit(np.concatenate([encoder.embed(one, [template]) for one in wide]))
    np.testing.assert_allclose(targets, expected, atol=1e-3)


def test_the_best_threshold_is_that_of_an_exhaustive_search() -> None:
    rng = np.random.default_rng(4)
    genuine, impostors = rng.normal(0.5, 0.2, 50), rng.normal(0.1, 0.2, 50)
    best = max(
        (np.sum(genuine > threshold) + np.sum(impostors <= threshold)) / 100
        for threshold in np.linspace(-1, 1, 20001)
    )
    accuracy, threshold = evaluate.best_threshold(genuine, impostors)
    assert accuracy == pytest.approx(best)
    assert (np.sum(genuine > threshold) + np.sum(impostors <= threshold)) / 100 == pytest.approx(best)


def test_figures_of_a_perfect_encoder_and_of_one_that_sees_nothing() -> None:
    rng = np.random.default_rng(5)
    persons = evaluate.unit(rng.standard_normal((100, 64)))
    same = np.arange(200).reshape(-1, 2)
    perfect = evaluate.of_embeddings(np.repeat(persons, 2, axis=0), same)
    assert perfect["accuracy"] == perfect["auc"] == perfect["tar_at_far_1e2"] == 1
    assert perfect["genuine"] == pytest.approx(1) and abs(perfect["impostor"]) < 0.05
    blind = evaluate.of_embeddings(evaluate.unit(rng.standard_normal((200, 64))), same)
    assert blind["auc"] == pytest.approx(0.5, abs=0.08)
    assert blind["cross_validated"] < 0.6 and blind["tar_at_far_1e2"] < 0.06
