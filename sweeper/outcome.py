"""What one sweep did and found."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

from facefusion_runner.cache.removal import Removal
from facefusion_runner.cache.root import Usage

Result = Literal["done", "failed", "unfinished", "busy", "disabled", "refused", "unavailable", "terminated"]

EXIT_CODES: Final[dict[Result, int]] = {
    "done": 0,
    "unfinished": 0,
    "busy": 0,
    "disabled": 0,
    "failed": 1,
    "refused": 2,
    "unavailable": 3,
}
"""`terminated` ends in 128 plus the signal's number."""

State = Literal["live", "fresh", "orphan", "trash"]
STATES: Final[tuple[State, ...]] = ("live", "fresh", "orphan", "trash")


class Outcome:
    def __init__(self) -> None:
        self.result: Result = "done"
        self.message = ""
        """Why nothing could be done."""
        self.signal = 0
        self.seconds = 0.0
        self.deleted = 0
        """Entries of the root and of `.trash` that are gone."""
        self.removal = Removal()
        self.directories: Counter[State] = Counter()
        """Task directories that are left, and what is left in `.trash`."""
        self.oldest_orphan = 0.0
        """Seconds: the age of the oldest cache that had to go, as it was found."""
        self.cache_bytes: int | None = None
        """Allocated by all that is left in the root; None where it was not measured to the end."""
        self.usage: Usage | None = None

    @property
    def swept(self) -> bool:
        """Whether the root was looked at."""
        return self.usage is not None

    @property
    def exit_code(self) -> int:
        return 128 + self.signal if self.result == "terminated" else EXIT_CODES[self.result]
