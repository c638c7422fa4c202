"""Event counters as open files (Linux eventfd(2)): 8-byte reads and writes of one 64-bit number."""

from typing import Final, final

from ..hyper.time import Instant
from .abi.errno import EINVAL, error
from .abi.fcntl import EFD_SEMAPHORE, O_RDWR
from .abi.poll import POLLIN, POLLOUT
from .file import OpenFile
from .wait import Blocked

HIGHEST: Final = 0xFFFFFFFFFFFFFFFE
"""The counter never gets beyond this."""


@final
class EventFile(OpenFile):
    """One counter.  Reading takes it all (or one, as a semaphore); writing adds to it."""

    def __init__(self, value: int, flags: int) -> None:
        super().__init__(O_RDWR | flags & ~EFD_SEMAPHORE)
        self._value: int = value
        self._semaphore: bool = flags & EFD_SEMAPHORE != 0

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        """8 bytes in little-endian order; Blocked while the counter is 0.  Raises EINVAL for less than 8 bytes."""
        if size < 8:
            raise error(EINVAL)
        if self._value == 0:
            return Blocked(self.queue)
        taken = 1 if self._semaphore else self._value
        self._value -= taken
        self.queue.wake_all()
        return taken.to_bytes(8, "little")

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        """Add 8 bytes' number; Blocked while that would overflow.  Raises EINVAL for other sizes and for 2**64-1."""
        if len(data) < 8:
            raise error(EINVAL)
        number = int.from_bytes(data[:8], "little")
        if number > HIGHEST:
            raise error(EINVAL)
        if number > HIGHEST - self._value:
            return Blocked(self.queue)
        self._value += number
        self.queue.wake_all()
        return 8

    def write_part(self, data: bytes, start: int, now: Instant) -> int | Blocked:
        """The whole write again."""
        result = self.write(data, now)
        return result if isinstance(result, Blocked) else len(data)

    def poll(self) -> int:
        """POLLIN while the counter is positive, POLLOUT while 1 can be added."""
        bits = POLLIN if self._value else 0
        if self._value < HIGHEST:
            bits |= POLLOUT
        return bits

    def describe(self) -> str:
        return "eventfd"
