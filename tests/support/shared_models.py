"""The real networks of ../shared/models as a MODEL_ROOT with a catalog of its own."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from facefusion_runner.detectors import DetectorOptions
from facefusion_runner.detectors.single_shot import SingleShotDetector
from facefusion_runner.encoders import Encoder
from facefusion_runner.landmarkers.crops import CropLandmarker
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_detector, load_encoder, load_landmarker
from facefusion_runner.models.session import Session, SessionFactory

CATALOG = Path(__file__).parents[2] / "training" / "data" / "public_models.toml"


class SharedModels:
    """A MODEL_ROOT with links to the networks; opens them by id, each no more than once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._factory = SessionFactory("cpu", threads=1)
        self._sessions: dict[str, Session] = {}
        models = tomllib.loads(CATALOG.read_text())["models"]
        self.entries = {model["id"]: ModelEntry.model_validate(model) for model in models}

    def open(self, model_id: str) -> Session:
        """The loaded session of a model: an `OpenModel`."""
        if model_id not in self._sessions:
            entry = self.entries[model_id]
            self._sessions[model_id] = self._factory.open(entry, self.root / entry.file)
        return self._sessions[model_id]

    def path(self, model_id: str) -> Path:
        return self.root / self.entries[model_id].file

    def ids(self, role: str) -> list[str]:
        return [entry.id for entry in self.entries.values() if entry.role == role]

    def detector(
        self, model_id: str, options: DetectorOptions | None = None, **parameters: Any
    ) -> SingleShotDetector:
        """The detector `model_id`, some of its catalog parameters replaced; so also the two below."""
        return cast(SingleShotDetector, load_detector(self._with(model_id, parameters), self.open, options))

    def landmarker(self, model_id: str, **parameters: Any) -> CropLandmarker:
        return cast(CropLandmarker, load_landmarker(self._with(model_id, parameters), self.open))

    def encoder(self, model_id: str, **parameters: Any) -> Encoder:
        return load_encoder(self._with(model_id, parameters), self.open)

    def _with(self, model_id: str, parameters: dict[str, Any]) -> ModelEntry:
        entry = self.entries[model_id]
        return entry.model_copy(update={"parameters": {**entry.parameters, **parameters}})


def opened(entry: ModelEntry, path: Path) -> Callable[[str], Session]:
    """An `OpenModel` for one network of a test's own."""
    session = SessionFactory("cpu", threads=1).open(entry, path)
    return lambda _: session


@pytest.fixture(scope="session")
def shared_models(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> SharedModels:
    root = tmp_path_factory.mktemp("models")
    for file in (shared / "models").glob("*/*.onnx"):
        (root / file.name).symlink_to(file)
    shutil.copy(CATALOG, root / "catalog.toml")
    return SharedModels(root)
