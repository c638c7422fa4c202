"""Tables: drawn on a terminal, plain columns in a pipe, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from typing import Any


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows of text, the columns with the numbers in `right` flush right; `rich` is loaded only where there is a
    terminal to draw on."""
    if not rows:
        return
    if sys.stdout.isatty():
        _draw(title, columns, rows, right)
        return
    widths = [max(len(str(row[index])) for row in [columns, *rows]) for index in range(len(columns))]
    margin = "  " if title else ""
    if title:
        print(f"{title}:")
    for row in [columns, *rows]:
        cells = [
            text.rjust(width) if index in right else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print(margin + "  ".join(cells).rstrip())


def _draw(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=SIMPLE, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="right" if index in right else "left")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    Console().print(table)


def show_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    print(json.dumps(value, indent=2))
