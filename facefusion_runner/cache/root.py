"""CACHE_ROOT: which directory may be one, and what it needs before a task can start in it."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple, Self

from facefusion_runner.cache.directories import OPEN_DIRECTORY, mount_id, open_directory
from facefusion_runner.cache.locks import locks_work
from facefusion_runner.errors import ConfigError, StorageError

MARKER: Final = ".ff-cache-root"
TRASH: Final = ".trash"
RESERVED: Final = frozenset({MARKER, TRASH, "lost+found"})
"""Names in a root that are no task's; a fresh ext4 volume comes with `lost+found`."""

_MARKER_TEXT: Final = b"Task caches of facefusion-runner. Everything else in this directory is deleted.\n"
_SYSTEM_DIRECTORIES: Final = (
    *("/tmp", "/var", "/var/tmp", "/var/cache", "/var/lib", "/var/log", "/var/spool", "/var/run"),
    *("/dev/shm", "/run/lock", "/run/user", "/usr/bin", "/usr/lib", "/usr/local", "/usr/share", "/root"),
)


class UnsafeRoot(ConfigError, ValueError):
    """CACHE_ROOT names a directory in which nothing may be deleted."""

    code = "unsafe_cache_root"


class RootUnavailable(StorageError):
    """CACHE_ROOT is missing, read-only or cannot be opened."""

    code = "cache_root_unavailable"


class Usage(NamedTuple):
    """How full a filesystem is. Free is what an ordinary user may still take."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    """0 where the filesystem has no fixed number of inodes."""
    free_inodes: int

    @property
    def percent(self) -> float:
        """0 to 100: bytes or inodes in use, whichever is scarcer."""
        return max(_percent(self.total_bytes, self.free_bytes), _percent(self.total_inodes, self.free_inodes))


class CacheRoot(NamedTuple):
    """An open, checked root. A context manager that closes its descriptors."""

    path: str
    """Absolute, without symbolic links. A str, because every sweep would pay for importing pathlib."""
    fd: int
    trash_fd: int | None
    """None where `.trash` cannot be used; deletion then happens in place."""
    mount: int
    locks: bool
    """Whether flock works here. Without it only heartbeats show that a task is alive."""

    def usage(self) -> Usage:
        """Of the filesystem the root lies on."""
        found = os.fstatvfs(self.fd)
        return Usage(
            total_bytes=found.f_blocks * found.f_frsize,
            free_bytes=found.f_bavail * found.f_frsize,
            total_inodes=found.f_files,
            free_inodes=found.f_favail,
        )

    def close(self) -> None:
        os.close(self.fd)
        if self.trash_fd is not None:
            os.close(self.trash_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def prepare_root(path: str | os.PathLike[str]) -> CacheRoot:
    """Check a root, make it and mark it as ours where it is new or empty, and open it.

    Raises UnsafeRoot and RootUnavailable.
    """
    real = checked_path(path)
    with _unavailable(path):
        with contextlib.suppress(FileExistsError):
            os.makedirs(real)
        fd = os.open(real, OPEN_DIRECTORY)
    with _closed_on_error(fd), _unavailable(path):
        if not _is_marked(fd):
            _mark(fd, path)
        _require_writable(real, path)
        return _opened(real, fd)


def open_root(path: str | os.PathLike[str]) -> CacheRoot:
    """Open a root that `prepare_root` made, and change nothing but a missing `.trash`.

    Raises UnsafeRoot (also when the marker is missing) and RootUnavailable.
    """
    real = checked_path(path)
    with _unavailable(path):
        fd = os.open(real, OPEN_DIRECTORY)
    with _closed_on_error(fd), _unavailable(path):
        if not _is_marked(fd):
            raise UnsafeRoot(f"CACHE_ROOT={path} is refused: it has no file {MARKER}, so it is not ours")
        _require_writable(real, path)
        return _opened(real, fd)


def checked_path(path: str | os.PathLike[str]) -> str:
    """The root without symbolic links; raises UnsafeRoot by its name alone."""
    text = os.fspath(path)
    if not text or not os.path.isabs(text) or "\0" in text:
        raise UnsafeRoot(f"CACHE_ROOT={text!r} is refused: it must be an absolute path")
    real = os.path.realpath(text)
    if real.count("/") < 2:
        raise UnsafeRoot(f"CACHE_ROOT={text} is refused: it must lie at least two levels below /")
    if os.path.dirname(real) == "/home" or real in _homes():
        raise UnsafeRoot(f"CACHE_ROOT={text} is refused: it is a home directory; name a directory inside it")
    if any(real == os.path.realpath(shared) for shared in _SYSTEM_DIRECTORIES):
        raise UnsafeRoot(f"CACHE_ROOT={text} is refused: other programs use it; name a directory inside it")
    return real


def _homes() -> set[str]:
    homes = [user.pw_dir for user in pwd.getpwall()]
    homes += [os.environ[name] for name in ("HOME", "TMPDIR") if os.environ.get(name)]
    return {os.path.realpath(home) for home in homes}


def _require_writable(real: str, path: str | os.PathLike[str]) -> None:
    if not os.access(real, os.W_OK | os.X_OK):
        raise RootUnavailable(f"CACHE_ROOT={path} cannot be written; make it writable or choose another")


def _is_marked(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(MARKER, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _mark(fd: int, path: str | os.PathLike[str]) -> None:
    # A second process may be marking the same fresh root; the marker always comes first, so a
    # listing that shows more is followed by one more look for it.
    if set(os.listdir(fd)) - {MARKER, "lost+found"} and not _is_marked(fd):
        raise UnsafeRoot(
            f"CACHE_ROOT={path} is refused: it holds files that are not ours; name an empty directory"
        )
    marker = os.open(MARKER, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=fd)
    try:
        os.write(marker, _MARKER_TEXT)
    finally:
        os.close(marker)


def _opened(real: str, fd: int) -> CacheRoot:
    mount = mount_id(fd)
    trash_fd = _open_trash(fd, mount)
    return CacheRoot(real, fd, trash_fd, mount, locks_work(fd if trash_fd is None else trash_fd))


def _open_trash(fd: int, mount: int) -> int | None:
    # Made now, not when it is needed: a full filesystem has no room for a new directory.
    with contextlib.suppress(OSError):
        os.mkdir(TRASH, 0o700, dir_fd=fd)
    try:
        return open_directory(fd, TRASH, mount)
    except OSError:
        return None


@contextlib.contextmanager
def _unavailable(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RootUnavailable(f"CACHE_ROOT={path} cannot be used: {error.strerror}") from error


@contextlib.contextmanager
def _closed_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


def _percent(total: int, free: int) -> float:
    return 100 * (1 - free / total) if total else 0.0
