"""The live status line of `rump run`: one line at the bottom of the terminal that programs can't scroll over.

The terminal's scrolling region (DECSTBM) is set to all lines but the last, as package managers do for their progress
bars, so what programs print above it scrolls as ever.  Nothing is drawn unless stderr is a terminal, nor while a program reads it key by
key.
"""

import os
import sys
from typing import TextIO

from .terminal import reads_keys

MIN_ROWS = 4
SAVE, RESTORE = "\x1b7", "\x1b8"
INDEX = "\x1bD"
"""One line down, scrolling at the bottom; unlike a line feed it stays in the column."""


class StatusLine:
    """Draw with `show`, and always `close`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._rows = 0
        self.enabled = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def show(self, text: str) -> None:
        """Replace the line."""
        if not self.enabled:
            return
        if reads_keys():  # an editor, a prompt: it draws the screen itself
            self.close()
            return
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except OSError:
            self.enabled = False
            return
        if rows < MIN_ROWS:
            return
        reserve = "" if rows == self._rows else self._reserve(rows)
        self._rows = rows
        style, plain = ("", "") if os.environ.get("NO_COLOR") else ("\x1b[2m", "\x1b[0m")
        line = text[: columns - 1]
        self._write(f"{reserve}{SAVE}\x1b[{rows};1H\x1b[2K{style}{line}{plain}{RESTORE}")

    def _reserve(self, rows: int) -> str:
        """Scroll one line up, so that nothing is hidden, then keep the last line out of the scrolling region."""
        return f"{INDEX}{SAVE}\x1b[1;{rows - 1}r{RESTORE}\x1b[1A"

    def close(self) -> None:
        """Give the last line back to the terminal."""
        if self.enabled and self._rows:
            self._write(f"{SAVE}\x1b[r\x1b[{self._rows};1H\x1b[2K{RESTORE}")
            self._rows = 0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
