"""A task of the service as it is kept: what was asked for, how far it is, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
"""The states that a task never leaves."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; it never changes."""

    options: Mapping[str, Any]
    """Settings of this task, by name, as the client wrote them."""
    target: Mapping[str, Any]
    """What the target is: kind, width, height, frames, duration."""
    sources: tuple[str, ...]
    """Names of the files in the task's folder."""
    target_file: str
    reference: str | None
    output: str
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files, in hexadecimal, by name."""
    verdicts: tuple[Mapping[str, Any], ...] = ()
    """What the content policies said."""
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, so far as it has ended."""

    frames: int = 0
    faces: int = 0
    bytes: int = 0
    sha256: str | None = None
    """Of the result."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds each phase took."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds each stage was at work while swapping; they work side by side."""
    warnings: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    """code, message, detail."""


@dataclass(frozen=True, slots=True)
class Task:
    """Times are seconds since 1970."""

    id: str
    state: State
    key: str | None
    """Name of the API key it came with."""
    created: float
    started: float | None
    finished: float | None
    expires: float | None
    attempts: int
    """How often work on it began."""
    request: Request
    outcome: Outcome

    @property
    def is_final(self) -> bool:
        return self.state in FINAL
