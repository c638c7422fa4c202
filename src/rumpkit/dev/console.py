"""The console device: what is written to it, the host shows.  There is no keyboard behind it."""

from typing import final

from ..hyper.calls import Hypercalls
from ..kern.abi.fcntl import S_IFCHR
from ..kern.device import Device, device_number


@final
class ConsoleDevice(Device):
    """Where kernels and programs without a terminal write."""

    def __init__(self, hyper: Hypercalls) -> None:
        super().__init__("console", S_IFCHR, device_number(5, 1), 0o622)
        self._hyper: Hypercalls = hyper

    def read(self, offset: int, size: int) -> bytes:
        """The end of the file."""
        return b""

    def write(self, offset: int, data: bytes) -> int:
        """Show `data`."""
        self._hyper.console_write(data)
        return len(data)
