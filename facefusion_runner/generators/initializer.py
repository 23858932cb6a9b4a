"""One tensor out of an ONNX file, without loading the rest of the file.

The file is walked through a memory map by the lengths that protobuf writes before every message
(https://protobuf.dev/programming-guides/encoding), so half a gigabyte of weights is stepped over, not read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

# Field numbers of onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto.dims.
_GRAPH: Final = 7
_INITIALIZER: Final = 5
_DIMS: Final = 1

# Wire types of protobuf; a fixed-width value's size in bytes.
_VARINT: Final = 0
_BYTES: Final = 2
_FIXED: Final = {1: 8, 5: 4}


class _Field(NamedTuple):
    number: int
    wire: int
    start: int
    """Where the value begins; for bytes, behind the length."""
    end: int


def last_initializer(path: Path, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """The last of the graph's initializers that has this shape, in its own dtype; None without one.

    Raises OSError, and ValueError when the file is not ONNX.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found: _Field | None = None
        for graph in _fields(data, 0, len(data)):
            if graph.number != _GRAPH:
                continue
            for tensor in _fields(data, graph.start, graph.end):
                if tensor.number == _INITIALIZER and _dims(data, tensor) == shape:
                    found = tensor
        if found is None:
            return None
        message = onnx.TensorProto.FromString(data[found.start : found.end])
    return np.array(numpy_helper.to_array(message, str(path.parent)))


def _dims(data: mmap.mmap, tensor: _Field) -> tuple[int, ...]:
    dims: list[int] = []
    for field in _fields(data, tensor.start, tensor.end):
        if field.number == _DIMS:
            # A repeated integer may be written one by one or packed: both are varints end to end.
            position = field.start
            while position < field.end:
                value, position = _varint(data, position)
                dims.append(value)
    return tuple(dims)


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[_Field]:
    while position < end:
        tag, start = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, position = _varint(data, start)
        elif wire == _BYTES:
            length, start = _varint(data, start)
            position = start + length
        elif wire in _FIXED:
            position = start + _FIXED[wire]
        else:
            raise ValueError(f"unknown wire type {wire} at byte {start}")
        if position > end:
            raise ValueError(f"a field runs past the end of its message at byte {start}")
        yield _Field(number, wire, start, position)


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data):
            raise ValueError("the file ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
