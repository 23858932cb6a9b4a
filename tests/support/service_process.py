"""The service as a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Service:
    url: str
    cache: Path

    def task_caches(self) -> list[str]:
        """Names of the caches that are there now."""
        if not self.cache.exists():
            return []
        return [entry.name for entry in self.cache.iterdir() if not entry.name.startswith(".")]

    def caches_after_a_while(self) -> list[str]:
        """Those that are still there after ten seconds; none as soon as there is none."""
        deadline = time.monotonic() + 10
        while self.task_caches() and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.task_caches()


def environment(folder: Path, **settings: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "PORT": "0",
        "DATA_ROOT": str(folder / "data"),
        "CACHE_ROOT": str(folder / "cache"),
        "MODEL_ROOT": str(folder / "models"),
        "CACHE_GRACE_SECONDS": "0",
        "CACHE_MAX_USAGE_PERCENT": "100",
        "LOG_FORMAT": "json",
        **settings,
    }


@contextmanager
def running_service(folder: Path, **settings: str) -> Iterator[Service]:
    """`serve` as a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "service.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "facefusion_runner", "serve"],
            env=environment(folder, **settings),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Service(listening(child, log), folder / "cache")
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def listening(child: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the service says it listens on."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("{") and (found := json.loads(line)).get("event") == "listening":
                return str(found["url"])
        time.sleep(0.1)
    raise AssertionError(f"the service did not start:\n{log.read_text()}")
