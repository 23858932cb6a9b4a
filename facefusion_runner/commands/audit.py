"""`audit`: looks after the log that AUDIT_LOG names."""

from __future__ import annotations

from pathlib import Path

import click

from facefusion_runner.commands.options import epilog

EXAMPLE = "facefusion-runner audit verify audit.jsonl"


@click.group(epilog=epilog(EXAMPLE))
def audit() -> None:
    """Check the log of what was done."""


@audit.command(epilog=epilog(EXAMPLE))
@click.argument("file", metavar="FILE")
def verify(file: str) -> None:
    """Check that no line was changed or taken out.

    Prints the number of records and the last line's SHA-256. Keep that elsewhere: lines cut off at the end
    show only there. Exit code 1: a line does not follow from the one before it.
    """
    from facefusion_runner.audit import verify

    count, last = verify(Path(file))
    click.echo(f"{file}: {count} records, the last line's SHA-256 is {last}" if last else f"{file}: empty")
