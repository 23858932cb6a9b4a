"""The sweeper's settings: read from the environment, by the parsers and names of the program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from facefusion_runner import values
from facefusion_runner.cache.root import checked_path
from facefusion_runner.errors import ConfigError

NAMES: Final = (
    "AUTO_CLEAR_CACHE",
    "CACHE_TTL_SECONDS",
    "CACHE_ROOT",
    "CACHE_MAX_USAGE_PERCENT",
    "CACHE_MAX_BYTES",
    "CACHE_SHARED",
    "SWEEP_STATE_ROOT",
    "SWEEP_TIME_BUDGET_SECONDS",
)
"""What a sweep reads; SWEEP_SCHEDULE says only when."""

DEFAULT_SCHEDULE: Final = "0 * * * *"

_LONGEST_SHOWN: Final = 80

T = TypeVar("T")


class SweepSettings(NamedTuple):
    auto_clear: bool
    ttl: float
    """Seconds."""
    root: str
    max_usage_percent: float
    max_bytes: int | None
    shared: bool
    state_root: str | None
    """None where there is no home to put it in."""
    time_budget: float
    """Seconds."""
    task_ids: frozenset[str]
    """Of the task that is about to start, where it has a name: it may go on from its cache."""


def read_settings(environ: Mapping[str, str]) -> SweepSettings:
    """Raises ConfigError that names the variable, its value and what is allowed; UnsafeRoot is one."""
    root = read(environ, "CACHE_ROOT", _absolute, "/tmp/facefusion/cache", empty_counts=True)
    real_root = checked_path(root)
    state_root = read(environ, "SWEEP_STATE_ROOT", _absolute, _default_state_root(environ))
    if state_root is not None and _is_inside(state_root, real_root):
        where = f"inside CACHE_ROOT ({root}), whose content is deleted"
        raise ConfigError(f"SWEEP_STATE_ROOT={state_root!r}: must not lie {where}")
    return SweepSettings(
        auto_clear=read(environ, "AUTO_CLEAR_CACHE", values.boolean, True),
        ttl=read(environ, "CACHE_TTL_SECONDS", _seconds(0), 300.0),
        root=root,
        max_usage_percent=read(
            environ, "CACHE_MAX_USAGE_PERCENT", lambda text: values.number(text, 0, 100), 80.0
        ),
        max_bytes=read(environ, "CACHE_MAX_BYTES", lambda text: values.whole(text, 0), None),
        shared=read(environ, "CACHE_SHARED", values.boolean, False),
        state_root=state_root,
        time_budget=read(environ, "SWEEP_TIME_BUDGET_SECONDS", _seconds(1), 55.0),
        task_ids=read(environ, "TASK_ID", lambda text: frozenset(text.split(",")), frozenset()),
    )


def read(
    environ: Mapping[str, str],
    name: str,
    parse: Callable[[str], T],
    default: T | None,
    *,
    empty_counts: bool = False,
) -> T:
    """One setting; empty text means the default unless `empty_counts`. Raises ConfigError."""
    text = environ.get(name)
    if text is None or (not text.strip() and not empty_counts):
        return default  # type: ignore[return-value]
    try:
        if any(character in text for character in "\n\r\0"):
            raise ValueError("must not hold a line break or NUL")
        return parse(text if parse is _absolute else text.strip())
    except ValueError as error:
        raise ConfigError(f"{name}={_shown(text)}: {error}") from None


def _absolute(text: str) -> str:
    if not os.path.isabs(text):
        raise ValueError("must be an absolute path")
    return text


def _seconds(smallest: float) -> Callable[[str], float]:
    return lambda text: values.number(text, smallest, unit="seconds as a number")


def _default_state_root(environ: Mapping[str, str]) -> str | None:
    base = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "facefusion-sweeper") if os.path.isabs(base) else None


def _is_inside(path: str, real_root: str) -> bool:
    real = os.path.realpath(path)
    return real == real_root or real.startswith(real_root + "/")


def _shown(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 1] + "…"
