"""From a network's file to its catalog entry: what the graph says, and whether its family can use it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from facefusion_runner.errors import ConfigError, InputError, ModelError, StorageError
from facefusion_runner.models.catalog import FILE_NAME, Catalog, ModelEntry, Role
from facefusion_runner.models.families import FOLDERS, families, load_family, proposed, roles_of
from facefusion_runner.models.session import Session, SessionFactory
from facefusion_runner.models.store import ModelStore

UNNAMED: Final = "?"
"""Stands for a licence that the user has not named."""


def propose(
    file: Path,
    family: str,
    *,
    role: Role | None = None,
    model_id: str | None = None,
    licence: str = UNNAMED,
    given: Mapping[str, Any] | None = None,
    catalog: Catalog,
    store: ModelStore,
    factory: SessionFactory,
) -> ModelEntry:
    """The entry of a file as a model of a family, after the family's code has taken the graph.

    `given`: parameters that the graph does not tell. InputError: the file cannot be read. ConfigError: an
    unknown family, role or id. ModelError: it is no network, or none of this family, with the reason.
    """
    if not os.path.isfile(file):
        raise InputError(f"{file} is not a file")
    role = _role(family, role)
    name = model_id or re.sub(r"[^A-Za-z0-9._-]+", "_", file.stem).lstrip("._-")
    skeleton = _entry(name, role, family, file, licence, {})
    session = _opened(factory, skeleton, file)

    def open_model(asked: str) -> Session:
        if asked == name:
            return session
        other = catalog.get(asked)
        return factory.open(other, store.path(other))

    entry = _entry(name, role, family, file, licence, {**proposed(role, session), **(given or {})})
    try:
        load_family(entry, open_model)
    except ModelError as error:
        hint = (
            "; say what the graph does not with --parameter KEY=VALUE" if ": parameter " in str(error) else ""
        )
        raise ModelError(f"{file} cannot be used as {role} {family}: {error}{hint}") from None
    return entry


def _opened(factory: SessionFactory, entry: ModelEntry, file: Path) -> Session:
    try:
        return factory.open(entry, file)
    except ModelError as error:
        raise ModelError(f"{file} is not a network that can be loaded: {error.__cause__}") from None


def toml(entry: ModelEntry, licences: Sequence[str]) -> str:
    """The entry as a table of a catalog."""
    unnamed = entry.licence == UNNAMED
    rows = [
        f"id = {_value(entry.id)}",
        f"role = {_value(entry.role)}",
        f"family = {_value(entry.family)}",
        f"file = {_value(entry.file)}",
        f"bytes = {entry.bytes}",
        f"sha256 = {_value(entry.sha256)}",
        f"licence = {_value(entry.licence)}" + (f"  # one of {', '.join(licences)}" if unnamed else ""),
    ]
    if entry.parameters:
        rows += ["[models.parameters]", *(f"{key} = {_value(v)}" for key, v in entry.parameters.items())]
    return "\n".join(["[[models]]", *rows, ""])


def add(entry: ModelEntry, root: Path, store_of: Any) -> Path:
    """Puts the file into MODEL_ROOT and the entry into the user's own catalog; gives the weights' path.

    store_of: makes a ModelStore of a Catalog. ConfigError for an id that is taken or a licence that no
    catalog has, StorageError where nothing can be written.
    """
    path = root / FILE_NAME
    try:
        text = path.read_text("utf-8") if path.exists() else ""
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    known = Catalog.load(root)
    if entry.id in {each.id for each in known.entries()}:
        raise ConfigError(f"a model is already called {entry.id!r}; name another with --id")
    if entry.licence == UNNAMED:
        raise ConfigError(
            f"--add needs --licence, the id of the file's licence: {', '.join(known.licences)}, or one of "
            f"your own in {path}"
        )
    kept = entry.model_copy(update={"file": f"{entry.id}{Path(entry.file).suffix}"})
    text = (text.rstrip("\n") + "\n\n" if text.strip() else "") + toml(kept, ())
    weights: Path = store_of(Catalog.load(root, text)).import_file(kept, Path(entry.file))
    partial = path.with_name(f".{FILE_NAME}.partial")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from None
    return weights


def parameter(text: str) -> tuple[str, Any]:
    """`KEY=VALUE`, the value in TOML, a bare word being a string; ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*", key.strip()):
        raise ConfigError(f"--parameter {text!r}: must be KEY=VALUE, such as side=256 or template=ffhq_512")
    try:
        return key.strip(), tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _role(family: str, role: Role | None) -> Role:
    roles = [each for each in roles_of(family) if role in (None, each)]
    if not roles:
        known = sorted({name for each in FOLDERS for name in families(each)})  # type: ignore[arg-type]
        what = f"{role} family" if role else "family"
        raise ConfigError(f"no {what} is called {family!r}; there are {', '.join(known)}")
    if len(roles) > 1:
        raise ConfigError(f"{family} is a family of the roles {' and '.join(roles)}; name one with --role")
    return roles[0]


def _entry(
    model_id: str, role: Role, family: str, file: Path, licence: str, parameters: Mapping[str, Any]
) -> ModelEntry:
    try:
        return ModelEntry(
            id=model_id,
            role=role,
            family=family,
            file=str(file.resolve()),
            licence=licence,
            bytes=file.stat().st_size,
            sha256=_digest(file),
            parameters=parameters,
        )
    except ValidationError:
        raise ConfigError(
            f"{model_id!r} is no id for a model; name one with --id: letters, digits, . _ -"
        ) from None


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def _value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    # JSON's strings, numbers and booleans are TOML's too.
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
