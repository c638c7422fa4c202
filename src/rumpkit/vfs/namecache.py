"""A name cache: what names in directories mean, for file systems whose own lookup costs more than this one's.

Between a file system and its directories on disk.  It keeps inode numbers, not vnodes, so it holds nothing alive and nothing it says can
be another object than the file system's own.  That a directory lacks a name is kept, too, as 0.  The file system forgets a name whenever it
changes; directories are told apart by number and generation, so that a removed one's names don't show in one that comes after it.  The
longest known name goes when there are too many.
"""

from typing import Final, final

from ..kern.counters import Counters

UNKNOWN: Final = -1


@final
class NameCounters(Counters):
    """What came of asking the name caches of a kernel."""

    def __init__(self) -> None:
        self.hits: int = 0
        """A file was known."""
        self.negative_hits: int = 0
        """It was known that there is none."""
        self.misses: int = 0

    def names(self) -> tuple[str, ...]:
        return ("hits", "negative_hits", "misses")


@final
class NameCache:
    """The names of one mount."""

    def __init__(self, limit: int, counters: NameCounters) -> None:
        self.limit: int = limit
        """How many names it may keep; 0: none."""
        self._counters: NameCounters = counters
        self._names: dict[tuple[int, int, bytes], int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def get(self, directory: int, generation: int, name: bytes) -> int:
        """The inode number of a name; 0 where there is none, UNKNOWN where the directory is to be asked."""
        number = self._names.get((directory, generation, name), UNKNOWN)
        if number > 0:
            self._counters.hits += 1
        elif number == 0:
            self._counters.negative_hits += 1
        else:
            self._counters.misses += 1
        return number

    def put(self, directory: int, generation: int, name: bytes, number: int) -> None:
        """The directory has said that a name means `number`, or with 0 nothing."""
        names = self._names
        if len(names) >= self.limit:
            if not self.limit:
                return
            del names[next(iter(names))]
        names[directory, generation, name] = number

    def forget(self, directory: int, generation: int, name: bytes) -> None:
        """The name is about to change."""
        self._names.pop((directory, generation, name), None)
