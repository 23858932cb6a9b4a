"""Opens the networks a task needs, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from facefusion_runner.detectors import Detector, DetectorOptions
from facefusion_runner.encoders import Encoder
from facefusion_runner.errors import ConfigError
from facefusion_runner.generators import Generator, GeneratorOptions
from facefusion_runner.landmarkers import Landmarker
from facefusion_runner.models.catalog import Catalog, ModelEntry, Role
from facefusion_runner.models.families import (
    load_detector,
    load_encoder,
    load_generator,
    load_landmarker,
)
from facefusion_runner.models.session import Session, SessionOpener
from facefusion_runner.models.store import ModelStore
from facefusion_runner.settings import Settings


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of one task."""

    detector: Detector
    landmarker: Landmarker | None
    encoder: Encoder | None
    generator: Generator
    sessions: tuple[Session, ...]
    """Every session behind them."""


class NetworkLoader:
    """Finds the models that the settings name, and opens each at most once."""

    def __init__(
        self, settings: Settings, catalog: Catalog, store: ModelStore, factory: SessionOpener
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._store = store
        self._factory = factory
        self._sessions: dict[str, Session] = {}

    def open(self) -> Networks:
        """Raises ModelError, LicenceError, ConfigError or DeviceError with what mends it."""
        settings = self._settings
        generator = load_generator(
            self._entry("generator", settings.generator),
            self._session,
            GeneratorOptions(settings.pixel_boost),
        )
        landmarker = None
        if (
            generator.needs_landmarks
            or generator.needs_mesh
            or "hull" in settings.mask
            or settings.landmarker != "auto"
        ):
            landmarker = self._landmarker(generator.needs_mesh)
        detector = load_detector(
            self._entry("detector", settings.detector),
            self._session,
            DetectorOptions(settings.detect_size, settings.detect_score, settings.detect_nms),
        )
        encoder = None
        if generator.embedding_space is not None or settings.select == "reference":
            encoder = self._encoder(generator.embedding_space)
        return Networks(detector, landmarker, encoder, generator, tuple(self._sessions.values()))

    def _landmarker(self, needs_mesh: bool) -> Landmarker:
        """The landmarker of the settings; with `needs_mesh` auto means the first that gives a mesh."""
        with_mesh = [
            entry
            for entry in self._catalog.entries("landmarker")
            if entry.parameters.get("scheme") == "facemesh_468"
        ]
        name = self._settings.landmarker
        if name == "auto" and needs_mesh and with_mesh:
            entry = self._store.first_usable(with_mesh)
        else:
            entry = self._entry("landmarker", name)
        landmarker = load_landmarker(entry, self._session)
        if needs_mesh and not landmarker.gives_mesh:
            raise ConfigError(
                f"generator {self._settings.generator} needs a mesh of 468 points, but landmarker {entry.id} "
                f"gives none; name one that does with --landmarker: "
                f"{', '.join(other.id for other in with_mesh) or 'no catalog holds one'}"
            )
        return landmarker

    def _encoder(self, space: str | None) -> Encoder:
        """The encoder of `space`, or any where it is None."""
        name = self._settings.encoder
        if name == "auto" and space is not None:
            # An encoder's space is called like the encoder unless its entry says otherwise.
            fitting = [
                entry.id
                for entry in self._catalog.entries("encoder")
                if (entry.parameters.get("space") or entry.id) == space
            ]
            name = fitting[0] if fitting else name
        entry = self._entry("encoder", name)
        encoder = load_encoder(entry, self._session)
        if space not in (None, encoder.space):
            raise ConfigError(
                f"generator {self._settings.generator} understands embeddings of {space}, but encoder "
                f"{entry.id} makes those of {encoder.space}; name an encoder of {space} with --encoder"
            )
        return encoder

    def _entry(self, role: Role, name: str) -> ModelEntry:
        return self._catalog.resolve(role, name, self._store)

    def _session(self, model_id: str) -> Session:
        if model_id not in self._sessions:
            entry = self._catalog.get(model_id)
            self._sessions[model_id] = self._factory.open(entry, self._store.path(entry))
        return self._sessions[model_id]
