"""A task's cache from its start to its end, whichever end that is."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from facefusion_runner.cache.heartbeat import Heartbeat, heartbeat_interval
from facefusion_runner.cache.lease import Lease
from facefusion_runner.cache.removal import Removal, remove_tree, trash, trash_name
from facefusion_runner.cache.root import CacheRoot, prepare_root
from facefusion_runner.errors import Cancelled, ConfigError, StorageError

Keep = Literal["never", "on-failure", "always"]

ARTIFACTS: Final = ("frames", "crops", "landmarks", "embeddings", "masks", "transforms", "swapped")
"""The intermediates that can be written for inspection."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """The CACHE_* settings that concern one task."""

    auto_clear: bool = True
    keep: Keep = "never"
    grace_seconds: float = 2.0
    ttl: float = 300.0
    """Seconds."""
    shared: bool = False
    artifacts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = sorted(self.artifacts.difference(ARTIFACTS))
        if unknown:
            allowed = ", ".join(ARTIFACTS)
            raise ConfigError(f"CACHE_ARTIFACTS={','.join(unknown)} is unknown; allowed are {allowed}")


class TaskCache:
    """The directory of one task, as a context manager.

    Inside the block `path` is a directory of mode 0700 that nobody deletes. At the block's end it is
    removed: after the grace period when the block succeeded, at once when it did not. The policy may
    say that it stays; then the lease is given back and the sweeper's TTL applies.

    A forked child may leave the block or exit without harm to its parent's directory.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        task_id: str,
        policy: CachePolicy | None = None,
        *,
        adopt: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        """`adopt`: go on with the files of a crashed task of this id. `stop`: cuts the grace period short.

        Entering the block raises UnsafeRoot, RootUnavailable, ConfigError, InputError, TaskBusy and
        StorageError.
        """
        self.task_id = task_id
        self.policy = policy or CachePolicy()
        self.removal: Removal | None = None
        """What the removal did, once it has happened."""
        self._root_path = root
        self._adopt = adopt
        self._stop = stop
        self._trash_name = trash_name(task_id)
        self._pid = os.getpid()
        self._root: CacheRoot | None = None
        self._lease: Lease | None = None
        self._heartbeat: Heartbeat | None = None
        self._abandoned = False

    @property
    def path(self) -> Path:
        if self._root is None:
            raise RuntimeError(f"the cache of task {self.task_id} is not open")
        return Path(self._root.path, self.task_id)

    @property
    def fds(self) -> tuple[int, ...]:
        """Descriptors for `pass_fds`: while a child has them, the task is alive."""
        if self._lease is None:
            raise RuntimeError(f"the cache of task {self.task_id} is not open")
        return self._lease.fds

    def artifact_dir(self, name: str) -> Path | None:
        """Where to write an intermediate for inspection; None when it was not asked for.

        Raises StorageError.
        """
        if name not in ARTIFACTS:
            raise ValueError(f"{name} is no artifact")
        if name not in self.policy.artifacts:
            return None
        path = self.path / name
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write to the task's cache: {path}: {error.strerror}") from error
        return path

    def __enter__(self) -> Self:
        self._pid = os.getpid()
        self._root = root = prepare_root(self._root_path)
        try:
            interval = heartbeat_interval(root, shared=self.policy.shared, ttl=self.policy.ttl)
            heartbeat_ttl = None if interval is None else self.policy.ttl
            atexit.register(self.abandon_now)
            self._lease = Lease.acquire(root, self.task_id, adopt=self._adopt, heartbeat_ttl=heartbeat_ttl)
            if interval is not None:
                self._heartbeat = Heartbeat(self._lease.fds[-1], interval)
        except BaseException:
            self._close(keep=False)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        keep = self._keeps(failed=_is_failure(error))
        try:
            if error is None and not keep and self._is_owner():
                self._wait_grace()
        finally:
            self._close(keep)

    def set_aside(self) -> None:
        """Rename the directory into `.trash`, which takes a fraction of a millisecond.

        For a signal's handler: takes no lock, may interrupt any other method, may be called again.
        The end of the block deletes what was set aside; the sweeper does when that is never reached.
        """
        self._abandoned = True
        root, lease = self._root, self._lease
        if root is None or lease is None or not self._is_owner() or self._keeps(failed=False):
            return
        if lease.holds_path():
            trash(root, self.task_id, self._trash_name)

    def abandon_now(self) -> None:
        """Set the directory aside and delete it, unless the policy keeps it; safe as `set_aside` is."""
        self.set_aside()
        if self._is_owner() and not self._keeps(failed=False):
            self._delete()

    def _is_owner(self) -> bool:
        return os.getpid() == self._pid

    def _keeps(self, *, failed: bool) -> bool:
        policy = self.policy
        return not policy.auto_clear or policy.keep == "always" or (failed and policy.keep == "on-failure")

    def _wait_grace(self) -> None:
        # Polls: waiting on an event that a signal's handler sets can block for ever, because the
        # handler may run while the waiter holds the event's own lock.
        end = time.monotonic() + self.policy.grace_seconds
        while (left := end - time.monotonic()) > 0:
            if self._abandoned or (self._stop is not None and self._stop.is_set()):
                return
            time.sleep(min(left, 0.05))

    def _delete(self) -> None:
        root, lease = self._root, self._lease
        if root is None or lease is None:
            return
        # The name may be another task's by now: it counts only while it leads to what is held here.
        if lease.holds_path():
            trash(root, self.task_id, self._trash_name)
        if lease.holds_path():
            removal = remove_tree(root.fd, self.task_id, root.mount)
        elif root.trash_fd is not None:
            removal = remove_tree(root.trash_fd, self._trash_name, root.mount)
        else:
            return
        if self.removal is not None:
            # What failed in an earlier attempt has just been tried again.
            removal.entries += self.removal.entries
            removal.freed_bytes += self.removal.freed_bytes
        self.removal = removal

    def _close(self, keep: bool) -> None:
        if self._heartbeat is not None and self._is_owner():
            self._heartbeat.stop()
        try:
            if self._is_owner() and not keep:
                self._delete()
        except OSError as error:
            # The result is in place, or another error is on its way: neither may be lost for this.
            _log.warning("the task cache %s could not be deleted: %s", self.task_id, error.strerror)
        finally:
            atexit.unregister(self.abandon_now)
            self._give_back()
        if self.removal is not None and self.removal.failures:
            count = self.removal.failures.total()
            _log.warning("%d entries of the task cache could not be deleted: %s", count, self.removal.example)

    def _give_back(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
        root, self._root = self._root, None
        if root is not None:
            root.close()


def _is_failure(error: BaseException | None) -> bool:
    """A cancelled task did not fail, nor did one that left by `sys.exit(0)`."""
    if isinstance(error, SystemExit):
        return error.code not in (None, 0)
    return isinstance(error, Exception) and not isinstance(error, Cancelled)
