"""Opening a directory without following a link or entering another mount."""

from __future__ import annotations

import errno
import os
from typing import Final

OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def mount_id(fd: int) -> int:
    """The mount an open file lies on, from /proc (proc(5), fdinfo).

    `st_dev` does not do: it is the same on both sides of a bind mount within one filesystem.
    """
    info = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(info, 4096).split()
    finally:
        os.close(info)
    return int(fields[fields.index(b"mnt_id:") + 1])


def open_directory(parent_fd: int, name: str, mount: int) -> int:
    """A descriptor of the directory `name` in `parent_fd`; the caller closes it.

    A directory of ours that its mode bars us from is made accessible (0700) first. Raises OSError:
    ENOENT, ENOTDIR or ELOOP (not a directory, or a link to one), EACCES, and EXDEV for a directory
    on a mount other than `mount`.
    """
    try:
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent_fd)
    except PermissionError:
        _make_accessible(parent_fd, name, mount)
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent_fd)
    _close_if_elsewhere(fd, name, mount)
    return fd


def is_entry(parent_fd: int, name: str, fd: int) -> bool:
    """Whether the entry `name` of `parent_fd` still is the file open as `fd`."""
    try:
        found = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def _make_accessible(parent_fd: int, name: str, mount: int) -> None:
    # O_PATH needs no permission on the directory itself, and what it opened cannot be exchanged
    # for a link before the chmod.
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=parent_fd)
    _close_if_elsewhere(fd, name, mount)
    try:
        os.chmod(f"/proc/self/fd/{fd}", 0o700)
    finally:
        os.close(fd)


def _close_if_elsewhere(fd: int, name: str, mount: int) -> None:
    try:
        if mount_id(fd) != mount:
            raise OSError(errno.EXDEV, "lies on another mount", name)
    except BaseException:
        os.close(fd)
        raise
