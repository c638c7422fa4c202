"""Orphans: files without a name that are in use still, or that are being cut.  A crash leaves them in a list on disk.

The superblock has the last one; each has the number of the one before it in place of its time of deletion.  With the
feature orphan_file there may be numbers in that file, too, which a mount works off.  That file spares several processors a common list;
here one has the file system to himself, so orphans go to the list, which every implementation reads beside the file.
"""

from typing import TYPE_CHECKING, Final, final

from . import blockmap
from .checksum import orphan_checksum
from .features import ORPHAN_PRESENT
from .geometry import corrupt
from .seals import ORPHAN
from .state import InodeState

if TYPE_CHECKING:
    from .volume import Volume

MAGIC: Final = 0x0B10CA04
"""At the end of each block of the file of orphans, before the checksum."""

LARGEST: Final = 8 << 20
"""Bytes that the file of orphans may have, if that is more than 512 blocks."""


@final
class OrphanList:
    """The list of a mounted file system."""

    def __init__(self, volume: "Volume") -> None:
        self._volume: Volume = volume
        self._states: list[InodeState] = []
        """As on disk, the last one last."""

    def add(self, state: InodeState) -> None:
        """A file has become an orphan."""
        if state in self._states:
            return
        volume = self._volume
        state.inode.dtime = volume.fields.last_orphan
        volume.fields.last_orphan = state.number
        self._states.append(state)
        volume.mark_super()
        volume.mark_inode(state)

    def states(self) -> list[InodeState]:
        """All of them."""
        return list(self._states)

    def adopt(self, numbers: list[int]) -> list[InodeState]:
        """The orphans of the list on disk, the last one first, in memory.  Raises EUCLEAN."""
        found = [self._volume.read_inode(number) for number in numbers]
        self._states = found[::-1]
        return found

    def drop(self, state: InodeState) -> None:
        """It is none any more."""
        states = self._states
        if state not in states:
            return
        volume = self._volume
        place = states.index(state)
        if place + 1 == len(states):
            volume.fields.last_orphan = state.inode.dtime
            volume.mark_super()
        else:
            states[place + 1].inode.dtime = state.inode.dtime
            volume.mark_inode(states[place + 1])
        state.inode.dtime = 0
        volume.mark_inode(state)
        del states[place]


def listed(volume: "Volume") -> list[int]:
    """The orphans of the list that a crash left, the last one first.  Raises EUCLEAN."""
    found: list[int] = []
    seen: set[int] = set()
    number = volume.fields.last_orphan
    while number:
        if number in seen or not volume.geometry.first_inode <= number <= volume.geometry.inodes:
            raise corrupt(f"inode {number}: the list of orphans can't have it")
        seen.add(number)
        found.append(number)
        number = volume.read_inode(number).inode.dtime
    return found


def filed(volume: "Volume") -> list[int]:
    """The orphans in the file that a crash left, where they are no longer, within an operation.  Raises EUCLEAN."""
    if not volume.fields.feature_ro_compat & ORPHAN_PRESENT:
        return []
    state = volume.read_inode(volume.fields.orphan_file_inum)
    found: list[int] = []
    size = volume.block_size
    blocks = state.inode.size >> volume.block_bits
    if blocks > min(max(LARGEST >> volume.block_bits, 512), volume.geometry.blocks):
        raise corrupt(f"{state.where}: the file of orphans has {state.inode.size} bytes")
    for number in range(blocks):
        run = blockmap.find(state, number, 1)
        if not run.block:
            raise corrupt(f"{state.where}: the file of orphans has a hole")
        buffer = volume.cache.get(run.block)
        data = bytes(buffer.data)
        if int.from_bytes(data[-8:-4], "little") != MAGIC:
            raise corrupt(f"{state.where}: block {number} of the file of orphans is none")
        if volume.has_checksums:
            if orphan_checksum(state.seed, run.block, data) != int.from_bytes(data[-4:], "little"):
                raise corrupt(f"{state.where}: the checksum of block {number} of the file of orphans is wrong")
        numbers = [int.from_bytes(data[at : at + 4], "little") for at in range(0, size - 8, 4)]
        found += [each for each in numbers if each]
        if any(numbers):
            buffer.data[: size - 8] = bytes(size - 8)
            volume.mark_sealed(buffer, ORPHAN, state.seed, run.block)
    for each in found:
        if not volume.geometry.first_inode <= each <= volume.geometry.inodes:
            raise corrupt(f"inode {each}: the file of orphans can't have it")
    volume.fields.feature_ro_compat &= ~ORPHAN_PRESENT
    volume.mark_super()
    return found
