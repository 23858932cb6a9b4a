"""Asks the teachers about every portrait."""

from __future__ import annotations

from pathlib import Path

import click

from training.data.labels import FILE, label


@click.command(help=f"Labels the portraits below DATA/faces with the teachers; writes WORK/{FILE}.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
def main(data: Path, work: Path) -> None:
    labels = label(data)
    labels.save(work)
    click.echo(f"{len(labels.files)} portraits labelled in {work / FILE}")


main()
