"""`serve`: the HTTP service."""

from __future__ import annotations

from typing import Any

import click

from facefusion_runner.commands.libraries import imported
from facefusion_runner.commands.options import SettingsCommand, epilog, load_as, setting_options
from facefusion_runner.settings import SERVICE_SECTIONS, ServiceSettings

EXAMPLES = (
    "facefusion-runner serve",
    "facefusion-runner serve --host 0.0.0.0 --port 80 --workers 2",
    "API_KEYS=$(facefusion-runner keys new alice 2>key.txt) facefusion-runner serve",
)


@click.command(cls=SettingsCommand, epilog=epilog(*EXAMPLES))
@setting_options(*SERVICE_SECTIONS)
@click.pass_context
def serve(ctx: click.Context, /, **given: Any) -> None:
    """Run the HTTP service, with a page at its address.

    Settings of a single task, such as --detector, are the defaults for tasks that do not say otherwise.
    """
    loaded = load_as(ServiceSettings, ctx, given)
    loaded.check_schedule()
    imported("facefusion_runner.service.server").serve(loaded)
