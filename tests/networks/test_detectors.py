"""Detectors: parity with InsightFace and OpenCV, the same faces from every family, odd pictures."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import pytest
import skimage.data
from insightface.data import get_image
from insightface.model_zoo.scrfd import SCRFD
from onnx import TensorProto, helper, numpy_helper

from facefusion_runner.detectors import DetectorOptions
from facefusion_runner.detectors.single_shot import letterbox, suppress
from facefusion_runner.errors import ModelError
from facefusion_runner.faces.types import Detection, Float, Picture
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_detector
from tests.support.shared_models import SharedModels, opened

FAMILIES = ["scrfd_2.5g", "retinaface_mnet025", "yolov5n_face", "yunet"]
ALL = [*FAMILIES, "scrfd_2.5g_named", "scrfd_2.5g_static", "scrfd_500m", "yunet_640"]


@pytest.fixture(scope="module")
def t1() -> Picture:
    """Six faces at several angles, one at a strong tilt; 1280x886."""
    return np.asarray(get_image("t1"), np.uint8)


@pytest.fixture(scope="module")
def astronaut() -> Picture:
    """One frontal face; 512x512."""
    return np.ascontiguousarray(skimage.data.astronaut()[:, :, ::-1])


@pytest.fixture(scope="module")
def solvay(shared: Path) -> Picture:
    """29 faces of 40 to 60 pixels in 2048x922."""
    return np.asarray(cv2.imread(str(shared / "faces" / "test_images" / "solvay1927_29faces.jpg")), np.uint8)


def points_of(faces: list[Detection]) -> Float:
    """(n, 5, 2), from the picture's left to its right."""
    return np.array(sorted((face.points.tolist() for face in faces), key=lambda five: five[2][0]), np.float32)


def eyes_apart(faces: Float) -> Float:
    """Distance of the eyes of each of (n, 5, 2); never less than 12 px, for profiles."""
    return np.maximum(np.linalg.norm(faces[:, 0] - faces[:, 1], axis=1), 12)


# --- parity ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["scrfd_2.5g", "scrfd_2.5g_static"])
def test_scrfd_equals_insightface(shared_models: SharedModels, t1: Picture, model: str) -> None:
    theirs = SCRFD(str(shared_models.path(model)))
    theirs.prepare(-1, input_size=(640, 640), det_thresh=0.5, nms_thresh=0.4)
    boxes, points = theirs.detect(t1, input_size=(640, 640))

    ours = shared_models.detector(model, DetectorOptions(size=640, score=0.5, nms=0.4)).detect(t1)

    assert len(ours) == len(boxes) == 6
    np.testing.assert_allclose([face.box for face in ours], boxes[:, :4], atol=0.01)
    np.testing.assert_allclose([face.points for face in ours], points, atol=0.01)
    np.testing.assert_allclose([face.score for face in ours], boxes[:, 4], atol=1e-5)


def test_scrfd_equals_insightface_at_many_faces_and_low_scores(
    shared_models: SharedModels, solvay: Picture
) -> None:
    picture = solvay[:, :1844]  # 2:1, which both scale alike
    theirs = SCRFD(str(shared_models.path("scrfd_500m")))
    theirs.prepare(-1, input_size=(640, 640), det_thresh=0.1, nms_thresh=0.4)
    boxes, points = theirs.detect(picture, input_size=(640, 640))

    ours = shared_models.detector("scrfd_500m", DetectorOptions(score=0.1)).detect(picture)

    assert len(ours) == len(boxes) > 20
    np.testing.assert_allclose([face.box for face in ours], boxes[:, :4], atol=0.01)
    np.testing.assert_allclose([face.points for face in ours], points, atol=0.01)


def test_yunet_equals_opencv(shared_models: SharedModels, t1: Picture) -> None:
    picture = cv2.resize(t1, (640, 443))
    theirs = cv2.FaceDetectorYN.create(str(shared_models.path("yunet")), "", (640, 443), 0.7, 0.3)
    rows = theirs.detect(picture)[1]

    ours = shared_models.detector("yunet", DetectorOptions(score=0.7, nms=0.3)).detect(picture)

    rows = rows[np.argsort(-rows[:, 14])]
    assert len(ours) == len(rows) == 6
    np.testing.assert_allclose([face.score for face in ours], rows[:, 14], atol=1e-3)
    np.testing.assert_allclose([face.points for face in ours], rows[:, 4:14].reshape(-1, 5, 2), atol=0.05)
    corners = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
    np.testing.assert_allclose([face.box for face in ours], corners, atol=0.05)


# --- the same faces from every family -------------------------------------------------------------------


@pytest.mark.parametrize("model", ALL)
def test_every_network_finds_the_known_faces(
    shared_models: SharedModels, t1: Picture, astronaut: Picture, solvay: Picture, model: str
) -> None:
    detector = shared_models.detector(model)
    assert [len(detector.detect(picture)) for picture in (t1, astronaut, solvay)] == [6, 1, 29]


@pytest.mark.parametrize("model", FAMILIES)
def test_families_agree_on_the_five_points(shared_models: SharedModels, t1: Picture, model: str) -> None:
    expected = points_of(shared_models.detector("scrfd_2.5g").detect(t1))
    found = points_of(shared_models.detector(model).detect(t1))

    distance = np.linalg.norm(found - expected, axis=2).mean(1) / eyes_apart(expected)
    assert distance.max() < 0.4  # of a profile, whose eyes are near each other
    assert np.median(distance) < 0.15


@pytest.mark.parametrize("model", FAMILIES)
def test_a_detection_is_a_face_in_its_own_box(
    shared_models: SharedModels, solvay: Picture, model: str
) -> None:
    for face in shared_models.detector(model).detect(solvay):
        left, top, right, bottom = face.box
        eyes, nose, mouth = face.points[:2], face.points[2], face.points[3:]
        assert (face.points >= [left - 4, top]).all() and (face.points <= [right + 4, bottom]).all()
        assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()
        assert eyes[0, 0] < eyes[1, 0] and mouth[0, 0] < mouth[1, 0]
        assert 0.5 <= face.score <= 1
        assert face.box.dtype == face.points.dtype == np.float32


@pytest.mark.parametrize("model", FAMILIES)
def test_faces_come_best_score_first(shared_models: SharedModels, solvay: Picture, model: str) -> None:
    scores = [face.score for face in shared_models.detector(model).detect(solvay)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("model", FAMILIES)
def test_a_mirrored_picture_has_the_mirrored_faces(
    shared_models: SharedModels, t1: Picture, model: str
) -> None:
    detector = shared_models.detector(model)
    expected = points_of(detector.detect(t1))
    mirrored = detector.detect(t1[:, ::-1])

    turned = [(face.points * [-1, 1] + [t1.shape[1] - 1, 0])[[1, 0, 2, 4, 3]] for face in mirrored]
    found = np.array(sorted(turned, key=lambda five: five[2][0]), np.float32)
    assert len(found) == 6
    assert (np.linalg.norm(found - expected, axis=2).mean(1) / eyes_apart(expected)).max() < 0.2


@pytest.mark.parametrize("model", FAMILIES)
def test_an_enlarged_picture_has_the_enlarged_faces(
    shared_models: SharedModels, t1: Picture, model: str
) -> None:
    detector = shared_models.detector(model)
    expected = points_of(detector.detect(t1)) * 2
    found = points_of(detector.detect(cv2.resize(t1, None, fx=2, fy=2)))

    assert len(found) == 6
    assert (np.linalg.norm(found - expected, axis=2).mean(1) / eyes_apart(expected)).max() < 0.1


# --- where faces are small, large, cut off, many or absent ----------------------------------------------


@pytest.mark.parametrize("model", ["scrfd_2.5g", "retinaface_mnet025", "yunet"])
def test_a_larger_detection_size_finds_smaller_faces(
    shared_models: SharedModels, solvay: Picture, model: str
) -> None:
    canvas = np.zeros((922 * 3, 2048 * 3, 3), np.uint8)
    canvas[:922, :2048] = solvay

    small = shared_models.detector(model, DetectorOptions(size=320)).detect(canvas)
    large = shared_models.detector(model, DetectorOptions(size=1600)).detect(canvas)

    assert len(small) < 10
    assert len(large) >= 27


@pytest.mark.parametrize("model", ALL)
def test_a_face_that_fills_the_picture_is_found_once(
    shared_models: SharedModels, shared: Path, model: str
) -> None:
    detector = shared_models.detector(model)
    for file in sorted((shared / "faces" / "house512").glob("*.jpg"))[3::110]:
        portrait = cv2.imread(str(file))
        left, top, right, bottom = shared_models.detector("yunet").detect(portrait)[0].box.astype(int)
        assert len(detector.detect(portrait[max(top, 0) : bottom, max(left, 0) : right])) == 1


def test_a_large_face_is_found_beside_small_ones(
    shared_models: SharedModels, t1: Picture, shared: Path
) -> None:
    portrait = cv2.imread(str(sorted((shared / "faces" / "house512").glob("*.jpg"))[3]))
    left, top, right, bottom = shared_models.detector("yunet").detect(portrait)[0].box.astype(int)
    face = cv2.resize(portrait[max(top, 0) : bottom, max(left, 0) : right], (600, 800))
    picture = np.zeros((800, 850, 3), np.uint8)
    picture[:, :600] = face
    picture[:172, 602:] = cv2.resize(t1, (248, 172))

    found = shared_models.detector("scrfd_2.5g").detect(picture)

    heights = sorted(float(face.box[3] - face.box[1]) for face in found)
    assert heights[-1] > 500
    assert len(found) > 1 and heights[-2] < 60


@pytest.mark.parametrize("model", FAMILIES)
def test_a_face_cut_off_by_the_border_is_found(
    shared_models: SharedModels, astronaut: Picture, model: str
) -> None:
    detector = shared_models.detector(model)
    whole = detector.detect(astronaut)[0]
    left = int(whole.points[0, 0]) - 12
    top = int(whole.points[:2, 1].mean()) - 20

    (cut,) = detector.detect(astronaut[top:, left:])

    assert (
        np.abs(cut.points + np.array([left, top]) - whole.points).max()
        < 0.2 * eyes_apart(whole.points[None])[0]
    )


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("shape", [(886, 3000), (3000, 1300)])
def test_any_aspect_ratio_keeps_the_faces(
    shared_models: SharedModels, t1: Picture, model: str, shape: tuple[int, int]
) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    picture[:886, :1280] = t1
    options = None if model == "yolov5n_face" else DetectorOptions(size=1280)

    found = points_of(shared_models.detector(model, options).detect(picture))

    expected = points_of(shared_models.detector(model).detect(t1))
    assert len(found) == 6
    assert (np.linalg.norm(found - expected, axis=2).mean(1) / eyes_apart(expected)).max() < 0.3


def test_both_axes_are_scaled_back_by_their_own_factor(shared_models: SharedModels, t1: Picture) -> None:
    """667 rows of 1000 columns become 426.88, so 426: a picture padded to 2:3 exactly is the standard."""
    picture = cv2.resize(t1, (1000, 692))[:667]
    padded = np.zeros((675, 1000, 3), np.uint8)  # 432 of 640
    padded[:667] = picture
    detector = shared_models.detector("scrfd_2.5g")

    found, expected = points_of(detector.detect(picture)), points_of(detector.detect(padded))

    assert np.abs((found - expected).mean((0, 1))).max() < 0.5


@pytest.mark.parametrize("model", ALL)
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (1, 4000), (4000, 1), (33, 7)])
def test_a_tiny_or_thin_picture_has_no_face(
    shared_models: SharedModels, model: str, shape: tuple[int, int]
) -> None:
    assert shared_models.detector(model).detect(np.full((*shape, 3), 128, np.uint8)) == []


@pytest.fixture(scope="module")
def faceless(shared: Path) -> list[Picture]:
    with av.open(str(shared / "media" / "noface_vp8_vorbis.webm")) as clip:
        frames = [frame.to_ndarray(format="bgr24") for frame in clip.decode(video=0)][::70]
    photos = sorted((shared / "faces" / "test_images" / "exif").glob("*.jpg"))[::4]
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
    return [*frames, *(cv2.imread(str(photo)) for photo in photos), noise, np.zeros((240, 320, 3), np.uint8)]


@pytest.mark.parametrize("model", ALL)
def test_nothing_is_found_where_no_face_is(
    shared_models: SharedModels, faceless: list[Picture], model: str
) -> None:
    detector = shared_models.detector(model)
    assert [len(detector.detect(picture)) for picture in faceless] == [0] * len(faceless)


# --- options --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", FAMILIES)
def test_the_score_threshold_is_the_users(shared_models: SharedModels, t1: Picture, model: str) -> None:
    every = shared_models.detector(model).detect(t1)
    middle = (every[2].score + every[3].score) / 2
    assert len(shared_models.detector(model, DetectorOptions(score=middle)).detect(t1)) == 3
    assert shared_models.detector(model, DetectorOptions(score=1.0)).detect(t1) == []


@pytest.mark.parametrize("model", FAMILIES)
def test_the_overlap_threshold_is_the_users(shared_models: SharedModels, t1: Picture, model: str) -> None:
    loose = shared_models.detector(model, DetectorOptions(nms=1.0, score=0.3)).detect(t1)
    assert len(loose) > len(shared_models.detector(model, DetectorOptions(score=0.3)).detect(t1))


def test_a_network_of_fixed_size_refuses_another(shared_models: SharedModels) -> None:
    with pytest.raises(ModelError, match=r"^model yunet_640 takes 640x640 pixels only.*320.*$"):
        shared_models.detector("yunet_640", DetectorOptions(size=320))
    assert shared_models.detector("yunet_640", DetectorOptions(size=640))


@pytest.mark.parametrize("model", ["scrfd_2.5g", "yunet"])
def test_an_odd_detection_size_is_rounded_up(shared_models: SharedModels, t1: Picture, model: str) -> None:
    odd = shared_models.detector(model, DetectorOptions(size=610)).detect(t1)
    even = shared_models.detector(model, DetectorOptions(size=640)).detect(t1)
    np.testing.assert_allclose([face.box for face in odd], [face.box for face in even], atol=2.5)


@pytest.mark.parametrize("family", ["scrfd", "retinaface", "yolov5_face", "yolov8_face", "yunet"])
def test_a_network_of_another_family_is_refused(shared_models: SharedModels, family: str) -> None:
    entry = shared_models.entries["pfld_68"].model_copy(
        update={"role": "detector", "family": family, "parameters": {}}
    )
    with pytest.raises(ModelError) as raised:
        load_detector(entry, shared_models.open)
    assert str(raised.value).startswith("model pfld_68: pfld_68_cunjian.onnx does not fit the family")
    assert "\n" not in str(raised.value)


# --- graphs that real files do not show -----------------------------------------------------------------


def rebuilt(shared_models: SharedModels, model: str, network: onnx.ModelProto, path: Path) -> ModelEntry:
    """The entry of `model` for another graph that was saved to `path`."""
    onnx.save(network, path)
    return shared_models.entries[model].model_copy(update={"file": path.name})


def producer(network: onnx.ModelProto, tensor: str, kind: str) -> onnx.NodeProto:
    """The nearest node of a kind above a tensor, along first inputs."""
    node = next(node for node in network.graph.node if tensor in node.output)
    return node if node.op_type == kind else producer(network, node.input[0], kind)


def test_scrfd_outputs_may_come_in_any_order(
    shared_models: SharedModels, t1: Picture, tmp_path: Path
) -> None:
    network = onnx.load(shared_models.path("scrfd_500m"))
    outputs = list(network.graph.output)
    del network.graph.output[:]
    network.graph.output.extend(outputs[i] for i in (7, 0, 4, 8, 2, 3, 1, 6, 5))
    entry = rebuilt(shared_models, "scrfd_500m", network, tmp_path / "shuffled.onnx")

    found = load_detector(entry, opened(entry, tmp_path / "shuffled.onnx")).detect(t1)

    expected = shared_models.detector("scrfd_500m").detect(t1)
    np.testing.assert_array_equal([face.points for face in found], [face.points for face in expected])


@pytest.mark.parametrize("layout", ["(1, 3, rows, columns, 16)", "(1, 48, rows, columns)"])
def test_a_raw_yolov5_export_finds_what_the_decoded_one_does(
    shared_models: SharedModels, t1: Picture, tmp_path: Path, layout: str
) -> None:
    source, target = shared_models.path("yolov5n_face"), tmp_path / "raw.onnx"
    heads = ["stride_8", "stride_16", "stride_32"]
    if "48" in layout:
        network = onnx.load(source)
        heads = [producer(network, head, "Conv").output[0] for head in heads]
    onnx.utils.extract_model(str(source), str(target), ["input"], heads, check_model=False)
    network = onnx.load(target)
    for value, cells in zip(network.graph.output, (80, 40, 20), strict=True):
        shape = [1, 48, cells, cells] if "48" in layout else [1, 3, cells, cells, 16]
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape))
    entry = rebuilt(shared_models, "yolov5n_face", network, target)

    found = load_detector(entry, opened(entry, target)).detect(t1)

    expected = shared_models.detector("yolov5n_face").detect(t1)
    assert len(found) == 6
    np.testing.assert_allclose([face.box for face in found], [face.box for face in expected], atol=0.02)
    np.testing.assert_allclose([face.points for face in found], [face.points for face in expected], atol=0.02)
    np.testing.assert_allclose([face.score for face in found], [face.score for face in expected], atol=1e-4)


def yolov8_network(source: Path, target: Path) -> None:
    """The real YOLOv5 network with its output laid out as yoloface_8n's: (1, 20, n), visibilities of 1."""
    network = onnx.load(source)
    graph = network.graph

    def columns(name: str, first: int, end: int) -> onnx.NodeProto:
        bounds = {"start": [first], "end": [end], "axis": [2]}
        for part, value in bounds.items():
            graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"{name}_{part}"))
        inputs = ["output", f"{name}_start", f"{name}_end", f"{name}_axis"]
        return helper.make_node("Slice", inputs, [name])

    points = [columns(f"point_{i}", 5 + 2 * i, 7 + 2 * i) for i in range(5)]
    graph.initializer.append(numpy_helper.from_array(np.ones((1, 25200, 1), np.float32), "visible"))
    laid_out = [name for i in range(5) for name in (f"point_{i}", "visible")]
    graph.node.extend(
        [
            columns("boxes", 0, 4),
            columns("objectness", 4, 5),
            columns("class", 15, 16),
            *points,
            helper.make_node("Mul", ["objectness", "class"], ["scores"]),
            helper.make_node("Concat", ["boxes", "scores", *laid_out], ["rows"], axis=2),
            helper.make_node("Transpose", ["rows"], ["output0"], perm=[0, 2, 1]),
        ]
    )
    graph.output[0].CopyFrom(helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 20, 25200]))
    onnx.save(network, target)


def test_yolov8_face_reads_its_layout(
    shared_models: SharedModels, t1: Picture, solvay: Picture, tmp_path: Path
) -> None:
    path = tmp_path / "yoloface.onnx"
    yolov8_network(shared_models.path("yolov5n_face"), path)
    entry = ModelEntry(
        id="yoloface", role="detector", family="yolov8_face", file=path.name, licence="mit",
        parameters={"nms": 0.5},
    )  # fmt: skip
    detector = load_detector(entry, opened(entry, path))

    for picture in (t1, solvay):
        expected = shared_models.detector("yolov5n_face").detect(picture)
        found = detector.detect(picture)
        assert len(found) == len(expected)
        np.testing.assert_allclose([f.box for f in found], [f.box for f in expected], atol=1e-3)
        np.testing.assert_allclose([f.points for f in found], [f.points for f in expected], atol=1e-3)
        np.testing.assert_allclose([f.score for f in found], [f.score for f in expected], atol=1e-6)


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30])
def test_a_damaged_network_finds_nothing_rather_than_failing(
    shared_models: SharedModels, t1: Picture, tmp_path: Path, model: str, poison: float
) -> None:
    network = onnx.load(shared_models.path(model))
    names = {node.input[1] for node in network.graph.node if node.op_type == "Conv"}
    for weight in network.graph.initializer:
        if weight.name in names:
            array = numpy_helper.to_array(weight).copy()
            array.flat[::7] = poison
            weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    entry = rebuilt(shared_models, model, network, tmp_path / "damaged.onnx")

    found = load_detector(entry, opened(entry, tmp_path / "damaged.onnx")).detect(t1)

    assert all(np.isfinite(face.box).all() and np.isfinite(face.points).all() for face in found)


# --- letterbox and suppression --------------------------------------------------------------------------


def test_the_letterbox_holds_the_whole_picture_top_left() -> None:
    picture = np.full((100, 200, 3), 200, np.uint8)
    pixels, scale = letterbox(picture, (640, 640), (640, 640), 114)
    assert pixels.shape == (640, 640, 3)
    assert (pixels[:320] == 200).all() and (pixels[320:] == 114).all()
    np.testing.assert_allclose(scale, [3.2, 3.2])


def test_suppression_keeps_the_best_of_overlapping_boxes() -> None:
    boxes = np.array([[0, 0, 99, 99], [5, 5, 104, 104], [200, 0, 299, 99], [0, 60, 99, 159]], np.float32)
    scores = np.array([0.7, 0.9, 0.6, 0.8], np.float32)
    # 1 and 0 share 9025 of 10975; 3 and 1 share 4275 of 15725, 3 and 0 4000 of 16000.
    assert suppress(boxes, scores, 0.4) == [1, 3, 2]
    assert suppress(boxes, scores, 0.9) == [1, 3, 0, 2]
    assert suppress(boxes, scores, 0.2) == [1, 2]
    assert suppress(boxes[:0], scores[:0], 0.4) == []
