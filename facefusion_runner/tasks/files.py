"""DATA_ROOT: the store, each task's inputs and result, and what is being uploaded.

    lock            held by the one service that uses this folder
    tasks.sqlite3   see `store`
    secret          32 random bytes that sign the download links
    incoming/       uploads that are no task yet; emptied at start
    tasks/<id>/     inputs until the task has ended, then its result and a small picture of it

What is deleted goes first by one rename into `incoming/`, so that no half of a task is ever met.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from facefusion_runner.errors import ConfigError, StorageError

PREVIEW: Final = "preview.jpg"
"""A small picture of the newest frame, in the task's folder; it stays beside the result."""


class TaskFiles:
    """Opening the block locks the folder. Raises StorageError, ConfigError where another service has it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.store = self.root / "tasks.sqlite3"
        self._incoming = self.root / "incoming"
        self._tasks = self.root / "tasks"
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"DATA_ROOT={self.root} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for folder in (self._incoming, self._tasks):
                folder.mkdir(mode=0o700, exist_ok=True)
            self._empty_incoming()
        except BlockingIOError:
            os.close(self._lock)
            raise ConfigError(
                f"DATA_ROOT={self.root} is in use by another service; give each its own"
            ) from None
        except OSError as error:
            os.close(self._lock)
            raise StorageError(f"DATA_ROOT={self.root} cannot be used: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def secret(self) -> bytes:
        """Made at the first call and kept. Raises StorageError."""
        path = self.root / "secret"
        try:
            if path.exists():
                return path.read_bytes()
            aside = path.with_suffix(".partial")
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
            os.replace(aside, path)
            return path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path} cannot be used: {error.strerror}") from None

    def new_upload(self) -> Path:
        """An empty folder of its own. Raises OSError."""
        return Path(tempfile.mkdtemp(dir=self._incoming))

    def accept(self, upload: Path, task_id: str) -> None:
        """An upload becomes the folder of a task. Raises OSError, where there is one already, too."""
        _sync(upload)
        os.rename(upload, self.folder(task_id))
        _sync(self._tasks)

    def sync(self, task_id: str) -> None:
        """The files that are in the task's folder stay there, even when the power fails. Raises OSError."""
        _sync(self.folder(task_id))

    def folder(self, task_id: str) -> Path:
        return self._tasks / task_id

    def preview(self, task_id: str) -> Path:
        return self.folder(task_id) / PREVIEW

    def delete(self, task_id: str) -> None:
        """The task's folder with all that is in it."""
        aside = self._incoming / secrets.token_hex(16)
        try:
            os.rename(self.folder(task_id), aside)
        except OSError:
            aside = self.folder(task_id)
        shutil.rmtree(aside, ignore_errors=True)

    def delete_all_but(self, task_id: str, kept: Iterable[str]) -> None:
        """Deletes what is in the task's folder but the files `kept`."""
        names = set(kept)
        try:
            present = os.listdir(self.folder(task_id))
        except OSError:
            return
        for name in present:
            if name not in names:
                (self.folder(task_id) / name).unlink(missing_ok=True)

    def delete_strangers(self, known: Collection[str]) -> None:
        """Folders of tasks that the store does not know: deleted tasks, or uploads cut short."""
        for name in os.listdir(self._tasks):
            if name not in known:
                self.delete(name)

    def _empty_incoming(self) -> None:
        for name in os.listdir(self._incoming):
            shutil.rmtree(self._incoming / name, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
