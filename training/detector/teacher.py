"""What a public RetinaFace answers on a canvas, and the features from which it does.

The MobileNet-0.25 of biubug6 (MIT) has the very priors of ours. Our canvases are made of few pictures; the
teacher has seen many, and what it makes of each place tells more than whether a face was pasted there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime

from facefusion_runner.faces.types import Float, Picture
from training.data.public_models import PublicModels

MODEL: Final = "retinaface_mnet025"
WIDTH: Final = 64
"""Channels of the features."""
_FEATURES: Final = ("/ssh1/Relu_output_0", "/ssh2/Relu_output_0", "/ssh3/Relu_output_0")
"""What its heads see, at strides 8, 16 and 32."""
_MEAN: Final = np.array([104, 117, 123], np.float32)
_SURE: Final = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Of the teacher, on one canvas."""

    logits: Float
    """(priors,): log odds of a face, -8..8."""
    features: tuple[Float, ...]
    """Per stride (64, height, width), float16, not negative."""


class Teacher:
    """Opens the network with its features as outputs beside its answers."""

    def __init__(self, data: Path) -> None:
        model = onnx.load(str(PublicModels(data / "models").path(MODEL)))
        self._input = model.graph.input[0].name
        for name in _FEATURES:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def answer(self, picture: Picture) -> Answer:
        """picture: BGR, sides multiples of 32."""
        pixels = np.ascontiguousarray((picture - _MEAN).transpose(2, 0, 1)[None], np.float32)
        chances, *features = self._session.run(["conf", *_FEATURES], {self._input: pixels})
        odds = np.log((chances[0, :, 1] + 1e-9) / (chances[0, :, 0] + 1e-9))
        return Answer(
            np.clip(odds, -_SURE, _SURE).astype(np.float32),
            tuple(level[0].astype(np.float16) for level in features),
        )
