"""A terminal for tests: a pseudo terminal, and a screen that shows what is written to it."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import termios

TOKEN = re.compile(
    r"\x1b\[(?P<numbers>[\d;]*)(?P<csi>[A-Za-z])|\x1b(?P<escape>[78D])|(?P<control>[\r\n])|(?P<text>[^\x1b\r\n])"
)


class Screen:
    """As much of a VT100 as the status line uses; rows and columns count from 0 here."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows = [" " * columns for _ in range(rows)]
        self.row = self.column = 0
        self.top, self.bottom = 0, rows - 1
        self._saved = (0, 0)

    def feed(self, text: str) -> None:
        """Show what a program writes."""
        at = 0
        while at < len(text):
            match = TOKEN.match(text, at)
            assert match, f"unknown: {text[at : at + 10]!r}"
            at = match.end()
            if match["text"]:
                row = self.rows[self.row]
                self.rows[self.row] = row[: self.column] + match["text"] + row[self.column + 1 :]
                self.column += 1
            elif match["control"]:
                self.column = 0
                if match["control"] == "\n":
                    self._index()
            elif match["escape"]:
                self._escape(match["escape"])
            else:
                self._csi(match["csi"], [int(one or 0) for one in match["numbers"].split(";")])

    def _index(self) -> None:
        if self.row == self.bottom:
            del self.rows[self.top]
            self.rows.insert(self.bottom, " " * len(self.rows[0]))
        elif self.row < len(self.rows) - 1:
            self.row += 1

    def _escape(self, letter: str) -> None:
        if letter == "7":
            self._saved = (self.row, self.column)
        elif letter == "8":
            self.row, self.column = self._saved
        else:
            self._index()

    def _csi(self, letter: str, numbers: list[int]) -> None:
        if letter == "H":
            self.row, self.column = numbers[0] - 1, numbers[1] - 1
        elif letter == "A":
            self.row = max(0, self.row - numbers[0])
        elif letter == "K":
            self.rows[self.row] = " " * len(self.rows[0])
        elif letter == "r":
            self.top, self.bottom = (numbers[0] - 1, numbers[1] - 1) if numbers[0] else (0, len(self.rows) - 1)
            self.row = self.column = 0
        else:
            assert letter == "m", letter


class Terminal(io.StringIO):
    """A stream that is a terminal; what is written to it appears on the screen."""

    def __init__(self, rows: int = 6, columns: int = 40) -> None:
        super().__init__()
        self._master, self._slave = os.openpty()
        self.resize(rows, columns)
        self.screen = Screen(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        """As a user would with the mouse."""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._slave

    def write(self, text: str) -> int:
        self.screen.feed(text)
        return len(text)

    def hang_up(self) -> None:
        """Both ends go."""
        os.close(self._master)
        os.close(self._slave)
