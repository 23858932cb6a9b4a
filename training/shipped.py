"""Goes on from weights that were shipped, where the checkpoint they came from is gone.

An exported graph holds every convolution with its batch normalisation folded in. The statistics that the
folding lost are measured again, so that the network in training mode, too, begins as it was shipped.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn


@torch.no_grad()
def adopt(network: nn.Module, path: Path, example: Tensor) -> None:
    """Gives `network` the weights of the file at `path`, which was exported from a network of its kind.

    example: a batch as training shows it, from which batch normalisations take their statistics. Raises
    ValueError where the file's graph is another one.
    """
    network.eval()
    graph = onnx.load(str(path)).graph
    stored = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer
    }
    folded = [node for node in graph.node if node.op_type == "Conv"]
    convolutions = _in_order(network, example[:1])
    if len(folded) != len(convolutions):
        raise ValueError(f"{path.name} has {len(folded)} convolutions, the network {len(convolutions)}")
    for node, (convolution, norm) in zip(folded, convolutions, strict=True):
        weight = stored[node.input[1]]
        if weight.shape != convolution.weight.shape:
            raise ValueError(f"{path.name}: {node.name} is {tuple(weight.shape)}")
        convolution.weight.copy_(weight)
        bias = stored[node.input[2]] if len(node.input) > 2 else torch.zeros(len(weight))
        if norm is None:
            if convolution.bias is not None:
                convolution.bias.copy_(bias)
            continue
        norm.running_mean.zero_()  # type: ignore[union-attr, operator]
        norm.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr, operator]
        norm.weight.fill_(1)
        norm.bias.copy_(bias)
    for name, parameter in network.state_dict().items():
        if name in stored and stored[name].shape == parameter.shape:
            parameter.copy_(stored[name])
    _measure(network, [norm for _, norm in convolutions if norm is not None], example)


def _in_order(network: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """The convolutions as they are passed, each with the normalisation that takes its output."""
    passed: list[nn.Conv2d] = []
    made: dict[int, nn.Conv2d] = {}
    norms: dict[nn.Conv2d, nn.BatchNorm2d] = {}
    kept: list[Tensor] = []

    def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kept.append(output)  # so that no two outputs have the same id
        if isinstance(module, nn.Conv2d):
            passed.append(module)
            made[id(output)] = module
        elif isinstance(module, nn.BatchNorm2d):
            norms[made[id(inputs[0])]] = module

    hooks = [module.register_forward_hook(seen) for module in network.modules()]
    network(example)
    for hook in hooks:
        hook.remove()
    return [(convolution, norms.get(convolution)) for convolution in passed]


def _measure(network: nn.Module, norms: list[nn.BatchNorm2d], example: Tensor) -> None:
    """Gives each normalisation the statistics of what it sees, without a change of what it answers."""
    statistics: dict[nn.BatchNorm2d, tuple[Tensor, Tensor]] = {}

    def seen(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        statistics[module] = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))

    hooks = [norm.register_forward_hook(seen) for norm in norms]
    network(example)
    for hook in hooks:
        hook.remove()
    for norm, (mean, variance) in statistics.items():
        norm.running_mean.copy_(mean)  # type: ignore[union-attr, operator]
        norm.running_var.copy_(variance)  # type: ignore[union-attr, operator]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)
    for norm in norms:
        norm.num_batches_tracked.zero_()  # type: ignore[union-attr, operator]
