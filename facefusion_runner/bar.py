"""Progress as a bar on a terminal."""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from facefusion_runner.progress import BaseReporter, Progress, Unit, pace, silence


class BarReporter(BaseReporter):
    """One bar per stage."""

    def __init__(self, stream: IO[str], unit: Unit = "frames") -> None:
        super().__init__(stream)
        self._unit: Unit = unit
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn() if unit == "bytes" else MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}", markup=False),
            console=_Console(file=stream),
        )
        self._stages: dict[str, TaskID] = {}

    def _show(self, event: Progress) -> None:
        self._bar.start()
        if event.stage not in self._stages:
            self._stages[event.stage] = self._bar.add_task(event.stage, total=event.total, pace="")
        self._bar.update(
            self._stages[event.stage],
            completed=event.frames,
            total=event.total,
            pace=pace(event, self._unit),
        )

    def _warn(self, message: str) -> None:
        self._print(f"warning: {message}")

    def _end(self) -> None:
        self._bar.stop()

    def _finish(self, summary: str, data: dict[str, object]) -> None:
        self._print(summary)

    def _print(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the program; the task goes on unseen."""
        self.quiet = True
        silence(self.file)
