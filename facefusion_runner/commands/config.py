"""`config`: the settings in force, and where each comes from."""

from __future__ import annotations

import json
from typing import Any

import click

from facefusion_runner.commands.options import (
    Invocation,
    SettingsCommand,
    epilog,
    load,
    setting_options,
    written,
)
from facefusion_runner.commands.tables import print_table
from facefusion_runner.loading import Loaded
from facefusion_runner.settings import SECTIONS, Settings

EXAMPLES = (
    "facefusion-runner config",
    "facefusion-runner config --config task.json --json",
    "CACHE_TTL_SECONDS=60 facefusion-runner config",
)


@click.command(cls=SettingsCommand, epilog=epilog(*EXAMPLES))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_options(*SECTIONS)
@click.pass_context
def config(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Show the settings in force and where each of them comes from."""
    ctx.ensure_object(Invocation).json |= as_json
    loaded = load(ctx, given)
    loaded.check_schedule()
    if as_json:
        click.echo(json.dumps(report(loaded), indent=2))
    else:
        print_table(("setting", "value", "from"), rows(loaded))


def report(loaded: Loaded[Settings]) -> dict[str, Any]:
    """Per setting its value, the level it comes from, and its name there."""
    values = loaded.settings.model_dump(mode="json")
    return {
        name: {"value": values[name], "from": loaded.origins[name].level, "name": loaded.origins[name].name}
        for section in SECTIONS
        for name in section.model_fields
    }


def rows(loaded: Loaded[Settings]) -> list[tuple[str, str, str]]:
    places = {
        "flag": "flag",
        "config": f"config {loaded.config}",
        "environment": "environment",
        "default": "",
    }
    return [
        (name, written(getattr(loaded.settings, name)), places[loaded.origins[name].level])
        for section in SECTIONS
        for name in section.model_fields
    ]
