"""Where the blocks of a journal lie on the device.  Between the journal and the file system whose inode 8 it is.

The journal is a file, but neither its replay nor its writing can go through the file system: both read and write its
blocks straight at the device, in runs as long as the file is contiguous.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import final

from ....kern.abi.errno import EUCLEAN
from ....vfs.buffer import BufferCache


@final
class LogSpace:
    """The blocks of a journal, numbered from 0, for reading and writing past the buffer cache."""

    def __init__(self, cache: BufferCache, runs: Sequence[tuple[int, int]]) -> None:
        """`runs` are (first block of the device, blocks) in the order of the file, without holes.

        Raises EUCLEAN where one lies outside of the device.
        """
        self.cache: BufferCache = cache
        self.block_size: int = cache.block_size
        self._starts: list[int] = []
        self._physical: list[int] = []
        at = 0
        for physical, count in runs:
            if count <= 0 or physical <= 0 or physical + count > cache.blocks:
                raise OSError(
                    EUCLEAN, f"journal: its blocks {physical}-{physical + count - 1} are outside of the device"
                )
            self._starts.append(at)
            self._physical.append(physical)
            at += count
        self.blocks: int = at
        """How many there are."""

    def find(self, block: int) -> tuple[int, int]:
        """Where `block` lies on the device, and how many blocks of the journal follow it there, with itself."""
        if not 0 <= block < self.blocks:
            raise OSError(EUCLEAN, f"journal: block {block} of {self.blocks}")
        index = bisect_right(self._starts, block) - 1
        start = self._starts[index]
        end = self._starts[index + 1] if index + 1 < len(self._starts) else self.blocks
        return self._physical[index] + block - start, end - block

    def read(self, block: int, count: int = 1) -> bytes:
        """`count` blocks from `block` on.  Raises EIO."""
        parts = []
        while count:
            physical, run = self.find(block)
            run = min(run, count)
            parts.append(self.cache.read_direct(physical, run))
            block += run
            count -= run
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, block: int, data: bytes) -> None:
        """Write whole blocks from `block` on.  Raises EIO, ENOSPC, EROFS."""
        at = 0
        while at < len(data):
            physical, run = self.find(block)
            size = min(run * self.block_size, len(data) - at)
            self.cache.write_direct(physical, data[at : at + size])
            at += size
            block += size // self.block_size

    def write_durable(self, block: int, data: bytes) -> None:
        """Write one block, durable on return.  Raises as `write`."""
        self.cache.write_durable(self.find(block)[0], data)

    def runs(self) -> list[tuple[int, int]]:
        """What it was made of."""
        ends = [*self._starts[1:], self.blocks]
        return [
            (physical, end - start) for physical, start, end in zip(self._physical, self._starts, ends, strict=True)
        ]
