"""The teacher: the MobileFaceNet of foamliu (Apache-2.0), its embedding and the map it is gathered from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from facefusion_runner.faces.types import Float
from facefusion_runner.models.tensors import tensor
from training.data.public_models import PublicModels
from training.encoder.network import DIMENSION

ID: Final = "mobilefacenet_foamliu"
AXES: Final = 64
"""Principal axes of the map's 512 channels that are kept."""
_MAP: Final = "/conv2/conv2.2/Clip_output_0"
_BATCH: Final = 16
_SAMPLE: Final = 512
"""Pictures that the axes are computed from."""


class Teacher:
    """Answers for many pictures; one thread."""

    def __init__(self, data: Path) -> None:
        models = PublicModels(data / "models")
        parameters = models.entries[ID].parameters
        self._mean, self._std = tuple(parameters["mean"]), tuple(parameters["std"])
        graph = onnx.load(str(models.path(ID)))
        graph.graph.output.append(
            helper.make_tensor_value_info(_MAP, onnx.TensorProto.FLOAT, ["n", 512, 7, 7])
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def answers(self, pictures: NDArray[np.uint8], margin: int) -> tuple[Float, NDArray[np.float16]]:
        """(n, 128) unit embeddings and (n, 64, 7, 7) maps, these divided by one number: mean square 1.

        pictures: (n, side, side, 3) BGR, with `margin` pixels around the template's crop.
        """
        sample = pictures[:: max(len(pictures) // _SAMPLE, 1)]
        axes = self._axes(sample, margin)
        embeddings = np.empty((len(pictures), DIMENSION), np.float32)
        maps = np.empty((len(pictures), AXES, 7, 7), np.float16)
        for start in range(0, len(pictures), _BATCH):
            part = slice(start, start + _BATCH)
            found, features = self._ask(pictures[part], margin)
            embeddings[part] = found / np.linalg.norm(found, axis=1, keepdims=True)
            maps[part] = np.einsum("kchw,ca->kahw", features, axes, optimize=True)
        return embeddings, maps

    def _axes(self, pictures: NDArray[np.uint8], margin: int) -> Float:
        """(512, 64): the first principal axes of the map's channels about 0, for a mean square of 1."""
        parts = [pictures[i : i + _BATCH] for i in range(0, len(pictures), _BATCH)]
        maps = np.concatenate([self._ask(part, margin)[1] for part in parts])
        columns = maps.transpose(1, 0, 2, 3).reshape(maps.shape[1], -1)
        axes = np.linalg.eigh(columns @ columns.T)[1][:, : -AXES - 1 : -1]
        return np.asarray(axes / np.sqrt(np.mean((axes.T @ columns) ** 2)), np.float32)

    def _ask(self, pictures: NDArray[np.uint8], margin: int) -> tuple[Float, Float]:
        crops = pictures[:, margin:-margin, margin:-margin]
        batch = tensor(list(crops), self._mean, self._std, "rgb")
        embedding, last = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        return embedding, last
