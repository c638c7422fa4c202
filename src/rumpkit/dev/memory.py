"""The devices null, zero and full (Linux null(4), full(4); NetBSD's mem(4))."""

from typing import Final, final

from ..kern.abi.errno import ENOSPC, error
from ..kern.abi.fcntl import S_IFCHR
from ..kern.device import Device, device_number

LARGEST_READ: Final = 32 << 20
"""Bytes that one read of an endless device returns."""


@final
class NullDevice(Device):
    """Swallows everything and holds nothing."""

    def __init__(self) -> None:
        super().__init__("null", S_IFCHR, device_number(1, 3), 0o666)

    def read(self, offset: int, size: int) -> bytes:
        """The end of the file."""
        return b""

    def write(self, offset: int, data: bytes) -> int:
        """Everything is taken."""
        return len(data)


@final
class ZeroDevice(Device):
    """Holds zeros without end."""

    def __init__(self) -> None:
        super().__init__("zero", S_IFCHR, device_number(1, 5), 0o666)

    def read(self, offset: int, size: int) -> bytes:
        """Zeros: `size`, or LARGEST_READ if that is less."""
        return bytes(min(size, LARGEST_READ))

    def write(self, offset: int, data: bytes) -> int:
        """Everything is taken."""
        return len(data)


@final
class FullDevice(Device):
    """Holds zeros without end and has no room."""

    def __init__(self) -> None:
        super().__init__("full", S_IFCHR, device_number(1, 7), 0o666)

    def read(self, offset: int, size: int) -> bytes:
        """Zeros, as from zero."""
        return bytes(min(size, LARGEST_READ))

    def write(self, offset: int, data: bytes) -> int:
        """Raises ENOSPC, unless there is nothing to write."""
        if data:
            raise error(ENOSPC)
        return 0
