"""The tasks in SQLite. One process at a time has the file open, see `files.TaskFiles`.

Every change is one transaction that is on the disk when the call returns: a task that was taken is not lost,
whatever happens to the process or to the power.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from facefusion_runner.errors import InputError, RunnerError, StorageError
from facefusion_runner.tasks.task import FINAL, Outcome, Request, State, Task

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE tasks (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    key TEXT,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    expires REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    idempotency TEXT,
    digest TEXT,
    request TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT '{}',
    ending TEXT
);
CREATE INDEX tasks_by_state ON tasks (state, sequence);
CREATE UNIQUE INDEX tasks_by_idempotency ON tasks (ifnull(key, ''), idempotency);
"""
_COLUMNS: Final = "id, state, key, created, started, finished, expires, attempts, request, outcome"
_FINAL: Final = ", ".join(f"'{state}'" for state in sorted(FINAL))


class TaskExists(InputError):
    """There is a task of this id already."""

    code = "task_exists"


class IdempotencyConflict(InputError):
    """An Idempotency-Key came again with another request."""

    code = "idempotency_conflict"


class QueueFull(RunnerError):
    """No further task is taken until others are done."""

    code = "queue_full"


class StoreFull(StorageError):
    """There is no room for a change."""


class TaskStore:
    """May be used from several threads. Every method raises StorageError where the disk fails."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it. StorageError where that cannot be."""
        self._lock = threading.RLock()
        with _failing(path):
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            try:
                self._prepare(path)
            except sqlite3.OperationalError:
                self._database.close()
                raise
            except sqlite3.DatabaseError as error:
                self._database.close()
                raise StorageError(
                    f"the task store {path} is damaged ({error}); move it away, and the service begins "
                    "without tasks and results"
                ) from error
            except BaseException:
                self._database.close()
                raise
        self._path = path

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def add(
        self,
        task_id: str,
        request: Request,
        *,
        key: str | None = None,
        idempotency: str | None = None,
        digest: str | None = None,
        limit: int,
    ) -> Task:
        """A new queued task. Raises QueueFull above `limit` queued tasks, TaskExists."""
        with self._transaction() as database:
            if self._count("queued") >= limit:
                raise QueueFull(f"{limit} tasks wait already; try again later")
            try:
                database.execute(
                    "INSERT INTO tasks (id, state, key, created, idempotency, digest, request) "
                    "VALUES (?, 'queued', ?, ?, ?, ?, ?)",
                    (task_id, key, time.time(), idempotency, digest, json.dumps(asdict(request))),
                )
            except sqlite3.IntegrityError:
                raise TaskExists(f"there is a task {task_id} already") from None
            return self._require(task_id)

    def repeated(self, key: str | None, idempotency: str, digest: str) -> Task | None:
        """The task that this request made before; raises IdempotencyConflict if it was another request."""
        with self._transaction() as database:
            row = database.execute(
                f"SELECT digest, {_COLUMNS} FROM tasks WHERE ifnull(key, '') = ? AND idempotency = ?",
                (key or "", idempotency),
            ).fetchone()
        if row is None:
            return None
        if row[0] != digest:
            raise IdempotencyConflict("this Idempotency-Key was used before, for another request")
        return _task(row[1:])

    def get(self, task_id: str) -> Task | None:
        with self._transaction() as database:
            row = database.execute(f"SELECT {_COLUMNS} FROM tasks WHERE id = ?", (task_id,)).fetchone()
        return None if row is None else _task(row)

    def page(
        self, key: str | None, state: State | None, limit: int, before: int | None
    ) -> tuple[list[Task], int | None]:
        """The newest tasks of a key (None: all), and `before` of the next call; None where no more follow.

        It is a place and no task, so that it stays good when tasks are deleted meanwhile.
        """
        where, values = ["1"], list[Any]()
        if key is not None:
            where.append("key = ?")
            values.append(key)
        if state is not None:
            where.append("state = ?")
            values.append(state)
        if before is not None:
            where.append("sequence < ?")
            values.append(before)
        with self._transaction() as database:
            rows = database.execute(
                f"SELECT sequence, {_COLUMNS} FROM tasks WHERE {' AND '.join(where)} "
                "ORDER BY sequence DESC LIMIT ?",
                (*values, limit + 1),
            ).fetchall()
        shown = rows[:limit]
        return [_task(row[1:]) for row in shown], shown[-1][0] if len(rows) > limit else None

    def in_state(self, *states: State) -> list[Task]:
        """Oldest first."""
        marks = ", ".join("?" for _ in states)
        with self._transaction() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM tasks WHERE state IN ({marks}) ORDER BY sequence", states
            ).fetchall()
        return [_task(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many tasks are in each state that has any."""
        with self._transaction() as database:
            return dict(database.execute("SELECT state, count(*) FROM tasks GROUP BY state").fetchall())

    def position(self, task_id: str) -> int | None:
        """How many queued tasks come before this one; None unless it is queued."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT (SELECT count(*) FROM tasks b WHERE b.state = 'queued' AND b.sequence < a.sequence) "
                "FROM tasks a WHERE a.id = ? AND a.state = 'queued'",
                (task_id,),
            ).fetchone()
        return None if row is None else int(row[0])

    def claim(self) -> Task | None:
        """Takes the oldest queued task to work on; None where none waits."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT id FROM tasks WHERE state = 'queued' ORDER BY sequence LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            database.execute(
                "UPDATE tasks SET state = 'running', started = ifnull(started, ?), attempts = attempts + 1 "
                "WHERE id = ?",
                (time.time(), row[0]),
            )
            return self._require(row[0])

    def requeue(self, task_id: str, *, counted: bool) -> None:
        """Gives a running task back; not `counted` where it was interrupted through no fault of its own."""
        with self._transaction() as database:
            database.execute(
                "UPDATE tasks SET state = 'queued', attempts = attempts - ? "
                "WHERE id = ? AND state = 'running'",
                (0 if counted else 1, task_id),
            )

    def conclude(self, task_id: str, state: State, outcome: Outcome) -> None:
        """How a running task ends is settled, though it is still seen as running: whatever comes between
        this and `finish`, it ends so."""
        ending = json.dumps({"state": state, "outcome": asdict(outcome)})
        with self._transaction() as database:
            database.execute(
                "UPDATE tasks SET ending = ? WHERE id = ? AND state = 'running'", (ending, task_id)
            )

    def concluded(self) -> list[tuple[Task, State, Outcome]]:
        """Tasks whose end was settled, but that have not finished."""
        with self._transaction() as database:
            rows = database.execute(
                f"SELECT ending, {_COLUMNS} FROM tasks WHERE ending IS NOT NULL"
            ).fetchall()
        endings = [json.loads(row[0]) for row in rows]
        return [
            (_task(row[1:]), ending["state"], _outcome(ending["outcome"]))
            for row, ending in zip(rows, endings, strict=True)
        ]

    def finish(self, task_id: str, state: State, outcome: Outcome, ttl: float) -> Task | None:
        """The task has ended; it is forgotten `ttl` seconds from now. None where it had ended before."""
        now = time.time()
        with self._transaction() as database:
            changed = database.execute(
                f"UPDATE tasks SET state = ?, finished = ?, expires = ?, outcome = ?, ending = NULL "
                f"WHERE id = ? AND state NOT IN ({_FINAL})",
                (state, now, now + ttl, json.dumps(asdict(outcome)), task_id),
            ).rowcount
            return self._require(task_id) if changed else None

    def cancel(self, task_id: str, ttl: float) -> Task | None:
        """Ends a task that is queued; None where it is not."""
        with self._transaction() as database:
            queued = database.execute(
                "SELECT 1 FROM tasks WHERE id = ? AND state = 'queued'", (task_id,)
            ).fetchone()
            return self.finish(task_id, "cancelled", Outcome(), ttl) if queued else None

    def delete(self, task_id: str) -> bool:
        """Forgets a task that has ended; False where there is none."""
        with self._transaction() as database:
            return bool(
                database.execute(
                    f"DELETE FROM tasks WHERE id = ? AND state IN ({_FINAL})", (task_id,)
                ).rowcount
            )

    def expired(self) -> Sequence[str]:
        with self._transaction() as database:
            rows = database.execute("SELECT id FROM tasks WHERE expires <= ?", (time.time(),)).fetchall()
        return [row[0] for row in rows]

    def ids(self) -> set[str]:
        with self._transaction() as database:
            return {row[0] for row in database.execute("SELECT id FROM tasks")}

    def _prepare(self, path: Path) -> None:
        damage = self._database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(" ".join(damage.split()))
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA busy_timeout = 5000")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise StorageError(
                f"{path} was written by another version of facefusion-runner (schema {version}, not "
                f"{_VERSION}); move it away or use that version"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _failing(self._path):
            if self._database.in_transaction:
                yield self._database
                return
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                # On a full disk SQLite has taken it back already.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _count(self, state: State) -> int:
        row = self._database.execute("SELECT count(*) FROM tasks WHERE state = ?", (state,)).fetchone()
        return int(row[0])

    def _require(self, task_id: str) -> Task:
        row = self._database.execute(f"SELECT {_COLUMNS} FROM tasks WHERE id = ?", (task_id,)).fetchone()
        return _task(row)


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        kind = StoreFull if error.sqlite_errorname == "SQLITE_FULL" else StorageError
        raise kind(f"the task store {path} cannot be used: {error}") from error


def _task(row: Sequence[Any]) -> Task:
    names = _COLUMNS.split(", ")
    columns = dict(zip(names, row, strict=True))
    request, outcome = (json.loads(columns.pop(name)) for name in ("request", "outcome"))
    return Task(**columns, request=_request(request), outcome=_outcome(outcome))


def _request(data: dict[str, Any]) -> Request:
    return Request(**{**data, "sources": tuple(data["sources"]), "verdicts": tuple(data["verdicts"])})


def _outcome(data: dict[str, Any]) -> Outcome:
    return Outcome(**{**data, "warnings": tuple(data.get("warnings", ()))})
