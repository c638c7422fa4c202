"""A directory's names in memory: found in constant time whatever their case, and the slots that are free.

Between a directory's vnode (directory.py) and its bytes (slots.py).  Each file has its long and its 8.3 name in here, so
that it is found by both, as Windows finds it.
"""

from typing import Final, NamedTuple, final

from . import longname, record
from .layout import DIRECTORY, ENTRY_SIZE, FREE, LONG, LONG_MASK, MAX_LONG_ENTRIES, VOLUME
from .longname import fold
from .record import Record
from .shortname import PLAIN_TAILS, Short, checksum, decode, fit, hashed, needs_tail, tailed
from .slots import Slots

MOST: Final = MAX_LONG_ENTRIES + 1
"""Slots that one file takes at most."""


MOST_GHOSTS: Final = 2048
"""Slots of files that were moved away for which a directory grows, rather than have them made free."""
RECENT: Final = 1000
"""Runs of free slots, of those that came last, among which that of a file is looked for that went and comes again."""


class Grave(NamedTuple):
    """Where a file was that went."""

    first: int
    slots: int
    alias: bytes


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
        self._gone: dict[str, Grave] = {}
        self._buried: set[bytes] = set()
        """Their 8.3 names."""
        self._commits: int = -1
        self._numbers: dict[bytes, int] = {}
        """Of 8.3 names whose first tails are taken, where to look for the next one."""
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

    # Changes -------------------------------------------------------------------------------------------

    def add(self, name: str, found: Record) -> int:
        """Put a file's entries in, under `name`, which is free; that of `found` and its case flags are made up for it.

        Returns the slot of its 8.3 entry.  Raises ENOSPC.
        """
        short = fit(name)
        exact = short.exact and short.name not in self.shorts
        graves = self._graves()
        grave = graves.get(fold(name))
        if grave is not None:
            alias = grave.alias
            exact = exact and alias == short.name
        else:
            alias = short.name if exact else self._unique(short, name)
        long = b"" if exact else longname.entries(name, checksum(alias))
        count = len(long) // ENTRY_SIZE + 1
        first = -1
        if grave is not None or alias in self._buried:
            # A name that went and comes again must not be there twice after a crash: it takes its old place, or waits.
            if grave is None or not self._retake(grave, count):
                self.slots.volume.writer.commit()
                return self.add(name, found)
            first = grave.first
        if first < 0:
            first = self.room(count)
        entry = found._replace(name=alias, flags=short.flags if exact else 0)
        self.slots.put(first, long + record.pack(entry))
        slot = first + count - 1
        self.shorts.add(alias)
        self.names[fold(name)] = slot
        if not exact:
            self.names.setdefault(fold(decode(alias, 0)), slot)
        self.files += 1
        if found.attributes & DIRECTORY:
            self.directories += 1
        return slot

    def hide(self, slot: int) -> None:
        """Forget the names of the file in a slot, which keeps its slots."""
        data = self.slots.data
        self.shorts.discard(bytes(data[slot * ENTRY_SIZE : slot * ENTRY_SIZE + 11]))
        for text in (record.shown(data, slot), record.short_shown(data, slot)):
            key = fold(text)
            if self.names.get(key) == slot:
                del self.names[key]

    def show(self, slot: int) -> None:
        """Undo `hide`."""
        data = self.slots.data
        self.shorts.add(bytes(data[slot * ENTRY_SIZE : slot * ENTRY_SIZE + 11]))
        self.names[fold(record.shown(data, slot))] = slot
        self.names.setdefault(fold(record.short_shown(data, slot)), slot)

    def remove(self, slot: int, ghosts: bool) -> None:
        """Take a file's entries away, after `hide`; `ghosts` as for `Slots.clear`."""
        slots = self.slots
        if slots.data[slot * ENTRY_SIZE + 11] & DIRECTORY:
            self.directories -= 1
        self.files -= 1
        first = record.first_slot(slots.data, slot)
        count = slot - first + 1
        alias = bytes(slots.data[slot * ENTRY_SIZE : slot * ENTRY_SIZE + 11])
        if not slots.fresh:
            self._graves()[fold(record.shown(slots.data, slot))] = Grave(first, count, alias)
            self._buried.add(alias)
        slots.clear(first, count, ghosts)
        if not ghosts or slots.fresh:
            self._add_run(first, count)
        self._freed += count

    def _graves(self) -> dict[str, Grave]:
        """What went since the last commit."""
        commits = self.slots.volume.writer.commits
        if commits != self._commits:
            self._commits = commits
            self._gone.clear()
            self._buried.clear()
        return self._gone

    def _retake(self, grave: Grave, count: int) -> bool:
        """Take the slots of a file that went, if they are still free, and as many as `count`."""
        runs = self._runs[count]
        if grave.slots != count or grave.alias in self.shorts or grave.first not in runs[-RECENT:]:
            return False
        runs.remove(grave.first)
        return True

    def room(self, count: int) -> int:
        """The first of `count` free slots in a row, which are the caller's now.  Raises ENOSPC."""
        slots = self.slots
        if slots.later and not slots.ghosts:
            for first, size in slots.later:
                self._add_run(first, size)
            slots.later.clear()
        first = self._take(count)
        if first >= 0:
            return first
        if self.end + count > slots.capacity() and self._freed > slots.capacity() // 8:
            self._join()
            first = self._take(count)
            if first >= 0:
                return first
        while self.end + count > slots.capacity():
            full = not slots.can_grow()
            if slots.ghosts and (full or len(slots.ghosts) > MOST_GHOSTS):
                # What was moved away takes room until that is durable.
                slots.volume.writer.commit()
                return self.room(count)
            if full and self._freed:
                self._join()
                first = self._take(count)
                if first >= 0:
                    return first
            slots.grow()
        first = self.end
        self.end += count
        slots.finish(self.end)
        return first

    def _take(self, count: int) -> int:
        for length in range(count, MOST + 1):
            runs = self._runs[length]
            if runs:
                first = runs.pop()
                if length > count:
                    self._add_run(first + count, length - count)
                return first
        return -1

    def _join(self) -> None:
        """Find the runs of free slots anew, so that neighbours are one run."""
        for runs in self._runs:
            runs.clear()
        self._freed = 0
        data, ghosts = self.slots.data, self.slots.ghosts
        free = 0
        for slot in range(self.end):
            if data[slot * ENTRY_SIZE] == FREE and slot not in ghosts:
                free += 1
            elif free:
                self._add_run(slot - free, free)
                free = 0
        self._add_run(self.end - free, free)
        self.slots.later = [run for run in self.slots.later if run[0] in ghosts]

    def _unique(self, short: Short, name: str) -> bytes:
        """An 8.3 name for a long one that nobody here has."""
        if not short.exact and not needs_tail(name, short) and short.name not in self.shorts:
            if short.name not in self._buried:
                return short.name
        base, extension = short.name[:8].rstrip(b" "), short.name[8:]
        if short.name not in self._numbers:
            for number in range(1, PLAIN_TAILS + 1):
                alias = tailed(base, extension, number)
                if alias not in self.shorts and alias not in self._buried:
                    return alias
            self._numbers[short.name] = PLAIN_TAILS + 1
        base_hashed = hashed(short.name, name)
        for number in range(1, 10):
            alias = tailed(base_hashed, extension, number)
            if alias not in self.shorts and alias not in self._buried:
                return alias
        number = self._numbers[short.name]
        while (alias := tailed(base, extension, number)) in self.shorts or alias in self._buried:
            number += 1
        self._numbers[short.name] = number
        return alias

    def _add_run(self, first: int, count: int) -> None:
        while count > MOST:
            self._runs[MOST].append(first)
            first += MOST
            count -= MOST
        if count:
            self._runs[count].append(first)
