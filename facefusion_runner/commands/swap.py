"""`swap`: one task from the command line."""

from __future__ import annotations

from typing import Any

import click

from facefusion_runner import logs
from facefusion_runner.commands.libraries import imported
from facefusion_runner.commands.options import SettingsCommand, epilog, load, setting_options
from facefusion_runner.errors import Cancelled, ConfigError
from facefusion_runner.progress import duration, make_reporter
from facefusion_runner.settings import SECTIONS, Settings
from facefusion_runner.signals import Stop, StopOnSignal

EXAMPLES = (
    "facefusion-runner swap --source me.jpg --target clip.mp4 --output swapped.mp4",
    "facefusion-runner swap --source a.jpg --source b.jpg --target in.mov --output out.mov --select largest",
    "facefusion-runner swap --config task.json --trim-start 1:30 --trim-end 2:00 --progress json",
)


@click.command(cls=SettingsCommand, epilog=epilog(*EXAMPLES))
@setting_options(*SECTIONS)
@click.pass_context
def swap(ctx: click.Context, /, **given: Any) -> None:
    """Put the source's face on the faces of a video or picture."""
    loaded = load(ctx, given)
    loaded.check_schedule()
    settings = loaded.settings
    _require_files(settings)
    stop = Stop()
    with (
        StopOnSignal(stop),
        make_reporter(settings.progress) as reporter,
        logs.shown(settings.log_level, reporter),
    ):
        run = imported("facefusion_runner.pipeline.guarded").guarded_swap
        if stop.is_set():
            raise Cancelled("the task was cancelled before it began")
        result = run(settings, reporter, stop)
        data = {
            "output": str(result.output),
            "frames": result.frames,
            "faces": result.faces,
            "seconds": round(result.seconds, 3),
            "warnings": list(result.warnings),
        }
        reporter.done(_summary(**data), data)


def _require_files(settings: Settings) -> None:
    missing = [f"--{name}" for name in ("target", "output") if not getattr(settings, name)]
    if missing:
        raise ConfigError(f"swap needs {' and '.join(missing)}; see facefusion-runner swap --help")


def _summary(output: str, frames: int, faces: int, seconds: float, warnings: list[str]) -> str:
    return f"{output}: {frames} frames, {faces} faces replaced, {duration(seconds)}"
