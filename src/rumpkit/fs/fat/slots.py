"""A directory's bytes: read whole, kept in memory, and where each slot lies on the device.

Between the directory's names (index.py) and the volume.  A directory has at most 65,536 slots, so this is bounded.
"""

from typing import TYPE_CHECKING, final

from ...kern.abi.errno import ENOSPC, EUCLEAN, error
from .chain import Chain
from .layout import ENTRY_SIZE, FREE, MAX_SLOTS

if TYPE_CHECKING:
    from .volume import Volume


@final
class Slots:
    """The storage of one directory."""

    def __init__(self, volume: "Volume", chain: Chain | None) -> None:
        self.volume: Volume = volume
        self.chain: Chain | None = chain
        """None: the fixed root directory of FAT12 and FAT16."""
        self.data: bytearray = bytearray()
        self.fresh: bool = False
        """Made since the last commit: nothing on the device refers to it, so it may be written at any time before."""
        self.dirty: set[int] = set()
        """Sectors, counted from the directory's start, that are newer in memory."""
        self.ghosts: dict[int, bytes] = {}
        """Slots that are free in memory, with what they hold on the device until what replaces them is durable there."""
        self.later: list[tuple[int, int]] = []
        """Runs (first, count) of those slots: free to be taken once `ghosts` is empty."""

    def load(self) -> None:
        """Read the directory.  Raises EUCLEAN, EIO."""
        volume = self.volume
        geometry = volume.geometry
        if self.chain is None:
            self.data = bytearray(volume.read(geometry.root_offset, geometry.root_bytes))
            return
        chain = self.chain
        most = MAX_SLOTS * ENTRY_SIZE // geometry.cluster_size
        if chain.find(most + 1) > most and most:
            raise OSError(EUCLEAN, f"the directory at cluster {chain.first} has more than {MAX_SLOTS} entries")
        if chain.known == 0:
            raise OSError(EUCLEAN, "a directory without a cluster")
        parts = [volume.read(geometry.address(start), count * geometry.cluster_size) for start, count in chain.runs()]
        self.data = bytearray(b"".join(parts))

    def capacity(self) -> int:
        """Slots that there is room for."""
        return len(self.data) // ENTRY_SIZE

    def address(self, offset: int) -> int:
        """Where byte `offset` of the directory is on the device."""
        geometry = self.volume.geometry
        if self.chain is None:
            return geometry.root_offset + offset
        index = offset // geometry.cluster_size
        return geometry.address(self.chain.locate(index)[0]) + offset - index * geometry.cluster_size

    # Changes -------------------------------------------------------------------------------------------

    def mark(self, first: int, count: int) -> None:
        """The slots from `first` on have changed."""
        size = self.volume.geometry.sector_size
        low = first * ENTRY_SIZE // size
        high = ((first + count) * ENTRY_SIZE - 1) // size
        self.dirty.update(range(low, high + 1))
        self.volume.writer.slots[self] = None

    def in_one_sector(self, first: int, last: int) -> bool:
        """Whether these two slots, and all between, are written at once."""
        per_sector = self.volume.geometry.sector_size // ENTRY_SIZE
        return first // per_sector == last // per_sector

    def parts_apart(self) -> dict[int, bytes]:
        """Those of `ghosts` that are parts of a long name in another sector than their 8.3 entry."""
        per_sector = self.volume.geometry.sector_size // ENTRY_SIZE
        found: dict[int, bytes] = {}
        for first, count in self.later:
            last = first + count - 1
            if first in self.ghosts and first // per_sector != last // per_sector:
                for slot in range(first, last // per_sector * per_sector):
                    found[slot] = self.ghosts[slot]
        return found

    def put(self, first: int, entries: bytes) -> None:
        """Overwrite the slots from `first` on."""
        self.data[first * ENTRY_SIZE : first * ENTRY_SIZE + len(entries)] = entries
        self.mark(first, len(entries) // ENTRY_SIZE)

    def clear(self, first: int, count: int, ghosts: bool) -> None:
        """Make slots free; with `ghosts` the device keeps them until everything else is written there."""
        data = self.data
        for slot in range(first, first + count):
            at = slot * ENTRY_SIZE
            if ghosts and not self.fresh:
                self.ghosts[slot] = bytes(data[at : at + ENTRY_SIZE])
            data[at] = FREE
        if ghosts and not self.fresh:
            self.later.append((first, count))
        self.mark(first, count)

    def finish(self, slot: int) -> None:
        """Nothing is in use from `slot` on: see that a reader stops there."""
        at = slot * ENTRY_SIZE
        if at >= len(self.data) or self.data[at] == 0:
            return
        self.data[at:] = bytes(len(self.data) - at)
        if self.fresh:
            self.mark(slot, self.capacity() - slot)
            return
        # What was behind the end must not come back to life when a crash leaves only the new entries on the device.
        size = self.volume.geometry.sector_size
        first = -(-at // size) * size
        self.mark(slot, 1)
        for offset in range(first, len(self.data), size):
            self.volume.writer.write_before(self.address(offset), bytes(size))

    def can_grow(self) -> bool:
        """Whether it may have a cluster more; not whether there is one."""
        size = self.volume.geometry.cluster_size
        return self.chain is not None and len(self.data) + size <= MAX_SLOTS * ENTRY_SIZE

    def grow(self) -> None:
        """Add a cluster of zeros.  Raises ENOSPC where there is none, or no room for it in the directory."""
        chain = self.chain
        volume = self.volume
        size = volume.geometry.cluster_size
        if chain is None or not self.can_grow():
            raise error(ENOSPC)
        chain.all()
        if chain.known * size > len(self.data):
            raise OSError(EUCLEAN, f"the directory at cluster {chain.first} has grown behind our back")
        if not volume.extend(chain, 1):
            raise error(ENOSPC)
        zeros = bytes(size)
        if not self.fresh:
            volume.writer.write_before(volume.geometry.address(chain.last), zeros)
        first = self.capacity()
        self.data += zeros
        if self.fresh:
            self.mark(first, size // ENTRY_SIZE)
