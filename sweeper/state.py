"""What outlasts a sweep: counters that go on where the last process left them, and the metrics file.

Both lie in SWEEP_STATE_ROOT, outside the cache: what is written on the full filesystem that a sweep
is about would fail when it is needed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from facefusion_runner.cache.directories import OPEN_DIRECTORY
from facefusion_runner.cache.locks import Lock, try_lock
from sweeper import metrics
from sweeper.outcome import STATES, Outcome

STATE_FILE: Final = "state.json"

_PATIENCE_SECONDS: Final = 2.0
"""Another sweeper holds the folder for milliseconds."""

_COUNTERS: Final = ("deletion_failures_total", "sweeps_total")


class StateError(Exception):
    """The folder cannot be used; the message says why in one line."""


def record(folder: str, outcome: Outcome, clock: Callable[[], float] = time.time) -> None:
    """Add a sweep's outcome to the state and write the metrics. Raises StateError."""
    try:
        with _locked(folder) as fd:
            values = _read(fd)
            _add(values, outcome, clock())
            _replace(fd, STATE_FILE, json.dumps(values, sort_keys=True) + "\n")
            _replace(fd, metrics.FILE, metrics.rendered(values))
    except OSError as error:
        raise StateError(f"metrics are lost: SWEEP_STATE_ROOT={folder}: {error.strerror or error}") from error


def probe(folder: str) -> None:
    """Find out whether the folder can be used; makes it where it is missing. Raises StateError."""
    try:
        with _locked(folder) as fd:
            _read(fd)
            _replace(fd, "probe", "")
            os.unlink("probe", dir_fd=fd)
    except OSError as error:
        raise StateError(f"SWEEP_STATE_ROOT={folder}: {error.strerror or error}") from error


@contextmanager
def _locked(folder: str) -> Iterator[int]:
    os.makedirs(folder, mode=0o755, exist_ok=True)
    fd = os.open(folder, OPEN_DIRECTORY)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while try_lock(fd) is Lock.REFUSED:
            if time.monotonic() > deadline:
                raise OSError(0, "another process holds it")
            time.sleep(0.005)
        yield fd
    finally:
        os.close(fd)


def _read(fd: int) -> dict[str, Any]:
    """The values of the last sweep; none where there are none or where they are damaged."""
    try:
        file = os.open(STATE_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:
        return {}
    with open(file, "rb") as opened:
        try:
            values = json.loads(opened.read())
        except (ValueError, RecursionError):
            return {}
    return values if isinstance(values, dict) and _is_sound(values) else {}


def _is_sound(values: dict[str, Any]) -> bool:
    for name, value in values.items():
        metric = metrics.METRICS.get(name)
        if metric is None or isinstance(value, dict) is not bool(metric.label):
            return False
        numbers = value.values() if isinstance(value, dict) else [value]
        if not all(type(number) in (int, float) for number in numbers):
            return False
    return True


def _add(values: dict[str, Any], outcome: Outcome, now: float) -> None:
    """A sweep that did not look at the root adds to the counters and leaves the gauges as they are."""
    for name in _COUNTERS:
        values.setdefault(name, {})
    sweeps, failures = values["sweeps_total"], values["deletion_failures_total"]
    sweeps[outcome.result] = sweeps.get(outcome.result, 0) + 1
    for reason, count in outcome.removal.failures.items():
        failures[reason] = failures.get(reason, 0) + count
    values["freed_bytes_total"] = values.get("freed_bytes_total", 0) + outcome.removal.freed_bytes
    values.setdefault("last_success_timestamp_seconds", 0)
    if outcome.result not in ("busy", "disabled"):
        values["last_sweep_timestamp_seconds"] = now
    if outcome.usage is None:
        return
    if outcome.result == "done":
        values["last_success_timestamp_seconds"] = now
    values["task_dirs"] = {state: outcome.directories[state] for state in STATES}
    values["oldest_orphan_age_seconds"] = outcome.oldest_orphan
    values["last_sweep_freed_bytes"] = outcome.removal.freed_bytes
    values["last_sweep_failed_deletions"] = outcome.removal.failures.total()
    values["last_sweep_duration_seconds"] = outcome.seconds
    values["filesystem_size_bytes"] = outcome.usage.total_bytes
    values["filesystem_avail_bytes"] = outcome.usage.free_bytes
    values["filesystem_files"] = outcome.usage.total_inodes
    values["filesystem_files_free"] = outcome.usage.free_inodes
    values.pop("bytes", None)
    if outcome.cache_bytes is not None:
        values["bytes"] = outcome.cache_bytes


def _replace(fd: int, name: str, text: str) -> None:
    """Write a file aside and rename it, so that nobody ever reads half of it."""
    aside = f"{name}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(aside, flags, 0o644, dir_fd=fd), "w", encoding="ascii") as file:
        file.write(text)
    os.rename(aside, name, src_dir_fd=fd, dst_dir_fd=fd)
