"""Containers as a user runs them: with the docker command, and nothing of them left when a test ends."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

CACHE = "/tmp/facefusion/cache"


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    code: int
    out: str
    err: str


def docker(*arguments: str | Path, check: bool = True, timeout: float = 600) -> str:
    """Runs one docker command; returns its standard output."""
    result = subprocess.run(
        ["docker", *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert not check or result.returncode == 0, f"docker {arguments[0]}: {result.stderr}"
    return result.stdout


@dataclass(frozen=True)
class Container:
    """One that was started in the background."""

    name: str

    def inspect(self) -> dict[str, Any]:
        return dict(json.loads(docker("inspect", self.name))[0])

    def running(self) -> bool:
        return bool(self.inspect()["State"]["Running"])

    def logs(self) -> str:
        """Standard output and error together."""
        result = subprocess.run(
            ["docker", "logs", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return result.stdout

    def events(self) -> list[dict[str, Any]]:
        """What the sweeper and the runner's --progress json said, a line each."""
        lines = (line for line in self.logs().splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]

    def run(self, script: str, user: str = "10001") -> str:
        """Runs a shell script in the container."""
        return docker("exec", "--user", user, self.name, "sh", "-c", script)

    def processes(self) -> list[tuple[int, str, int]]:
        """User, command line and number of every process."""
        script = (
            "for p in /proc/[0-9]*; do"
            " [ -e $p/cmdline ] && echo $(stat -c %u $p) ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline); done"
        )
        rows = [line.split(maxsplit=2) for line in self.run(script, user="0").splitlines()]
        return [(int(uid), command, int(pid)) for uid, pid, command in (row for row in rows if len(row) == 3)]

    def kill(self, command: str) -> None:
        """Kills every process whose command line has this in it."""
        numbers = [str(pid) for _, line, pid in self.processes() if command in line and "/proc/" not in line]
        assert numbers, f"no {command} among {self.processes()}"
        self.run(f"kill -KILL {' '.join(numbers)}", user="0")

    def tasks(self) -> list[str]:
        """The task caches that are there."""
        return self.run(f"ls {CACHE}").split()

    def stop(self, grace: int = 10) -> float:
        """Stops it as `docker stop` does; returns the seconds from the signal to the end of PID 1.

        After `grace` seconds it is killed, and its exit code is 137.
        """
        before = time.time()
        docker("stop", "--time", str(grace), self.name)
        finished = datetime.fromisoformat(self.inspect()["State"]["FinishedAt"])
        return finished.timestamp() - before

    def wait(self, timeout: float) -> int:
        """Waits for the container's own end; returns its exit code."""
        return int(docker("wait", self.name, timeout=timeout))


def run(
    image: str, *command: str, options: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Ended:
    """Runs a container to its end."""
    name = _name()
    try:
        result = subprocess.run(
            ["docker", "run", "--rm", "--name", name, *_options(options, env), image, *command],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except subprocess.TimeoutExpired:
        docker("rm", "--force", name)
        raise
    return Ended(result.returncode, result.stdout, result.stderr)


@contextmanager
def started(
    image: str, *command: str, options: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Iterator[Container]:
    """A container in the background; it and its anonymous volumes are removed at the end."""
    name = _name()
    docker("run", "--detach", "--name", name, *_options(options, env), image, *command)
    try:
        yield Container(name)
    finally:
        docker("rm", "--force", "--volumes", name)


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)


def _name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def _options(options: Sequence[str], env: Mapping[str, str] | None) -> list[str]:
    pairs = [f"--env={name}={value}" for name, value in (env or {}).items()]
    return ["--network=none", *options, *pairs]
