"""One tensor is read out of an ONNX file without the rest."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facefusion_runner.generators.initializer import last_initializer


def save(path: Path, *arrays: Any, names: tuple[str, ...] = ()) -> Path:
    tensors = [numpy_helper.from_array(array, f"w{index}") for index, array in enumerate(arrays)]
    node = helper.make_node("Identity", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:], tensors)
    onnx.save_model(helper.make_model(graph), str(path))
    return path


def square(seed: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(seed).standard_normal((8, 8)).astype(dtype)


def test_it_is_the_last_of_that_shape(tmp_path: Path) -> None:
    path = save(tmp_path / "a.onnx", square(1), square(2), np.ones((64,), "float32"), np.ones((8, 9)))
    np.testing.assert_array_equal(last_initializer(path, (8, 8)), square(2))


def test_without_one_of_that_shape_there_is_none(tmp_path: Path) -> None:
    assert last_initializer(save(tmp_path / "a.onnx", np.ones((8, 9))), (8, 8)) is None


def test_half_precision_keeps_its_type(tmp_path: Path) -> None:
    found = last_initializer(save(tmp_path / "a.onnx", square(1, "float16")), (8, 8))
    assert found is not None
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, square(1, "float16"))


def test_weights_kept_beside_the_graph_are_found(tmp_path: Path) -> None:
    path = save(tmp_path / "a.onnx", square(1))
    onnx.save_model(
        onnx.load(path), str(path), save_as_external_data=True, location="weights", size_threshold=0
    )
    assert (tmp_path / "weights").is_file()
    np.testing.assert_array_equal(last_initializer(path, (8, 8)), square(1))


def test_packed_dimensions_are_understood(tmp_path: Path) -> None:
    """Writers other than onnx's own pack repeated integers: one field of 2 bytes for the two dims of 8."""
    data = np.arange(64, dtype="<f4").tobytes()
    tensor = b"\x0a\x02\x08\x08" + b"\x10\x01" + b"\x4a\x80\x02" + data
    graph = b"\x2a" + bytes([len(tensor) & 0x7F | 0x80, len(tensor) >> 7]) + tensor
    model = b"\x3a" + bytes([len(graph) & 0x7F | 0x80, len(graph) >> 7]) + graph
    path = tmp_path / "packed.onnx"
    path.write_bytes(model)
    np.testing.assert_array_equal(last_initializer(path, (8, 8)), np.arange(64).reshape(8, 8))


@pytest.mark.parametrize("kept", [1, 5, 100, -1])
def test_a_cut_file_is_an_error(tmp_path: Path, kept: int) -> None:
    path = save(tmp_path / "a.onnx", square(1), square(2))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError):
        last_initializer(path, (8, 8))


def test_the_other_weights_are_stepped_over(tmp_path: Path) -> None:
    path = save(tmp_path / "a.onnx", np.ones((4, 1024, 1024), "float32"), square(1))
    tracemalloc.start()
    try:
        found = last_initializer(path, (8, 8))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, square(1))
    assert peak < 1_000_000 < path.stat().st_size
