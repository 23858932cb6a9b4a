"""The end of a task, in steps of which each may be the service's last."""

from __future__ import annotations

from contextlib import suppress

from facefusion_runner.errors import StorageError
from facefusion_runner.tasks.files import PREVIEW, TaskFiles
from facefusion_runner.tasks.store import StoreFull, TaskStore
from facefusion_runner.tasks.task import Outcome, State, Task


def finish(
    store: TaskStore, files: TaskFiles, task: Task, state: State, outcome: Outcome, ttl: float
) -> Task | None:
    """Deletes all files but the result of a task that succeeded and its picture, then makes its end known.

    The end is settled before the inputs go, without which the task could not be worked on again. It is known
    after that: whoever sees the end sees the disk as it stays. None where it had ended before. May be called
    again after it failed. Raises StorageError.
    """
    if state == "succeeded":
        try:
            files.sync(task.id)
        except OSError as error:
            raise StorageError(f"the result of task {task.id} is not safe: {error.strerror}") from None
    # Where there is no room even for that, the inputs' room is needed.
    with suppress(StoreFull):
        store.conclude(task.id, state, outcome)
    files.delete_all_but(task.id, kept_files(task, state))
    return store.finish(task.id, state, outcome, ttl)


def kept_files(task: Task, state: State) -> list[str]:
    """Names of the files that stay when the task has ended."""
    return [task.request.output, PREVIEW] if state == "succeeded" else []
