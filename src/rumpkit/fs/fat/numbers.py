"""Inode numbers for files that have none: where a file's entry lies on the device, in units of its size.

So a number costs nothing to keep.  Only for files that moved since the volume was mounted is there a note of the number they had
before, so that it stays theirs while the volume is mounted, and nobody else gets it.
"""

from collections.abc import Mapping
from typing import Final, final

ROOT: Final = 1
"""The root directory has no entry."""


TRIED: Final = 64
"""Numbers that are looked at for some that nobody knows."""


@final
class Numbers:
    """The inode numbers of one mounted volume."""

    def __init__(self, device_size: int, limit: int, live: Mapping[int, object]) -> None:
        """`live` has the numbers that somebody knows: they are kept, and of others `limit`."""
        self._live: Mapping[int, object] = live
        self._fresh: int = (device_size >> 5) + 2
        """Above all positions."""
        self._limit: int = limit
        self._moved: dict[int, int] = {}
        """Numbers of files that don't have that of their position."""
        self._away: set[int] = set()
        """Positions whose number belongs to a file that is not there."""

    def at(self, address: int) -> int:
        """The number of the file whose entry is at byte `address`."""
        position = address >> 5
        return self._moved.get(position, position) if self._moved else position

    def made(self, address: int) -> int:
        """The number of a new file there."""
        position = address >> 5
        if position in self._away:
            self._fresh += 1
            self._note(position, self._fresh)
        return self.at(address)

    def moved(self, address: int, new_address: int) -> None:
        """A file's entry has moved; its number stays its own."""
        number = self.at(address)
        self._moved.pop(address >> 5, None)
        position = new_address >> 5
        if number == position:
            self._away.discard(number)
        else:
            self._away.add(number)
            self._note(position, number)

    def removed(self, address: int, kept: bool) -> None:
        """A file has lost its entry.  If it is `kept` (open), its number is its own until `gone`."""
        number = self._moved.pop(address >> 5, address >> 5)
        if kept:
            self._away.add(number)
        else:
            self._away.discard(number)

    def gone(self, number: int) -> None:
        """A kept file is there no longer."""
        self._away.discard(number)

    def _note(self, position: int, number: int) -> None:
        moved = self._moved
        if len(moved) >= self._limit:
            # Whoever moves that many files has long forgotten the number of the first.
            for old in [old for old, _ in zip(moved, range(TRIED), strict=False)]:
                if moved[old] in self._live:
                    moved[old] = moved.pop(old)
                else:
                    self._away.discard(moved.pop(old))
        self._moved[position] = number
