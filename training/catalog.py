"""Writes size and SHA-256 of the built-in weights into their catalog: `python -m training.catalog`.

Every export does so, too. A weights file without an entry, an entry without a file, and weights without a
card are named; the entry itself, with the family and its parameters, is written by hand.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from pathlib import Path

import click

from facefusion_runner.models.catalog import BUILT_IN, FILE_NAME

MOST_BYTES = 30_000_000
"""Of all built-in weights together."""

_FILE = re.compile(r'^file = "(?P<file>[^"]+)"\n(?:bytes = .*\n)?(?:sha256 = .*\n)?', re.MULTILINE)


def refreshed(text: str, folder: Path) -> str:
    """The catalog's text with `bytes` and `sha256` of the files in `folder` behind each `file`."""

    def line(match: re.Match[str]) -> str:
        path = folder / match["file"]
        if not path.is_file():
            return match[0]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return f'file = "{match["file"]}"\nbytes = {path.stat().st_size}\nsha256 = "{digest}"\n'

    return _FILE.sub(line, text)


def faults(text: str, folder: Path) -> list[str]:
    """What is missing or too much, a line each."""
    models = tomllib.loads(text)["models"]
    named = {model["file"]: model["id"] for model in models if model["file"]}
    weights = {path.name: path for path in folder.glob("*.onnx")}
    found = [f"{name} has no entry in {FILE_NAME}" for name in sorted(weights.keys() - named.keys())]
    found += [f"model {named[name]}: {name} is not here" for name in sorted(named.keys() - weights.keys())]
    found += [
        f"{name} has no card" for name, path in weights.items() if not path.with_suffix(".md").is_file()
    ]
    total = sum(path.stat().st_size for path in weights.values())
    if total > MOST_BYTES:
        found.append(f"all weights together have {total} bytes, more than {MOST_BYTES}")
    return found


def refresh() -> str:
    """Writes what has changed into the built-in models' catalog; its text."""
    path = BUILT_IN / FILE_NAME
    before = path.read_text()
    text = refreshed(before, BUILT_IN)
    if text != before:
        path.write_text(text)
    return text


@click.command()
def main() -> None:
    """Write size and SHA-256 of the built-in weights into their catalog."""
    missing = faults(refresh(), BUILT_IN)
    for fault in missing:
        click.echo(fault, err=True)
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
