"""The process that works on tasks: one job a line on standard input, events a line on standard output.

It is a process of its own so that a codec or a network that crashes takes nothing with it but its task. When
the service is gone (end of input) it ends at once and leaves the task's cache, from which the next service
goes on. SIGTERM cancels the job, as it cancels a `swap`.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import IO, Any, NoReturn

from facefusion_runner import logs
from facefusion_runner.errors import RunnerError
from facefusion_runner.progress import JsonReporter
from facefusion_runner.signals import Stop, StopOnSignal

Job = dict[str, Any]


def main() -> NoReturn:
    events = _take_stdout()
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    try:
        worker = _Worker(events, sys.argv[1], int(sys.argv[2]))
    except RunnerError as error:
        _send(events, _failure(error, error.code, str(error)))
        sys.exit(error.exit_code)
    threading.Thread(target=_listen, args=(jobs,), name="jobs", daemon=True).start()
    worker.send({"event": "ready"})
    while True:
        if worker.do(jobs.get()):
            # A signal ended the job: the settings of a task say what a second one does, so begin afresh.
            sys.exit(0)


def _take_stdout() -> IO[str]:
    """What libraries print goes to standard error; only events go to standard output."""
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return events


def _send(events: IO[str], event: dict[str, Any]) -> None:
    print(json.dumps(event), file=events, flush=True)


def _listen(jobs: queue.SimpleQueue[Job]) -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(1)


class _Worker:
    def __init__(self, events: IO[str], device: str, threads: int) -> None:
        # What takes time is loaded before the first job.
        from facefusion_runner.models.reused_sessions import ReusedSessions
        from facefusion_runner.models.session import SessionFactory
        from facefusion_runner.pipeline import run
        from facefusion_runner.tasks import jobs

        self._events = events
        self._jobs = jobs
        self._run = run
        factory = SessionFactory(device, threads, warn=self._tell_of_device)
        factory.check_device()
        self._sessions = ReusedSessions(factory)

    def send(self, event: dict[str, Any]) -> None:
        _send(self._events, event)

    def _tell_of_device(self, message: str) -> None:
        """That the GPU is not used is for whoever runs the service, not for its clients."""
        self.send({"event": "device", "message": message})

    def do(self, job: Job) -> bool:
        """Does one job, which ends in an event `done` or `error`; True when a signal came meanwhile."""
        stop = Stop()
        with (
            StopOnSignal(stop),
            JsonReporter(self._events) as reporter,
            logs.shown("warning", reporter),
        ):
            try:
                answer = {"event": "done", **self._do(job, reporter, stop)}
            except RunnerError as error:
                answer = _failure(error, error.code, str(error))
            except Exception as error:
                answer = _failure(error, "defect", f"this is a defect: {type(error).__name__}: {error}")
        self.send(answer)
        return stop.is_set()

    def _do(self, job: Job, reporter: JsonReporter, stop: Stop) -> dict[str, Any]:
        kind = job["job"]
        if kind == "swap":
            try:
                return self._swap(job, reporter, stop)
            finally:
                self._sessions.end()
        if kind == "inspect":
            limits = self._jobs.Limits(**job["limits"])
            folder = Path(job["folder"])
            return self._jobs.inspect(job["settings"], folder, job["target"], job["format"], limits)
        settings = self._settings(job)
        path = Path(job["picture"])
        return self._jobs.find_faces(settings, path, job["seconds"], self._sessions, job["max_pixels"])

    def _swap(self, job: Job, reporter: JsonReporter, stop: Stop) -> dict[str, Any]:
        settings = self._settings(job)
        result = self._run.swap(
            settings, reporter, stop, sessions=self._sessions, preview=Path(job["preview"])
        )
        return {
            "frames": result.frames,
            "faces": result.faces,
            "bytes": result.output.stat().st_size,
            "sha256": _sha256(result.output) if job["digest"] else None,
            "timings": dict(result.phase_seconds),
            "stages": dict(result.stage_seconds),
            "networks": {
                name: {"seconds": seconds, "calls": result.network_calls[name]}
                for name, seconds in result.network_seconds.items()
            },
            "loads": dict(result.load_seconds),
            "warnings": list(result.warnings),
        }

    def _settings(self, job: Job) -> Any:
        from facefusion_runner.settings import Settings

        return Settings(**job["settings"])


def _failure(error: Exception, code: str, message: str) -> dict[str, Any]:
    detail = getattr(error, "detail", None)
    exit_code = error.exit_code if isinstance(error, RunnerError) else 1
    return {
        "event": "error",
        "exit_code": exit_code,
        "error": {"code": code, "message": " ".join(message.split()), "detail": detail},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
