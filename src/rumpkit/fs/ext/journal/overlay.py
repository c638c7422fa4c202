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
