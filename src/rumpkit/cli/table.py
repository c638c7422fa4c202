"""Tables: drawn on a terminal, plain columns in a pipe, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from typing import Any


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text; `rich` is loaded only where there is a terminal to draw on."""
    if not rows:
        return
    if sys.stdout.isatty():
        _draw(title, columns, rows)
        return
    widths = [max(len(str(row[index])) for row in [columns, *rows]) for index in range(len(columns))]
    print(f"{title}:")
    for row in [columns, *rows]:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _draw(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=SIMPLE, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    Console().print(table)


def show_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    print(json.dumps(value, indent=2))
