"""`doctor`: what will run where, and what mends what will not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from facefusion_runner.commands.options import Invocation, SettingsCommand, epilog, load, setting_options
from facefusion_runner.settings import Cache, Messages, Models, Networks, Running

if TYPE_CHECKING:
    from facefusion_runner.doctor.check import Check

EXAMPLES = (
    "facefusion-runner doctor",
    "facefusion-runner doctor --device cuda",
    "facefusion-runner doctor --json",
)
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(cls=SettingsCommand, epilog=epilog(*EXAMPLES))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_options(Networks, Running, Messages, Cache, Models)
@click.pass_context
def doctor(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Try out what a swap needs on this machine.

    Exit code 0: a swap can run with these settings. 1: it cannot; the lines marked `fail` say why.
    """
    ctx.ensure_object(Invocation).json |= as_json
    loaded = load(ctx, given)
    from facefusion_runner.doctor import can_swap, examine

    checks = []
    for check in examine(loaded):
        checks.append(check)
        if not as_json:
            _print(check)
    ready = can_swap(checks)
    if as_json:
        click.echo(json.dumps({"ready": ready, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        click.echo(f"\na swap {'can' if ready else 'cannot'} run")
    ctx.exit(0 if ready else 1)


def _print(check: Check) -> None:
    click.secho(f"{check.state:5}", fg=COLOURS[check.state], nl=False)
    click.echo(f"{check.name}: {check.summary}")
    if check.hint and check.state != "ok":
        click.echo(f"     {check.hint}")
