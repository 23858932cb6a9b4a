"""Encoders: parity with InsightFace, and what an embedding must do."""

from __future__ import annotations

import numpy as np
import pytest
from insightface.app.common import Face
from insightface.data import get_image
from insightface.model_zoo.arcface_onnx import ArcFaceONNX

from facefusion_runner.faces.types import Float, Picture
from tests.support.shared_models import SharedModels

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated")

ENCODERS = [
    "arcface_mbf_insightface",
    "arcface_mbf_foamliu",
    "mobilefacenet_insightface",
    "mobilefacenet_foamliu",
    "mobilefacenet_casia",
]
# Cosine between two persons that MANIFEST.json gives for these networks: 99 % of impostors are below it.
IMPOSTOR = 0.32


@pytest.fixture(scope="module")
def faces_of_t1(shared_models: SharedModels) -> tuple[Picture, list[Float]]:
    picture = get_image("t1")
    return picture, [found.points for found in shared_models.detector("scrfd_2.5g").detect(picture)]


def normalised(embeddings: Float) -> Float:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


@pytest.mark.parametrize("model", ["arcface_mbf_insightface", "arcface_mbf_foamliu"])
def test_embeddings_equal_those_of_insightface(
    shared_models: SharedModels, faces_of_t1: tuple[Picture, list[Float]], model: str
) -> None:
    picture, points = faces_of_t1
    theirs = ArcFaceONNX(str(shared_models.path(model)))
    expected = np.array([theirs.get(picture, Face(kps=five)) for five in points])

    ours = shared_models.encoder(model).embed(picture, points)

    assert ours.shape == (6, 512)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
