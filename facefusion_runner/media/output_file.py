"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

# Filesystems without nameless files (NFS, some FUSE and older overlay mounts) say so in different ways.
_NO_NAMELESS_FILES: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})


class OutputFile:
    """A new file in `path`'s folder that `commit` puts in its place.

    Until then it has no name at all (`O_TMPFILE`, open(2)), so that the kernel frees it when the process
    is killed; where the filesystem cannot do that it has a hidden one. Leaving the block without
    `commit` leaves nothing. Raises OSError.
    """

    def __init__(self, path: Path, replace: bool = True) -> None:
        """`replace`: in the place of whatever has that name; else `commit` raises FileExistsError."""
        self._path = path
        self._replace = replace
        self._partial = path.with_name(f".{secrets.token_hex(8)}.partial")
        self._named = False
        self.file: BinaryIO = self._open()
        """For reading and writing."""

    def _open(self) -> BinaryIO:
        try:
            descriptor = os.open(self._path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno not in _NO_NAMELESS_FILES:
                raise
            self._named = True
            return self._partial.open("x+b")
        return os.fdopen(descriptor, "r+b")

    @property
    def address(self) -> str:
        """A path under which this process can open the file by name, also while it has none."""
        return str(self._partial.absolute()) if self._named else f"/proc/self/fd/{self.file.fileno()}"

    def commit(self) -> None:
        """Write everything to the disk and put it in its place."""
        self.file.flush()
        os.fsync(self.file.fileno())
        try:
            self._link(self._path.name)
        except OSError:
            # The name is taken (a link never replaces a file, a rename does), or there are no hard links.
            if not self._replace and os.path.lexists(self._path):
                raise FileExistsError(errno.EEXIST, "appeared while it was being made") from None
            self._rename()
        self.discard()

    def _rename(self) -> None:
        if not self._named:
            self._link(self._partial.name)
            self._named = True
        self._partial.replace(self._path)
        self._named = False

    def _link(self, name: str) -> None:
        # Only with a descriptor for a folder does Python call linkat with AT_SYMLINK_FOLLOW, which is what
        # gives a nameless file a name.
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(self.address, name, dst_dir_fd=folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Leave nothing behind. May be called at any time, also after `commit`."""
        if self._named:
            with contextlib.suppress(OSError):
                self._partial.unlink(missing_ok=True)
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()
