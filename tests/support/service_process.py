"""The service as a user runs it: `serve` in a process of its own, on a free port, with folders of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from facefusion_runner.cache.root import MARKER

REPOSITORY = Path(__file__).resolve().parents[2]

FINAL = ("succeeded", "failed", "cancelled")
PATIENCE = 120.0
"""Seconds that a small task may take on a busy machine."""
ENDING = 15.0
"""Seconds within which a service that was told to end has ended."""

JsonObject = dict[str, Any]


@dataclass
class Service:
    """One that runs."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path
    client: httpx.Client = field(repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def log(self) -> Path:
        return self.folder / "service.log"

    def events(self, name: str | None = None) -> list[JsonObject]:
        """The log's lines, of one kind or all."""
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [event for event in found if name in (None, event["event"])]

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def post(self, files: Any, options: JsonObject | None = None, **more: Any) -> httpx.Response:
        """POST /v1/tasks; `files` as httpx takes them: a mapping or a list of pairs, paths allowed."""
        pairs = files.items() if isinstance(files, dict) else files
        parts = [(name, _content(value)) for name, value in pairs]
        fields = more.pop("data", {})
        if options is not None:
            fields = {**fields, "options": json.dumps(options)}
        return self.client.post("/v1/tasks", files=parts, data=fields, **more)

    def make(self, files: Any, options: JsonObject | None = None, **more: Any) -> JsonObject:
        """A task that is taken."""
        answer = self.post(files, options, **more)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def get(self, task_id: str, **more: Any) -> JsonObject:
        answer = self.client.get(f"/v1/tasks/{task_id}", **more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(
        self, task_id: str, *states: str, headers: dict[str, str] | None = None, seconds: float = PATIENCE
    ) -> JsonObject:
        """The task when it is in one of the states, which are the final ones unless others are named."""
        wanted = states or FINAL
        deadline = time.monotonic() + seconds
        while True:
            task = self.get(task_id, headers=headers)
            if task["state"] in wanted:
                return task
            assert task["state"] not in FINAL, task
            assert time.monotonic() < deadline, f"still {task['state']}: {task}"
            time.sleep(0.05)

    def leftovers(self) -> list[str]:
        """What is in the cache and among the uploads that belongs to no task at work."""
        found = []
        if self.cache.exists():
            found += [str(path) for path in self.cache.iterdir() if path.name not in (MARKER, ".trash")]
        for folder in (self.cache / ".trash", self.data / "incoming"):
            found += [str(path) for path in folder.iterdir()] if folder.exists() else []
        return sorted(found)

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

    def wait_until_clean(self, seconds: float = 10) -> None:
        """Nothing of an ended task or of a refused request is there any more."""
        eventually(lambda: self.leftovers() == [], seconds, self.leftovers)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Nothing but what Python needs; all that a service writes lies below `folder`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "DEVICE": "cpu",
        "PORT": "0",
        "DATA_ROOT": str(folder / "data"),
        "CACHE_ROOT": str(folder / "cache"),
        "SWEEP_STATE_ROOT": str(folder / "sweeper"),
        "MODEL_ROOT": str(folder / "models"),
        # The machine that tests may have any disk.
        "CACHE_MAX_USAGE_PERCENT": "100",
        "LOG_FORMAT": "json",
        **settings,
    }


@contextmanager
def running_service(folder: Path, **settings: str) -> Iterator[Service]:
    """Runs `serve` until the block ends; then it must end in time, in order, and with its processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "facefusion_runner", "serve"],
            env=environment(folder, **settings),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = listening(process, folder / "service.log")
        with httpx.Client(base_url=url, timeout=60) as client:
            yield Service(url, process, folder, client)
    except BaseException:
        _kill(process)
        raise
    _end(process, folder / "service.log")


def listening(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the service says it listens on, once it answers there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("{") and (found := json.loads(line)).get("event") == "listening":
                url = str(found["url"]).replace("//0.0.0.0:", "//127.0.0.1:")
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{url}/healthz", timeout=5).status_code == 200:
                        return url
        time.sleep(0.05)
    raise AssertionError(f"the service did not start:\n{log.read_text()}")


def _end(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise AssertionError(
            f"it did not end within {ENDING:g} s of SIGTERM:\n{log.read_text()[-4000:]}"
        ) from None
    _, left = psutil.wait_procs(children, timeout=2)
    for child in left:
        child.kill()
    assert not left, f"it left processes: {left}"
    assert process.returncode == 0, f"exit code {process.returncode}:\n{log.read_text()[-4000:]}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        for each in [psutil.Process(process.pid), *children]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()


def eventually(
    holds: Callable[[], bool], seconds: float = 10, show: Callable[[], Any] = lambda: "it never came true"
) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, show()
        time.sleep(0.05)


def _content(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name, value.read_bytes()
    return value


def watch(service: Service, task_id: str, **more: Any) -> Iterator[tuple[str, JsonObject]]:
    """Name and data of each event until the stream ends."""
    with service.client.stream("GET", f"/v1/tasks/{task_id}/events", **more) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        name, data = "message", list[str]()
        for line in answer.iter_lines():
            if not line and data:
                yield name, json.loads("\n".join(data))
                name, data = "message", []
            elif line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data.append(line[5:].strip())


@dataclass(frozen=True)
class Key:
    entry: str
    """NAME:SHA256."""
    value: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"}


def new_key(name: str, folder: Path) -> Key:
    """Made as an operator makes one."""
    made = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "keys", "new", name],
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return Key(made.stdout.strip(), made.stderr.strip())
