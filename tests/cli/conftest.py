"""The program as a user starts it: a process of its own with a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def clean_environment(tmp_path: Path) -> dict[str, str]:
    """Nothing but what Python needs; home and models lie below `tmp_path`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(REPOSITORY),
        "CACHE_ROOT": str(tmp_path / "cache" / "root"),
        "MODEL_ROOT": str(tmp_path / "models"),
    }


@pytest.fixture
def program(clean_environment: dict[str, str], tmp_path: Path) -> Program:
    """Runs `python -m facefusion_runner` in `tmp_path` and gives what came out."""

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "facefusion_runner", *arguments],
            env={**clean_environment, **(env or {})},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
