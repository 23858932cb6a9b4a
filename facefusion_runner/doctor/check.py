"""One line of the doctor's report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at and what was found."""

    name: str
    state: State
    """`fail`: no swap can run with the settings in force."""
    summary: str
    hint: str = ""
    """What mends it."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The same as data, for programs."""


def one_line(error: object) -> str:
    return " ".join(str(error).split())
