"""The catalog: what every model is, where it comes from, and the numbers its family needs.

A catalog is a TOML file with a table `[licences.ID]` per licence and a `[[models]]` entry per model. Read
are, in this order: that of the built-in models, whose weights lie beside it, that of public ones beside this
file, those of installed packages (entry points of the group `facefusion_runner.catalogs`, each a path, or a
callable that gives a path or the text itself), and `catalog.toml` in MODEL_ROOT, the user's own. The user's
entries come first and replace others of the same id; a licence means what the first catalog that names it
says.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urldefrag, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from facefusion_runner.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from facefusion_runner.models.store import ModelStore

Role = Literal[
    "detector", "landmarker", "encoder", "segmenter", "generator", "converter", "mask", "enhancer", "pack"
]
"""`pack`: a zip archive whose members are models of their own."""

FILE_NAME: Final = "catalog.toml"
BUILT_IN: Final = Path(__file__).with_name("builtin")
"""Folder of the models that are part of this package."""
GROUP: Final = "facefusion_runner.catalogs"

T = TypeVar("T", bound=BaseModel)

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def _safe(file: str) -> str:
    if ".." in PurePosixPath(file).parts:
        raise ValueError("must not lead out of its folder with ..")
    return file


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https address")
    return url


class Licence(BaseModel):
    """Under what terms weights may be used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    name: str
    url: Annotated[str, AfterValidator(_web_address)]
    commercial: bool
    """False: commercial use is not allowed."""
    needs_acceptance: bool = True
    """False, for permissive licences: the weights may be downloaded and used without naming the licence
    in MODEL_LICENSES_ACCEPTED."""


class ModelEntry(BaseModel):
    """One model of the catalog."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    role: Role
    family: str
    file: Annotated[str, AfterValidator(_safe)]
    """File name: beside the catalog where a package brings it, else below MODEL_ROOT. Absolute only in a
    user's own catalog. Empty for a family that needs no weights."""
    licence: str
    bytes: int | None = Field(None, gt=0)
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the file, in hexadecimal; only a user's own entries may lack it."""
    urls: tuple[Annotated[str, AfterValidator(_web_address)], ...] = ()
    """Tried in this order. `….zip#name` is a member of the archive that an entry of role `pack` has at
    that address."""
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    """What the family's file reads: input size, mean and std, colour order, template, …"""


@dataclass(frozen=True, slots=True)
class Source:
    """A catalog's text and where it is from."""

    name: str
    """For messages: its path, or the package."""
    text: str
    folder: Path | None
    """Where files that come with it lie; None when it is no file."""
    own: bool
    """The user's own."""


class Catalog:
    """All models that are known."""

    def __init__(self, model_root: Path, sources: list[Source]) -> None:
        """Reads `sources` in order. ConfigError names the catalog, the model and the key at fault."""
        self.model_root = model_root
        self.licences: dict[str, Licence] = {}
        self._entries: dict[str, ModelEntry] = {}
        self._origin: dict[str, Source] = {}
        for source in sources:
            self._read(source)
        for entry in self._entries.values():
            self._check(entry, self._origin[entry.id])

    @classmethod
    def load(cls, model_root: Path, own_text: str | None = None) -> Catalog:
        """The project's catalogs, those of installed packages, and the user's own in MODEL_ROOT.

        own_text: stands for the content of the user's own, which may not be there yet.
        """
        sources = [_from_path(BUILT_IN / FILE_NAME), _from_path(Path(__file__).with_name(FILE_NAME))]
        sources += [_from_package(point) for point in metadata.entry_points(group=GROUP)]
        own = model_root / FILE_NAME
        if own_text is not None:
            sources.append(Source(str(own), own_text, model_root, own=True))
        elif own.exists():
            sources.append(_from_path(own, own=True))
        return cls(model_root, sources)

    def get(self, model_id: str) -> ModelEntry:
        """The entry of that id; ModelError with ids that look alike when there is none."""
        if model_id in self._entries:
            return self._entries[model_id]
        raise ModelError(f"no model is called {model_id!r}; {self._advice(model_id, self._entries)}")

    def entries(self, role: Role | None = None) -> list[ModelEntry]:
        """All entries (of one role), the user's own first, then in the catalogs' order."""
        own_first = sorted(self._entries.values(), key=lambda entry: not self.is_own(entry.id))
        return [entry for entry in own_first if role in (None, entry.role)]

    def resolve(self, role: Role, name: str, store: ModelStore) -> ModelEntry:
        """The model of `role` meant by `name`: an id, a family, or `auto`.

        For a family and for `auto` it is the first entry that can be used at once, else the first whose
        licence is accepted, else the first; `store.path` will say how to get it. ModelError when there
        is none.
        """
        known = self.entries(role)
        for entry in known:
            if entry.id == name:
                return entry
        fitting = [entry for entry in known if name in ("auto", entry.family)]
        if fitting:
            return store.first_usable(fitting)
        if name in self._entries:
            raise ModelError(f"model {name} has the role {self._entries[name].role}, not {role}")
        if name == "auto":
            raise ModelError(f"no catalog holds a {role}; {self._advice(role, [])}")
        names = [*(entry.id for entry in known), *(entry.family for entry in known)]
        raise ModelError(f"no {role} is called {name!r}; {self._advice(name, names)}")

    def is_own(self, model_id: str) -> bool:
        """True for an entry of the user's own catalog."""
        return self._origin[model_id].own

    def is_built_in(self, model_id: str) -> bool:
        """True for a model that is part of this package, weights and all."""
        return self._origin[model_id].folder == BUILT_IN

    def folder(self, model_id: str) -> Path | None:
        """The folder of the catalog that holds the entry."""
        return self._origin[model_id].folder

    def pack_at(self, url: str) -> ModelEntry | None:
        """The archive whose member `url` names after its `#`."""
        address, _ = urldefrag(url)
        packs = (entry for entry in self._entries.values() if entry.role == "pack")
        return next((entry for entry in packs if address in entry.urls), None)

    def _advice(self, name: str, known: Mapping[str, Any] | list[str]) -> str:
        near = dict.fromkeys(difflib.get_close_matches(name, list(known), cutoff=0.5))
        hint = f"near to it: {', '.join(near)}; " if near else ""
        return f"{hint}a model of your own goes into {self.model_root / FILE_NAME}"

    def _read(self, source: Source) -> None:
        try:
            document = tomllib.loads(source.text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"catalog {source.name}: {error}") from None
        if unknown := set(document) - {"licences", "models"}:
            raise ConfigError(
                f"catalog {source.name}: key {min(unknown)!r} is unknown; allowed are licences and models"
            )
        for licence in _tables(source, document, "licences"):
            self.licences.setdefault(licence["id"], _validated(source, "licence", Licence, licence))
        seen: set[str] = set()
        for table in _tables(source, document, "models"):
            entry = _validated(source, "model", ModelEntry, table)
            if entry.id in seen or (entry.id in self._entries and not source.own):
                first = source.name if entry.id in seen else self._origin[entry.id].name
                raise ConfigError(f"catalog {source.name}, model {entry.id}: already in {first}")
            seen.add(entry.id)
            self._entries[entry.id] = entry
            self._origin[entry.id] = source

    def _check(self, entry: ModelEntry, source: Source) -> None:
        for key, fault in self._faults(entry, source):
            raise ConfigError(f"catalog {source.name}, model {entry.id}, key {key}: {fault}")

    def _faults(self, entry: ModelEntry, source: Source) -> Iterator[tuple[str, str]]:
        """Rules that need more than the value itself."""
        if entry.licence not in self.licences:
            yield "licence", f"{entry.licence!r} is unknown; allowed are {', '.join(self.licences)}"
        if entry.file and not entry.sha256 and not source.own:
            yield "sha256", "is missing; only your own catalog may leave it out"
        if entry.urls and not entry.sha256:
            yield "sha256", "is missing; nothing is downloaded without it"
        if Path(entry.file).is_absolute() and not source.own:
            yield "file", "must be relative; only your own catalog may name a path"
        for url in entry.urls:
            member = urldefrag(url).fragment
            if member and entry.role == "pack":
                yield "urls", f"{url} names a member, but a pack must be an archive of its own"
            if member and not self.pack_at(url):
                yield "urls", f"{url} names a member of an archive that no model of role pack has as its url"


def _tables(source: Source, document: dict[str, Any], key: Literal["licences", "models"]) -> Iterator[Any]:
    """The tables below `key`; a licence's gets its id."""
    written = "[licences.ID]" if key == "licences" else "[[models]]"
    form = ConfigError(f"catalog {source.name}: {key} must be written as {written}")
    section = document.get(key, {} if key == "licences" else [])
    if not isinstance(section, dict if key == "licences" else list):
        raise form
    for name, table in section.items() if isinstance(section, dict) else enumerate(section):
        if not isinstance(table, dict):
            raise form
        yield {"id": name, **table} if key == "licences" else table


def _validated(source: Source, kind: str, cls: type[T], table: dict[str, Any]) -> T:
    try:
        return cls.model_validate(table)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"catalog {source.name}, {kind} {table.get('id', 'without id')}, key {key}: {message}"
        ) from None


def _from_path(path: Path, *, own: bool = False) -> Source:
    try:
        return Source(str(path), path.read_text("utf-8"), path.parent, own)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"catalog {path} cannot be read: {error}") from None


def _from_package(point: metadata.EntryPoint) -> Source:
    name = f"{point.name} of {point.dist.name if point.dist else 'a package'} ({point.value})"
    # The package is another's: whatever it raises is that package's fault, not a defect of ours.
    try:
        given = point.load()
        given = given() if callable(given) else given
    except Exception as error:
        message = " ".join(str(error).split())
        raise ConfigError(f"catalog {name} cannot be loaded: {type(error).__name__}: {message}") from error
    if isinstance(given, Path) or (isinstance(given, str) and "\n" not in given):
        return _from_path(Path(given))
    if isinstance(given, str):
        return Source(name, given, None, own=False)
    raise ConfigError(f"catalog {name} is neither a path nor the text of a catalog")
