"""A MODEL_ROOT with small networks that really look at the picture, for tests without ../shared.

Their "face" is a plain red ellipse (`draw_face`): the detector finds the centre and the size of what
is red, the encoder tells light red from dark.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facefusion_runner.generators.topology import POINTS
from tests.support.graphs import GraphBuilder, Tensor, inswapper_graph

SIDE = 320
"""Side of the detector's input."""

RED = (30, 30, 220)
"""BGR of the face."""


def draw_face(picture: NDArray[np.uint8], centre: tuple[float, float], width: float) -> None:
    """Draws a face, 1.3 times as high as wide, into a BGR picture."""
    axes = (round(width / 2), round(width * 0.65))
    cv2.ellipse(picture, (round(centre[0]), round(centre[1])), axes, 0, 0, 360, RED, cv2.FILLED)


def face_picture(size: tuple[int, int] = (320, 240), width: float = 80) -> NDArray[np.uint8]:
    """A BGR picture of `size` (width, height) with one face in its middle."""
    columns, rows = np.meshgrid(np.linspace(40, 200, size[0]), np.linspace(0, 55, size[1]))
    grey = (columns + rows).astype(np.uint8)
    picture = np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
    draw_face(picture, (size[0] / 2, size[1] / 2), width)
    return picture


def red_detector(path: Path) -> Path:
    """YOLOv8-Face's form, (1, 20, 1): the box of what is red, by its moments."""
    g = GraphBuilder()

    def channel(index: int) -> str:
        bounds = [g.constant([value], "int64") for value in (index, index + 1, 1)]
        return g.op("Slice", "images", *bounds)

    others = g.op("Add", channel(1), channel(2))
    red = g.op("Sub", g.op("Sub", channel(0), others), g.constant(0.25))
    weight = g.op("Clip", g.op("Mul", red, g.constant(100.0)), g.constant(0.0), g.constant(1.0))

    axes = g.constant([1, 2, 3], "int64")

    def total(name: str) -> str:
        return g.op("ReduceSum", name, axes, keepdims=0)

    count = g.op("Add", total(weight), g.constant(1e-3))

    def mean(values: str) -> str:
        return g.op("Div", total(g.op("Mul", weight, values)), count)

    at = np.arange(SIDE, dtype=np.float32)
    centres, sizes = [], []
    for grid in (at.reshape(1, 1, 1, SIDE), at.reshape(1, 1, SIDE, 1)):
        position = g.constant(grid)
        centre = mean(position)
        spread = g.op("Sub", mean(g.constant(grid * grid)), g.op("Mul", centre, centre))
        # An ellipse's variance along an axis is a sixteenth of its length squared.
        length = g.op("Sqrt", g.op("Mul", g.op("Relu", spread), g.constant(16.0)))
        centres.append(centre)
        sizes.append(length)
    score = g.op("Clip", g.op("Div", total(weight), g.constant(60.0)), g.constant(0.0), g.constant(0.9))
    rows = [*centres, *sizes, score]
    for x, y in ((-0.2, -0.15), (0.2, -0.15), (0, 0.05), (-0.15, 0.22), (0.15, 0.22)):
        for axis, offset in ((0, x), (1, y)):
            rows.append(g.op("Add", centres[axis], g.op("Mul", sizes[axis], g.constant(offset))))
        rows.append(score)
    column = g.op("Concat", *(g.op("Unsqueeze", row, g.constant([1], "int64")) for row in rows), axis=1)
    g.op("Unsqueeze", column, g.constant([2], "int64"))
    g.rename_last("output0")
    return g.save(path, [Tensor("images", (1, 3, SIDE, SIDE))], [Tensor("output0", (1, 20, 1))])


def mean_landmarker(path: Path, points: NDArray[np.float32]) -> Path:
    """A regression: `points` of a usual face, moved by the crop's own brightness by a hair."""
    g = GraphBuilder()
    brightness = g.op("ReduceMean", "input", axes=[1, 2, 3], keepdims=0)
    shift = g.op("Unsqueeze", g.op("Mul", brightness, g.constant(1e-3)), g.constant([1], "int64"))
    g.op("Add", g.constant(points.reshape(1, -1)), shift)
    g.rename_last("output")
    return g.save(path, [Tensor("input", ("n", 3, 112, 112))], [Tensor("output", ("n", points.size))])


def usual_mesh() -> NDArray[np.float32]:
    """(468, 3) in units of the box's square: the mean face, as high as the square."""
    height = np.ptp(POINTS[:, 1])
    middle = (POINTS.max(0) + POINTS.min(0)) / 2 * [1, 1, 0]
    return ((POINTS - middle) / height + [0.5, 0.5, 0]).astype(np.float32)


def usual_landmarks() -> NDArray[np.float32]:
    """(68, 2) in units of the box's square: jaw, brows, nose, eyes, lips on simple curves."""

    def arc(n: int, centre: tuple[float, float], radii: tuple[float, float], angles: tuple[float, float]):  # type: ignore[no-untyped-def]
        t = np.radians(np.linspace(*angles, n))
        return np.column_stack([centre[0] + radii[0] * np.cos(t), centre[1] + radii[1] * np.sin(t)])

    def ring(n: int, centre: tuple[float, float], radii: tuple[float, float]):  # type: ignore[no-untyped-def]
        return arc(n + 1, centre, radii, (180, 540))[:n]

    parts = [
        arc(17, (0.5, 0.45), (0.36, 0.48), (180, 0)),
        arc(5, (0.34, 0.36), (0.12, 0.05), (180, 360)),
        arc(5, (0.66, 0.36), (0.12, 0.05), (180, 360)),
        np.column_stack([np.full(4, 0.5), np.linspace(0.42, 0.58, 4)]),
        arc(5, (0.5, 0.60), (0.08, 0.03), (180, 0)),
        ring(6, (0.35, 0.43), (0.06, 0.025)),
        ring(6, (0.65, 0.43), (0.06, 0.025)),
        ring(12, (0.5, 0.74), (0.13, 0.06)),
        ring(8, (0.5, 0.74), (0.10, 0.02)),
    ]
    return np.concatenate(parts).astype(np.float32)


def colour_encoder(path: Path) -> Path:
    """ArcFace's form, 112 to 512: random directions of the crop's colours, four by four."""
    g = GraphBuilder(seed=5)
    pooled = g.op("AveragePool", "input", kernel_shape=[28, 28], strides=[28, 28])
    g.dense(g.op("Flatten", pooled), 48, 512)
    g.rename_last("output")
    return g.save(path, [Tensor("input", ("n", 3, 112, 112))], [Tensor("output", ("n", 512))])


CATALOG = """
[[models]]
id = "red"
role = "detector"
family = "yolov8_face"
file = "red.onnx"
licence = "apache-2.0"

[[models]]
id = "usual"
role = "landmarker"
family = "regression"
file = "usual.onnx"
licence = "apache-2.0"
parameters = { scheme = "ibug_68", side = 112, box_scale = 1.0, units = "unit" }

[[models]]
id = "usual_mesh"
role = "landmarker"
family = "regression"
file = "usual_mesh.onnx"
licence = "apache-2.0"
parameters = { scheme = "facemesh_468", side = 112, box_scale = 1.0, units = "unit" }

[[models]]
id = "other"
role = "encoder"
family = "arcface"
file = "colours.onnx"
licence = "apache-2.0"

[[models]]
id = "colours"
role = "encoder"
family = "arcface"
file = "colours.onnx"
licence = "apache-2.0"
parameters = { space = "w600k" }

[[models]]
id = "plain_mesh"
role = "generator"
family = "mesh"
file = ""
licence = "apache-2.0"

[[models]]
id = "narrow"
role = "generator"
family = "inswapper"
file = "narrow.onnx"
licence = "apache-2.0"
parameters = { template = "arcface_128", side = 128, source = "emap", embedding_space = "w600k" }
"""


def make_tiny_models(root: Path) -> None:
    """Writes the networks and their catalog."""
    red_detector(root / "red.onnx")
    mean_landmarker(root / "usual.onnx", usual_landmarks())
    mean_landmarker(root / "usual_mesh.onnx", usual_mesh())
    colour_encoder(root / "colours.onnx")
    inswapper_graph(root / "narrow.onnx", width=8)
    (root / "catalog.toml").write_text(CATALOG)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The MODEL_ROOT.

    Detector `red`, landmarkers `usual` and `usual_mesh`, encoder `colours`, generators `narrow` and
    `plain_mesh`: the mesh without the networks that tell drawn faces from real ones.
    """
    root = tmp_path_factory.mktemp("tiny-models")
    make_tiny_models(root)
    return root
