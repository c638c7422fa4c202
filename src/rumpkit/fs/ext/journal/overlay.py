"""A device as it will be once its log is replayed: what a read-only mount of a dirty image reads from.

It stands between the buffer cache and the device; nothing is written, and nothing but where each block's copy
lies in the log is kept in memory.
"""

from typing import final

from ....kern.abi.errno import EROFS, error
from ....kern.device import Device
from ....kern.wait import Blocked
from .format import MAGIC_BYTES
from .replay import Recovery
from .space import LogSpace


@final
class ChangedDevice(Device):
    """`device`, where what is written stays in memory."""

    def __init__(self, device: Device, block_size: int, blocks: dict[int, bytes] | None = None) -> None:
        super().__init__(device.name, device.kind, device.number, device.mode)
        self._device: Device = device
        self._block_size: int = block_size
        self.blocks: dict[int, bytes] = {} if blocks is None else blocks
        """What was written, by block."""

    def size(self) -> int:
        """Bytes."""
        return self._device.size()

    def read(self, offset: int, size: int) -> bytes | Blocked:
        """Up to `size` bytes at `offset`; b"" at the end.  Raises EIO, EINVAL."""
        data = self._device.read(offset, size)
        if isinstance(data, Blocked) or not data or not self.blocks:
            return data
        block_size = self._block_size
        made = bytearray(data)
        for block in range(offset // block_size, (offset + len(data) - 1) // block_size + 1):
            contents = self.blocks.get(block)
            if contents is not None:
                start = block * block_size - offset
                cut = max(-start, 0)
                end = min(start + block_size, len(made))
                made[start + cut : end] = contents[cut : end - start]
        return bytes(made)

    def write(self, offset: int, data: bytes) -> int | Blocked:
        """Whole blocks."""
        size = self._block_size
        assert offset % size == 0 == len(data) % size
        for at in range(0, len(data), size):
            self.blocks[(offset + at) // size] = bytes(data[at : at + size])
        return len(data)


@final
class ReplayedDevice(Device):
    """`device`, where the blocks of a recovery read as they are in the log.  Raises EROFS for every write."""

    def __init__(self, device: Device, space: LogSpace, made: Recovery) -> None:
        super().__init__(device.name, device.kind, device.number, device.mode)
        self._device: Device = device
        self._block_size: int = space.block_size
        self._places: dict[int, int] = {block: space.find(at)[0] for block, at in made.blocks.items()}
        self._escaped: set[int] = {block for block, at in made.blocks.items() if at in made.escaped}

    def size(self) -> int:
        """Bytes."""
        return self._device.size()

    def read(self, offset: int, size: int) -> bytes | Blocked:
        """Up to `size` bytes at `offset`; b"" at the end.  Raises EIO, EINVAL."""
        data = self._device.read(offset, size)
        if isinstance(data, Blocked) or not data:
            return data
        block_size = self._block_size
        first = offset // block_size
        last = (offset + len(data) - 1) // block_size
        touched = self._touched(first, last)
        if not touched:
            return data
        made = bytearray(data)
        for block in touched:
            contents = self._device.read(self._places[block] * block_size, block_size)
            if isinstance(contents, Blocked):
                return contents
            if block in self._escaped:
                contents = MAGIC_BYTES + contents[4:]
            start = block * block_size - offset
            cut = max(-start, 0)
            end = min(start + block_size, len(made))
            made[start + cut : end] = contents[cut : end - start]
        return bytes(made)

    def _touched(self, first: int, last: int) -> list[int]:
        places = self._places
        if last - first > len(places):
            return [block for block in places if first <= block <= last]
        return [block for block in range(first, last + 1) if block in places]

    def write(self, offset: int, data: bytes) -> int | Blocked:
        """Raises EROFS."""
        raise error(EROFS)
