"""Encoders: parity with InsightFace, and what an embedding must do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from insightface.app.common import Face
from insightface.data import get_image
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from onnx import TensorProto, numpy_helper

from facefusion_runner.errors import ModelError
from facefusion_runner.faces.geometry import alignment, cut
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.models.families import load_encoder
from tests.support.shared_models import SharedModels, opened

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated")

ENCODERS = [
    "arcface_mbf_insightface",
    "arcface_mbf_foamliu",
    "mobilefacenet_insightface",
    "mobilefacenet_foamliu",
    "mobilefacenet_casia",
]
# The same person in two different photographs.
PAIRS = [
    (f"house512/{name}.jpg", f"congress225x275/{number}.jpg")
    for name, number in (
        ("robert-aderholt", "A000055"),
        ("mo-brooks", "B001274"),
        ("gary-palmer", "P000609"),
        ("terri-sewell", "S001185"),
    )
]


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


@pytest.mark.parametrize("model", ENCODERS)
def test_two_pictures_of_one_person_are_nearer_than_two_persons(
    shared_models: SharedModels, shared: Path, model: str
) -> None:
    detector, encoder = shared_models.detector("scrfd_500m"), shared_models.encoder(model)
    embeddings = []
    for one in PAIRS:
        for file in one:
            picture = cv2.imread(str(shared / "faces" / file))
            embeddings.append(encoder.embed(picture, [detector.detect(picture)[0].points])[0])
    likeness = normalised(np.array(embeddings)) @ normalised(np.array(embeddings)).T
    persons = np.arange(len(embeddings)) // 2
    same = (persons[:, None] == persons) & ~np.eye(len(persons), dtype=bool)
    other = persons[:, None] != persons

    assert encoder.dimension == len(embeddings[0])
    assert likeness[same].min() > max(0.35, likeness[other].max())


@pytest.mark.parametrize("model", ENCODERS)
def test_all_faces_of_a_picture_are_embedded_as_if_alone(
    shared_models: SharedModels, faces_of_t1: tuple[Picture, list[Float]], model: str
) -> None:
    picture, points = faces_of_t1
    encoder = shared_models.encoder(model)
    together = encoder.embed(picture, points * 4)
    alone = np.concatenate([encoder.embed(picture, [five]) for five in points])
    np.testing.assert_allclose(together, np.tile(alone, (4, 1)), atol=1e-4)
    assert together.dtype == np.float32


def test_a_picture_without_faces_has_no_embeddings(shared_models: SharedModels) -> None:
    embeddings = shared_models.encoder("mobilefacenet_casia").embed(np.zeros((8, 8, 3), np.uint8), [])
    assert embeddings.shape == (0, 128)


def test_a_narrow_network_sees_the_middle_columns_of_the_crop(
    shared_models: SharedModels, faces_of_t1: tuple[Picture, list[Float]]
) -> None:
    picture, points = faces_of_t1
    crop = cut(picture, alignment(points[0], "arcface_112_v2", 112), 112)[:, 8:104]
    blob = ((crop[:, :, ::-1].astype(np.float32) - 127.5) / 128).transpose(2, 0, 1)[np.newaxis]
    session = shared_models.open("mobilefacenet_casia")
    expected = session.run({session.inputs[0].name: np.ascontiguousarray(blob)})[0]

    embedding = shared_models.encoder("mobilefacenet_casia").embed(picture, points[:1])

    np.testing.assert_allclose(embedding, expected, atol=1e-2)
    assert float((normalised(embedding) @ normalised(expected).T).item()) > 0.9999


def test_a_network_of_one_picture_a_run_embeds_many(
    shared_models: SharedModels, faces_of_t1: tuple[Picture, list[Float]], tmp_path: Path
) -> None:
    network = onnx.load(shared_models.path("mobilefacenet_casia"))
    network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(network, tmp_path / "single.onnx")
    entry = shared_models.entries["mobilefacenet_casia"].model_copy(update={"id": "single", "parameters": {
        "std": [128.0, 128.0, 128.0]
    }})  # fmt: skip
    picture, points = faces_of_t1

    encoder = load_encoder(entry, opened(entry, tmp_path / "single.onnx"))

    expected = shared_models.encoder("mobilefacenet_casia").embed(picture, points)
    np.testing.assert_allclose(encoder.embed(picture, points), expected, atol=1e-4)
    assert encoder.space == "single"


def test_a_network_of_half_precision_embeds_alike(
    shared_models: SharedModels, faces_of_t1: tuple[Picture, list[Float]], tmp_path: Path
) -> None:
    network = onnx.load(shared_models.path("mobilefacenet_casia"))
    graph = network.graph
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(half, weight.name))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    del graph.value_info[:]
    onnx.save(network, tmp_path / "half.onnx")
    entry = shared_models.entries["mobilefacenet_casia"]
    picture, points = faces_of_t1

    halved = load_encoder(entry, opened(entry, tmp_path / "half.onnx")).embed(picture, points)

    whole = shared_models.encoder("mobilefacenet_casia").embed(picture, points)
    assert halved.dtype == np.float32
    assert (normalised(halved) * normalised(whole)).sum(1).min() > 0.999


def test_an_embedding_does_not_depend_on_where_the_face_is(
    shared_models: SharedModels, faces_of_t1: tuple[Picture, list[Float]]
) -> None:
    picture, points = faces_of_t1
    encoder = shared_models.encoder("arcface_mbf_insightface")
    turned = np.ascontiguousarray(np.rot90(picture))
    height = picture.shape[1] - 1
    moved = [np.stack([five[:, 1], height - five[:, 0]], 1).astype(np.float32) for five in points]

    likeness = (normalised(encoder.embed(turned, moved)) * normalised(encoder.embed(picture, points))).sum(1)

    assert likeness.min() > 0.99


def test_a_network_of_another_size_is_refused(shared_models: SharedModels) -> None:
    with pytest.raises(ModelError, match=r"^model mobilefacenet_casia: .* crops of 128 .*$"):
        shared_models.encoder("mobilefacenet_casia", side=128)


def test_an_unknown_template_is_named(shared_models: SharedModels) -> None:
    with pytest.raises(ModelError, match=r"template.*arcface_113"):
        shared_models.encoder("mobilefacenet_casia", template="arcface_113")
