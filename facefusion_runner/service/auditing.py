"""The audit log's lines of the service's tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from facefusion_runner import values
from facefusion_runner.audit import AuditLog, Digests, Entry
from facefusion_runner.audit import Outcome as Audited
from facefusion_runner.policies import Verdict
from facefusion_runner.settings import ServiceSettings
from facefusion_runner.tasks.task import Outcome, State, Task


class Auditor:
    """Writes where AUDIT_LOG says, or nothing at all."""

    def __init__(self, log: AuditLog | None) -> None:
        self._log = log

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """Raises ConfigError when the log cannot be written."""
        return cls(None if settings.audit_log is None else AuditLog(settings.audit_log))

    def ended(self, task: Task, state: State, outcome: Outcome) -> None:
        """A task that was taken has ended. Raises StorageError."""
        if self._log is None:
            return
        request, digests = task.request, task.request.digests
        ends: dict[State, Audited] = {"succeeded": "succeeded", "cancelled": "cancelled"}
        self._log.record(
            Entry(
                task_id=task.id,
                outcome=ends.get(state, "failed"),
                code=(outcome.error or {}).get("code"),
                consent=_stated(request.options),
                sha256=Digests(
                    tuple(digests.get(name) for name in request.sources),
                    digests.get(request.target_file),
                    None if request.reference is None else digests.get(request.reference),
                    outcome.sha256,
                ),
                verdicts=tuple(Verdict(**verdict) for verdict in request.verdicts),
                key=task.key,
            )
        )

    def refused(
        self,
        task_id: str,
        key: str | None,
        code: str,
        options: Mapping[str, Any],
        files: Mapping[str, Sequence[str]],
        digests: Mapping[str, str],
        verdicts: Sequence[Mapping[str, Any]],
    ) -> None:
        """A request was refused by policy. Raises StorageError."""
        if self._log is None:
            return
        named = {name: [digests.get(each) for each in files.get(name, ())] or [None] for name in _PARTS}
        self._log.record(
            Entry(
                task_id=task_id,
                outcome="refused",
                code=code,
                consent=_stated(options),
                sha256=Digests(tuple(named["source"]), named["target"][0], named["reference"][0]),
                verdicts=tuple(Verdict(**verdict) for verdict in verdicts),
                key=key,
            )
        )


_PARTS = ("source", "target", "reference")


def _stated(options: Mapping[str, Any]) -> bool:
    # It was read as a setting before: whatever is written here is one.
    text = str(options.get("consent") or "").strip()
    return bool(text) and values.boolean(text)
