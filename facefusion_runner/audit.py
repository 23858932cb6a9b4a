"""The audit log: one line of JSON for each task, by whom, of what, with what end; no pictures.

A line holds the SHA-256 of the line before it, newline included (`tail -n 1 FILE | sha256sum`), so a line
that is changed, moved or missing shows. Two things do not: lines cut off at the end, unless the last line's
digest is kept elsewhere, and a whole log written anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from facefusion_runner.errors import ConfigError, InputError, RunnerError, StorageError
from facefusion_runner.models.digests import sha256_of

if TYPE_CHECKING:
    from facefusion_runner.policies import Verdict

Outcome = Literal["succeeded", "failed", "refused", "cancelled"]

_PATIENCE_SECONDS: Final = 10.0
"""How long another writer may hold the log."""

_BLOCK: Final = 4096


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256, in hexadecimal, of a task's files; None where there is no file or it cannot be read."""

    sources: tuple[str | None, ...] = ()
    target: str | None = None
    reference: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the log says about a task besides the time."""

    task_id: str
    outcome: Outcome
    code: str | None
    """The error's machine-readable code; None for success."""
    consent: bool
    """Whether it was stated that the persons shown agree."""
    sha256: Digests
    verdicts: tuple[Verdict, ...] = ()
    key: str | None = None
    """Name of the API key; None for a task that came without one."""


class AuditLog:
    """Appends entries to a file; several threads and processes may do so at once."""

    def __init__(self, path: Path) -> None:
        """Makes the file (mode 0600). Raises ConfigError when it cannot be written."""
        self._path = path
        try:
            with self._locked():
                pass
        except OSError as error:
            raise ConfigError(f"AUDIT_LOG {path} cannot be written: {_reason(error)}") from None

    def record(self, entry: Entry) -> None:
        """Returns when the line is on the disk. Raises StorageError; then the log is as it was."""
        try:
            with self._locked() as log:
                line = json.dumps(_line(entry, _digest_of_last_line(log))) + "\n"
                _append(log, line.encode())
        except OSError as error:
            raise StorageError(f"the audit log {self._path} cannot be written: {_reason(error)}") from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        # Opened anew each time: a lock is the open file's, and the log may be rotated meanwhile.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        log = os.open(self._path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(log).st_mode):
                raise OSError(None, "it is no regular file")
            _lock(log, fcntl.LOCK_EX)
            yield log
        finally:
            os.close(log)


def verify(path: Path) -> tuple[int, str | None]:
    """The number of lines, and the SHA-256 of the last one (None without any).

    Raises RunnerError naming the first line that does not follow from the one before it, InputError for a
    file that cannot be read.
    """
    count, before = 0, None
    try:
        with path.open("rb") as log:
            _lock(log.fileno(), fcntl.LOCK_SH)
            for count, line in enumerate(log, 1):
                if _previous(path, count, line) != before:
                    raise RunnerError(
                        f"{path}: line {count} does not follow from what is before it: a line there was "
                        "changed, moved or taken out"
                    )
                before = hashlib.sha256(line).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}") from None
    return count, before


def digest(path: Path | None) -> str | None:
    """SHA-256 of a file for an entry; None where there is no regular file that can be read."""
    with contextlib.suppress(OSError, ValueError):
        # Anything else, such as a pipe, could keep us waiting for ever.
        if path is not None and path.is_file():
            return sha256_of(path)
    return None


def _line(entry: Entry, previous: str | None) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"time": now, **asdict(entry), "previous": previous}


def _previous(path: Path, number: int, line: bytes) -> object:
    try:
        return json.loads(line)["previous"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RunnerError(f"{path}: line {number} is no record") from None


def _lock(log: int, kind: int) -> None:
    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(log, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > patience:
                raise OSError(None, "another process keeps it locked") from None
            time.sleep(0.01)


def _digest_of_last_line(log: int) -> str | None:
    """None for an empty file. What a crash left of a line is closed, and counts as one."""
    end = os.fstat(log).st_size
    if end == 0:
        return None
    if os.pread(log, 1, end - 1) != b"\n":
        _append(log, b"\n")
        end += 1
    line, begin = b"", end
    while begin > 0 and b"\n" not in line[:-1]:
        size = min(_BLOCK, begin)
        begin -= size
        line = os.pread(log, size, begin) + line
    return hashlib.sha256(line[line.rfind(b"\n", 0, -1) + 1 :]).hexdigest()


def _append(log: int, data: bytes) -> None:
    size = os.fstat(log).st_size
    try:
        written = os.write(log, data)
        if written < len(data):
            # The disk became full: the rest fails with the reason.
            os.write(log, data[written:])
        os.fsync(log)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(log, size)
        raise


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
