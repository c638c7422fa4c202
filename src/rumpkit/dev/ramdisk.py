"""A ram disk: storage for a block device in the kernel's own memory, which takes no more of it than was written."""

from typing import Final, final

from ..hyper.block import BlockBackend
from ..kern.abi.errno import EINVAL, EROFS, error

CHUNK: Final = 65536


@final
class RamDisk(BlockBackend):
    """Storage that is gone with its kernel.  What was never written reads as zeros."""

    def __init__(self, size: int, read_only: bool = False) -> None:
        super().__init__(size, read_only)
        self._chunks: dict[int, bytearray] = {}

    def read(self, offset: int, size: int) -> bytes:
        """Read exactly `size` bytes.  Raises EINVAL outside of the disk."""
        self._check(offset, size)
        parts = []
        end = offset + size
        while offset < end:
            start = offset % CHUNK
            count = min(CHUNK - start, end - offset)
            chunk = self._chunks.get(offset // CHUNK)
            parts.append(bytes(count) if chunk is None else bytes(chunk[start : start + count]))
            offset += count
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data`.  Raises EINVAL outside of the disk, EROFS."""
        if self.read_only:
            raise error(EROFS)
        self._check(offset, len(data))
        done = 0
        while done < len(data):
            index = (offset + done) // CHUNK
            start = (offset + done) % CHUNK
            count = min(CHUNK - start, len(data) - done)
            chunk = self._chunks.get(index)
            if chunk is None:
                chunk = self._chunks[index] = bytearray(CHUNK)
            chunk[start : start + count] = data[done : done + count]
            done += count

    def flush(self) -> None:
        """Memory is as durable as it gets."""

    def discard(self, offset: int, size: int) -> bool:
        """Free whole chunks, and zero the rest.  Raises EINVAL outside of the disk, EROFS."""
        if self.read_only:
            raise error(EROFS)
        self._check(offset, size)
        end = offset + size
        for index in [index for index in self._chunks if index * CHUNK < end and (index + 1) * CHUNK > offset]:
            start, stop = max(offset - index * CHUNK, 0), min(end - index * CHUNK, CHUNK)
            if stop - start == CHUNK:
                del self._chunks[index]
            else:
                self._chunks[index][start:stop] = bytes(stop - start)
        return True

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise error(EINVAL)
