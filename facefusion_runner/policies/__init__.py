"""Content policies: what may refuse a task before it begins. None comes with this package.

An installed package brings one with an entry point in the group `facefusion_runner.policies`, something to
call without arguments that gives a `Policy`, for example its class::

    [project.entry-points."facefusion_runner.policies"]
    my_policy = "my_package.my_module:MyPolicy"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from facefusion_runner.faces.types import Picture

GROUP: Final = "facefusion_runner.policies"

Role = Literal["source", "target", "reference"]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture of the task, or one frame of its video."""

    role: Role
    picture: Picture
    """(h, w, 3) uint8 BGR, upright, read-only; large ones are scaled down."""
    seconds: float
    """From the video's first frame; 0 for a picture."""


class Policy(Protocol):
    """Judges tasks by what they show."""

    @property
    def name(self) -> str:
        """How messages and the audit log call it."""
        ...

    def examine(self, samples: Sequence[Sample]) -> str | None:
        """The reason to refuse the task, in one line; None allows it. Whatever it raises refuses, too."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one policy said of a task."""

    policy: str
    allowed: bool
    reason: str | None
    """Of a refusal."""
