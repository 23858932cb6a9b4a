"""What is going on right now, for those who watch: how far running tasks are, and that something changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Running:
    """A task that is being worked on."""

    progress: dict[str, Any] | None = None
    """stage, frames, total, rate, eta."""
    warnings: list[str] = field(default_factory=list)

    def report(self, progress: dict[str, Any]) -> None:
        """How far it is now. A stage that counts no frames takes back none that are done."""
        before = self.progress
        if before is not None and progress["total"] is None and progress["frames"] < before["frames"]:
            progress |= {"frames": before["frames"], "total": before["total"]}
        self.progress = progress


class Live:
    """Used in the event loop's thread only."""

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}
        self._watchers: dict[str, set[asyncio.Event]] = {}

    def begin(self, task_id: str) -> Running:
        running = self._running[task_id] = Running()
        self.changed(task_id)
        return running

    def end(self, task_id: str) -> None:
        self._running.pop(task_id, None)
        self.changed(task_id)

    def get(self, task_id: str) -> Running | None:
        return self._running.get(task_id)

    def frames_per_second(self) -> float:
        """Of all running tasks together."""
        running = list(self._running.values())
        return sum((each.progress or {}).get("rate") or 0.0 for each in running)

    def changed(self, task_id: str) -> None:
        """Wakes those who watch the task."""
        for event in self._watchers.get(task_id, ()):
            event.set()

    def changed_all(self) -> None:
        for task_id in self._watchers:
            self.changed(task_id)

    def watch(self, task_id: str) -> asyncio.Event:
        """An event that is set whenever the task changes; give it back with `unwatch`."""
        event = asyncio.Event()
        self._watchers.setdefault(task_id, set()).add(event)
        return event

    def unwatch(self, task_id: str, event: asyncio.Event) -> None:
        watchers = self._watchers.get(task_id, set())
        watchers.discard(event)
        if not watchers:
            self._watchers.pop(task_id, None)
