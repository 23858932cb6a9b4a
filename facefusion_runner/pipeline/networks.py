"""Opens the networks a task needs, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from facefusion_runner.detectors import Detector, DetectorOptions
from facefusion_runner.encoders import Encoder
from facefusion_runner.enhancers import Enhancer
from facefusion_runner.errors import ConfigError, ModelError
from facefusion_runner.generators import Generator, GeneratorOptions
from facefusion_runner.landmarkers import Landmarker
from facefusion_runner.maskers import Masker
from facefusion_runner.models.catalog import Catalog, ModelEntry, Role
from facefusion_runner.models.families import (
    families,
    load_detector,
    load_encoder,
    load_enhancer,
    load_generator,
    load_landmarker,
    load_masker,
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
    occlusion: Masker | None = None
    region: Masker | None = None
    enhancer: Enhancer | None = None


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
        made = self._entry("generator", settings.generator)
        options = GeneratorOptions(
            settings.pixel_boost,
            domain=settings.domain,
            morph=settings.morph,
            direction=settings.direction,
        )
        generator = load_generator(made, self._session, options)
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
        if generator.embedding_spaces or settings.select == "reference":
            encoder = self._encoder(generator.embedding_spaces)
            if encoder.space not in generator.embedding_spaces[:1] and generator.embedding_spaces:
                generator = load_generator(made, self._session, replace(options, space=encoder.space))
        if settings.mask_regions and "region" not in settings.mask:
            raise ConfigError(
                "mask_regions has no meaning without --mask region; leave one out or add the other"
            )
        occlusion = self._occlusion() if "occlusion" in settings.mask else None
        region = self._region() if "region" in settings.mask else None
        enhancer = None
        if settings.enhancer is not None:
            enhancer = load_enhancer(self._entry("enhancer", settings.enhancer), self._session)
        return Networks(
            detector,
            landmarker,
            encoder,
            generator,
            tuple(self._sessions.values()),
            occlusion,
            region,
            enhancer,
        )

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

    def _encoder(self, spaces: Sequence[str]) -> Encoder:
        """An encoder of one of `spaces`, the first preferred; any where there are none."""
        name = self._settings.encoder
        if name == "auto" and spaces:
            # An encoder's space is called like the encoder unless its entry says otherwise.
            fitting = [
                entry
                for space in spaces
                for entry in self._catalog.entries("encoder")
                if (entry.parameters.get("space") or entry.id) == space
            ]
            name = self._store.first_usable(fitting).id if fitting else name
        entry = self._entry("encoder", name)
        encoder = load_encoder(entry, self._session)
        if spaces and encoder.space not in spaces:
            own, *others = spaces
            also = f" and, through converters, of {', '.join(others)}" if others else ""
            raise ConfigError(
                f"generator {self._settings.generator} understands embeddings of {own}{also}, but encoder "
                f"{entry.id} makes those of {encoder.space}; name an encoder of {own} with --encoder, or a "
                f"converter from {encoder.space} in the generator's catalog entry"
            )
        return encoder

    def _occlusion(self) -> Masker:
        masker, model = self._masker(self._settings.occlusion_model, "occlusion")
        if masker.regions:
            raise ConfigError(f"mask {model} tells regions apart: name it with --region-model")
        return masker

    def _region(self) -> Masker:
        masker, model = self._masker(self._settings.region_model, "region")
        if not masker.regions:
            raise ConfigError(f"mask {model} tells no regions apart: name it with --occlusion-model")
        unknown = [region for region in self._settings.mask_regions if region not in masker.regions]
        if unknown:
            raise ConfigError(
                f"region {unknown[0]!r} is unknown to mask {model}; "
                f"it tells apart {', '.join(masker.regions)}"
            )
        return masker

    def _masker(self, name: str, family: str) -> tuple[Masker, str]:
        """A masker, by name or the first of its family, and its id."""
        entry = self._entry("mask", family if name == "auto" else name)
        return load_masker(entry, self._session), entry.id

    def _entry(self, role: Role, name: str) -> ModelEntry:
        if name in families(role) and not any(
            name in (entry.id, entry.family) for entry in self._catalog.entries(role)
        ):
            raise ModelError(
                f"no catalog holds a model of the {role} family {name}; add one with: "
                f"facefusion-runner models import FILE --family {name} --add"
            )
        return self._catalog.resolve(role, name, self._store)

    def _session(self, model_id: str) -> Session:
        if model_id not in self._sessions:
            entry = self._catalog.get(model_id)
            self._sessions[model_id] = self._factory.open(entry, self._store.path(entry))
        return self._sessions[model_id]
