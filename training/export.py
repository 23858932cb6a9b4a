"""From a trained network to the ONNX file that is shipped."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from facefusion_runner.models.catalog import BUILT_IN
from training import catalog

OPSET = 17
"""Read by every ONNX Runtime that the project supports, TensorRT's parser included."""


def export(
    network: nn.Module,
    path: Path,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    tolerance: float = 1e-3,
) -> None:
    """Writes `network`, in inference mode, to `path`.

    inputs: names and example values, in the order of `forward`. dynamic: name -> {axis: label} for what may
    change its size; by default the first axis of everything. Raises ValueError when ONNX Runtime's answer
    departs from PyTorch's by more than `tolerance` of the largest value. Size and digest of built-in weights
    are written into their catalog.
    """
    axes = dynamic or {name: {0: "batch"} for name in (*inputs, *outputs)}
    network = copy.deepcopy(network).eval()
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        expected = network(*inputs.values())
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            str(partial),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(value) for name, value in axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(str(partial), full_check=True)
    session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    tensors = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    for name, ours, theirs in zip(outputs, tensors, found, strict=True):
        error = float(np.abs(ours.numpy() - theirs).max() / (np.abs(theirs).max() + 1e-9))
        if error > tolerance:
            raise ValueError(f"{path.name}: output {name} departs from PyTorch's by {error:.2g}")
    os.replace(partial, path)
    if path.resolve().parent == BUILT_IN:
        catalog.refresh()
