"""What a service does before it takes up work: the last one may have been killed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from facefusion_runner.cache.root import prepare_root
from facefusion_runner.settings import ServiceSettings
from facefusion_runner.tasks.ending import finish, kept_files
from facefusion_runner.tasks.files import TaskFiles
from facefusion_runner.tasks.store import TaskStore
from facefusion_runner.tasks.supervisor import RETRIES, discard_cache
from facefusion_runner.tasks.task import Outcome, State, Task
from sweeper.settings import read_settings

_SWEEP_SECONDS: Final = 120

_log = logging.getLogger(__name__)


def recover(
    settings: ServiceSettings,
    store: TaskStore,
    files: TaskFiles,
    record: Callable[[Task, State, Outcome], None],
) -> list[Task]:
    """Queues again what was being worked on, deletes what nobody knows, and sweeps.

    Gives the tasks that have ended by this; `record` is told of each before. Raises StorageError, and
    ConfigError for a CACHE_ROOT in which nothing may be deleted.
    """
    prepare_root(settings.cache_root).close()
    ended = []

    def end(task: Task, state: State, outcome: Outcome) -> None:
        record(task, state, outcome)
        finished = finish(store, files, task, state, outcome, settings.result_ttl_seconds)
        if finished is not None:
            ended.append(finished)
        discard_cache(settings, task.id)

    for task, state, outcome in store.concluded():
        end(task, state, outcome)
    for task in store.in_state("running"):
        if task.attempts > RETRIES:
            message = f"the service ended {task.attempts} times while it worked on the task"
            error = {"code": "worker_died", "message": message, "detail": {"attempts": task.attempts}}
            end(task, "failed", Outcome(error=error))
        else:
            _log.warning("task %s was cut short; it is worked on again", task.id)
            store.requeue(task.id, counted=True)
    files.delete_strangers(store.ids())
    for task in store.in_state("succeeded", "failed", "cancelled"):
        # A queued task that was cancelled is known to have ended before its files are deleted.
        files.delete_all_but(task.id, kept_files(task, task.state))
    _sweep(settings, [task.id for task in store.in_state("queued")])
    return ended


def sweeper_metrics(settings: ServiceSettings) -> Path | None:
    """Where the sweeper writes what it did; None where it keeps nothing."""
    root = read_settings(_environment(settings, [])).state_root
    return None if root is None else Path(root) / "sweeper.prom"


def _sweep(settings: ServiceSettings, kept: list[str]) -> None:
    if not settings.auto_clear_cache:
        return
    command = [sys.executable, "-m", "sweeper", "--start-up", "--json"]
    try:
        subprocess.run(
            command,
            env=_environment(settings, kept),
            stdout=subprocess.DEVNULL,
            timeout=_SWEEP_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("the sweep before the start failed: %s", error)


def _environment(settings: ServiceSettings, kept: list[str]) -> dict[str, str]:
    """The settings as the sweeper reads them; it leaves the caches of the tasks `kept`."""
    state_root = settings.sweep_state_root
    return {
        **os.environ,
        "CACHE_ROOT": str(settings.cache_root),
        "CACHE_SHARED": str(settings.cache_shared).lower(),
        "TASK_ID": ",".join(kept),
        **({} if state_root is None else {"SWEEP_STATE_ROOT": str(state_root)}),
    }
