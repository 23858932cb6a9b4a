"""The store: where the weights lie, whether they are what the catalog says, and how they get there.

Built-in weights, and those of other packages, lie beside the catalog that names them. MODEL_ROOT holds one
file per other model, `catalog.toml` (the user's own entries), `.digests.json` and the folder `.downloads`
with partial files and locks. A root that cannot be written is fine as long as the weights are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal
from urllib.parse import urldefrag

from filelock import FileLock

from facefusion_runner.errors import (
    ConfigError,
    InputError,
    LicenceError,
    ModelError,
    PolicyError,
    StorageError,
)
from facefusion_runner.models.catalog import FILE_NAME, Catalog, Licence, ModelEntry
from facefusion_runner.models.digests import DigestCache
from facefusion_runner.models.download import PATIENCE, Patience, Progress, Wanted, discard, download

if TYPE_CHECKING:
    from facefusion_runner.settings import Settings

State = Literal["present", "missing", "damaged", "not accepted"]

DOWNLOADS: Final = ".downloads"
COMMAND: Final = "facefusion-runner models"


def _silent(done: int, total: int | None) -> None:
    """Shows no progress."""


def open_models(settings: Settings, accept: Sequence[str] = ()) -> tuple[Catalog, ModelStore]:
    """The catalogs and the weights that the settings name; `accept`: further licences.

    Raises ConfigError and ModelError.
    """
    catalog = Catalog.load(settings.model_root)
    accepted = frozenset((*settings.model_licenses_accepted, *accept))
    return catalog, ModelStore(settings.model_root, catalog, accepted, settings.offline)


class ModelStore:
    """The weights that are installed, and those in MODEL_ROOT."""

    def __init__(
        self,
        root: Path,
        catalog: Catalog,
        accepted: frozenset[str] = frozenset(),
        offline: bool = False,
        patience: Patience = PATIENCE,
    ) -> None:
        """accepted: licence ids; ConfigError for one that no catalog has. offline: connect to nothing."""
        if unknown := accepted - set(catalog.licences):
            raise ConfigError(
                f"MODEL_LICENSES_ACCEPTED: {min(unknown)!r} is unknown; "
                f"allowed are {', '.join(sorted(catalog.licences))}"
            )
        self.root = root
        self._catalog = catalog
        self._accepted = accepted
        self._offline = offline
        self._patience = patience
        self._digests = DigestCache(root)

    def accepts(self, entry: ModelEntry) -> bool:
        """True if the entry's licence is accepted, or permissive and needs no acceptance."""
        licence = self._catalog.licences[entry.licence]
        return licence.id in self._accepted or not licence.needs_acceptance

    def location(self, entry: ModelEntry) -> Path:
        """Where the entry's file is, or would be."""
        shipped = self._catalog.folder(entry.id)
        if shipped is not None and (self._catalog.is_built_in(entry.id) or (shipped / entry.file).is_file()):
            return shipped / entry.file
        return self.root / entry.file

    def state(self, entry: ModelEntry) -> State:
        """What `path` would find; a file that was never hashed counts as present if its size is right."""
        if not self.accepts(entry):
            return "not accepted"
        if not entry.file:
            return "present"
        path = self.location(entry)
        if not os.path.isfile(path):
            return "missing"
        size_fits = entry.bytes in (None, path.stat().st_size)
        digest_fits = entry.sha256 is None or self._digests.remembered(path) in (None, entry.sha256)
        return "present" if size_fits and digest_fits else "damaged"

    def first_usable(self, entries: Sequence[ModelEntry]) -> ModelEntry:
        """The first that can be used at once, else the first whose licence is accepted, else the first."""
        present = (entry for entry in entries if self.state(entry) == "present")
        accepted = (entry for entry in entries if self.accepts(entry))
        return next(present, None) or next(accepted, entries[0])

    def path(self, entry: ModelEntry) -> Path:
        """The entry's file, checked, ready to be loaded.

        LicenceError: its licence is not accepted. ModelError: it is missing or damaged. Both say which
        command or setting mends it.
        """
        self._require_licence(entry)
        return self.verify(entry, cached=True)

    def verify(self, entry: ModelEntry, *, cached: bool = False) -> Path:
        """The entry's file, after a comparison of size and SHA-256 with the catalog.

        cached: a file that has not changed since it was last hashed is not read again. ModelError as `path`.
        """
        if not entry.file:
            raise ModelError(f"model {entry.id} has no weights: its family {entry.family} needs none")
        path = self.location(entry)
        try:
            fault = self._fault(entry, path, cached)
        except FileNotFoundError:
            raise ModelError(f"model {entry.id} is not here ({path}); {self._remedy(entry)}") from None
        except OSError as error:
            raise ModelError(f"model {entry.id}: {path} cannot be read: {error.strerror}") from None
        if fault:
            raise ModelError(f"model {entry.id} is damaged: {path} {fault}; {self._remedy(entry)}")
        return path

    def pull(self, entry: ModelEntry, progress: Progress = _silent) -> Path:
        """Downloads the entry's file unless it is here and whole; gives its path.

        A second process that pulls the same model waits and then finds it done. LicenceError, PolicyError
        (offline), ModelError (no address gives it) or StorageError (disk full, not writable).
        """
        if self._is_whole(entry):
            return self.location(entry)
        if self._catalog.is_built_in(entry.id):
            return self.verify(entry)
        self._require_licence(entry)
        if not entry.urls:
            raise ModelError(f"model {entry.id} has no address to download it from; {self._remedy(entry)}")
        if self._offline:
            raise PolicyError(
                f"OFFLINE is set, so model {entry.id} is not downloaded; "
                f"with a file of yours: {COMMAND} import {entry.id} FILE"
            )
        with self._locked(entry) as partial:
            if not self._is_whole(entry):
                self._fetch(entry, partial, progress)
                self._install(entry, partial)
        return self.location(entry)

    def import_file(self, entry: ModelEntry, file: Path) -> Path:
        """Copies a file of the user's into MODEL_ROOT as the entry's weights; gives its path there.

        InputError: it cannot be read. ModelError: it is not the file that the catalog describes.
        """
        if not entry.file:
            raise ModelError(f"model {entry.id} has no weights: its family {entry.family} needs none")
        if self._catalog.is_built_in(entry.id):
            raise ModelError(
                f"model {entry.id} is part of the installation and takes no other file; "
                f"a model of your own goes into {self.root / FILE_NAME}"
            )
        if not os.path.isfile(file):
            raise InputError(f"{file} is not a file")
        own = f"a model of your own goes into {self.root / FILE_NAME}"
        if entry.bytes not in (None, size := file.stat().st_size):
            raise ModelError(
                f"{file} is not model {entry.id}: it has {size} bytes, the catalog says {entry.bytes}; {own}"
            )
        with self._locked(entry) as partial:
            discard(partial)
            digest = _copy(file, partial)
            if entry.sha256 not in (None, digest):
                discard(partial)
                raise ModelError(
                    f"{file} is not model {entry.id}: its SHA-256 is {digest}, "
                    f"the catalog says {entry.sha256}; {own}"
                )
            self._install(entry, partial)
        return self.location(entry)

    def _require_licence(self, entry: ModelEntry) -> None:
        if self.accepts(entry):
            return
        licence: Licence = self._catalog.licences[entry.licence]
        use = "" if licence.commercial else ", no commercial use"
        raise LicenceError(
            f"model {entry.id} is under {licence.name}{use} ({licence.url}); "
            f"to accept it: MODEL_LICENSES_ACCEPTED={','.join(sorted({*self._accepted, licence.id}))}"
        )

    def _fault(self, entry: ModelEntry, path: Path, cached: bool) -> str | None:
        size = path.stat().st_size
        if entry.bytes not in (None, size):
            return f"has {size} bytes instead of {entry.bytes}"
        if entry.sha256 is None:
            return None
        digest = self._digests.sha256(path) if cached else self._digests.fresh(path)
        return None if digest == entry.sha256 else f"has the SHA-256 {digest} instead of {entry.sha256}"

    def _is_whole(self, entry: ModelEntry) -> bool:
        try:
            return self._fault(entry, self.location(entry), cached=True) is None
        except OSError:
            return False

    def _remedy(self, entry: ModelEntry) -> str:
        if self._catalog.is_built_in(entry.id):
            return "it is part of facefusion-runner: install that again"
        if entry.urls:
            return f"fetch it with: {COMMAND} pull {entry.id}"
        return f"put a good copy there with: {COMMAND} import {entry.id} FILE"

    @contextlib.contextmanager
    def _locked(self, entry: ModelEntry) -> Iterator[Path]:
        """The entry's partial file, for this process alone."""
        folder = self.root / DOWNLOADS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f"{entry.id}.lock")
            lock.acquire()
        except OSError as error:
            raise StorageError(f"MODEL_ROOT {self.root} cannot be written: {error.strerror}") from error
        try:
            yield folder / f"{entry.id}.part"
        finally:
            lock.release()

    def _fetch(self, entry: ModelEntry, partial: Path, progress: Progress) -> None:
        assert entry.sha256 is not None, "the catalog takes no addresses without a digest"
        direct = tuple(url for url in entry.urls if not urldefrag(url).fragment)
        wanted = Wanted(f"model {entry.id}", entry.sha256, entry.bytes)
        fault: ModelError | None = None
        if direct:
            try:
                return download(direct, partial, wanted, progress, self._patience)
            except ModelError as error:
                fault = error
        for url in entry.urls:
            pack = self._catalog.pack_at(url)
            if pack is not None and url not in direct:
                return self._extract(entry, self.pull(pack, progress), urldefrag(url).fragment, partial)
        raise fault or ModelError(f"model {entry.id} has no address that can be used")

    def _extract(self, entry: ModelEntry, archive: Path, member: str, partial: Path) -> None:
        """Takes a member out of an archive that is whole, and checks it."""
        try:
            with zipfile.ZipFile(archive) as bundle, bundle.open(member) as file:
                digest = _write(file, partial)
        except (KeyError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise ModelError(f"model {entry.id}: {archive} lacks a readable {member}: {error}") from error
        if digest != entry.sha256:
            discard(partial)
            raise ModelError(
                f"model {entry.id}: {member} in {archive} has the SHA-256 {digest} instead of {entry.sha256}"
            )

    def _install(self, entry: ModelEntry, partial: Path) -> None:
        target = self.root / entry.file
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)
        except OSError as error:
            raise StorageError(f"model {entry.id} cannot be put at {target}: {error.strerror}") from error
        if entry.sha256 is not None:
            self._digests.remember(target, entry.sha256)


def _copy(file: Path, partial: Path) -> str:
    try:
        source = file.open("rb")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    with source:
        return _write(source, partial)


def _write(source: IO[bytes], partial: Path) -> str:
    """Copies to the partial file, and to the disk; the content's SHA-256."""
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as file:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        discard(partial)
        raise StorageError(f"{partial} cannot be written: {error.strerror or error}") from error
    return digest.hexdigest()
