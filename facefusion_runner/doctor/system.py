"""Python, the platform, our version; the settings that are off their defaults."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator

from facefusion_runner import __version__
from facefusion_runner.commands.options import written
from facefusion_runner.doctor.check import Check
from facefusion_runner.errors import ConfigError
from facefusion_runner.loading import Loaded
from facefusion_runner.settings import Settings


def examine(loaded: Loaded[Settings]) -> Iterator[Check]:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    cores = len(os.sched_getaffinity(0))
    yield Check(
        "system",
        "ok",
        f"facefusion-runner {__version__}, {python}, {platform.platform()}, {cores} cores",
        details={
            "version": __version__,
            "python": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
            "machine": platform.machine(),
            "cores": cores,
        },
    )


def examine_settings(loaded: Loaded[Settings]) -> Iterator[Check]:
    changed = {name: written(value) for name, value in loaded.off_default().items()}
    summary = ", ".join(f"{name}={value}" for name, value in changed.items())
    yield Check("settings", "ok", summary or "all at their defaults", details=changed)
    try:
        loaded.check_schedule()
    except ConfigError as error:
        yield Check("sweep schedule", "warn", str(error), "the sweeper will not start with it")
