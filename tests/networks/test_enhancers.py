"""Enhancers: what goes in, what comes out, and the real network on real faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facefusion_runner.enhancers import Enhancer
from facefusion_runner.errors import ModelError
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_enhancer
from facefusion_runner.models.session import Session, SessionFactory
from tests.support import family_graphs as made
from tests.support import graphs


def enhancer(path: Path, family: str, **parameters: Any) -> tuple[Enhancer, Session]:
    entry = ModelEntry(
        **{"id": "net", "role": "enhancer", "family": family, "file": path.name, "licence": "mit"},
        parameters=parameters,
    )
    session = SessionFactory("cpu", threads=1).open(entry, path)
    return load_enhancer(entry, lambda _: session), session


def crop(side: int, seed: int = 0) -> np.ndarray[Any, Any]:
    small = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("family", ["gfpgan", "codeformer"])
def test_a_restorer_sees_rgb_from_minus_one_to_one(tmp_path: Path, family: str) -> None:
    path = made.restoration_graph(tmp_path / "net.onnx", weight=family == "codeformer")
    net, session = enhancer(path, family, **({"fidelity": 0.25} if family == "codeformer" else {}))
    assert (net.template, net.side, net.scale) == ("ffhq_512", 512, 1)
    crops = [crop(512), crop(512, 1)]
    for shown, got in zip(crops, net.enhance(crops), strict=True):
        rgb = shown[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
        feeds: dict[str, Any] = {"input": np.ascontiguousarray(rgb)}
        if family == "codeformer":
            feeds["weight"] = np.array([0.25])
        expected = (session.run(feeds)[0][0].transpose(1, 2, 0)[:, :, ::-1] + 1) * 127.5
        assert np.abs(got - expected).max() <= 0.52 and got.dtype == np.uint8


@pytest.mark.parametrize("side", [64, 128, 100])
def test_super_resolution_enlarges_crops_of_any_size(tmp_path: Path, side: int) -> None:
    net, session = enhancer(made.super_resolution_graph(tmp_path / "net.onnx"), "real_esrgan")
    assert (net.template, net.side, net.scale) == (None, None, 4)
    (got,) = net.enhance([crop(side)])
    assert got.shape == (4 * side, 4 * side, 3)
    rgb = np.ascontiguousarray(crop(side)[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32) / 255
    expected = session.run({"input": rgb})[0][0].transpose(1, 2, 0)[:, :, ::-1] * 255
    assert np.abs(got - np.clip(expected, 0, 255)).max() <= 0.52


@pytest.mark.parametrize(
    ("family", "build", "parameters", "says"),
    [
        ("gfpgan", made.super_resolution_graph, {}, r"output\[n, 3, H, W\]"),
        ("gfpgan", lambda path: made.restoration_graph(path, weight=True), {}, "one input, a picture"),
        ("codeformer", made.restoration_graph, {}, "a picture and one number"),
        ("gfpgan", made.restoration_graph, {"side": 256}, r"input\[1, 3, 256, 256\]"),
        ("gfpgan", graphs.converter_graph, {}, "one input, a picture"),
        ("real_esrgan", made.restoration_graph, {}, "of any size"),
        ("real_esrgan", made.super_resolution_graph, {"scale": 1}, "parameter scale"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(
    tmp_path: Path, family: str, build: Any, parameters: dict[str, Any], says: str
) -> None:
    if (family, build) == ("gfpgan", made.super_resolution_graph):
        # A graph of open size could restore faces, too; only what it gives tells.
        net, _ = enhancer(build(tmp_path / "net.onnx"), family)
        with pytest.raises(ModelError, match=r"\(n, 3, 512, 512\), not"):
            net.enhance([crop(512)])
        return
    with pytest.raises(ModelError, match=says) as caught:
        enhancer(build(tmp_path / "net.onnx"), family, **parameters)
    assert "\n" not in str(caught.value)


def test_another_scale_than_the_catalogs_is_found_at_the_first_crop(tmp_path: Path) -> None:
    net, _ = enhancer(made.super_resolution_graph(tmp_path / "net.onnx", scale=2), "real_esrgan")
    with pytest.raises(ModelError, match="crops 4 times larger"):
        net.enhance([crop(32)])


def test_the_real_network_brings_back_what_shrinking_lost(tmp_path: Path, shared: Path) -> None:
    """On real portraits: sharper than cubic interpolation, and still the same picture."""
    net, _ = enhancer(shared / "models" / "enhancers" / "realesr_general_x4v3.onnx", "real_esrgan")
    for path in sorted((shared / "faces" / "house512").glob("*.jpg"))[:4]:
        picture = cv2.imread(str(path))
        face = picture[:256, 40 : 40 + 256] if picture.shape[1] < 300 else picture[60:316, 60:316]
        small = np.asarray(cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA), np.uint8)
        (large,) = net.enhance([small])
        cubic = cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC)
        assert cv2.Laplacian(large, cv2.CV_32F).std() > 1.5 * cv2.Laplacian(cubic, cv2.CV_32F).std()
        again = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
        assert cv2.absdiff(again, small).mean() < 6
