"""Networks that stay loaded from one job to the next."""

from __future__ import annotations

from pathlib import Path

from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.session import Session, SessionFactory

_Key = tuple[str, Path, int, int]


class ReusedSessions:
    """A factory's sessions for one job after the other; what a job did not use is let go of at its end."""

    def __init__(self, factory: SessionFactory) -> None:
        self._factory = factory
        self._sessions: dict[_Key, Session] = {}
        self._used: set[_Key] = set()

    def open(self, entry: ModelEntry, path: Path) -> Session:
        """As `SessionFactory.open`."""
        status = path.stat()
        key = (entry.id, path, status.st_mtime_ns, status.st_size)
        self._used.add(key)
        if key in self._sessions:
            return self._sessions[key].shared(entry)
        session = self._sessions[key] = self._factory.open(entry, path)
        return session

    def end(self) -> None:
        """A job that used sessions has ended."""
        for key in self._sessions.keys() - self._used:
            del self._sessions[key]
        self._used.clear()
