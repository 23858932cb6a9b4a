"""Networks made on the spot: ONNX graphs with the inputs, outputs and layer kinds of the public generators.

The weights are random, so the pictures mean nothing; shapes, names, ranges and the arithmetic are real.
The body is that of SimSwap and inswapper: reflect-padded convolutions with LeakyRelu down to a quarter of
the side, style blocks (convolution, instance norm spelt out, scale and shift from a Gemm of the identity,
residual add), bilinear upsampling, Tanh.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FULL_WIDTH = 1024
"""The width of the real inswapper_128: about 138 M parameters, 554 MB."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Precision = Literal["float32", "float16"]
_ONNX_TYPE = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
}


class GraphBuilder:
    """Collects a model's nodes and weights, opset 13; one seed makes the same random weights every time."""

    def __init__(self, precision: Precision = "float32", seed: int = 0) -> None:
        self._model = helper.make_model(
            onnx.GraphProto(name="graph"), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
        )
        self.nodes = self._model.graph.node
        self.initializers = self._model.graph.initializer
        self.precision = precision
        self._random = np.random.default_rng(seed)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output; returns the output's name."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any, dtype: str | None = None, name: str | None = None) -> str:
        """Adds an initializer, in the graph's precision if `dtype` is not given."""
        name = name or f"weight_{len(self.initializers)}"
        array = np.asarray(values, dtype or self.precision)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int, spread: float) -> str:
        """Adds normally distributed weights of the given standard deviation."""
        return self.constant(self._random.standard_normal(shape, np.float32) * np.float32(spread))

    def convolution(self, x: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
        """A reflect-padded convolution with bias."""
        before, after = channels
        edge = kernel // 2
        pads = self.constant([0, 0, edge, edge, 0, 0, edge, edge], "int64")
        padded = self.op("Pad", x, pads, mode="reflect")
        weight = self.weight(after, before, kernel, kernel, spread=math.sqrt(2 / (before * kernel * kernel)))
        bias = self.weight(after, spread=0.05)
        return self.op("Conv", padded, weight, bias, kernel_shape=[kernel] * 2, strides=[stride] * 2)

    def dense(self, x: str, before: int, after: int, gain: float = 1.0) -> str:
        """A Gemm with bias; inputs of length 1 give outputs of standard deviation `gain`."""
        weight = self.weight(after, before, spread=gain)
        return self.op("Gemm", x, weight, self.weight(after, spread=0.05), transB=1)

    def instance_norm(self, x: str) -> str:
        """Mean 0 and deviation 1 for each channel of each picture."""
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[2, 3], keepdims=1))
        squares = self.op("Mul", centred, centred)
        variance = self.op("ReduceMean", squares, axes=[2, 3], keepdims=1)
        # 1e-8 as in the real graph is below what half precision can hold.
        guarded = self.op("Add", variance, self.constant(1e-8 if self.precision == "float32" else 1e-4))
        return self.op("Mul", centred, self.op("Div", self.constant(1.0), self.op("Sqrt", guarded)))

    def style(self, x: str, identity: str, identity_size: int, channels: int) -> str:
        """Adaptive instance norm: x (1 + scale) + shift, both from a Gemm of the identity."""
        style = self.dense(identity, identity_size, 2 * channels, gain=0.5)
        style = self.op("Unsqueeze", style, self.constant([2, 3], "int64"))
        axis = self.constant([1], "int64")
        halves = [
            self.op("Slice", style, self.constant([start], "int64"), self.constant([end], "int64"), axis)
            for start, end in ((0, channels), (channels, 2 * channels))
        ]
        scaled = self.op("Mul", self.instance_norm(x), self.op("Add", halves[0], self.constant(1.0)))
        return self.op("Add", scaled, halves[1])

    def style_block(self, x: str, identity: str, identity_size: int, channels: int) -> str:
        """Two styled convolutions and a residual add."""
        y = self.convolution(x, (channels, channels), 3)
        y = self.op("Relu", self.style(y, identity, identity_size, channels))
        y = self.convolution(y, (channels, channels), 3)
        return self.op("Add", x, self.style(y, identity, identity_size, channels))

    def upsample(self, x: str) -> str:
        """Twice the size, bilinear."""
        scales = self.constant([1, 1, 2, 2], "float32")
        return self.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")

    def rename_last(self, name: str) -> None:
        """Gives the newest node's output its public name."""
        self.nodes[-1].output[0] = name

    def save(self, path: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Path:
        """Writes the model."""
        self._model.graph.input.extend(tensor.info() for tensor in inputs)
        self._model.graph.output.extend(tensor.info() for tensor in outputs)
        onnx.save_model(self._model, str(path))
        return path


class Tensor:
    """A graph's input or output: name, shape (a string for an open axis) and precision."""

    def __init__(self, name: str, shape: Sequence[int | str], precision: str = "float32") -> None:
        self.name, self.shape, self.precision = name, list(shape), precision

    def info(self) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(self.name, _ONNX_TYPE[self.precision], self.shape)


def generator_graph(
    path: Path,
    *,
    side: int,
    width: int,
    output_range: tuple[float, float],
    blocks: int,
    batch: int | str = 1,
    target: str = "target",
    source: str = "source",
    output: str = "output",
    mask: str | None = None,
    identity_size: int = 512,
    emap: bool = False,
    precision: Precision = "float32",
    io_precision: Precision | None = None,
) -> Path:
    """A generator of `width` channels at its narrowest place, which has a quarter of the side.

    precision: of the weights; io_precision: of inputs and outputs, the same if not given.
    mask: name of a second output (batch, 1, side, side) in 0..1. emap: adds, as the last initializer, a
    512x512 matrix that no node uses.
    """
    io_precision = io_precision or precision
    graph = GraphBuilder(precision)
    x, identity = target, source
    if io_precision != precision:
        x = graph.op("Cast", x, to=_ONNX_TYPE[precision])
        identity = graph.op("Cast", identity, to=_ONNX_TYPE[precision])

    widths = _widths(width)
    picture, x = styled_picture(graph, x, identity, identity_size, width, blocks, output_range)
    _finish(graph, picture, output, precision, io_precision)
    outputs = [Tensor(output, (batch, 3, side, side), io_precision)]
    if mask is not None:
        _finish(
            graph, graph.op("Sigmoid", graph.convolution(x, (widths[0], 1), 3)), mask, precision, io_precision
        )
        outputs.append(Tensor(mask, (batch, 1, side, side), io_precision))
    if emap:
        _add_emap(graph)
    inputs = [
        Tensor(target, (batch, 3, side, side), io_precision),
        Tensor(source, (batch, identity_size), io_precision),
    ]
    return graph.save(path, inputs, outputs)


def styled_picture(
    graph: GraphBuilder,
    x: str,
    identity: str,
    identity_size: int,
    width: int,
    blocks: int,
    output_range: tuple[float, float],
) -> tuple[str, str]:
    """The body and the last layers of a generator: its picture and the features before it."""
    widths = _widths(width)
    x = graph.op("LeakyRelu", graph.convolution(x, (3, widths[0]), 7), alpha=0.2)
    for before, after, stride in zip(widths, widths[1:], (1, 2, 2), strict=False):
        x = graph.op("LeakyRelu", graph.convolution(x, (before, after), 3, stride), alpha=0.2)
    for _ in range(blocks):
        x = graph.style_block(x, identity, identity_size, width)
    for before, after, enlarge in ((3, 2, True), (2, 1, True), (1, 0, False)):
        x = graph.upsample(x) if enlarge else x
        x = graph.op("LeakyRelu", graph.convolution(x, (widths[before], widths[after]), 3), alpha=0.2)

    low, high = output_range
    # Style blocks add up; the last layer is calmed so that Tanh is not driven into its ends.
    calm = graph.op("Mul", graph.instance_norm(graph.convolution(x, (widths[0], 3), 7)), graph.constant(0.7))
    picture = graph.op("Tanh", calm)
    if (low, high) != (-1.0, 1.0):
        picture = graph.op("Mul", picture, graph.constant((high - low) / 2))
        picture = graph.op("Add", picture, graph.constant((high + low) / 2))
    return picture, x


def _widths(width: int) -> tuple[int, int, int, int]:
    return max(width // 8, 1), max(width // 4, 1), max(width // 2, 1), width


def inswapper_graph(
    path: Path,
    *,
    width: int = 16,
    batch: int | str = 1,
    precision: Precision = "float32",
    io_precision: Precision | None = None,
) -> Path:
    """Like inswapper_128: `target` and `source` to `output` in 0..1, the emap as last initializer.

    With width=FULL_WIDTH it has the real one's size.
    """
    return generator_graph(
        path,
        side=128,
        width=width,
        output_range=(0.0, 1.0),
        blocks=6,
        batch=batch,
        emap=True,
        precision=precision,
        io_precision=io_precision,
    )


def simswap_graph(path: Path, *, side: int = 256, width: int = 16, batch: int | str = 1) -> Path:
    """Like simswap: `output` in 0..1."""
    return generator_graph(path, side=side, width=width, output_range=(0.0, 1.0), blocks=9, batch=batch)


def simswap_unofficial_graph(path: Path, *, width: int = 8) -> Path:
    """Like simswap_unofficial_512, whose inputs keep the exporter's names."""
    return generator_graph(
        path,
        side=512,
        width=width,
        output_range=(0.0, 1.0),
        blocks=2,
        target="input",
        source="onnx::Gemm_1",
    )


def ghost_graph(path: Path, *, width: int = 16, batch: int | str = 1) -> Path:
    """Like ghost 1-3, whose output keeps the exporter's number: -1..1."""
    return generator_graph(
        path, side=256, width=width, output_range=(-1.0, 1.0), blocks=2, batch=batch, output="781"
    )


def hyperswap_graph(path: Path, *, width: int = 16, batch: int | str = 1) -> Path:
    """Like hyperswap: `output` in -1..1 and `mask` in 0..1."""
    return generator_graph(
        path, side=256, width=width, output_range=(-1.0, 1.0), blocks=2, batch=batch, mask="mask"
    )


def hififace_graph(path: Path, *, width: int = 16, batch: int | str = 1) -> Path:
    """Like hififace: `output` in -1..1."""
    return generator_graph(path, side=256, width=width, output_range=(-1.0, 1.0), blocks=2, batch=batch)


def converter_graph(path: Path, *, takes: int = 512, gives: int = 512, batch: int | str = 1) -> Path:
    """Like the crossface networks: `input` to `output`, dense layers between."""
    graph = GraphBuilder(seed=1)
    hidden = graph.op("LeakyRelu", graph.dense("input", takes, 64, gain=0.2), alpha=0.2)
    graph.dense(hidden, 64, gives, gain=0.2)
    graph.rename_last("output")
    return graph.save(path, [Tensor("input", (batch, takes))], [Tensor("output", (batch, gives))])


def echo_graph(
    path: Path,
    *,
    side: int,
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    output_range: tuple[float, float] = (0.0, 1.0),
    mask: bool = False,
    emap: bool = False,
    batch: int | str = 1,
    identity_size: int = 512,
    precision: Precision = "float32",
    gain: float = 1.0,
) -> Path:
    """Undoes the normalisation and writes the picture back in its own range: what comes out went in.

    The source takes part with a weight of 0. mask: a second output that holds the picture's red, in 0..1.
    gain: multiplies the output; inf makes it overflow.
    """
    graph = GraphBuilder(precision)
    low, high = output_range
    rgb = graph.op("Mul", "target", graph.constant(np.reshape(std, (3, 1, 1))))
    rgb = graph.op("Add", rgb, graph.constant(np.reshape(mean, (3, 1, 1))))
    idle = graph.op("ReduceSum", "source", graph.constant([1], "int64"), keepdims=1)
    idle = graph.op("Mul", idle, graph.constant(0.0))
    idle = graph.op("Unsqueeze", idle, graph.constant([2, 3], "int64"))
    picture = graph.op("Add", graph.op("Mul", rgb, graph.constant((high - low) * gain)), graph.constant(low))
    graph.op("Add", picture, idle)
    graph.rename_last("output")
    outputs = [Tensor("output", (batch, 3, side, side), precision)]
    if mask:
        ends = [graph.constant([value], "int64") for value in (0, 1, 1)]
        graph.op("Slice", rgb, *ends)
        graph.rename_last("mask")
        outputs.append(Tensor("mask", (batch, 1, side, side), precision))
    if emap:
        _add_emap(graph)
    inputs = [
        Tensor("target", (batch, 3, side, side), precision),
        Tensor("source", (batch, identity_size), precision),
    ]
    return graph.save(path, inputs, outputs)


def _finish(graph: GraphBuilder, x: str, name: str, precision: Precision, io_precision: Precision) -> None:
    """Names an output; casts it where inputs and outputs have a precision of their own."""
    if io_precision == precision:
        graph.op("Identity", x)
    else:
        graph.op("Cast", x, to=_ONNX_TYPE[io_precision])
    graph.rename_last(name)


def _add_emap(graph: GraphBuilder) -> NDArray[Any]:
    # inswapper's own name for it.
    emap = np.random.default_rng(2).standard_normal((512, 512)) / math.sqrt(512)
    graph.constant(emap, name="buff2fs")
    return emap
