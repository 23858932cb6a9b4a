"""Tables for people: fitted to a terminal, one unbroken line a row in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    cells = [list(row) for row in rows]
    if sys.stdout.isatty():
        _print_fitted(headers, cells)
    else:
        widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
        for row in (headers, *cells):
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  ".join(padded).rstrip())


def _print_fitted(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        # The first column is what gets copied into the next command.
        table.add_column(header, overflow="fold", no_wrap=header == headers[0])
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
