"""A task as a person starts it: with consent stated, the policies asked, and its end in the audit log."""

from __future__ import annotations

import threading
from dataclasses import replace

from facefusion_runner.audit import AuditLog, Digests, Entry, Outcome, digest
from facefusion_runner.cache.task_id import new_task_id
from facefusion_runner.errors import Cancelled, PolicyError, RunnerError, StorageError
from facefusion_runner.pipeline.plan import Plan
from facefusion_runner.pipeline.run import Result, swap
from facefusion_runner.policies import Verdict
from facefusion_runner.policies.examination import examine, require_consent
from facefusion_runner.progress import Reporter
from facefusion_runner.settings import Settings
from facefusion_runner.signals import Interrupted, Stop


def guarded_swap(settings: Settings, reporter: Reporter, stop: Stop) -> Result:
    """What `swap` does; PolicyError before any work where consent is missing or a policy refuses.

    With `audit_log` every end leaves a line there. A log that cannot be written is a ConfigError before
    anything else; when a success cannot be recorded, StorageError, and the output is removed again.
    """
    if settings.audit_log is None:
        return swap(settings, reporter, stop, admit=lambda plan: _admit(settings, plan))
    record = _Record(AuditLog(settings.audit_log), settings)
    # Where the process is ended at once, this is the only place that still can.
    stop.on_abandon(lambda: record.write("cancelled", Cancelled.code))

    def admit(plan: Plan) -> None:
        record.read_inputs()
        record.verdicts = _admit(settings, plan)

    try:
        result = swap(settings, reporter, stop, task_id=record.task_id, admit=admit)
    except BaseException as error:
        try:
            record.failed(error)
        except StorageError as unrecorded:
            reporter.warning(str(unrecorded))
        raise
    try:
        record.succeeded(result)
    except StorageError as error:
        result.output.unlink(missing_ok=True)
        raise StorageError(f"{error}; {result.output} was removed again") from None
    return result


def _admit(settings: Settings, plan: Plan) -> tuple[Verdict, ...]:
    require_consent(settings)
    return examine(settings, plan)


class _Record:
    """The line of one task; whatever comes first is written, and once."""

    def __init__(self, log: AuditLog, settings: Settings) -> None:
        self.task_id = settings.task_id or new_task_id()
        self.verdicts: tuple[Verdict, ...] = ()
        self._log = log
        self._settings = settings
        self._inputs: Digests | None = None
        self._writing = threading.Lock()
        self._written = False

    def read_inputs(self) -> Digests:
        """Their digests, as they are when this is first called."""
        if self._inputs is None:
            settings = self._settings
            sources = tuple(map(digest, settings.source))
            self._inputs = Digests(sources, digest(settings.target), digest(settings.reference))
        return self._inputs

    def succeeded(self, result: Result) -> None:
        self.write("succeeded", None, digest(result.output))

    def failed(self, error: BaseException) -> None:
        self.read_inputs()
        if isinstance(error, PolicyError):
            self.verdicts = tuple(Verdict(**verdict) for verdict in error.detail or ())
            self.write("refused", error.code)
        elif isinstance(error, Cancelled | Interrupted | KeyboardInterrupt):
            self.write("cancelled", Cancelled.code)
        else:
            self.write("failed", getattr(error, "code", RunnerError.code))

    def write(self, outcome: Outcome, code: str | None, output: str | None = None) -> None:
        """Raises StorageError."""
        inputs = self._inputs or Digests((None,) * len(self._settings.source))
        entry = Entry(
            task_id=self.task_id,
            outcome=outcome,
            code=code,
            consent=self._settings.consent,
            sha256=replace(inputs, output=output),
            verdicts=self.verdicts,
        )
        with self._writing:
            if not self._written:
                self._written = True
                self._log.record(entry)
