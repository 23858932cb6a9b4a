"""What a sweep says: one line per deletion and one per sweep, as JSON or for people.

Names are escaped to ASCII: a name can hold line breaks or bytes that are no text at all.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from facefusion_runner.cache.removal import Removal
from sweeper.outcome import STATES, Outcome

Reason = Literal["trash", "expired", "start-up", "pressure", "stray"]

_STDOUT, _STDERR = 1, 2


class Report:
    """Writes straight to the descriptors: a full disk under the log costs a line, not a sweep."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def deleted(
        self, name: str, reason: Reason, age: float | None, removal: Removal, *, dry_run: bool
    ) -> None:
        about = {
            "name": name,
            "reason": reason,
            "age": None if age is None else round(age, 3),
            **_figures(removal),
            "finished": removal.finished,
        }
        if dry_run:
            about["dry_run"] = True
        verb = "would delete" if dry_run else "deleted"
        if removal.failures:
            verb = "could not delete all of"
        elif not removal.finished:
            verb = "began to delete"
        why = reason if age is None else f"{reason}, unchanged for {age:.0f} s"
        text = f"{verb} {name!a} ({why}): {removal.entries} entries, {removal.freed_bytes} bytes"
        self._say("delete", about, text + _failures(removal))

    def failed(self, name: str, removal: Removal) -> None:
        about = {"name": name, **_figures(removal)}
        self._say("failure", about, f"could not delete {name!a}" + _failures(removal))

    def swept(self, outcome: Outcome, *, dry_run: bool) -> None:
        """The line at a sweep's end."""
        removal, left = outcome.removal, {state: outcome.directories[state] for state in STATES}
        about: dict[str, Any] = {"result": outcome.result}
        if outcome.message:
            about["message"] = outcome.message
        if outcome.swept:
            about |= {"deleted": outcome.deleted, **_figures(removal), "left": left}
        if dry_run:
            about["dry_run"] = True
        about["seconds"] = round(outcome.seconds, 3)
        if outcome.message and not self._as_json:
            self.warn(outcome.message)
        elif outcome.swept:
            lasting = ", ".join(f"{count} {state}" for state, count in left.items())
            done = "would be deleted" if dry_run else f"deleted, {removal.freed_bytes} bytes freed"
            text = f"sweep {outcome.result} in {outcome.seconds:.3f} s: {outcome.deleted} {done}"
            self._say("sweep", about, f"{text}; left: {lasting}{_failures(removal)}")
        else:
            self._say("sweep", about, f"sweep {outcome.result}: nothing was looked at")

    def warn(self, message: str) -> None:
        if self._as_json:
            self._say("warning", {"message": message}, message)
        else:
            _write(_STDERR, f"sweeper: {message}")

    def _say(self, event: str, about: Mapping[str, Any], text: str) -> None:
        if self._as_json:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            text = json.dumps({"time": now, "event": event, **about})
        _write(_STDOUT, text)


def _figures(removal: Removal) -> dict[str, Any]:
    figures: dict[str, Any] = {"entries": removal.entries, "bytes": removal.freed_bytes}
    if removal.failures:
        figures |= {"failures": dict(removal.failures), "example": removal.example}
    return figures


def _failures(removal: Removal) -> str:
    count = removal.failures.total()
    return f"; {count} failed: {removal.example}" if count else ""


def _write(fd: int, line: str) -> None:
    with suppress(OSError):
        os.write(fd, line.encode("utf-8", "backslashreplace") + b"\n")
