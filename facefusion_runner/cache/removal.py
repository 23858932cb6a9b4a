"""Deleting a tree so that nothing outside it can be touched, whatever somebody does to it meanwhile.

Every step names one entry relative to an open directory. The walk keeps one directory open at a
time and climbs through `..`, checking that it arrives where it came from: depth costs neither stack
nor descriptors, and no new entry has to be made, so it works on a full disk as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from facefusion_runner.cache.directories import OPEN_DIRECTORY, open_directory
from facefusion_runner.cache.root import CacheRoot

_MAX_NAME_BYTES: Final = 255
_ATTEMPTS: Final = 3
"""How often a directory is visited that is filled or moved while it is being deleted."""

Stop = Callable[[], bool]
"""Asked again and again: whether to leave the rest for another time."""

_ENTRIES_PER_QUESTION: Final = 16
"""Files that are removed between two questions whether to stop: a good part of what unlinking costs."""


def _never() -> bool:
    return False


class Removal:
    """What a deletion did."""

    def __init__(self) -> None:
        self.entries = 0
        """Files, links and directories removed."""
        self.freed_bytes = 0
        """Allocated bytes of the files whose last name was removed."""
        self.failures: Counter[str] = Counter()
        """How many entries could not be removed, by the error's name, such as EACCES."""
        self.example = ""
        """The first entry that could not be removed and why; safe to print."""
        self.finished = True
        """False when it was stopped; what is left can be removed by a later call."""

    def add(self, other: Removal) -> None:
        self.entries += other.entries
        self.freed_bytes += other.freed_bytes
        self.failures += other.failures
        self.example = self.example or other.example
        self.finished = self.finished and other.finished


def trash_name(name: str) -> str:
    """A name in `.trash` for the entry `name`, never used before."""
    suffix = b"." + os.urandom(8).hex().encode()
    return os.fsdecode(os.fsencode(name)[: _MAX_NAME_BYTES - len(suffix)] + suffix)


def trash(root: CacheRoot, name: str, new_name: str | None = None) -> str | None:
    """Rename an entry of the root into `.trash`; call it with the entry's lock held.

    Returns the name there, or None where that cannot be: another layer or mount (EXDEV), no
    permission (EACCES), no room (ENOSPC), no such entry, no `.trash`.
    """
    if root.trash_fd is None:
        return None
    new_name = new_name or trash_name(name)
    try:
        os.rename(name, new_name, src_dir_fd=root.fd, dst_dir_fd=root.trash_fd)
    except OSError:
        return None
    return new_name


def discard(root: CacheRoot, name: str, stop: Stop = _never) -> Removal:
    """Delete an entry of the root: out of sight first, in place where that fails."""
    trashed = trash(root, name)
    if trashed is None or root.trash_fd is None:
        return remove_tree(root.fd, name, root.mount, stop)
    return remove_tree(root.trash_fd, trashed, root.mount, stop)


def drain_trash(root: CacheRoot, stop: Stop = _never) -> Iterator[tuple[str, Removal]]:
    """Delete everything in `.trash`: what a deletion that was cut short left there.

    Yields each entry's name once its deletion has ended; nothing happens unless the caller iterates.
    """
    if root.trash_fd is not None:
        for name in os.listdir(root.trash_fd):
            yield name, remove_tree(root.trash_fd, name, root.mount, stop)
            if stop():
                return


def remove_tree(parent_fd: int, name: str, mount: int, stop: Stop = _never) -> Removal:
    """Delete the entry `name` of `parent_fd` with all it holds on the mount `mount`.

    Links are removed, never followed. What cannot be removed is counted and the rest goes. Entries
    that vanish meanwhile are nobody's failure: several deleters may work on one tree.
    """
    return _Walk(parent_fd, mount, stop).remove(name)


def remove_file(parent_fd: int, name: str) -> Removal:
    """Delete one entry of `parent_fd` that is no directory; a directory is a failure (EISDIR)."""
    return _Walk(parent_fd, 0, _never).remove_file(name)


class _Level:
    """A directory on the way from the tree's top to where the walk stands."""

    def __init__(self, name: str, status: os.stat_result, attempt: int = 1) -> None:
        self.name = name
        self.status = status
        self.attempt = attempt
        self.pending: list[tuple[str, int]] = []
        """Directories still to visit, and for the how-manieth time."""
        self.failed = False


class _Walk:
    def __init__(self, parent_fd: int, mount: int, stop: Stop) -> None:
        self._mount = mount
        self._stop = stop
        self._removal = Removal()
        self._top_fd = parent_fd
        self._fd = parent_fd
        self._levels = [_Level("", os.fstat(parent_fd))]

    def remove(self, name: str) -> Removal:
        try:
            self._remove_entry(name, 1)
            while len(self._levels) > 1 or self._levels[0].pending:
                if self._stop():
                    self._removal.finished = False
                    break
                if self._levels[-1].pending:
                    self._enter(*self._levels[-1].pending.pop())
                else:
                    self._leave()
        finally:
            self._stand_in(self._top_fd)
        return self._removal

    def remove_file(self, name: str) -> Removal:
        try:
            self._unlink(name, os.stat(name, dir_fd=self._fd, follow_symlinks=False))
        except OSError as error:
            self._fail(name, error)
        return self._removal

    def _stand_in(self, fd: int) -> None:
        former, self._fd = self._fd, fd
        if former != self._top_fd:
            os.close(former)

    def _remove_entry(self, name: str, attempt: int) -> None:
        try:
            status = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._levels[-1].pending.append((name, attempt))
            else:
                self._unlink(name, status)
        except OSError as error:
            self._fail(name, error)

    def _enter(self, name: str, attempt: int) -> None:
        try:
            fd = open_directory(self._fd, name, self._mount)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and attempt < _ATTEMPTS:
                self._remove_entry(name, attempt + 1)
            else:
                self._fail(name, error)
            return
        self._stand_in(fd)
        self._levels.append(_Level(name, os.fstat(fd), attempt))
        try:
            self._empty()
        except OSError as error:
            self._fail(".", error)

    def _empty(self) -> None:
        """Remove what is no directory from the one that is open, and note the directories."""
        level = self._levels[-1]
        if level.status.st_mode & 0o700 != 0o700:
            with contextlib.suppress(OSError):
                os.chmod(self._fd, 0o700)
        fd, stop, removed, freed = self._fd, self._stop, 0, 0
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if not removed % _ENTRIES_PER_QUESTION and stop():
                        return
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            level.pending.append((entry.name, 1))
                            continue
                        status = entry.stat(follow_symlinks=False)
                        os.unlink(entry.name, dir_fd=fd)
                    except OSError as error:
                        self._fail(entry.name, error)
                        continue
                    removed += 1
                    if status.st_nlink == 1:
                        freed += status.st_blocks
        finally:
            self._removal.entries += removed
            self._removal.freed_bytes += freed * 512

    def _unlink(self, name: str, status: os.stat_result) -> None:
        os.unlink(name, dir_fd=self._fd)
        self._removal.entries += 1
        if status.st_nlink == 1:
            self._removal.freed_bytes += status.st_blocks * 512

    def _leave(self) -> None:
        level = self._levels[-1]
        try:
            self._stand_in(self._top_fd if len(self._levels) == 2 else self._open_parent())
        except OSError as error:
            self._restart(error)
            return
        self._levels.pop()
        try:
            os.rmdir(level.name, dir_fd=self._fd)
            self._removal.entries += 1
        except OSError as error:
            if error.errno == errno.ENOTEMPTY and level.failed:
                self._levels[-1].failed = True
            elif error.errno == errno.ENOTEMPTY and level.attempt < _ATTEMPTS:
                self._levels[-1].pending.append((level.name, level.attempt + 1))
            else:
                self._fail(level.name, error)

    def _open_parent(self) -> int:
        fd = os.open("..", OPEN_DIRECTORY, dir_fd=self._fd)
        if os.path.samestat(os.fstat(fd), self._levels[-2].status):
            return fd
        os.close(fd)
        raise OSError(errno.ESTALE, "moved while it was being deleted")

    def _restart(self, error: OSError) -> None:
        """Somebody moved a directory the walk stood in: begin again at the top."""
        top = self._levels[1]
        del self._levels[1:]
        self._stand_in(self._top_fd)
        if top.attempt < _ATTEMPTS:
            self._levels[0].pending.append((top.name, top.attempt + 1))
        else:
            self._fail(top.name, error)

    def _fail(self, name: str, error: OSError) -> None:
        if error.errno == errno.ENOENT:
            return
        self._levels[-1].failed = True
        self._removal.failures[errno.errorcode.get(error.errno or 0, "unknown")] += 1
        if not self._removal.example:
            path = "/".join([*(level.name for level in self._levels[1:9]), name])
            self._removal.example = f"{path!a}: {error.strerror}"
