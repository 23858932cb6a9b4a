"""A worker process, as the service sees it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from facefusion_runner.errors import DeviceError, RunnerError

_LONGEST_EVENT: Final = 64 << 20
"""Bytes of one line; thumbnails of many faces come in one."""
NICENESS: Final = 5
"""So that the service answers while all cores work."""

_log = logging.getLogger(__name__)

Event = dict[str, Any]


class WorkerDied(RunnerError):
    """The process ended in the middle of a job."""

    code = "worker_died"


class WorkerProcess:
    """One process, one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last_words: deque[str] = deque(maxlen=5)
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, device: str, threads: int, niceness: int = NICENESS) -> Self:
        """Returns when the process is ready. Raises WorkerDied, and DeviceError for an unusable device."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "facefusion_runner.tasks.worker", device, str(threads)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_EVENT,
            # Ctrl-C at a terminal is for the service, which tells its workers itself.
            start_new_session=True,
        )
        worker = cls(process)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
        try:
            first = await worker._next_event()
            if first["event"] == "error":
                raise DeviceError(first["error"]["message"])
        except BaseException:
            worker.kill()
            raise
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def run(self, job: dict[str, Any], folder: Path, on_event: Callable[[Event], None]) -> Event:
        """Does a job and gives its last event, `done` or `error`. Raises WorkerDied.

        Messages name the files of the job's `folder` without it, as the client knows them. When the caller is
        cancelled the process is in an unknown state: `kill` it.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise await self._death() from None
        while True:
            event = await self._next_event(f"{folder}/")
            if event["event"] in ("done", "error"):
                return event
            on_event(event)

    def cancel(self) -> None:
        """The job ends in order, as `swap` does at SIGTERM, and the process with it."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """The process ends now and leaves what it has on disk."""
        self._signal(signal.SIGKILL)

    async def close(self) -> None:
        """Ends an idle process, and waits for one that was killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._listener

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _next_event(self, hidden: str = "\0") -> Event:
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
            if line.endswith(b"\n"):
                event: Event = json.loads(line.decode().replace(json.dumps(hidden)[1:-1], ""))
                return event
        except ValueError:
            # No event, or one without an end: whatever wrote it, it is no worker any more.
            self.kill()
        raise await self._death()

    async def _death(self) -> WorkerDied:
        code = await self._process.wait()
        await self._listener
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        words = f": {self._last_words[-1]}" if self._last_words else ""
        return WorkerDied(f"the worker process ended with {how}{words}")

    async def _listen(self) -> None:
        """What libraries complain of; the last of it may say why a process died."""
        assert self._process.stderr is not None
        with suppress(ValueError):
            async for line in self._process.stderr:
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._last_words.append(text)
                    _log.debug("worker %d: %s", self.pid, text)


def resident_bytes(pid: int) -> int:
    """Physical memory of a process; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
