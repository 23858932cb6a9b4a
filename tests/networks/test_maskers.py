"""Maskers: what may be replaced of a face, by networks that see what is in front of it or its regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from insightface.data import get_image

from facefusion_runner.blending.masks import network_mask
from facefusion_runner.errors import ModelError
from facefusion_runner.faces.geometry import alignment, cut
from facefusion_runner.maskers import Masker
from facefusion_runner.maskers.region import CELEBAMASK_HQ, FACE
from facefusion_runner.models.catalog import Catalog, ModelEntry
from facefusion_runner.models.families import load_masker
from facefusion_runner.models.session import SessionFactory
from facefusion_runner.models.store import ModelStore
from tests.support import family_graphs as made
from tests.support.graphs import GraphBuilder, Tensor
from tests.support.shared_models import SharedModels, opened


def masker(path: Path, family: str, **parameters: Any) -> Masker:
    entry = ModelEntry(
        **{"id": "net", "role": "mask", "family": family, "file": path.name, "licence": "mit"},
        parameters=parameters,
    )
    return load_masker(entry, opened(entry, path))


def brightest_of_three(path: Path, side: int = 32) -> Path:
    """Three classes, for red, green and blue: logits (1, 3, side, side)."""
    g = GraphBuilder()
    g.op("Mul", "input", g.constant(30.0))
    g.rename_last("output")
    return g.save(path, [Tensor("input", (1, 3, side, side))], [Tensor("output", (1, 3, side, side))])


def thirds(side: int) -> np.ndarray[Any, Any]:
    """Red above, green, blue below."""
    picture = np.zeros((side, side, 3), np.uint8)
    a, b = side // 3, 2 * side // 3
    picture[:a, :, 2] = picture[a:b, :, 1] = picture[b:, :, 0] = 255
    return picture


RGB = {
    **{"classes": ("red", "green", "blue"), "usual": ("red",), "side": 32},
    **{"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)},
}


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        (("red",), (1, 0, 0)),
        (("green", "blue"), (0, 1, 1)),
        (("red", "green", "blue"), (1, 1, 1)),
        ((), (0, 0, 0)),
    ],
)
def test_the_regions_chosen_are_added_up(tmp_path: Path, regions: Any, expected: Any) -> None:
    net = masker(brightest_of_three(tmp_path / "net.onnx"), "region", **RGB)
    assert net.regions == ("red", "green", "blue") and net.usual_regions == ("red",)
    weights = net.weights([thirds(32)] * 2, regions)
    assert weights.shape == (2, 32, 32) and weights.dtype == np.float32
    np.testing.assert_allclose([weights[1, y, 16] for y in (4, 15, 28)], expected, atol=1e-6)


def test_the_parser_knows_the_nineteen_classes_and_leaves_all_but_the_bare_face(tmp_path: Path) -> None:
    net = masker(made.bisenet_graph(tmp_path / "net.onnx"), "region")
    assert len(net.regions) == 19 and (net.side, net.template) == (512, "ffhq_512")
    assert net.usual_regions == FACE and not set(FACE) & {"hair", "glasses", "hat", "background", "neck"}
    crop = cv2.resize(get_image("t1"), (512, 512))
    every = net.weights([crop], CELEBAMASK_HQ)
    np.testing.assert_allclose(every, 1, atol=1e-5)
    assert 0.05 < net.weights([crop], FACE).mean() < 0.95


@pytest.mark.parametrize("batch", ["n", 1])
def test_an_occlusion_network_is_fed_nhwc_bgr(tmp_path: Path, batch: int | str) -> None:
    path = made.xseg_graph(tmp_path / "net.onnx", batch=batch)
    net = masker(path, "occlusion")
    assert net.regions == () and (net.side, net.template) == (256, "dfl_whole_face")
    crops = [cv2.resize(get_image("t1")[200 + i :, 300:], (256, 256)) for i in range(3)]
    entry = ModelEntry(id="net", role="mask", family="occlusion", file="x", licence="mit")
    session = SessionFactory("cpu", threads=1).open(entry, path)
    expected = [session.run({"input": crop[None].astype(np.float32) / 255})[0][0, :, :, 0] for crop in crops]
    np.testing.assert_allclose(net.weights(crops, ()), expected, atol=1e-5)
    assert net.weights([], ()).shape == (0, 256, 256)


def test_the_built_in_segmenter_is_an_occlusion_network(tmp_path: Path) -> None:
    catalog = Catalog.load(tmp_path)
    store = ModelStore(tmp_path, catalog, offline=True)
    factory = SessionFactory("cpu", threads=1)
    entry = catalog.resolve("mask", "occlusion", store)
    assert catalog.is_built_in(entry.id)
    net = load_masker(entry, lambda model: factory.open(catalog.get(model), store.path(catalog.get(model))))
    points = np.array(
        [[491.71, 318.86], [540.76, 331.94], [507.10, 360.68], [483.94, 367.14], [531.91, 378.42]], np.float32
    )
    crop = cut(get_image("t1"), alignment(points, net.template, net.side), net.side)
    hidden = crop.copy()
    hidden[150:200, 60:200] = (40, 160, 30)
    bare, covered = net.weights([crop, hidden], ())
    assert bare[160:190, 110:150].mean() > 0.9, "the cheeks and lips are bare"
    assert covered[160:190, 90:170].mean() < 0.2, "what lies over them is not"
    assert bare[:20].mean() < 0.3, "hair and background are no face"


@pytest.mark.parametrize(
    ("family", "build", "parameters", "says"),
    [
        ("occlusion", made.bisenet_graph, {}, "crops of 256 pixels, NHWC|three-channel pictures, NHWC"),
        ("occlusion", made.xseg_graph, {"side": 128}, "crops of 128 pixels"),
        ("occlusion", made.bisenet_graph, {"layout": "nchw", "side": 512}, "one map of 512 pixels"),
        ("region", made.xseg_graph, {}, "three-channel pictures, NCHW"),
        ("region", made.bisenet_graph, {"side": 256}, "crops of 256 pixels"),
        ("region", made.bisenet_graph, {"classes": ("a", "b"), "usual": ("a",)}, r"\(n, 2, rows, columns\)"),
        ("region", made.bisenet_graph, {"usual": ("chin",)}, "usual: 'chin' is none of the classes"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(
    tmp_path: Path, family: str, build: Any, parameters: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        masker(build(tmp_path / "net.onnx"), family, **parameters)
    assert "\n" not in str(caught.value)


# --- from the network's crop to the generator's ------------------------------------------------------------


def test_a_networks_weights_land_where_they_were_seen() -> None:
    weights = np.zeros((100, 100), np.float32)
    weights[20:80, 30:70] = 1
    onto = np.array([[2.0, 0.0, 10.5], [0.0, 2.0, -9.5]])
    mask = network_mask(weights, onto, 200)
    rows, columns = np.flatnonzero(mask.max(1) > 127), np.flatnonzero(mask.max(0) > 127)
    # The mask rises inwards from the edge, which crosses 127 about a softness within it.
    assert np.abs(rows[[0, -1]] - [2 * 20 - 9.5 + 1.5, 2 * 80 - 9.5 - 2.5]).max() <= 4
    assert np.abs(columns[[0, -1]] - [2 * 30 + 10.5 + 1.5, 2 * 70 + 10.5 - 2.5]).max() <= 4
    assert mask[90, 110] == 255 and not mask[:25].any() and not mask[:, :65].any()


def test_nothing_of_the_mask_lies_on_what_is_in_front() -> None:
    weights = np.ones((128, 128), np.float32)
    weights[50:70] = 0
    mask = network_mask(weights, np.eye(2, 3), 128)
    assert mask[50:70].max() == 0 and mask[40].min() == 255 and mask[80].min() == 255
    assert mask[0].min() == 255 and mask[-1].min() == 255, "beyond the view its edge goes on"


def test_a_view_smaller_than_the_crop_goes_on_beyond_its_edge() -> None:
    mask = network_mask(np.ones((64, 64), np.float32), np.array([[1.0, 0, 40], [0, 1.0, 40]]), 144)
    assert mask.min() == 255


# --- the real parsers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["face_parsing_bisenet_compat_512", "face_parsing_bisenetv2_compat_512"])
def test_real_parsers_tell_the_regions_of_real_faces(
    shared: Path, shared_models: SharedModels, file: str
) -> None:
    """Left is the person's own left; skin lies between the eyes and the mouth, hair above them."""
    net = masker(shared_models.root / f"{file}.onnx", "region")
    detector = shared_models.detector("yunet")
    own_side = other_side = 0.0
    for path in sorted((shared / "faces" / "house512").glob("*.jpg"))[:4]:
        picture = np.asarray(cv2.imread(str(path)), np.uint8)
        matrix = alignment(detector.detect(picture)[0].points, net.template, net.side)
        crop = cut(picture, matrix, net.side)
        points = detector.detect(picture)[0].points
        left, right, nose, left_mouth, right_mouth = points @ matrix[:, :2].T + matrix[:, 2]

        def share(at: Any, *regions: str, crop: Any = crop) -> float:
            """How much of a window belongs to the regions."""
            x, y = np.rint(at).astype(int)
            return float(net.weights([crop], regions)[0, y - 12 : y + 13, x - 12 : x + 13].mean())

        own_side += share(left, "right_eye") + share(right, "left_eye")
        other_side += share(left, "left_eye") + share(right, "right_eye")
        assert share(nose, "nose") > 0.5
        assert share((left_mouth + right_mouth) / 2, "mouth", "upper_lip", "lower_lip") > 0.3
        assert share((left + nose) / 2 - (30, -20), *FACE) > 0.8, "a cheek"
        assert share((14, 14), *FACE) < 0.1, "the background"
    assert own_side > 2 * other_side
