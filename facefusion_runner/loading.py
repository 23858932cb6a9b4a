"""Reads the settings: a flag beats the config JSON, which beats the environment, which beats the default."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from facefusion_runner.errors import ConfigError
from facefusion_runner.settings import Settings

Level = Literal["flag", "config", "environment", "option", "default"]
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one setting's value comes from."""

    level: Level
    name: str
    """The setting as it is written there: `--fps`, `fps` or `FPS`."""
    raw: Any = None
    """The value as it was written there; None at the default."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Checked settings, and where each value comes from."""

    settings: S
    origins: Mapping[str, Origin]
    config: Path | None = None

    def off_default(self) -> dict[str, Any]:
        """The settings whose value differs from the default, by name."""
        defaults = type(self.settings)()
        names = (name for name, origin in self.origins.items() if origin.level != "default")
        return {
            name: getattr(self.settings, name)
            for name in names
            if getattr(self.settings, name) != getattr(defaults, name)
        }

    def check_schedule(self) -> None:
        """ConfigError unless SWEEP_SCHEDULE is a time that comes again."""
        from crontab import CronSlices  # type: ignore[import-untyped]

        text = self.settings.sweep_schedule
        if not CronSlices.is_valid(text) or text.lower() == "@reboot":
            allowed = "a cron expression of five fields (0 * * * *) or @hourly, @daily, …"
            raise ConfigError(f"{_written(self.origins['sweep_schedule'], self.config)}: must be {allowed}")


def load_settings(
    flags: Mapping[str, str | Sequence[str]],
    config: Path | None,
    environ: Mapping[str, str],
    kind: type[S],
) -> Loaded[S]:
    """The settings in force.

    `flags` are keyed by the setting's name; `config` is a JSON file of one object. Raises `ConfigError`
    that names the first unknown or malformed setting as the user wrote it.
    """
    return check(gather(flags, config, environ, kind), config, kind)


def gather(
    flags: Mapping[str, str | Sequence[str]],
    config: Path | None,
    environ: Mapping[str, str],
    kind: type[Settings] = Settings,
) -> dict[str, Origin]:
    """Where each setting comes from, unchecked. `ConfigError` when the JSON cannot be read."""
    levels: tuple[tuple[Level, Mapping[str, Any]], ...] = (
        ("flag", flags),
        ("config", {} if config is None else read_config(config, kind)),
        ("environment", from_environment(environ, kind)),
    )
    return {name: _origin(name, levels) for name in kind.model_fields}


def check(origins: Mapping[str, Origin], config: Path | None, kind: type[S]) -> Loaded[S]:
    """The settings that were gathered; raises `ConfigError`."""
    given = {name: origin.raw for name, origin in origins.items() if origin.level != "default"}
    try:
        settings = kind(**given)
    except ValidationError as error:
        raise ConfigError(_line(error, origins, config)) from None
    return Loaded(settings, origins, config)


def from_environment(environ: Mapping[str, str], kind: type[Settings] = Settings) -> dict[str, str]:
    return {name: environ[name.upper()] for name in kind.model_fields if name.upper() in environ}


def read_config(path: Path, kind: type[Settings] = Settings) -> dict[str, Any]:
    """The JSON object in a file. Raises `ConfigError`."""
    where = f"--config {str(path)!r}"
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: not usable JSON: {error}") from None
    return read_object(text, kind.model_fields, where)


def read_object(text: str, names: Iterable[str], where: str) -> dict[str, Any]:
    """Settings as one JSON object, unchecked but for their `names`. `ConfigError` begins with `where`."""
    try:
        data = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise ConfigError(f"{where}: not JSON: {error.msg} at {place}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not usable JSON: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: must hold one JSON object")
    allowed = list(names)
    for name in data:
        if name not in allowed:
            raise ConfigError(f"{where}: unknown setting {shown(name)}{near(name, allowed)}")
    return data


def near(name: str, names: Iterable[str] = Settings.model_fields) -> str:
    """`; did you mean …?` for a misspelt setting, or nothing."""
    found = difflib.get_close_matches(name.lower().replace("-", "_"), list(names), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def flag(name: str) -> str:
    """The flag of a setting: `detect_size` is `--detect-size`."""
    return "--" + name.replace("_", "-")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return data


def _origin(name: str, levels: Sequence[tuple[Level, Mapping[str, Any]]]) -> Origin:
    spelling = {"flag": flag(name), "config": name, "environment": name.upper()}
    for level, given in levels:
        if name in given:
            return Origin(level, spelling[level], given[name])
    return Origin("default", name.upper())


def _line(error: ValidationError, origins: Mapping[str, Origin], config: Path | None) -> str:
    """The first mistake as one line that names the setting, its value and what is allowed."""
    first = error.errors()[0]
    reason = str(first.get("ctx", {}).get("error", first["msg"]))
    if not first["loc"]:
        return reason.format_map({name: origin.name for name, origin in origins.items()})
    return f"{_written(origins[str(first['loc'][0])], config)}: {reason}"


def _written(origin: Origin, config: Path | None) -> str:
    """Setting and value as the user wrote them."""
    value = shown(origin.raw)
    if origin.level == "flag":
        return f"{origin.name} {value}"
    if origin.level == "option":
        return f"options: {origin.name} = {value}"
    if origin.level == "config":
        return f"--config {str(config)!r}: {origin.name} = {value}"
    return f"{origin.name}={value}"


def shown(raw: object, longest: int = 80) -> str:
    """A value for a message: one line, not endless, control characters escaped."""
    if isinstance(raw, list | tuple) and len(raw) == 1:
        raw = raw[0]
    text = repr(raw) if isinstance(raw, str) else json.dumps(raw, default=str, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 1] + "…"
