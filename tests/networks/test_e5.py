"""The second encoder slot: any network that maps an aligned crop to a vector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from insightface.data import get_image

from facefusion_runner.encoders import Encoder
from facefusion_runner.errors import ModelError
from facefusion_runner.faces.geometry import alignment
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_encoder
from facefusion_runner.models.session import Session, SessionFactory
from tests.support import family_graphs as made
from tests.support.shared_models import SharedModels

POINTS = [
    np.array(points, np.float32)
    for points in (
        [[491.71, 318.86], [540.76, 331.94], [507.10, 360.68], [483.94, 367.14], [531.91, 378.42]],
        [[760.17, 395.72], [801.92, 401.13], [770.84, 430.72], [763.38, 437.66], [805.56, 441.84]],
    )
]


def encoder(path: Path, **parameters: Any) -> tuple[Encoder, Session]:
    entry = ModelEntry(
        **{"id": "net", "role": "encoder", "family": "e5", "file": path.name, "licence": "mit"},
        parameters=parameters,
    )
    session = SessionFactory("cpu", threads=1).open(entry, path)
    return load_encoder(entry, lambda _: session), session


@pytest.mark.parametrize("nhwc", [True, False])
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_the_crop_is_what_the_catalog_says(tmp_path: Path, nhwc: bool, colour: str) -> None:
    net, session = encoder(
        made.vector_graph(tmp_path / "net.onnx", nhwc=nhwc),
        **{"template": "mtcnn_512", "side": 160, "mean": (127.5,) * 3, "std": (128.0,) * 3},
        **{"layout": "nhwc" if nhwc else "nchw", "colour": colour, "space": "facenet"},
    )
    assert (net.space, net.dimension) == ("facenet", 128)
    got = net.embed(get_image("t1"), POINTS)
    assert got.shape == (2, 128)
    for points, vector in zip(POINTS, got, strict=True):
        crop = cv2.warpAffine(get_image("t1"), alignment(points, "mtcnn_512", 160), (160, 160))
        pixels = crop if colour == "bgr" else crop[:, :, ::-1]
        blob = (pixels.astype(np.float32) - 127.5) / 128
        blob = blob if nhwc else blob.transpose(2, 0, 1)
        (expected,) = session.run({"image": np.ascontiguousarray(blob[None])})
        np.testing.assert_allclose(vector, expected.reshape(-1), atol=1e-5)
    assert net.embed(get_image("t1"), []).shape == (0, 128)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"layout": "nhwc"}, "crops of 112 pixels"),
        ({"side": 160, "layout": "nhwc", "dimension": 512}, "a vector of 512 values"),
        ({"side": 160, "layout": "nhwc", "output": "other"}, "an output other"),
        ({"side": 160, "layout": "nchw"}, "three-channel pictures, NCHW"),
        ({"side": 160, "layout": "nhwc", "template": "mine"}, "parameter template"),
    ],
)
def test_a_graph_that_does_not_fit_its_entry_is_refused(
    tmp_path: Path, parameters: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        encoder(made.vector_graph(tmp_path / "net.onnx"), **parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("arcface_mbf_foamliu", {}),
        ("arcface_mbf_insightface", {}),
        ("mobilefacenet_foamliu", {}),
        ("mobilefacenet_insightface", {}),
    ],
)
def test_real_encoders_embed_as_in_the_slot_of_their_own(
    shared_models: SharedModels, model: str, parameters: dict[str, Any]
) -> None:
    own = shared_models.entries[model].parameters
    net, _ = encoder(shared_models.path(model), **{**own, **parameters})
    expected = shared_models.encoder(model).embed(get_image("t1"), POINTS)
    np.testing.assert_allclose(net.embed(get_image("t1"), POINTS), expected, rtol=1e-3, atol=1e-3)
    assert net.space == shared_models.encoder(model).space or net.space == "net"
