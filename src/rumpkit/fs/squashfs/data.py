"""A file's data: the list of its blocks' lengths, read piece by piece, and what it takes to read bytes of it."""

from struct import unpack
from typing import TYPE_CHECKING, Final, final

from .format import NONE, PLAIN, corrupt
from .metadata import Cursor

if TYPE_CHECKING:
    from .inode import Inode
    from .volume import Volume

PIECE: Final = 2048
"""Lengths that are read at once."""
MOST_STARTS: Final = 1024
"""Pieces of one file whose places are remembered; of a longer list every second, every fourth, and so on."""


@final
class BlockList:
    """Where each block of a file is.  A list may have millions of lengths; only one piece of it is in memory, and of the pieces before
    where they are."""

    def __init__(self, volume: "Volume", inode: "Inode") -> None:
        size = volume.fields.block_size
        self.volume: Volume = volume
        self.inode: Inode = inode
        whole, tail = divmod(inode.size, size)
        self.count: int = whole + (1 if tail and inode.fragment == NONE else 0)
        """Blocks in the list; what is behind them is in the fragment."""
        self._starts: list[tuple[int, int, int]] = [(inode.after[0], inode.after[1], inode.start)]
        """Of each piece known: where its lengths are, and where the first of its blocks is."""
        self._stride: int = 1
        """Of so many pieces one is in `_starts`."""
        self._piece: int = -1
        self._lengths: tuple[int, ...] = ()
        self._empty: bool = False
        """All of the piece's blocks are holes."""
        self._positions: list[int] = []

    def find(self, block: int) -> tuple[int, int]:
        """Position and length (with PLAIN; 0: a hole) of a block.  Raises EUCLEAN, EIO."""
        piece, index = divmod(block, PIECE)
        if piece != self._piece:
            self._load(piece)
        return self._positions[index], self._lengths[index]

    def _load(self, piece: int) -> None:
        """Make `piece` the one that is in memory, from the nearest one before it whose place is known."""
        known = min(piece // self._stride, len(self._starts) - 1)
        number = known * self._stride
        metadata, offset, position = self._starts[known]
        cursor = Cursor(self.volume.metadata, metadata, offset)
        while True:
            count = min(PIECE, self.count - number * PIECE)
            data = cursor.read(4 * count)
            empty = data.count(0) == len(
                data
            )  # a small image may say that of more blocks than can be gone through one by one
            if empty:
                lengths, positions = (0,) * count, [position] * count
            else:
                lengths = unpack(f"<{count}I", data)
                positions = []
                for length in lengths:
                    positions.append(position)
                    position += length & (PLAIN - 1)
            if position > self.volume.fields.bytes_used:
                raise corrupt(f"{self.inode.where}: its data is behind the end")
            if number == piece:
                self._piece, self._lengths, self._positions, self._empty = piece, lengths, positions, empty
                return
            number += 1
            if number == len(self._starts) * self._stride:
                self._remember(cursor.position, cursor.offset, position)

    def _remember(self, metadata: int, offset: int, position: int) -> None:
        self._starts.append((metadata, offset, position))
        if len(self._starts) > MOST_STARTS:
            self._starts = self._starts[::2]
            self._stride *= 2

    def read(self, offset: int, end: int) -> bytes:
        """The bytes from `offset` up to `end`, which is above it and not behind the file's.  Raises EUCLEAN, EIO."""
        inode, size = self.inode, self.volume.fields.block_size
        parts = []
        while offset < end:
            block, start = divmod(offset, size)
            stop = min(end - block * size, size)
            parts.append(self._part(block, start, stop, min(inode.size - block * size, size)))
            offset = block * size + stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _part(self, block: int, start: int, stop: int, size: int) -> bytes:
        """Bytes of one block, which has `size`."""
        if block >= self.count:
            return self.volume.fragment(self.inode.fragment, self.inode.offset + start, stop - start)
        position, length = self.find(block)
        if not length:
            return bytes(stop - start)
        data = self.volume.data_block(position, length, size)
        if len(data) != size:
            raise corrupt(f"{self.inode.where}: its block {block} has {len(data)} bytes instead of {size}")
        return data if not start and stop == size else data[start:stop]

    def next_data(self, offset: int) -> int:
        """The first byte at or behind `offset` that is in no hole; -1 if none is."""
        size: int = self.volume.fields.block_size
        block = offset // size
        while block < self.count:
            if self.find(block)[1]:
                return max(offset, block * size)
            block = min(block - block % PIECE + PIECE, self.count) if self._empty else block + 1
        return max(offset, block * size) if block * size < self.inode.size else -1

    def next_hole(self, offset: int) -> int:
        """The first byte at or behind `offset` that is in a hole, as what is behind the end is."""
        size: int = self.volume.fields.block_size
        block = offset // size
        while block < self.count:
            if not self.find(block)[1]:
                return max(offset, block * size)
            block += 1
        return self.inode.size
