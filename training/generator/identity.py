"""An encoder through which a loss can be followed back to the pixels.

The public encoder exists as an ONNX file only. Its graph is a chain of few operators; they are carried out
here by PyTorch, with the file's weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from facefusion_runner.faces.geometry import TEMPLATES, invert, similarity

SIDE: Final = 112
TEACHER: Final = "mobilefacenet_foamliu"
"""Apache-2.0. The other public encoders judge, and are never seen in training."""


class Graph(nn.Module):
    """An ONNX graph of convolutions, additions, clips and a final reshape, its weights fixed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        graph = onnx.load(str(path)).graph
        self._nodes = list(graph.node)
        self._input, self._output = graph.input[0].name, graph.output[0].name
        for number, value in enumerate(graph.initializer):
            self.register_buffer(f"weight_{number}", torch.from_numpy(numpy_helper.to_array(value).copy()))
        self._weights = {value.name: f"weight_{number}" for number, value in enumerate(graph.initializer)}
        self._constants = {
            node.output[0]: numpy_helper.to_array(node.attribute[0].t)
            for node in graph.node
            if node.op_type == "Constant"
        }

    def forward(self, x: Tensor) -> Tensor:
        values = {name: getattr(self, weight) for name, weight in self._weights.items()}
        values[self._input] = x
        for node in self._nodes:
            if node.op_type == "Constant":
                continue
            values[node.output[0]] = self._run(node, values)
        return torch.as_tensor(values[self._output])

    def _run(self, node: onnx.NodeProto, values: dict[str, Tensor]) -> Tensor:
        if node.op_type == "Conv":
            options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            weights = [values[name] for name in node.input[1:]]
            return F.conv2d(
                values[node.input[0]],
                *weights,
                stride=options["strides"],
                padding=options["pads"][:2],
                groups=options["group"],
            )
        first = values[node.input[0]]
        match node.op_type:
            case "Add":
                return first + values[node.input[1]]
            case "Relu":
                return F.relu(first)
            case "Clip":
                low, high = (float(self._constants[name]) for name in node.input[1:])
                return first.clamp(low, high)
            case "Reshape":
                return first.flatten(1)
        raise NotImplementedError(f"the encoder's graph holds {node.op_type}")


class Identity(nn.Module):
    """Embeddings of aligned crops of 256 pixels (template ffhq_512), normalised."""

    def __init__(self, path: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.graph = Graph(path).to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, crops: Tensor, matrices: Tensor) -> Tensor:
        """crops: (n, 3, s, s) BGR 0..1. matrices: (n, 2, 3), from pixels of the encoder's crop to pixels of
        `crops`. Returns (n, d)."""
        side = crops.shape[-1]
        scaled = matrices.clone()
        # From pixels with centres at whole numbers to the units of grid_sample, -1..1 from edge to edge.
        scaled[:, :, 2] = (
            matrices[:, :, :2].sum(2) * (SIDE - 1) / 2 + matrices[:, :, 2] + 0.5
        ) * 2 / side - 1
        scaled[:, :, :2] = matrices[:, :, :2] * SIDE / side
        grid = F.affine_grid(scaled, [len(crops), 3, SIDE, SIDE], align_corners=False)
        faces = F.grid_sample(crops, grid, align_corners=False, padding_mode="border")
        rgb = (faces.flip(1) * 255 - self.mean) / self.std
        return F.normalize(self.graph(rgb.contiguous(memory_format=torch.channels_last)))


def encoder_matrix(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(2, 3) from pixels of the encoder's crop to those of the picture in which the five points lie."""
    return invert(similarity(points, TEMPLATES["arcface_112_v2"] * SIDE))
