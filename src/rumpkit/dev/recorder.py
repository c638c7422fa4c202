"""A recorder: every write and flush of a disk in order, so that a crash at any moment can be made to happen afterwards.

A disk may keep what was written since its last flush, lose it, or have part of it, down to single sectors; what was flushed it has.
`prefix` and `crash` say which writes a disk has after a power cut, `apply` brings them to a copy of the disk as it was at first.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias, final

from ..hyper.block import BlockBackend
from ..kern.abi.errno import ENOSPC
from .seeded import Seeded

SECTOR: Final = 512
"""What a disk writes whole or not at all."""
LIMIT: Final = 1 << 30
"""Bytes that a recorder keeps unless told otherwise."""


class Write(NamedTuple):
    """A write that was made."""

    offset: int
    data: bytes


class Flush(NamedTuple):
    """A flush that has returned: what was written before is durable."""


class Durable(NamedTuple):
    """The write before it has returned, and is durable (FUA)."""


class Mark(NamedTuple):
    """What the recorder's user noted: "the file a was synced"."""

    note: str


Event: TypeAlias = Write | Durable | Flush | Mark


@final
class RecorderBackend(BlockBackend):
    """`base`, and a list of what was done to it.  Closing it closes the base."""

    def __init__(self, base: BlockBackend, limit: int = LIMIT) -> None:
        super().__init__(base.size, base.read_only)
        self.events: list[Event] = []
        self.recorded: int = 0
        """Bytes of all writes in `events`."""
        self._base: BlockBackend = base
        self._limit: int = limit

    def window(self) -> tuple[BlockBackend, int, int]:
        """The base's."""
        return self._base.window()

    def read(self, offset: int, size: int) -> bytes:
        """As the base."""
        return self._base.read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        """As the base, and recorded if it succeeds.  Raises ENOSPC beyond the recorder's limit."""
        self._room(data)
        self._base.write(offset, data)
        self._record(offset, data)

    def write_durable(self, offset: int, data: bytes) -> None:
        """The same, as a write and what says that it is durable."""
        self._room(data)
        self._base.write_durable(offset, data)
        self._record(offset, data)
        self.events.append(Durable())

    def flush(self) -> None:
        """As the base, and recorded if it succeeds."""
        self._base.flush()
        self.events.append(Flush())

    def mark(self, note: str) -> None:
        """Note something between the events."""
        self.events.append(Mark(note))

    def clear(self) -> None:
        """Begin the recording anew."""
        self.events.clear()
        self.recorded = 0

    def close(self) -> None:
        """Close the base."""
        self._base.close()

    def _room(self, data: bytes) -> None:
        if self.recorded + len(data) > self._limit:
            raise OSError(ENOSPC, f"the recorder keeps no more than {self._limit} bytes")

    def _record(self, offset: int, data: bytes) -> None:
        self.recorded += len(data)
        self.events.append(Write(offset, data))


def marks(events: list[Event], count: int) -> list[str]:
    """What was noted among the first `count` events."""
    return [event.note for event in events[:count] if isinstance(event, Mark)]


def prefix(events: list[Event], count: int) -> list[Write]:
    """The writes among the first `count` events: what a disk has that does one after the other at once."""
    return [event for event in events[:count] if isinstance(event, Write)]


def crash(events: list[Event], count: int, seed: int, keep: float = 0.5, torn: float = 0.25) -> list[Write]:
    """The writes that a disk has where the power fails after the first `count` events, by `seed`.

    All before the last flush among them, and those that were durable on return; of the other later ones each with probability `keep`, of
    which a share `torn` has some of its sectors.
    """
    random = Seeded(seed)
    last = max((index for index, event in enumerate(events[:count]) if isinstance(event, Flush)), default=-1)
    kept = prefix(events, last + 1)
    for index in range(last + 1, count):
        event = events[index]
        if not isinstance(event, Write):
            continue
        if index + 1 < count and isinstance(events[index + 1], Durable):
            kept.append(event)
        elif not random.chance(keep):
            continue
        elif random.chance(torn):
            kept += tear(event, random)
        else:
            kept.append(event)
    return kept


def tear(write: Write, random: Seeded) -> list[Write]:
    """Some of the write's sectors, those of the disk that it covers wholly or partly: each with probability one half."""
    start, end = write.offset, write.offset + len(write.data)
    parts = []
    at = start
    while at < end:
        stop = min((at // SECTOR + 1) * SECTOR, end)
        if random.chance(0.5):
            parts.append(Write(at, write.data[at - start : stop - start]))
        at = stop
    return parts


def apply(writes: Iterable[Write], disk: BlockBackend) -> None:
    """Write all of `writes` to `disk`."""
    for write in writes:
        disk.write(write.offset, write.data)
