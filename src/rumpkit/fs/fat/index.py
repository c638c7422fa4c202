"""A directory's names in memory: found in constant time whatever their case, and the slots that are free.

Between a directory's vnode (directory.py) and its bytes (slots.py).  Each file has its long and its 8.3 name in here, so
that it is found by both, as Windows finds it.
"""

from typing import Final, final

from . import record
from .layout import DIRECTORY, ENTRY_SIZE, FREE, LONG, LONG_MASK, MAX_LONG_ENTRIES, VOLUME
from .longname import fold
from .slots import Slots

MOST: Final = MAX_LONG_ENTRIES + 1
"""Slots that one file takes at most."""


@final
class Index:
    """The names of one directory."""

    def __init__(self, slots: Slots) -> None:
        self.slots: Slots = slots
        self.names: dict[str, int] = {}
        """Slots of 8.3 entries, by folded name."""
        self.shorts: set[bytes] = set()
        """8.3 names that are taken."""
        self.end: int = 0
        """The first slot that was never used: it and all behind it are free."""
        self.files: int = 0
        """Files and directories."""
        self.directories: int = 0
        self._runs: list[list[int]] = [[] for _ in range(MOST + 1)]
        """First slots of runs of freed ones, by length; those of MOST may be longer."""
        self._freed: int = 0
        """Slots that were freed since the runs were last joined."""
        self._scan()

    def find(self, name: str) -> int:
        """The slot of the file called `name`, -1 if there is none."""
        return self.names.get(fold(name), -1)

    def _scan(self) -> None:
        data = self.slots.data
        capacity = len(data) // ENTRY_SIZE
        names = self.names
        free = 0
        slot = 0
        for slot in range(capacity):
            at = slot * ENTRY_SIZE
            head = data[at]
            if head == FREE:
                free += 1
                continue
            if free:
                self._add_run(slot - free, free)
                free = 0
            if head == 0:
                self.end = slot
                break
            attributes = data[at + 11]
            if attributes & LONG_MASK == LONG or attributes & VOLUME:
                continue
            self.shorts.add(bytes(data[at : at + 11]))
            if not record.is_file(data, slot):
                continue
            self.files += 1
            if attributes & DIRECTORY:
                self.directories += 1
            shown = record.shown(data, slot)
            names.setdefault(fold(shown), slot)
            short = record.short_shown(data, slot)
            if short != shown:
                names.setdefault(fold(short), slot)
        else:
            if free:
                self._add_run(capacity - free, free)
            self.end = capacity

    def _add_run(self, first: int, count: int) -> None:
        while count > MOST:
            self._runs[MOST].append(first)
            first += MOST
            count -= MOST
        if count:
            self._runs[count].append(first)
