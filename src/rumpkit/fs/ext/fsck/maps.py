"""The blocks of a file: extents or indirect blocks, walked and checked, whatever they say.

A tree of extents is as deep as its root says, at most five levels; each block of it can be claimed only once, so no walk
goes round.  Between the inode (inodes.py) and the shared record of who has which block (context.py).
"""

import struct
from typing import Final, final

from .. import checksum as sums
from ..features import LARGEDIR
from ..inode import EXTENTS, Inode
from .context import Check

MAGIC: Final = 0xF30A
DEEPEST: Final = 5
LONGEST: Final = 32768
MOST_PROBLEMS: Final = 12
"""Wrong entries of one file after which its walk is given up."""
_HEADER: Final = struct.Struct("<HHHHI")
_EXTENT: Final = struct.Struct("<IHHI")
_INDEX: Final = struct.Struct("<IIHH")


@final
class FileMap:
    """What a walk through a file's blocks came to."""

    def __init__(self, check: Check, number: int, inode: Inode, claim: bool, seed: int) -> None:
        """Walk the blocks of `inode`; with `claim` note and report everything, without it only gather."""
        self.blocks: int = 0
        """Blocks it takes, those of the map with them."""
        self.last: int = -1
        """The last block of the file that is there."""
        self.last_written: int = -1
        """The same, without what is allocated and not written."""
        self.runs: list[tuple[int, int, int, bool]] = []
        """(block of the file, block of the device, count, written) in order.  Empty for a walk that claims."""
        self.sound: bool = True
        self._check: Check = check
        self._where: str = f"inode {number}"
        self._claim: bool = claim
        self._seed: int = seed
        self._problems: int = 0
        self._next: int = 0
        """No extent starts below this block of the file."""
        self._keep: bool = not claim
        if inode.flags & EXTENTS:
            self._extents(inode.block, True, -1, 0, 1 << 32)
        else:
            self._addresses(inode.block)

    def _bad(self, text: str) -> None:
        self.sound = False
        self._problems += 1
        if self._claim and self._problems <= MOST_PROBLEMS:
            self._check.find(text, self._where)

    def _take(self, start: int, count: int) -> bool:
        self.blocks += count
        if self._claim:
            if self._problems > MOST_PROBLEMS:
                return False
            if not self._check.claim(start, count, self._where):
                self.sound = False
                self._problems += 1
                return False
            return True
        geometry = self._check.geometry
        return geometry.first_data_block < start and start + count <= geometry.blocks

    # Extents -------------------------------------------------------------------------------------------

    def _extents(self, data: bytes, root: bool, depth: int, low: int, high: int) -> None:
        """A node of extents for blocks of the file from `low` up to `high`; `depth` is -1 for the root, which says it."""
        magic, entries, most, found, _ = _HEADER.unpack_from(data)
        room = (len(data) - 12) // 12
        if (
            magic != MAGIC
            or not 0 < most <= room
            or entries > most
            or found > DEEPEST
            or (depth >= 0 and found != depth)
        ):
            self._bad(f"a node of extents has magic {magic:#x}, {entries} of {most} entries and depth {found}")
            return
        if not root and (most != room or not entries):
            self._bad(f"a node of extents has {entries} of {most} entries")
        if not root and self._check.fields.has_checksums and self._claim:
            stored = int.from_bytes(data[sums.extent_tail(data) : sums.extent_tail(data) + 4], "little")
            if sums.extent_checksum(self._seed, data) != stored:
                self._bad("the checksum of a node of extents is wrong")
        if found == 0:
            self._leaf(data, entries, low, high)
            return
        starts = [_INDEX.unpack_from(data, 12 + 12 * index)[0] for index in range(entries)]
        for index in range(entries):
            start, block_low, block_high, _ = _INDEX.unpack_from(data, 12 + 12 * index)
            end = starts[index + 1] if index + 1 < entries else high
            if not low <= start < end <= high or (index and start <= starts[index - 1]):
                self._bad(f"extents for block {start} are out of order")
                continue
            block = block_low | block_high << 32
            if self._problems <= MOST_PROBLEMS and self._take(block, 1):
                self._extents(bytes(self._check.cache.get(block).data), False, found - 1, start, end)

    def _leaf(self, data: bytes, entries: int, low: int, high: int) -> None:
        for index in range(entries):
            logical, size, start_high, start_low = _EXTENT.unpack_from(data, 12 + 12 * index)
            written = size <= LONGEST
            count = size if written else size - LONGEST
            start = start_low | start_high << 32
            if not count or logical < max(self._next, low) or logical + count > high:
                self._bad(f"the extent of {count} blocks at block {logical} can't be there")
                continue
            if not index and low and logical != low and self._claim:
                self._bad(f"the first extent at block {logical} is announced at {low}")
            self._next = logical + count
            self._file_blocks(logical, start, count, written)

    def _file_blocks(self, logical: int, start: int, count: int, written: bool) -> None:
        taken = self._take(start, count)
        self.last = logical + count - 1
        if written:
            self.last_written = self.last
        if taken and self._keep:
            self.runs.append((logical, start, count, written))

    # Indirect blocks -----------------------------------------------------------------------------------

    def _addresses(self, data: bytes) -> None:
        words = struct.unpack("<15I", data)
        at = self._row(words[:12], 0)
        per_block = self._check.block_size // 4
        for depth in (1, 2, 3):
            span = per_block**depth
            if words[11 + depth]:
                self._branch(words[11 + depth], depth, at)
            at += span

    def _branch(self, block: int, depth: int, at: int) -> None:
        if self._problems > MOST_PROBLEMS or not self._take(block, 1):
            return
        per_block = self._check.block_size // 4
        words = struct.unpack(f"<{per_block}I", self._check.cache.get(block).data)
        if depth == 1:
            self._row(words, at)
            return
        span = per_block ** (depth - 1)
        for word in words:
            if word:
                self._branch(word, depth - 1, at)
            at += span

    def _row(self, words: tuple[int, ...], at: int) -> int:
        """Addresses of neighbours in the file; returns the block of the file behind them."""
        index = 0
        size = len(words)
        while index < size:
            start = words[index]
            count = 1
            if start:
                while index + count < size and words[index + count] == start + count:
                    count += 1
                self._file_blocks(at + index, start, count, True)
            index += count
        return at + size


def largest_directory(check: Check) -> int:
    """Bytes that a directory may have."""
    return (1 << 48) if check.fields.feature_incompat & LARGEDIR else (1 << 32)
