"""Policies that are really installed, and the program beside them in a process of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from tests.cli.conftest import REPOSITORY, Program, clean_environment, program
from tests.models.test_catalog import install
from tests.pipeline.conftest import task
from tests.support.tiny_models import face_picture

# The fixtures of other folders.
__all__ = ["clean_environment", "program", "task"]

Bring = Callable[..., None]
Swap = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def bring(tmp_path: Path) -> Bring:
    """Installs a policy of this name: `examine` is its method's body, `before` the module's beginning."""

    def brought(name: str, examine: str = "return None", before: str = "") -> None:
        code = f"""{before}
class Brought:
    name = {name!r}
    def examine(self, samples):
        {examine}
"""
        points = f"[facefusion_runner.policies]\n{name} = {name}_module:Brought\n"
        install(tmp_path / "site", f"{name}_package", points, **{f"{name}_module": code})

    return brought


@pytest.fixture
def pictures(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "source.png"), face_picture())
    cv2.imwrite(str(tmp_path / "target.png"), face_picture((400, 300), width=120))


@pytest.fixture
def swap(program: Program, tiny_models: Path, tmp_path: Path, pictures: None) -> Swap:
    """Swaps into out.png, with what was brought installed."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        files = ("--source", "source.png", "--target", "target.png", "--output", "out.png")
        options = ("--progress", "none", "--generator", "narrow", "--cache-grace-seconds", "0")
        path = {"PYTHONPATH": f"{REPOSITORY}:{tmp_path / 'site'}", "MODEL_ROOT": str(tiny_models)}
        return program("swap", *files, *options, *arguments, env={**path, **env})

    return run


def nothing_was_done(folder: Path) -> bool:
    """Neither an output nor a cache was ever there."""
    return not (folder / "out.png").exists() and not (folder / "cache").exists()
