"""Reads the settings: a flag beats the config JSON, which beats the environment, which beats the default."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from facefusion_runner.errors import ConfigError
from facefusion_runner.settings import Settings

Level = Literal["flag", "config", "environment", "default"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one setting's value comes from."""

    level: Level
    name: str
    """The setting as it is written there: `--fps`, `fps` or `FPS`."""
    raw: Any = None
    """The value as it was written there; None at the default."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Checked settings, and where each value comes from."""

    settings: Settings
    origins: Mapping[str, Origin]
    config: Path | None = None

    def off_default(self) -> dict[str, Any]:
        """The settings whose value differs from the default, by name."""
        defaults = Settings()
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
    flags: Mapping[str, str | Sequence[str]], config: Path | None, environ: Mapping[str, str]
) -> Loaded:
    """The settings in force.

    `flags` are keyed by the setting's name; `config` is a JSON file of one object. Raises `ConfigError`
    that names the first unknown or malformed setting as the user wrote it.
    """
    return check(gather(flags, config, environ), config)


def gather(
    flags: Mapping[str, str | Sequence[str]], config: Path | None, environ: Mapping[str, str]
) -> dict[str, Origin]:
    """Where each setting comes from, unchecked. `ConfigError` when the JSON cannot be read."""
    levels: tuple[tuple[Level, Mapping[str, Any]], ...] = (
        ("flag", flags),
        ("config", {} if config is None else read_config(config)),
        ("environment", from_environment(environ)),
    )
    return {name: _origin(name, levels) for name in Settings.model_fields}


def check(origins: Mapping[str, Origin], config: Path | None) -> Loaded:
    """The settings that were gathered; raises `ConfigError`."""
    given = {name: origin.raw for name, origin in origins.items() if origin.level != "default"}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise ConfigError(_line(error, origins, config)) from None
    return Loaded(settings, origins, config)


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name.upper()] for name in Settings.model_fields if name.upper() in environ}


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises `ConfigError`."""
    try:
        data = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=_object)
    except OSError as error:
        raise ConfigError(f"--config {str(path)!r}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ConfigError(f"--config {str(path)!r}: not JSON: {error.msg} at {where}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--config {str(path)!r}: not usable JSON: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"--config {str(path)!r}: must hold one JSON object")
    for name in data:
        if name not in Settings.model_fields:
            raise ConfigError(f"--config {str(path)!r}: unknown setting {name!r}{near(name)}")
    return data


def near(name: str) -> str:
    """`; did you mean …?` for a misspelt setting, or nothing."""
    found = difflib.get_close_matches(name.lower().replace("-", "_"), Settings.model_fields, n=3, cutoff=0.6)
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
    if origin.level == "config":
        return f"--config {str(config)!r}: {origin.name} = {value}"
    return f"{origin.name}={value}"


def shown(raw: object, longest: int = 80) -> str:
    """A value for a message: one line, not endless, control characters escaped."""
    if isinstance(raw, list | tuple) and len(raw) == 1:
        raw = raw[0]
    text = repr(raw) if isinstance(raw, str) else json.dumps(raw, default=str, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 1] + "…"
