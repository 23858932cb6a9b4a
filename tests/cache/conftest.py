"""What the tests of the task cache share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facefusion_runner.cache.root import CacheRoot, prepare_root

REPOSITORY = Path(__file__).resolve().parents[2]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[CacheRoot]:
    with prepare_root(tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Python program that can import the package; it is killed at the test's end."""
    running: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start: Start) -> Callable[..., str]:
    """Runs a Python program to its end and gives its output; its failure is the test's."""

    def finish(code: str, *arguments: object) -> str:
        process = start(code, *arguments)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        return output

    return finish


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Mounts somewhere in tmp_path for the length of a test, which is skipped where that is not permitted."""

    def attach(*arguments: object) -> None:
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True)
        if done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.splitlines()[:1]!a}")

    yield attach
    # By what the kernel says: a test may have moved the directory that holds a mount.
    for line in reversed(Path("/proc/self/mounts").read_bytes().splitlines()):
        target = re.sub(rb"\\(\d{3})", lambda code: bytes([int(code[1], 8)]), line.split()[1])
        if target.startswith(os.fsencode(tmp_path) + b"/"):
            subprocess.run(["umount", "-l", target], check=True)


@pytest.fixture
def as_root_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to start as root, to become another user")
