"""How long ago anything changed in a tree, and what it occupies.

The age of a tree is the least distance in time between now and a change anywhere inside: of
directories the modification, of everything else the modification or the change of its inode, which
no copy carries over and nobody can fake. A time far in the future counts by its distance too: it was
written under another clock, and a tree that only has such times is as old as one from the past.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from typing import Final

from facefusion_runner.cache.directories import OPEN_DIRECTORY, mount_id

MAX_DEPTH: Final = 32
"""Levels that are looked at; each holds one descriptor open."""

_ENTRIES_PER_QUESTION: Final = 64
"""Entries that are looked at between two questions whether to stop."""

_NOT_OURS_TO_SEE: Final = frozenset((errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ELOOP))


class Survey:
    """What was found in a tree."""

    def __init__(self, age: float = math.inf) -> None:
        self.age = age
        """Seconds."""
        self.entries = 0
        self.bytes = 0
        """Allocated bytes of the files that have no name elsewhere."""


def survey(
    directory_fd: int, mount: int, now: float, *, stop: Callable[[], bool], until: float = -1.0
) -> Survey:
    """Look at an open directory on the mount `mount` and all below it, to 32 levels.

    Ends early when something younger than `until` seconds is found, or when `stop()` says so. What
    may not be read is judged by its own times. Raises OSError, EMFILE for one.
    """
    found = Survey(abs(now - os.fstat(directory_fd).st_mtime))
    _look_into(directory_fd, mount, now, stop, until, found, 1)
    return found


def age_of_file(status: os.stat_result, now: float) -> float:
    """Seconds since an entry that is no directory changed."""
    return min(abs(now - status.st_mtime), abs(now - status.st_ctime))


def _look_into(
    fd: int, mount: int, now: float, stop: Callable[[], bool], until: float, found: Survey, depth: int
) -> None:
    directories: list[str] = []
    age, entries, blocks = found.age, 0, 0
    try:
        with os.scandir(fd) as listing:
            for entry in listing:
                if age < until or (not entries % _ENTRIES_PER_QUESTION and stop()):
                    return
                entries += 1
                try:
                    status = entry.stat(follow_symlinks=False)
                except (FileNotFoundError, PermissionError):
                    continue
                if -age < now - status.st_mtime < age:
                    age = abs(now - status.st_mtime)
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                    continue
                if -age < now - status.st_ctime < age:
                    age = abs(now - status.st_ctime)
                if status.st_nlink == 1:
                    blocks += status.st_blocks
    finally:
        found.age = age
        found.entries += entries
        found.bytes += blocks * 512
    if depth == MAX_DEPTH:
        return
    for name in directories:
        if found.age < until or stop():
            return
        try:
            below = os.open(name, OPEN_DIRECTORY, dir_fd=fd)
        except OSError as error:
            if error.errno in _NOT_OURS_TO_SEE:
                continue
            raise
        try:
            if mount_id(below) == mount:
                _look_into(below, mount, now, stop, until, found, depth + 1)
        finally:
            os.close(below)
