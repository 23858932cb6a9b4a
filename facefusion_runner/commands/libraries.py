"""Imports what needs the libraries, after signals are handled and the settings are known to be good."""

from __future__ import annotations

import importlib
from typing import Any

from facefusion_runner.errors import ConfigError


def imported(module: str) -> Any:
    """The module of this package; ConfigError naming a library that cannot be loaded."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if (error.name or "").startswith("facefusion_runner"):
            raise
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"a library cannot be loaded: {reason}; see what mends it with: facefusion-runner doctor"
        ) from error
