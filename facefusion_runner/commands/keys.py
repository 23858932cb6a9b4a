"""`keys`: API keys for the service."""

from __future__ import annotations

import re
import sys

import click

from facefusion_runner.commands.libraries import imported
from facefusion_runner.commands.options import epilog
from facefusion_runner.errors import ConfigError

EXAMPLES = (
    "facefusion-runner keys new alice",
    "facefusion-runner keys new alice >>keys.txt",
)


@click.group(epilog=epilog(*EXAMPLES))
def keys() -> None:
    """Make API keys for the service."""


@keys.command(epilog=epilog("facefusion-runner keys new alice"))
@click.argument("name")
def new(name: str) -> None:
    """Make a key for NAME.

    The key itself goes to standard error, once: it is kept nowhere. What goes to standard output is its hash,
    for API_KEYS or a line of API_KEYS_FILE.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ConfigError(f"{name!r}: a key's name is 1 to 64 of A-Z a-z 0-9 . _ -")
    module = imported("facefusion_runner.service.keys")
    key = module.new_key()
    print(key, file=sys.stderr)
    click.echo(f"{name}:{module.digest(key)}")
