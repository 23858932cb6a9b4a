"""SHA-256 of files, remembered beside them so that half a gigabyte is not hashed at every start."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

FILE_NAME: Final = ".digests.json"


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal. OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DigestCache:
    """Remembers digests by path, size, times and inode in one file of `root`.

    A root that cannot be written costs the hashing again, and two processes that write at once may lose
    each other's newest entry: both are harmless.
    """

    def __init__(self, root: Path) -> None:
        self._file = root / FILE_NAME

    def sha256(self, path: Path) -> str:
        """The file's digest: the remembered one if the file has not changed since. OSError as `sha256_of`."""
        return self.remembered(path) or self.fresh(path)

    def fresh(self, path: Path) -> str:
        """The file's digest, read anew."""
        before = _fingerprint(path)
        digest = sha256_of(path)
        # A file that changed while it was read gives a digest that belongs to neither state.
        if _fingerprint(path) == before:
            self.remember(path, digest)
        return digest

    def remembered(self, path: Path) -> str | None:
        """The digest if it is known without reading the file."""
        row = self._load().get(str(path))
        if isinstance(row, dict) and row.get("file") == _fingerprint(path):
            digest = row.get("sha256")
            return digest if isinstance(digest, str) else None
        return None

    def remember(self, path: Path, digest: str) -> None:
        """Notes that the file, as it is now, has this digest."""
        rows = self._load() | {str(path): {"file": _fingerprint(path), "sha256": digest}}
        with contextlib.suppress(OSError):
            self._save(rows)

    def _load(self) -> dict[str, Any]:
        try:
            rows = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return rows if isinstance(rows, dict) else {}

    def _save(self, rows: dict[str, Any]) -> None:
        descriptor, name = tempfile.mkstemp(prefix=FILE_NAME, dir=self._file.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(rows, file, indent=1)
            Path(name).replace(self._file)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def _fingerprint(path: Path) -> list[int]:
    """Changes whenever the content does, also when the modification time is set back."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino]
