"""The live status line of `rump run`: one line at the bottom of the terminal that programs can't scroll over.

The terminal's scrolling region (DECSTBM) is set to all lines but the last, as package managers do for their progress
bars, so what programs print above it scrolls as ever.  Nothing is drawn unless stderr is a terminal, nor while a program reads it key by
key.  While the program is stopped (Ctrl-Z) the terminal is as it was.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

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
        from .terminal import reads_keys

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
            self._write(self._restoring(self._rows))
            self._rows = 0

    @contextmanager
    def over(self) -> Iterator["StatusLine"]:
        """Closed at the end, and while the program is stopped.  In the main thread."""
        if not self.enabled:
            yield self
            return
        before = signal.signal(signal.SIGTSTP, self._stop)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTSTP, before)
            self.close()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: give the terminal back, stop as everybody does, and draw again when there is next something to show."""
        rows, self._rows = self._rows, 0
        if rows:
            try:  # not through the stream, which may be in the midst of a write
                os.write(self._stream.fileno(), self._restoring(rows).encode())
            except OSError:
                pass
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, self._stop)

    def _restoring(self, rows: int) -> str:
        return f"{SAVE}\x1b[r\x1b[{rows};1H\x1b[2K{RESTORE}"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
