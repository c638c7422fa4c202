"""The devices random and urandom, which are the same here: bytes from the host's generator (Linux random(4))."""

from typing import final

from ..hyper.calls import Hypercalls
from ..kern.abi.fcntl import S_IFCHR
from ..kern.device import Device
from .memory import LARGEST_READ


@final
class RandomDevice(Device):
    """Random bytes fit for keys."""

    def __init__(self, hyper: Hypercalls, name: str, number: int) -> None:
        super().__init__(name, S_IFCHR, number, 0o666)
        self._hyper: Hypercalls = hyper

    def read(self, offset: int, size: int) -> bytes:
        """Random bytes: `size`, or LARGEST_READ if that is less."""
        return self._hyper.random(min(size, LARGEST_READ))

    def write(self, offset: int, data: bytes) -> int:
        """Taken and left at that: the host's generator needs no help."""
        return len(data)
