"""A disk that fails, by seed: errors, delays, torn writes, and a write cache that a power cut empties.

What is written stays in the cache until a flush, as in a drive: reads see it, `power_cut` loses it, all or part.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, final

from ..hyper.block import BlockBackend
from ..kern.abi.errno import EINVAL, EIO, EROFS, error
from ..kern.counters import Counters
from .ramdisk import RamDisk
from .recorder import Write, apply, tear
from .seeded import Seeded
from .snapshot import SnapshotBackend

READ, WRITE, FLUSH = "read", "write", "flush"
CACHE: Final = 64 << 20
"""Bytes that the write cache holds before the oldest go to the disk unasked."""


class Fault(NamedTuple):
    """What goes wrong, and when."""

    call: str
    """READ, WRITE or FLUSH."""
    probability: float = 1.0
    start: int = 0
    """Only where a byte from here on is read or written ..."""
    end: int = 1 << 63
    """... and before here."""
    after: int = 0
    """Calls of this kind in that range that go well first."""
    errno: int = EIO
    """What is raised; 0: nothing."""
    torn: bool = False
    """WRITE: some of its sectors are written nevertheless."""
    delay: int = 0
    """Nanoseconds that it takes longer."""


@final
class FaultCounters(Counters):
    """What went wrong."""

    def __init__(self) -> None:
        self.errors: int = 0
        self.delays: int = 0
        self.torn: int = 0
        self.lost: int = 0

    def names(self) -> tuple[str, ...]:
        return ("errors", "delays", "torn", "lost")


@final
class FaultBackend(BlockBackend):
    """`base` with faults.  Closing it writes the cache and closes the base."""

    def __init__(
        self,
        base: BlockBackend,
        seed: int = 0,
        faults: Sequence[Fault] = (),
        sleep: Callable[[int], None] | None = None,
        cache: int = CACHE,
    ) -> None:
        """`sleep` makes the caller wait for some nanoseconds, where faults have a delay.  Raises EINVAL for a fault that can't be."""
        super().__init__(base.size, base.read_only)
        for fault in faults:
            if fault.call not in (READ, WRITE, FLUSH) or not 0 <= fault.probability <= 1 or fault.delay < 0:
                raise OSError(EINVAL, f"{fault} is no fault")
            if fault.delay and sleep is None:
                raise OSError(EINVAL, "a delay needs a way to sleep")
        self.counters: FaultCounters = FaultCounters()
        self._base: BlockBackend = base
        self._seen: SnapshotBackend = SnapshotBackend(base, RamDisk(base.size))
        """The base with what is in the cache."""
        self._cache: list[Write] = []
        self._cached: int = 0
        self._limit: int = cache
        self._random: Seeded = Seeded(seed)
        self._faults: list[Fault] = list(faults)
        self._calls: list[int] = [0] * len(self._faults)
        self._sleep: Callable[[int], None] | None = sleep
        self._off: bool = False

    def window(self) -> tuple[BlockBackend, int, int]:
        """The base's."""
        return self._base.window()

    def read(self, offset: int, size: int) -> bytes:
        """As the base, with what is in the cache.  Raises what a fault says, EIO without power."""
        self._check(offset, size)
        self._fail(READ, Write(offset, b""), size)
        return self._seen.read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        """Write to the cache.  Raises what a fault says, EIO without power, EROFS."""
        if self.read_only:
            raise error(EROFS)
        self._check(offset, len(data))
        write = Write(offset, data)
        self._fail(WRITE, write, len(data))
        self._keep(write)

    def write_durable(self, offset: int, data: bytes) -> None:
        """Write to the base, past the cache.  Raises as `write`; what shall go wrong with writes does so with these, too."""
        if self.read_only:
            raise error(EROFS)
        self._check(offset, len(data))
        write = Write(offset, data)
        self._fail(WRITE, write, len(data))
        end = offset + len(data)
        older = [each for each in self._cache if each.offset < end and offset < each.offset + len(each.data)]
        apply(older, self._base)  # or they would come over it later
        self._base.write_durable(offset, data)
        if older:
            self._cache = [each for each in self._cache if each not in older]
            self._cached -= sum(len(each.data) for each in older)
        self._seen.write(offset, data)

    def flush(self) -> None:
        """Write the cache to the base, and flush that.  Raises what a fault says (the cache stays as it is), EIO without power."""
        self._fail(FLUSH, Write(0, b""), self.size)
        self._write_out()
        self._base.flush()

    def add(self, fault: Fault) -> None:
        """One more thing that goes wrong from now on."""
        self._faults.append(fault)
        self._calls.append(0)

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()
        self._calls.clear()

    def power_cut(self, keep: float = 0.0, torn: float = 0.0) -> None:
        """Of what was written since the last flush, each write gets to the disk with probability `keep`,
        of those a share `torn` only in part.  Every call fails until `power_on`."""
        for write in self._cache:
            if not self._random.chance(keep):
                self.counters.lost += 1
            elif self._random.chance(torn):
                self.counters.torn += 1
                apply(tear(write, self._random), self._base)
            else:
                self._base.write(write.offset, write.data)
        self._forget()
        self._off = True

    def power_on(self) -> None:
        """The disk works again."""
        self._off = False

    def close(self) -> None:
        """Write the cache, unless the power is off, and close the base."""
        if not self._off:
            self._write_out()
        self._base.close()

    def _keep(self, write: Write) -> None:
        self._seen.write(write.offset, write.data)
        self._cache.append(write)
        self._cached += len(write.data)
        if self._cached > self._limit:
            self._write_out()

    def _write_out(self) -> None:
        apply(self._cache, self._base)
        self._forget()

    def _forget(self) -> None:
        self._cache.clear()
        self._cached = 0
        self._seen.revert()

    def _fail(self, call: str, write: Write, size: int) -> None:
        """Let happen what shall in this call."""
        if self._off:
            raise OSError(EIO, "the disk has no power")
        for index, fault in enumerate(self._faults):
            if fault.call != call or write.offset >= fault.end or write.offset + size <= fault.start:
                continue
            self._calls[index] += 1
            if self._calls[index] <= fault.after or not self._random.chance(fault.probability):
                continue
            if fault.delay and self._sleep is not None:
                self.counters.delays += 1
                self._sleep(fault.delay)
            if fault.torn and call == WRITE:
                self.counters.torn += 1
                for part in tear(write, self._random):
                    self._keep(part)
            if fault.errno:
                self.counters.errors += 1
                raise OSError(fault.errno, "a fault that was asked for")

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise error(EINVAL)
