"""Hands queued tasks to worker processes and sees each to its end, whatever happens to the process.

A task whose worker died is worked on again, from its finished stretches where its cache still has them, at
most `RETRIES` times. A task that is cancelled, or runs longer than it may, is asked to end and, when it does
not, killed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from facefusion_runner.cache.lease import TaskBusy
from facefusion_runner.cache.task_cache import CachePolicy, TaskCache
from facefusion_runner.cores import available_cores
from facefusion_runner.errors import RunnerError, StorageError
from facefusion_runner.loading import Loaded
from facefusion_runner.settings import ServiceSettings, Settings
from facefusion_runner.tasks.ending import finish
from facefusion_runner.tasks.files import TaskFiles
from facefusion_runner.tasks.live import Live
from facefusion_runner.tasks.process import Event, WorkerDied, WorkerProcess
from facefusion_runner.tasks.store import TaskStore
from facefusion_runner.tasks.task import Outcome, State, Task

RETRIES: Final = 2
"""How often a task is begun again after its worker died."""
CANCEL_SECONDS: Final = 10.0
"""A cancelled worker that has not ended by then is killed; it deletes its cache itself in less than that."""
_PAUSE_SECONDS: Final = 5.0
"""After the store or the system failed."""
RECYCLE_TASKS: Final = 200
"""After so many tasks a worker is replaced: what its libraries have kept goes back to the system."""

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Is told of tasks as they begin and end; must not block, but for `record`."""

    def record(self, task: Task, state: State, outcome: Outcome) -> None:
        """Called from a thread before the task is known to have ended. StorageError spoils a success."""
        ...

    def began(self, task: Task) -> None: ...

    def ended(self, task: Task, report: Event) -> None:
        """`report`: the worker's last event; empty where it gave none."""
        ...

    def worker_died(self) -> None: ...


class _Slot:
    """One worker and the task it has."""

    def __init__(self) -> None:
        self.starting: asyncio.Task[WorkerProcess] | None = None
        self.worker: WorkerProcess | None = None
        self.work = asyncio.Event()
        """There may be a task for it."""
        self.task: Task | None = None
        self.tasks_done = 0
        self.cancelled = False
        self.timed_out = False


class Supervisor:
    """Belongs to one event loop."""

    def __init__(
        self,
        loaded: Loaded[ServiceSettings],
        store: TaskStore,
        files: TaskFiles,
        live: Live,
        observer: Observer,
    ) -> None:
        self._loaded = loaded
        self._settings = loaded.settings
        self._store = store
        self._files = files
        self._live = live
        self._observer = observer
        self._slots = [_Slot() for _ in range(self._settings.workers)]
        self._loops: list[asyncio.Task[None]] = []
        self._draining = asyncio.Event()
        self._halted = False
        self.problem: str | None = None
        """Why no task can be worked on now."""

    def start(self) -> None:
        self._loops = [asyncio.create_task(self._serve(slot)) for slot in self._slots]

    async def stop(self, grace: float) -> None:
        """Begins no further task, lets running ones go on for `grace` seconds, then interrupts them.

        An interrupted task is queued again, and its cache stays for the next service to go on from.
        """
        self._draining.set()
        self.wake()
        for slot in self._slots:
            if slot.starting is not None:
                slot.starting.cancel()
        if self._loops:
            await asyncio.wait(self._loops, timeout=grace)
        self._halted = True
        for slot in self._slots:
            if slot.task is not None and slot.worker is not None:
                _log.warning("task %s is interrupted; the next start goes on with it", slot.task.id)
                slot.worker.kill()
        for loop in self._loops:
            with suppress(Exception):
                await loop

    def wake(self) -> None:
        """A task has been queued."""
        for slot in self._slots:
            slot.work.set()

    async def cancel(self, task_id: str) -> None:
        """Ends a queued task, and asks a running one to end."""
        # First of all: it is not worked on again, should the service be killed now.
        with suppress(StorageError):
            await asyncio.to_thread(self._store.conclude, task_id, "cancelled", Outcome())
        while not self._cancel_running(task_id):
            task = await asyncio.to_thread(self._store.cancel, task_id, self._settings.result_ttl_seconds)
            if task is not None:
                with suppress(StorageError):
                    await asyncio.to_thread(self._observer.record, task, "cancelled", Outcome())
                await asyncio.to_thread(self._files.delete_all_but, task_id, [])
                await asyncio.to_thread(discard_cache, self._settings, task_id)
                self._observer.ended(task, {})
                self._live.changed(task_id)
                return
            found = await asyncio.to_thread(self._store.get, task_id)
            if found is None or found.is_final:
                return
            # It is on its way from the queue to a worker, or back.
            await asyncio.sleep(0.02)

    def _cancel_running(self, task_id: str) -> bool:
        for slot in self._slots:
            if slot.task is not None and slot.task.id == task_id and slot.worker is not None:
                if not slot.cancelled:
                    slot.cancelled = True
                    self._end(slot.worker)
                return True
        return False

    def workers(self) -> list[WorkerProcess]:
        return [slot.worker for slot in self._slots if slot.worker is not None]

    def busy(self) -> int:
        return sum(slot.task is not None for slot in self._slots)

    async def _serve(self, slot: _Slot) -> None:
        try:
            while not self._draining.is_set():
                try:
                    await self._once(slot)
                    continue
                except RunnerError as error:
                    # The store, the device or the system failed, not a task: what is queued stays queued.
                    self.problem = f"no task can be worked on now: {error}"
                    _log.error(self.problem)
                except Exception:
                    _log.exception("a worker's loop failed")
                await _wait(self._draining, _PAUSE_SECONDS)
        finally:
            await self._dismiss(slot)

    async def _once(self, slot: _Slot) -> None:
        if slot.worker is None or not slot.worker.is_alive:
            await self._dismiss(slot)
            slot.worker = await self._started(slot)
        self.problem = None
        slot.work.clear()
        if self._draining.is_set() or slot.worker is None:
            return
        task = await asyncio.to_thread(self._store.claim)
        if task is None:
            await _wait(slot.work, 60)
        elif self._halted:
            await asyncio.to_thread(self._store.requeue, task.id, counted=False)
        else:
            await self._attend(slot, task, slot.worker)
            slot.tasks_done += 1
            # One that was told to end is on its way out, and not for another task.
            if slot.tasks_done >= RECYCLE_TASKS or slot.cancelled or slot.timed_out:
                await self._dismiss(slot)

    async def _started(self, slot: _Slot) -> WorkerProcess | None:
        """None where the service ends meanwhile. Raises WorkerDied."""
        slot.starting = asyncio.create_task(WorkerProcess.start(self._settings.device, self.threads))
        try:
            await asyncio.wait([slot.starting])
            return None if slot.starting.cancelled() else slot.starting.result()
        finally:
            slot.starting = None

    @property
    def threads(self) -> int:
        """Of one worker: the cores are shared out unless THREADS says otherwise."""
        return self._settings.threads or max(available_cores() // self._settings.workers, 1)

    async def _dismiss(self, slot: _Slot) -> None:
        worker, slot.worker, slot.tasks_done = slot.worker, None, 0
        if worker is not None:
            await worker.close()

    async def _attend(self, slot: _Slot, task: Task, worker: WorkerProcess) -> None:
        slot.task, slot.cancelled, slot.timed_out = task, False, False
        running = self._live.begin(task.id)
        self._observer.began(task)
        limit = self._settings.task_time_limit_seconds
        timer = asyncio.get_running_loop().call_later(limit, self._time_out, slot) if limit else None

        def on_event(event: Event) -> None:
            if event["event"] == "progress":
                running.report({name: value for name, value in event.items() if name != "event"})
            elif event["event"] == "warning" and event["message"] not in running.warnings:
                running.warnings.append(event["message"])
            elif event["event"] == "device":
                _log.warning("worker %d: %s", worker.pid, event["message"])
            self._live.changed(task.id)

        try:
            report = await worker.run(self._job(task), self._files.folder(task.id), on_event)
        except WorkerDied as death:
            await self._after_death(slot, task, death)
        else:
            await self._after_end(slot, task, report, running.warnings)
        finally:
            if timer is not None:
                timer.cancel()
            slot.task = None
            self._live.end(task.id)

    def _time_out(self, slot: _Slot) -> None:
        if slot.worker is not None and slot.task is not None:
            slot.timed_out = True
            self._end(slot.worker)

    def _end(self, worker: WorkerProcess) -> None:
        worker.cancel()
        asyncio.get_running_loop().call_later(CANCEL_SECONDS, worker.kill)

    async def _after_end(self, slot: _Slot, task: Task, report: Event, warnings: list[str]) -> None:
        if report["event"] == "done":
            outcome = Outcome(
                frames=report["frames"],
                faces=report["faces"],
                bytes=report["bytes"],
                sha256=report["sha256"],
                timings=report["timings"],
                stages=report["stages"],
                warnings=tuple(report["warnings"]),
            )
            await self._finish(task, "succeeded", outcome, report)
        elif slot.timed_out or slot.cancelled:
            await self._finish_stopped(slot, task, warnings)
        elif report["error"]["code"] == TaskBusy.code:
            # The process that worked on it before has not quite ended yet.
            await asyncio.sleep(1)
            await self._insist(self._store.requeue, task.id, counted=False)
        else:
            outcome = Outcome(warnings=tuple(warnings), error=report["error"])
            await self._finish(task, "failed", outcome, report)

    async def _after_death(self, slot: _Slot, task: Task, death: WorkerDied) -> None:
        if slot.cancelled or slot.timed_out:
            await asyncio.to_thread(discard_cache, self._settings, task.id)
            await self._finish_stopped(slot, task, [])
        elif self._draining.is_set():
            await asyncio.to_thread(self._store.requeue, task.id, counted=False)
        else:
            self._observer.worker_died()
            if task.attempts > RETRIES:
                await asyncio.to_thread(discard_cache, self._settings, task.id)
                error = {"code": death.code, "message": str(death), "detail": {"attempts": task.attempts}}
                await self._finish(task, "failed", Outcome(error=error), {})
            else:
                _log.warning("task %s: %s; it is worked on again", task.id, death)
                await self._insist(self._store.requeue, task.id, counted=True)

    async def _finish_stopped(self, slot: _Slot, task: Task, warnings: list[str]) -> None:
        if slot.timed_out:
            limit = self._settings.task_time_limit_seconds
            message = f"the task took longer than the {limit:g} s that it may"
            error = {"code": "time_limit", "message": message, "detail": None}
            await self._finish(task, "failed", Outcome(warnings=tuple(warnings), error=error), {})
        else:
            await self._finish(task, "cancelled", Outcome(warnings=tuple(warnings)), {})

    async def _finish(self, task: Task, state: State, outcome: Outcome, report: Event) -> None:
        try:
            await asyncio.to_thread(self._observer.record, task, state, outcome)
        except StorageError as error:
            _log.error("task %s: %s", task.id, error)
            if state == "succeeded":
                problem = {"code": error.code, "message": str(error), "detail": None}
                state, outcome = "failed", Outcome(warnings=outcome.warnings, error=problem)
        ttl = self._settings.result_ttl_seconds
        finished = await self._insist(finish, self._store, self._files, task, state, outcome, ttl)
        if finished is not None:
            self._observer.ended(finished, report)

    async def _insist(self, work: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Does it in a thread, again and again while the disk fails: what is known of a task must not get
        lost. Raises StorageError when the service ends meanwhile; the next one finds the task at work."""
        while True:
            try:
                return await asyncio.to_thread(work, *arguments, **more)
            except StorageError as error:
                if self._draining.is_set():
                    raise
                _log.error("%s; tried again in %g s", error, _PAUSE_SECONDS)
                await _wait(self._draining, _PAUSE_SECONDS)

    def _job(self, task: Task) -> dict[str, Any]:
        return {
            "job": "swap",
            "preview": str(self._files.preview(task.id)),
            "settings": task_settings(self._loaded, self._files, task, self.threads),
            "digest": self._settings.audit_log is not None,
        }


async def _wait(event: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()


def task_settings(
    loaded: Loaded[ServiceSettings], files: TaskFiles, task: Task, threads: int
) -> dict[str, Any]:
    """The settings of a task, as `Settings` takes them."""
    folder = files.folder(task.id)
    request = task.request
    # Nobody but the service looks at a task's cache, so that there is nothing to wait for.
    is_default = loaded.origins["cache_grace_seconds"].level == "default"
    grace = {"cache_grace_seconds": 0} if is_default else {}
    reference = None if request.reference is None else str(folder / request.reference)
    return {
        **common_settings(loaded),
        # The output's format is an option of the service; a task has it in its output's name.
        **{name: value for name, value in request.options.items() if name in Settings.model_fields},
        **grace,
        "threads": threads,
        "task_id": task.id,
        "source": [str(folder / name) for name in request.sources],
        "target": str(folder / request.target_file),
        "reference": reference,
        "output": str(folder / request.output),
        "overwrite": True,
    }


def common_settings(loaded: Loaded[ServiceSettings]) -> dict[str, Any]:
    """The service's own settings that its tasks share, as they were given."""
    return {
        name: origin.raw
        for name, origin in loaded.origins.items()
        if origin.level != "default" and name in Settings.model_fields
    }


def discard_cache(settings: ServiceSettings, task_id: str) -> None:
    """Deletes what a killed worker has left of a task's cache, unless it is to be kept."""
    if not settings.auto_clear_cache or settings.cache_keep != "never":
        return
    policy = CachePolicy(grace_seconds=0, ttl=settings.cache_ttl_seconds, shared=settings.cache_shared)
    # A worker that was just killed may hold its lock for another moment.
    for _ in range(20):
        try:
            with TaskCache(settings.cache_root, task_id, policy, adopt=True):
                return
        except RunnerError as error:
            problem = error
            time.sleep(0.1)
    _log.warning("the cache of task %s is left to the sweeper: %s", task_id, problem)
