"""Block devices: storage of the host's (hyper/block.py) as devices of the kernel.

Every call to the backend is made off the schedule, so that a slow disk delays nobody who doesn't wait for it, and
under the device's mutex, so that a backend has one caller at a time but for flushes, if it allows that.  Any byte offset and size will do.
"""

from typing import Final, final

from ..hyper.block import BlockBackend
from ..hyper.calls import Hypercalls
from ..hyper.mutex import Mutex
from ..kern.abi.errno import EBUSY, EINVAL, ENOSPC, ENOTTY, EROFS, error
from ..kern.abi.fcntl import O_ACCMODE, O_RDONLY, S_IFBLK
from ..kern.counters import Counters
from ..kern.device import Device

BLKGETSIZE64: Final = 0x80081272
"""ioctl: the size in bytes, 8 bytes little-endian (Linux <linux/fs.h>)."""
BLKFLSBUF: Final = 0x1261
"""ioctl: flush."""


@final
class BlockCounters(Counters):
    """What a block device did."""

    def __init__(self) -> None:
        self.reads: int = 0
        self.read_bytes: int = 0
        self.writes: int = 0
        self.written_bytes: int = 0
        self.durable_writes: int = 0
        """Writes that returned once they were durable; they are not among `writes`."""
        self.flushes: int = 0

    def names(self) -> tuple[str, ...]:
        return ("reads", "read_bytes", "writes", "written_bytes", "durable_writes", "flushes")


@final
class BlockDevice(Device):
    """One disk."""

    def __init__(self, hyper: Hypercalls, name: str, number: int, backend: BlockBackend) -> None:
        super().__init__(name, S_IFBLK, number, 0o660)
        self.backend: BlockBackend = backend
        self.counters: BlockCounters = BlockCounters()
        self.opens: int = 0
        """Open files and mounts of this device."""
        self.peers: dict[str, BlockDevice] = {}
        """All disks that are attached where this one is."""
        self._hyper: Hypercalls = hyper
        self._mutex: Mutex = hyper.mutex()
        self._flushing: Mutex = hyper.mutex()
        """Held while the backend flushes; before the other where both are."""
        self._begun: int = 0
        self._flushed: int = 0
        """Flushes that were begun, and the last that went well."""

    def claim(self, write: bool) -> None:
        """As any device's; a disk and its partitions, partitions that overlap, and what a snapshot is of, are in each other's way, too.
        Raises EBUSY."""
        wanted = _uses(self.backend, write)
        for other in self.peers.values():
            if other is not self and other.claims and _collide(wanted, _uses(other.backend, other.claims < 0)):
                raise OSError(
                    EBUSY,
                    f"{self.name} has bytes in common with {other.name}, which is mounted already"
                    + ("" if write else ", for writing"),
                )
        super().claim(write)

    def open(self, flags: int) -> Device:
        """Raises EROFS where a read-only device is opened for writing."""
        if self.backend.read_only and flags & O_ACCMODE != O_RDONLY:
            raise error(EROFS)
        self.opens += 1
        return self

    def close(self, now: int) -> None:
        """One user less."""
        self.opens -= 1

    def size(self) -> int:
        """Bytes."""
        return self.backend.size

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; b"" at the end.  Sleeps off the schedule.  Raises EIO, EINVAL."""
        if offset < 0 or size < 0:
            raise error(EINVAL)
        size = min(size, self.backend.size - offset)
        if size <= 0:
            return b""
        self._begin()
        try:
            data = self.backend.read(offset, size)
        finally:
            self._end()
        self.counters.reads += 1
        self.counters.read_bytes += size
        return data

    def write(self, offset: int, data: bytes) -> int:
        """Write what fits below the end.  Sleeps off the schedule.  Raises ENOSPC if nothing fits, EROFS, EIO."""
        if offset < 0:
            raise error(EINVAL)
        if self.backend.read_only:
            raise error(EROFS)
        room = self.backend.size - offset
        if room < len(data):
            if room <= 0:
                raise error(ENOSPC)
            data = data[:room]
        self._begin()
        try:
            self.backend.write(offset, data)
        finally:
            self._end()
        self.counters.writes += 1
        self.counters.written_bytes += len(data)
        return len(data)

    def write_durable(self, offset: int, data: bytes) -> None:
        """Write all of `data`, and return once that is durable (FUA).  Sleeps off the schedule as `flush`.  Raises ENOSPC, EROFS, EIO."""
        if offset < 0:
            raise error(EINVAL)
        if self.backend.read_only:
            raise error(EROFS)
        if offset + len(data) > self.backend.size:
            raise error(ENOSPC)
        self._flushing.acquire()
        try:
            if self.backend.shares_flush:
                self._hyper.unschedule()
                try:
                    self.backend.write_durable(offset, data)
                finally:
                    self._hyper.schedule()
            else:
                self._begin()
                try:
                    self.backend.write_durable(offset, data)
                finally:
                    self._end()
        finally:
            self._flushing.release()
        self.counters.durable_writes += 1
        self.counters.written_bytes += len(data)

    def flush(self) -> None:
        """Return once what was written is durable.  Sleeps off the schedule, and where the backend can, others read and write
        meanwhile.  Who finds that a flush has begun and ended since he came has what he wants.  Raises EIO."""
        wanted = self._begun + 1
        self._flushing.acquire()
        try:
            if self._flushed >= wanted:
                return
            self._begun += 1
            number = self._begun
            if self.backend.shares_flush:
                self._flush_beside()
            else:
                self._flush_alone()
            self._flushed = number
        finally:
            self._flushing.release()
        self.counters.flushes += 1

    def _flush_beside(self) -> None:
        self._hyper.unschedule()
        try:
            self.backend.flush()
        finally:
            self._hyper.schedule()

    def _flush_alone(self) -> None:
        self._begin()
        try:
            self.backend.flush()
        finally:
            self._end()

    def discard(self, offset: int, size: int) -> bool:
        """Give these bytes back to the storage: they read as zeros then.  False where it can't, and nothing has changed.

        Sleeps off the schedule.  Raises EINVAL outside of the device, EROFS, EIO.
        """
        if offset < 0 or size < 0 or offset + size > self.backend.size:
            raise error(EINVAL)
        if self.backend.read_only:
            raise error(EROFS)
        self._begin()
        try:
            return self.backend.discard(offset, size)
        finally:
            self._end()

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """BLKGETSIZE64 and BLKFLSBUF."""
        if request == BLKGETSIZE64:
            return self.backend.size.to_bytes(8, "little")
        if request == BLKFLSBUF:
            self.flush()
            return b""
        raise error(ENOTTY)

    def release_backend(self) -> None:
        """Let go of the storage, off the schedule like everything else that may block."""
        self._flushing.acquire()
        try:
            self._begin()
            try:
                self.backend.close()
            finally:
                self._end()
        finally:
            self._flushing.release()

    def _begin(self) -> None:
        self._mutex.acquire()
        # Nothing may raise from here to `_end`: callers go on with a `try` whose `finally` calls it.
        self._hyper.unschedule()

    def _end(self) -> None:
        try:
            self._hyper.schedule()
        finally:
            self._mutex.release()


def _uses(backend: BlockBackend, write: bool) -> list[tuple[BlockBackend, int, int, bool]]:
    """What a mount uses: storage, the first byte and the one after the last, and whether it is written; what lies beneath is only read."""
    disk, start, end = backend.window()
    found = [(disk, start, end, write)]
    below = disk.beneath()
    while below is not None:
        disk, first, _ = below.window()
        start, end = first + start, first + end
        found.append((disk, start, end, False))
        below = disk.beneath()
    return found


def _collide(
    some: list[tuple[BlockBackend, int, int, bool]], others: list[tuple[BlockBackend, int, int, bool]]
) -> bool:
    """Whether one would change what the other uses."""
    for disk, start, end, write in some:
        for same, first, last, changes in others:
            if same is disk and (write or changes) and first < end and start < last:
                return True
    return False
