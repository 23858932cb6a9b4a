"""The one place that makes ONNX Runtime sessions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from facefusion_runner.models.catalog import ModelEntry


class Session:
    """A network that is loaded and ready to run."""

    def __init__(self, entry: ModelEntry, path: Path) -> None:
        self.entry = entry
        self.path = path
        self._session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.inputs = tuple(self._session.get_inputs())
        self.outputs = tuple(self._session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """All outputs in the graph's order."""
        return list(self._session.run(None, dict(feeds)))
