"""Segmenters: what a pixel shows, whatever the network's size, order of classes and kind of output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facefusion_runner.errors import ModelError
from facefusion_runner.faces.types import Picture
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import families, load_segmenter
from facefusion_runner.segmenters import BACKGROUND, CLASSES, GLASSES, HAIR, OCCLUDER, SKIN, Segmenter
from tests.support.graphs import GraphBuilder, Tensor
from tests.support.shared_models import opened

RED, GREEN, BLUE, BLACK = (0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 0, 0)
"""BGR."""

COLOURS = ("skin", "hair", "occluder", "background")
"""What red, green, blue and black mean to the network."""


def colour_network(path: Path, side: int | str = 32, batch: int | str = "n", softmax: bool = True) -> Path:
    """Four maps (n, 4, side, side): how red, green, blue and dark a pixel of 0..1 RGB is."""
    g = GraphBuilder()
    weight = g.constant(np.vstack([np.eye(3), -np.ones((1, 3))]).reshape(4, 3, 1, 1) * 20)
    maps = g.op("Conv", "input", weight, g.constant([0, 0, 0, 10]), kernel_shape=[1, 1])
    g.op("Softmax" if softmax else "Identity", maps, **({"axis": 1} if softmax else {}))
    g.rename_last("output")
    shapes = [(batch, channels, side, side) for channels in (3, 4)]
    return g.save(path, [Tensor("input", shapes[0])], [Tensor("output", shapes[1])])


def segmenter(path: Path, **parameters: Any) -> Segmenter:
    defaults = {"classes": COLOURS, "side": 32, "mean": (0, 0, 0), "std": (255, 255, 255)}
    entry = ModelEntry.model_validate(
        {
            "id": "parts",
            "role": "segmenter",
            "family": "face_parts",
            "file": path.name,
            "licence": "apache-2.0",
            "parameters": {**defaults, **parameters},
        }
    )
    return load_segmenter(entry, opened(entry, path))


def quarters(side: int) -> Picture:
    """Red, green / blue, black."""
    crop = np.zeros((side, side, 3), np.uint8)
    half = side // 2
    crop[:half, :half], crop[:half, half:], crop[half:, :half] = RED, GREEN, BLUE
    return crop


def test_the_family_is_found() -> None:
    assert families("segmenter") == ("face_parts",)


@pytest.mark.parametrize("side", [16, 32, 50, 256])
def test_every_pixel_of_a_crop_of_any_size_gets_its_class(tmp_path: Path, side: int) -> None:
    found = segmenter(colour_network(tmp_path / "net.onnx")).segment([quarters(side)])

    assert found.shape == (1, len(CLASSES), side, side) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert found.min() >= 0
    quarter = [found[0, :, y, x].argmax() for y in (side // 4, -side // 4) for x in (side // 4, -side // 4)]
    assert quarter == [SKIN, HAIR, OCCLUDER, BACKGROUND]
    edge = np.flatnonzero(found[0, HAIR, side // 4] > 0.5)[0]
    assert abs(edge - side / 2) <= 1, "maps must not be shifted when they are resized"


def test_a_class_that_the_network_does_not_know_is_nowhere(tmp_path: Path) -> None:
    found = segmenter(colour_network(tmp_path / "net.onnx")).segment([quarters(32)])
    assert not found[:, GLASSES].any()


def test_channels_of_one_class_are_added_up(tmp_path: Path) -> None:
    path = colour_network(tmp_path / "net.onnx")
    merged = segmenter(path, classes=("skin", "skin", "occluder", "skin")).segment([quarters(32)])
    apart = segmenter(path).segment([quarters(32)])
    np.testing.assert_allclose(merged[:, SKIN], apart[:, [SKIN, HAIR, BACKGROUND]].sum(1), atol=1e-6)
    assert merged[0, SKIN, 8, 8] > 0.99 and merged[0, OCCLUDER, 24, 8] > 0.99


def test_logits_become_the_same_probabilities(tmp_path: Path) -> None:
    of_probabilities = segmenter(colour_network(tmp_path / "a.onnx"))
    of_logits = segmenter(colour_network(tmp_path / "b.onnx", softmax=False), values="logits")
    crops = [quarters(32), quarters(32)[::-1]]
    np.testing.assert_allclose(of_logits.segment(crops), of_probabilities.segment(crops), atol=1e-5)


def test_a_network_for_bgr_is_fed_bgr(tmp_path: Path) -> None:
    found = segmenter(colour_network(tmp_path / "net.onnx"), colour="bgr").segment([quarters(32)])
    assert found[0, :, 8, 8].argmax() == OCCLUDER, "red is the last channel of BGR"


@pytest.mark.parametrize("batch", ["n", 1])
def test_many_crops_are_segmented_as_if_alone(tmp_path: Path, batch: int | str) -> None:
    net = segmenter(colour_network(tmp_path / "net.onnx", batch=batch))
    crops = [np.roll(quarters(32), shift, axis=1) for shift in range(0, 32, 2)] * 2
    together = net.segment(crops)
    alone = np.concatenate([net.segment([crop]) for crop in crops])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_no_crop_has_no_maps(tmp_path: Path) -> None:
    assert len(segmenter(colour_network(tmp_path / "net.onnx")).segment([])) == 0


def test_crops_say_along_which_template_they_are_cut(tmp_path: Path) -> None:
    path = colour_network(tmp_path / "net.onnx")
    assert segmenter(path).template == "ffhq_512"
    assert segmenter(path, template="mtcnn_512").template == "mtcnn_512"


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"side": 64}, "crops of 64 pixels"),
        ({"classes": ("skin", "hair")}, r"a first output \(n, 2, rows, columns\)"),
        ({"classes": ("skin", "hair", "occluder", "nose")}, r"parameter classes\.3: .*'nose'"),
        ({"classes": ()}, "parameter classes"),
        ({"size": 32}, "parameter size"),
    ],
)
def test_a_graph_that_does_not_fit_its_entry_is_refused(
    tmp_path: Path, parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(ModelError, match=named) as caught:
        segmenter(colour_network(tmp_path / "net.onnx"), **parameters)
    assert "\n" not in str(caught.value) and "model parts" in str(caught.value)
