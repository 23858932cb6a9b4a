"""What the tests of the sweeper share: a prepared root, and the sweeper as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from facefusion_runner.cache.root import prepare_root
from tests.cache.conftest import (  # noqa: F401
    REPOSITORY,
    as_root_user,
    mount,
    start,
)

LATER = """
import sys, time
now, shift = time.time, float(sys.argv.pop(1))
time.time = lambda: now() + shift
from sweeper.__main__ import main
sys.exit(main())
"""
"""The sweeper under a clock that is so many seconds ahead."""


class Swept:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr
        assert "Traceback" not in done.stderr, done.stderr

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def deleted(self) -> dict[str, str]:
        """The reason of each deletion by name; what was in the trash without its random suffix."""
        return {line["name"]: line["reason"] for line in self.lines if line["event"] == "delete"}

    @property
    def end(self) -> dict[str, Any]:
        (line,) = (line for line in self.lines if line["event"] == "sweep")
        return line


class Sweeper:
    """Runs the sweeper on `root`, with its state in `state`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "cache"
        self.state = folder / "state"
        self.running: list[subprocess.Popen[str]] = []

    def environment(self, **settings: object) -> dict[str, str]:
        names = ("PATH", "HOME", "LANG", "TMPDIR")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        own = {
            "CACHE_ROOT": str(self.root),
            "SWEEP_STATE_ROOT": str(self.state),
            "PYTHONPATH": str(REPOSITORY),
        }
        # The disk under the tests may be as full as it likes.
        return {**kept, **own, "CACHE_MAX_USAGE_PERCENT": "100", **{k: str(v) for k, v in settings.items()}}

    def __call__(
        self, *arguments: str, later: float = 0, prefix: tuple[str, ...] = (), **settings: object
    ) -> Swept:
        """One sweep with --json, under a clock that is `later` seconds ahead."""
        return self.plain("--json", *arguments, later=later, prefix=prefix, **settings)

    def plain(
        self, *arguments: str, later: float = 0, prefix: tuple[str, ...] = (), **settings: object
    ) -> Swept:
        command = [*prefix, sys.executable, "-c", LATER, str(later), *arguments]
        if not later:
            command = [*prefix, sys.executable, "-m", "sweeper", *arguments]
        return Swept(
            subprocess.run(
                command,
                env=self.environment(**settings),
                cwd="/",
                capture_output=True,
                text=True,
                timeout=250,
            )
        )

    def start(self, code: str, *arguments: str, **settings: object) -> subprocess.Popen[str]:
        """Start a Python program with the sweeper's environment; it is killed at the test's end."""
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=self.environment(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def names(self) -> list[str]:
        """What is in the root but its own marker and trash."""
        return sorted(set(os.listdir(self.root)) - {".ff-cache-root", ".trash"})

    def trash(self) -> list[str]:
        return os.listdir(self.root / ".trash")

    def metrics(self) -> dict[str, float]:
        text = (self.state / "sweeper.prom").read_text("ascii")
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("facefusion_cache_"): float(value) for name, value in samples}


@pytest.fixture
def sweeper(tmp_path: Path) -> Iterator[Sweeper]:
    made = Sweeper(tmp_path)
    prepare_root(made.root).close()
    yield made
    for process in made.running:
        process.kill()
        process.communicate()


@pytest.fixture
def task(sweeper: Sweeper) -> Callable[..., Path]:
    """Makes a task directory nobody holds, with some files."""

    def make(name: str = "task", files: int = 3) -> Path:
        path = sweeper.root / name
        (path / "frames").mkdir(parents=True)
        (path / ".lease").write_text("{}")
        for number in range(files):
            (path / "frames" / f"{number}.png").write_bytes(b"x" * 5000)
        return path

    return make
