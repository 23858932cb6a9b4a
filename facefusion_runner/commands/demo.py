"""`demo`: a first look that needs nothing but the installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
from pydantic import BaseModel, Field

from facefusion_runner import logs
from facefusion_runner.commands.libraries import imported
from facefusion_runner.commands.options import SettingsCommand, epilog, load, setting_options
from facefusion_runner.errors import Cancelled
from facefusion_runner.progress import make_reporter
from facefusion_runner.settings import (
    Blending,
    Boolean,
    Cache,
    Messages,
    Models,
    Networks,
    Provenance,
    Running,
)
from facefusion_runner.signals import Stop, StopOnSignal

EXAMPLES: Final = (
    "facefusion-runner demo",
    "facefusion-runner demo --output /tmp/demo --blend-mode pyramid",
    "facefusion-runner demo --overwrite --detect-every 5",
)
FOLDER: Final = "facefusion-demo"


class Files(BaseModel):
    """Files"""

    overwrite: Boolean = Field(default=False, description="Replace the files of an earlier demo.")


@click.command(cls=SettingsCommand, epilog=epilog(*EXAMPLES))
@click.option(
    "--output",
    "folder",
    metavar="DIR",
    default=FOLDER,
    help=f"Folder for the results; made if need be. [{FOLDER}]",
)
@setting_options(Files, Networks, Blending, Provenance, Running, Messages, Cache, Models)
@click.pass_context
def demo(ctx: click.Context, /, folder: str, **given: Any) -> None:
    """Swap faces in two pictures and a short film.

    The pictures come with the installation, and so do the networks: nothing is fetched, no file of yours is
    needed. It takes about a minute and leaves source, target and result of every swap, and a picture that
    shows them side by side. Everything but the files is as for swap.
    """
    settings = load(ctx, given).settings
    stop = Stop()
    with (
        StopOnSignal(stop),
        make_reporter(settings.progress) as reporter,
        logs.shown(settings.log_level, reporter),
    ):
        run = imported("facefusion_runner.demo").run
        if stop.is_set():
            raise Cancelled("the demo was cancelled before it began")
        result = run(settings, Path(folder), reporter, stop)
        files = result.files
        data = {"faces": result.faces, **{name: str(path) for name, path in files.by_role().items()}}
        reporter.done(_summary(files, result.faces), data)


def _summary(files: Any, faces: int) -> str:
    rows = (
        (files.sheet, "source, target and result side by side"),
        (files.portrait_swapped, f"{files.portrait.name} with the face of {files.person.name}"),
        (files.group_swapped, f"{files.group.name} with the face of {files.portrait.name}"),
        (files.film_swapped, f"{files.film.name} with the face of {files.portrait.name}"),
    )
    width = max(len(str(path)) for path, _ in rows)
    lines = [f"{faces} faces replaced. Look at", *(f"  {path!s:{width}}  {what}" for path, what in rows)]
    return "\n".join([*lines, "Now with your own: facefusion-runner swap --help"])
