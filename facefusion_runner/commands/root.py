"""The command all others belong to."""

from __future__ import annotations

import click

from facefusion_runner import __version__
from facefusion_runner.commands.audit import audit
from facefusion_runner.commands.config import config
from facefusion_runner.commands.demo import demo
from facefusion_runner.commands.doctor import doctor
from facefusion_runner.commands.keys import keys
from facefusion_runner.commands.models import models
from facefusion_runner.commands.options import epilog
from facefusion_runner.commands.serve import serve
from facefusion_runner.commands.swap import swap

EXAMPLES = (
    "facefusion-runner demo",
    "facefusion-runner doctor",
    "facefusion-runner swap --source me.jpg --target clip.mp4 --output swapped.mp4",
    "facefusion-runner serve",
    "facefusion-runner models list",
)


@click.group(epilog=epilog(*EXAMPLES), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="facefusion-runner", message="%(prog)s %(version)s")
def root() -> None:
    """Swap faces in videos and pictures.

    The face of --source replaces faces of --target; what a task keeps on disk while it runs is gone
    when it ends, however it ends.
    """


for command in (demo, swap, serve, keys, models, doctor, config, audit):
    root.add_command(command)
