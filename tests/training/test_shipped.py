"""A training that goes on from shipped weights begins with what was shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from training.export import export  # noqa: E402
from training.shipped import adopt  # noqa: E402


class Network(nn.Module):
    """Convolutions with and without a normalisation and a bias, in another order than they are declared."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.second = nn.Sequential(nn.Conv2d(width, 4, 1), nn.ReLU())
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.register_buffer("shift", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.first(x)).mean((2, 3))) + self.shift


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(16, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def shipped(tmp_path: Path, pictures: Tensor) -> Path:
    torch.manual_seed(0)
    network = Network()
    network.shift += 1.5
    for _ in range(5):
        network.train()(pictures * 3 - 1)
    nn.init.uniform_(network.first[1].weight, 0.5, 2)
    nn.init.uniform_(network.first[1].bias, -1, 1)
    export(network, tmp_path / "shipped.onnx", {"input": pictures[:2]}, ["output"])
    return tmp_path / "shipped.onnx"


def answer(path: Path, pictures: Tensor) -> np.ndarray:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path)).run(None, {"input": pictures.numpy()})[0]


@pytest.mark.parametrize(
    ("training", "tolerance"), [(False, 1e-5), (True, 1e-3)], ids=["inference", "training"]
)
def test_it_answers_as_the_shipped_file(
    shipped: Path, pictures: Tensor, training: bool, tolerance: float
) -> None:
    """In training normalised by the statistics of the batch that the others were measured on."""
    network = Network()
    adopt(network, shipped, pictures)
    with torch.no_grad():
        found = network.train(training)(pictures).numpy()
    np.testing.assert_allclose(found, answer(shipped, pictures), atol=tolerance)


def test_a_file_of_another_network_is_refused(shipped: Path, pictures: Tensor) -> None:
    with pytest.raises(ValueError, match=r"shipped\.onnx"):
        adopt(Network(width=8), shipped, pictures)
    with pytest.raises(ValueError, match="2 convolutions, the network 1"):
        adopt(nn.Sequential(nn.Conv2d(3, 6, 3)), shipped, pictures)
