"""Paste-back against InsightFace's own: one face, a 1920x1080 picture, one thread, one run.

    python -m benchmarks.paste_back

Both paste the same 128-pixel crop along the same transform; the mask is the box with its default
feather. They take turns and the time is the thread's own, so that whatever else the machine does
tells little and on all alike. InsightFace's paste-back is a part of `INSwapper.get`, so it is timed
as get(paste_back=True) minus get(paste_back=False) with a network that returns its input. A face of
N pixels is one whose crop is N pixels wide in the picture, turned by 5 degrees. Medians, in
milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from insightface.app.common import Face
from insightface.model_zoo.inswapper import INSwapper
from onnx import TensorProto, helper, numpy_helper

from facefusion_runner.blending.masks import box_mask
from facefusion_runner.blending.modes import BLEND_MODES
from facefusion_runner.blending.paste import paste
from facefusion_runner.faces.geometry import TEMPLATES, alignment, apply, cut, invert
from facefusion_runner.faces.types import Float, Picture

SIDE = 128
SIZES = (200, 400, 800)
TEMPLATE = "arcface_128"


def main() -> None:
    parser = argparse.ArgumentParser(description="Times paste-back beside InsightFace's.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds

    warnings.simplefilter("ignore", FutureWarning)  # InsightFace's use of scikit-image.
    cv2.setNumThreads(1)
    picture = _picture()
    print(f"OpenCV {cv2.__version__}, 1 thread, 1920x1080, crop {SIDE}, median of {rounds}, ms")
    print(f"{'face':>5} {'insightface':>12}" + "".join(f"{name:>10} {'ratio':>7}" for name in BLEND_MODES))
    with tempfile.TemporaryDirectory() as folder:
        swapper = _swapper(Path(folder) / "returns_its_input.onnx")
        for size in SIZES:
            theirs, *ours = _times(picture, swapper, size, rounds)
            cells = "".join(f"{own:>10.2f} {theirs / own:>6.1f}x" for own in ours)
            print(f"{size:>5} {theirs:>12.1f}{cells}")


def _times(picture: Picture, swapper: INSwapper, size: int, rounds: int) -> list[float]:
    """Milliseconds of InsightFace, then of each blend mode."""
    points = _points(size, picture)
    matrix = alignment(points, TEMPLATE, SIDE)
    crop = cut(picture, matrix, SIDE)
    mask = box_mask(SIDE)
    target = Face(kps=points)
    source = Face(embedding=np.ones(512, np.float32))
    modes = list(BLEND_MODES.values())

    jobs: list[Callable[[], object]] = [
        lambda: swapper.get(picture, target, source, paste_back=True),
        lambda: swapper.get(picture, target, source, paste_back=False),
        *(lambda mode=mode: paste(picture, crop, mask, matrix, mode) for mode in modes),
    ]
    taken: list[list[float]] = [[] for _ in jobs]
    for round_ in range(rounds + 1):
        for job, times in zip(jobs, taken, strict=True):
            start = time.thread_time()
            job()
            if round_:
                times.append((time.thread_time() - start) * 1e3)
    with_paste, without, *ours = (statistics.median(times) for times in taken)
    return [with_paste - without, *ours]


def _picture() -> Picture:
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)


def _points(size: int, picture: Picture) -> Float:
    """Five points of a face whose crop is `size` pixels wide in the middle of the picture."""
    turn = cv2.getRotationMatrix2D(((SIDE - 1) / 2, (SIDE - 1) / 2), 5, SIDE / size)
    turn[:, 2] -= turn[:, :2] @ ((picture.shape[1] - SIDE) / 2, (picture.shape[0] - SIDE) / 2)
    return apply(invert(np.asarray(turn, np.float64)), TEMPLATES[TEMPLATE] * SIDE)


def _swapper(path: Path) -> INSwapper:
    """InsightFace's swapper around a network with inswapper's inputs that returns the crop."""
    shape = [1, 3, SIDE, SIDE]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["target"], ["output"])],
        "returns_its_input",
        [
            helper.make_tensor_value_info("target", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("source", TensorProto.FLOAT, [1, 512]),
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.eye(512, dtype=np.float32), "emap")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # It warns that nothing in the graph uses the emap.
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    with contextlib.redirect_stdout(io.StringIO()):
        return INSwapper(str(path), session)


if __name__ == "__main__":
    main()
