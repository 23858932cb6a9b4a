"""flock(2) on open files: what a lease is made of.

A lock belongs to the open file and ends when its last descriptor is closed, so the kernel frees it
however the process ends. There is no unlock here on purpose: LOCK_UN in a forked child frees the
parent's lock. POSIX locks (lockf) are not used because closing any descriptor of the file drops them.
"""

from __future__ import annotations

import enum
import fcntl
import os

from facefusion_runner.cache.directories import OPEN_DIRECTORY


class Lock(enum.Enum):
    """What became of an attempt to lock."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNSUPPORTED = "unsupported"


def try_lock(fd: int) -> Lock:
    """Take the exclusive lock on an open file or directory, without waiting."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Lock.REFUSED
    except OSError:
        return Lock.UNSUPPORTED
    return Lock.TAKEN


def locks_work(directory_fd: int) -> bool:
    """Whether the filesystem refuses a second lock on this directory.

    Two descriptors try in turn. A first one that is refused proves it as well: somebody else holds it.
    """
    first = os.open(".", OPEN_DIRECTORY, dir_fd=directory_fd)
    try:
        outcome = try_lock(first)
        if outcome is not Lock.TAKEN:
            return outcome is Lock.REFUSED
        second = os.open(".", OPEN_DIRECTORY, dir_fd=directory_fd)
        try:
            return try_lock(second) is Lock.REFUSED
        finally:
            os.close(second)
    finally:
        os.close(first)
