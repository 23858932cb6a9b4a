"""The public networks below a data folder: the teachers of ours, and the referees that judge them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from facefusion_runner.detectors import Detector, DetectorOptions
from facefusion_runner.encoders import Encoder
from facefusion_runner.landmarkers.crops import CropLandmarker
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_detector, load_encoder, load_landmarker
from facefusion_runner.models.session import Session, SessionFactory

CATALOG: Final = Path(__file__).with_suffix(".toml")


class PublicModels:
    """Opens the networks of `public_models.toml` by their id, each no more than once.

    root: a folder that holds the files, at any depth. threads: of one network.
    """

    def __init__(self, root: Path, threads: int = 1) -> None:
        self._files = {file.name: file for file in root.rglob("*.onnx")}
        self._factory = SessionFactory("cpu", threads=threads)
        self._sessions: dict[str, Session] = {}
        models = tomllib.loads(CATALOG.read_text())["models"]
        self.entries = {model["id"]: ModelEntry.model_validate(model) for model in models}

    def open(self, model_id: str) -> Session:
        """The loaded session of a model: an `OpenModel`."""
        if model_id not in self._sessions:
            self._sessions[model_id] = self._factory.open(self.entries[model_id], self.path(model_id))
        return self._sessions[model_id]

    def path(self, model_id: str) -> Path:
        """The file of a model."""
        return self._files[self.entries[model_id].file]

    def ids(self, role: str) -> list[str]:
        """The models of a role, in the catalog's order."""
        return [entry.id for entry in self.entries.values() if entry.role == role]

    def detector(self, model_id: str, options: DetectorOptions | None = None, **parameters: Any) -> Detector:
        """The detector `model_id`, some of its catalog parameters replaced; so also the two below."""
        return load_detector(self._with(model_id, parameters), self.open, options or DetectorOptions())

    def landmarker(self, model_id: str, **parameters: Any) -> CropLandmarker:
        landmarker = load_landmarker(self._with(model_id, parameters), self.open)
        assert isinstance(landmarker, CropLandmarker)
        return landmarker

    def encoder(self, model_id: str, **parameters: Any) -> Encoder:
        return load_encoder(self._with(model_id, parameters), self.open)

    def _with(self, model_id: str, parameters: dict[str, Any]) -> ModelEntry:
        entry = self.entries[model_id]
        return entry.model_copy(update={"parameters": {**entry.parameters, **parameters}})
