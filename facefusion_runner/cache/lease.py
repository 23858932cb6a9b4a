"""The lease: a task is alive as long as somebody holds the flock on its directory.

Whoever starts a task and whoever deletes one take the same lock and then look again whether the
name still leads to the directory they locked. The directory itself is locked, not a file in it: a
lock file comes after its directory, and a sweeper that looked in between would find none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import Final, NamedTuple

from facefusion_runner.cache.directories import is_entry, open_directory
from facefusion_runner.cache.locks import Lock, try_lock
from facefusion_runner.cache.removal import discard
from facefusion_runner.cache.root import CacheRoot
from facefusion_runner.cache.task_id import valid_task_id
from facefusion_runner.errors import InputError, StorageError

LEASE_FILE: Final = ".lease"

_PATIENCE_SECONDS: Final = 1.0
"""A sweeper holds a lock while it judges, a task for its life: only the latter lasts longer than this."""


class TaskBusy(InputError):
    """The task id belongs to a task that is alive."""

    code = "task_busy"


class Claim(NamedTuple):
    """A task's directory that is locked by us and was found where its name says."""

    fd: int
    lease_fd: int | None
    """The lock file, locked; None where the directory has none."""

    def close(self) -> None:
        """Give the locks back (by closing; see locks.py)."""
        os.close(self.fd)
        if self.lease_fd is not None:
            os.close(self.lease_fd)


def claim(root: CacheRoot, name: str, *, heartbeat_ttl: float | None = None) -> Claim | None:
    """Take the directory of a task that nobody holds; None when the task is alive.

    With `heartbeat_ttl` (seconds) a task is alive as well while its heartbeat is younger than that.
    The caller closes the claim. Raises OSError: ENOENT when it is gone or was exchanged meanwhile,
    ENOTDIR or ELOOP when it is no directory, EXDEV when it lies on another mount, EACCES.
    """
    fd = open_directory(root.fd, name, root.mount)
    lease_fd = None
    try:
        if root.locks and try_lock(fd) is Lock.REFUSED:
            held = True
        else:
            lease_fd = _open_lease(fd)
            held = lease_fd is not None and try_lock(lease_fd) is Lock.REFUSED
        if not held and heartbeat_ttl is not None:
            held = _beats(fd if lease_fd is None else lease_fd, heartbeat_ttl)
        if not held and not is_entry(root.fd, name, fd):
            raise FileNotFoundError(f"{name} was exchanged meanwhile")
    except BaseException:
        Claim(fd, lease_fd).close()
        raise
    if held:
        Claim(fd, lease_fd).close()
        return None
    return Claim(fd, lease_fd)


def is_alive(root: CacheRoot, name: str, *, heartbeat_ttl: float | None = None) -> bool:
    """Whether somebody holds the task's directory now; False when there is none."""
    try:
        taken = claim(root, name, heartbeat_ttl=heartbeat_ttl)
    except FileNotFoundError:
        return False
    if taken is not None:
        taken.close()
    return taken is None


class Lease:
    """A task's directory, held by this process and by every child that gets `fds`."""

    def __init__(self, root: CacheRoot, task_id: str, directory_fd: int, lease_fd: int) -> None:
        self.fds: tuple[int, ...] = (directory_fd, lease_fd)
        """Pass these to child processes (`pass_fds`): the task is alive until the last one ends."""
        self._root = root
        self._name = task_id

    @classmethod
    def acquire(
        cls, root: CacheRoot, task_id: str, *, adopt: bool = False, heartbeat_ttl: float | None = None
    ) -> Lease:
        """Make and hold the directory of a task; what a crashed task of this id left is deleted first.

        With `adopt` the crashed task's files stay, for a restart that goes on from them.
        `heartbeat_ttl` as in `claim`. Raises InputError (id malformed), TaskBusy and StorageError.
        """
        if not valid_task_id(task_id):
            raise InputError(f"task id {task_id!r} is malformed: use 1 to 64 letters, digits, - and _")
        try:
            taken = _claim_new(root, task_id, adopt, heartbeat_ttl)
            try:
                lease_fd = _write_lease(taken, task_id)
            except BaseException:
                taken.close()
                raise
        except BaseException as error:
            if not adopt:
                _discard_unheld(root, task_id, heartbeat_ttl)
            if isinstance(error, OSError):
                place = f"{root.path}/{task_id}"
                raise StorageError(f"the task cache {place} cannot be made: {error.strerror}") from error
            raise
        return cls(root, task_id, taken.fd, lease_fd)

    def holds_path(self) -> bool:
        """Whether the task's name still leads to the directory held here."""
        return is_entry(self._root.fd, self._name, self.fds[0])

    def release(self) -> None:
        """Close the descriptors, and nothing more: children that have them keep the lease."""
        fds, self.fds = self.fds, ()
        for fd in fds:
            os.close(fd)


def _claim_new(root: CacheRoot, task_id: str, adopt: bool, heartbeat_ttl: float | None) -> Claim:
    """Lock the task's directory: a new and empty one, or, with `adopt`, the one that is there."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        made = _make(root, task_id)
        try:
            taken = claim(root, task_id, heartbeat_ttl=None if made else heartbeat_ttl)
        except FileNotFoundError:
            continue
        if taken is not None:
            if adopt or not os.listdir(taken.fd):
                return taken
            try:
                removal = discard(root, task_id)
            finally:
                taken.close()
            if removal.failures and _is_present(root, task_id):
                raise OSError(0, f"files of a former task stay there, {removal.example}")
        elif time.monotonic() > deadline:
            raise TaskBusy(f"task {task_id} is running already; choose another task id or wait for its end")
        else:
            time.sleep(0.002)


def _discard_unheld(root: CacheRoot, task_id: str, heartbeat_ttl: float | None) -> None:
    """Remove what a start that was cut short may have made; a live task of that id is left alone."""
    with contextlib.suppress(OSError):
        taken = claim(root, task_id, heartbeat_ttl=heartbeat_ttl)
        if taken is not None:
            discard(root, task_id)
            taken.close()


def _is_present(root: CacheRoot, name: str) -> bool:
    try:
        os.stat(name, dir_fd=root.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make(root: CacheRoot, task_id: str) -> bool:
    try:
        os.mkdir(task_id, 0o700, dir_fd=root.fd)
    except FileExistsError:
        return False
    return True


def _open_lease(directory_fd: int) -> int | None:
    # Writable, because NFS grants an exclusive lock to nothing else; O_NONBLOCK in case it is a FIFO.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(LEASE_FILE, flags, dir_fd=directory_fd)
    except OSError:
        return None


def _beats(fd: int, heartbeat_ttl: float) -> bool:
    # A time as far in the future is no heartbeat either, but a clock that was set back.
    return abs(time.time() - os.fstat(fd).st_mtime) < heartbeat_ttl


def _write_lease(taken: Claim, task_id: str) -> int:
    import json  # here, because only a task's start needs it and every sweep would pay for it

    lease_fd = taken.lease_fd
    if lease_fd is None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lease_fd = os.open(LEASE_FILE, flags, 0o600, dir_fd=taken.fd)
    try:
        # Waits for a sweeper that is just judging by this file, where directories cannot be locked.
        with contextlib.suppress(OSError):
            fcntl.flock(lease_fd, fcntl.LOCK_EX)
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        about = {"task": task_id, "pid": os.getpid(), "host": os.uname().nodename, "started": started}
        os.ftruncate(lease_fd, 0)
        os.pwrite(lease_fd, json.dumps(about).encode() + b"\n", 0)
    except BaseException:
        if taken.lease_fd is None:
            os.close(lease_fd)
        raise
    return lease_fd
