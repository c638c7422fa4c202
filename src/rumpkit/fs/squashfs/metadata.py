"""Metadata blocks: unpacked, cached, and read across as if they were one stream; and the tables that are made of them."""

from struct import Struct
from typing import Final, final

from ...kern.abi.errno import EIO, error
from ...kern.device import Device
from ..unpack.method import Decompressor
from .format import METADATA, PLAIN_METADATA, POSITION, corrupt

WINDOW: Final = 32 << 10
"""Bytes that are read at once: metadata blocks lie side by side."""


@final
class Metadata:
    """All metadata blocks of an image: those unpacked last are kept, `limit` bytes of them."""

    def __init__(self, device: Device, unpack: Decompressor, end: int, limit: int) -> None:
        self.device: Device = device
        self.end: int = end
        """Bytes that the image has."""
        self._unpack: Decompressor = unpack
        self._most: int = max(limit // METADATA, 8)
        self._blocks: dict[int, tuple[bytes, int]] = {}
        self._window: bytes = b""
        self._window_at: int = 0

    def block(self, position: int) -> tuple[bytes, int]:
        """The unpacked block at byte `position`, and where the next one is.  Raises EUCLEAN, EIO."""
        blocks = self._blocks
        found = blocks.pop(position, None)
        if found is None:
            found = self._read(position)
            while len(blocks) >= self._most:
                del blocks[next(iter(blocks))]
        blocks[position] = found
        return found

    def raw(self, position: int, size: int) -> bytes:
        """Bytes of the image as they are, from a window that is read ahead.  Raises EUCLEAN outside of the image, EIO."""
        if position < 0 or position + size > self.end:
            raise corrupt(f"{size} bytes at {position} are behind its end at {self.end}")
        start = position - self._window_at
        if start < 0 or start + size > len(self._window):
            self._window = read_exactly(self.device, position, min(max(WINDOW, size), self.end - position))
            self._window_at = position
            start = 0
        return self._window[start : start + size]

    def _read(self, position: int) -> tuple[bytes, int]:
        head = int.from_bytes(self.raw(position, 2), "little")
        size = head & ~PLAIN_METADATA
        if not 0 < size <= METADATA:
            raise corrupt(f"a metadata block of {size} bytes at {position}")
        data = self.raw(position + 2, size)
        if not head & PLAIN_METADATA:
            try:
                data = self._unpack(data, METADATA)
            except ValueError as problem:
                raise corrupt(f"the metadata block at {position} can't be unpacked: {problem}") from None
        return data, position + 2 + size


@final
class Cursor:
    """A place in a stream of metadata blocks."""

    def __init__(self, metadata: Metadata, position: int, offset: int) -> None:
        """From byte `offset` of the block at `position` on.  Raises EUCLEAN, EIO."""
        self._metadata: Metadata = metadata
        self._data, self._next = metadata.block(position)
        self.position: int = position
        """Of the block that the next byte is in, or behind the last of."""
        self.offset: int = offset
        if offset > len(self._data):
            raise corrupt(f"byte {offset} of the metadata block at {position}, which has {len(self._data)}")

    def read(self, size: int) -> bytes:
        """The next `size` bytes.  Raises EUCLEAN, EIO."""
        data, offset = self._data, self.offset
        if offset + size <= len(data):
            self.offset = offset + size
            return data[offset : offset + size]
        parts = []
        while True:
            part = self._data[self.offset : self.offset + size]
            parts.append(part)
            size -= len(part)
            self.offset += len(part)
            if not size:
                return b"".join(parts)
            self.position = self._next
            self._data, self._next = self._metadata.block(self.position)
            self.offset = 0
            if not self._data:
                raise corrupt(f"the metadata block at {self.position} is empty")

    def skip(self, size: int) -> None:
        """Go `size` bytes on, by whole blocks."""
        while size > len(self._data) - self.offset:
            size -= len(self._data) - self.offset
            self.position = self._next
            self._data, self._next = self._metadata.block(self.position)
            self.offset = 0
            if not self._data:
                raise corrupt(f"the metadata block at {self.position} is empty")
        self.offset += size


@final
class Table:
    """A table of `count` entries of one size, found by number: a list of its metadata blocks is at byte `start`."""

    def __init__(self, metadata: Metadata, name: str, start: int, count: int, entry: Struct) -> None:
        self.count: int = count
        self._metadata: Metadata = metadata
        self._name: str = name
        self._start: int = start
        self._entry: Struct = entry
        self._each: int = METADATA // entry.size

    def get(self, number: int) -> tuple[int, ...]:
        """One entry's fields.  Raises EUCLEAN where it has none of this number, EIO."""
        if not 0 <= number < self.count:
            raise corrupt(f"{self._name} {number} of {self.count}")
        block, index = divmod(number, self._each)
        (position,) = POSITION.unpack(self._metadata.raw(self._start + block * POSITION.size, POSITION.size))
        data, _ = self._metadata.block(position)
        at = index * self._entry.size
        if at + self._entry.size > len(data):
            raise corrupt(f"{self._name} {number} is behind the end of its metadata block at {position}")
        return self._entry.unpack_from(data, at)


def read_exactly(device: Device, position: int, size: int) -> bytes:
    """Bytes of the device.  Raises EIO."""
    data = device.read(position, size)
    if not isinstance(data, bytes) or len(data) != size:
        raise error(EIO)
    return data
