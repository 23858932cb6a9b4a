"""The blender keeps to its mask, sees nothing of the face it covers, and is what its ONNX file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from facefusion_runner.faces.geometry import TEMPLATES  # noqa: E402
from training.data.public_models import PublicModels  # noqa: E402
from training.export import export  # noqa: E402
from training.generator import losses  # noqa: E402
from training.generator.batches import batch_of  # noqa: E402
from training.generator.damage import damaged  # noqa: E402
from training.generator.identity import TEACHER, Identity, encoder_matrix  # noqa: E402
from training.generator.network import INPUTS, OUTPUTS, Blender, filled  # noqa: E402
from training.generator.samples import CHANNELS, SIDE, Samples  # noqa: E402


@pytest.fixture
def blender() -> Blender:
    torch.manual_seed(0)
    network = Blender()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


def scene(side: int = 128) -> tuple[torch.Tensor, ...]:
    """Face, target, mask and visibility; the mask covers the middle and rises over a band."""
    torch.manual_seed(1)
    y, x = torch.meshgrid(*2 * (torch.linspace(-1, 1, side),), indexing="ij")
    mask = ((0.7 - torch.hypot(x, y)) / 0.1).clamp(0, 1)[None, None]
    return torch.rand(1, 3, side, side), torch.rand(1, 3, side, side), mask, torch.ones_like(mask)


def test_alpha_is_the_face_s_in_the_core_and_the_target_s_outside(blender: Blender) -> None:
    face, target, mask, visibility = scene()
    with torch.no_grad():
        _, alpha = blender(face, target, mask, visibility)
    assert (alpha[mask == 1] == 1).all()
    assert (alpha[mask == 0] == 0).all()
    band = (mask > 0) & (mask < 1)
    assert (alpha[band] != mask[band]).any()
    assert float(alpha.min()) >= 0 and float(alpha.max()) <= 1


def test_the_face_that_is_covered_has_no_way_into_the_answer(blender: Blender) -> None:
    face, target, mask, visibility = scene()
    other = torch.where(mask == 1, torch.rand_like(target), target)
    with torch.no_grad():
        one = blender(face, target, mask, visibility)[0]
        two = blender(face, other, mask, visibility)[0]
    assert torch.equal(one, two)


def test_what_is_drawn_outside_the_mask_has_no_way_into_the_answer(blender: Blender) -> None:
    face, target, mask, visibility = scene()
    other = torch.where(mask == 0, torch.rand_like(face), face)
    with torch.no_grad():
        one = blender(face, target, mask, visibility)[0]
        two = blender(other, target, mask, visibility)[0]
    assert torch.equal(one, two)


def test_the_place_of_the_face_is_filled_from_around_it() -> None:
    _, _, mask, _ = scene()
    target = torch.full((1, 3, 128, 128), 0.6)
    target = torch.where(mask > 0, torch.zeros(()), target)
    assert torch.allclose(filled(target, (mask > 0).float()), torch.tensor(0.6), atol=0.02)


def test_an_untrained_blender_changes_next_to_nothing() -> None:
    face, target, mask, visibility = scene()
    with torch.no_grad():
        blended, alpha = Blender()(face, target, mask, visibility)
    inside = (mask == 1).expand_as(face)
    assert float((blended - face)[inside].abs().mean()) < 0.02
    assert torch.allclose(alpha, mask, atol=0.05)


def test_the_file_answers_like_the_network_for_any_batch(blender: Blender, tmp_path: Path) -> None:
    inputs = dict(zip(INPUTS, scene(), strict=True))
    export(blender, tmp_path / "blender.onnx", inputs, OUTPUTS)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "blender.onnx"), providers=["CPUExecutionProvider"])
    three = {name: value.repeat(3, 1, 1, 1) for name, value in inputs.items()}
    found = session.run(None, {name: value.numpy() for name, value in three.items()})
    with torch.no_grad():
        expected = blender(*three.values())
    for ours, theirs in zip(expected, found, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-3)


def test_the_encoder_in_a_loss_is_the_one_of_the_file(shared: Path) -> None:
    models = PublicModels(shared / "models")
    parameters = models.entries[TEACHER].parameters
    identity = Identity(models.path(TEACHER), parameters["mean"], parameters["std"])
    picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8).repeat(32, 0).repeat(32, 1)
    points = TEMPLATES["ffhq_512"].astype(np.float32) * 256 + 3
    expected = models.encoder(TEACHER).embed(picture, [points])[0]
    crop = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    found = identity(crop, torch.from_numpy(encoder_matrix(points)).float()[None])[0].numpy()
    assert float(found @ expected / np.linalg.norm(expected)) > 0.99


def test_a_loss_counts_the_face_s_pixels_alone() -> None:
    _, _, mask, _ = scene()
    inside = (mask > 0).float()
    values = torch.where(mask > 0, 0.25, 7.0).repeat(1, 3, 1, 1)
    assert float(losses.mean_inside(values, inside)) == pytest.approx(0.25, abs=1e-3)


def batch(side: int = 128) -> losses.Batch:
    face, target, mask, visibility = (value.repeat(2, 1, 1, 1) for value in scene(side))
    kept = torch.zeros_like(mask)
    kept[:, :, 70:80, 54:74] = 1
    matrices, vector = torch.eye(2, 3).repeat(2, 1, 1), torch.ones(2, 4)
    return losses.Batch(
        face, target, mask, visibility, kept, matrices, vector, vector, torch.tensor([False, True])
    )


def test_the_open_mouth_and_all_outside_the_mask_stay_the_target_s() -> None:
    samples = batch()
    picture = losses.composite(samples, samples.face, samples.mask)
    own = ((samples.mask == 0) | (samples.kept == 1)).expand_as(picture)
    assert torch.equal(picture[own], samples.target[own])
    swapped = ((samples.mask == 1) & (samples.kept == 0)).expand_as(picture)
    assert torch.allclose(picture[swapped], samples.face[swapped], atol=1e-6)


def test_a_mirrored_sample_is_seen_by_the_encoder_at_the_mirrored_place() -> None:
    points = TEMPLATES["ffhq_512"] * SIDE + 5
    matrix = encoder_matrix(points)
    rng = np.random.default_rng(4)
    samples = Samples(
        pixels=rng.integers(0, 255, (1, SIDE, SIDE, CHANNELS), np.uint8),
        matrices=matrix[None].astype(np.float32),
        source=np.ones((1, 4), np.float32),
        target=np.ones((1, 4), np.float32),
        swap=np.array([True]),
    )
    plain = batch_of(samples, np.array([0]))
    mirrored = batch_of(samples, np.array([0]), mirror=True)
    assert torch.equal(mirrored.target, plain.target.flip(3))
    corner = np.array([30.0, 40.0, 1.0])
    one = plain.matrices[0].numpy() @ corner
    two = mirrored.matrices[0].numpy() @ corner
    np.testing.assert_allclose([SIDE - 1 - one[0], one[1]], two, atol=1e-3)


def test_damage_keeps_the_picture_s_size_and_is_the_same_for_the_same_seed() -> None:
    picture = np.random.default_rng(2).integers(0, 255, (200, 180, 3), np.uint8)
    mesh = np.random.default_rng(3).uniform(40, 150, (468, 3)).astype(np.float32)
    for seed in range(12):
        one, moved = damaged(np.random.default_rng(seed), picture, mesh)
        two, _ = damaged(np.random.default_rng(seed), picture, mesh)
        assert one.shape == picture.shape and one.dtype == np.uint8 and moved.shape == mesh.shape
        np.testing.assert_array_equal(one, two)
