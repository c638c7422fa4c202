"""The buffer cache: blocks of a device that hold a file system's metadata, kept in memory and written back late.

Between a file system (`rumpkit.fs`) and its device (kern/device.py).  File data goes past it (`read_direct`, `write_direct`), coherent
with what is cached.  The file system's mount lock is what makes its user alone, also while the device sleeps; there is no lock here.

What is evicted is what was not asked for the longest, in batches.  What was asked for since the last `KEPT` blocks came in stays, so
whoever holds a few buffers at once need not pin them.
"""

from collections.abc import Iterable
from typing import Final, final

from ..hyper.mutex import Mutex
from ..kern.abi.errno import EINVAL, EIO, EUCLEAN, error
from ..kern.counters import Counters
from ..kern.device import Device

KEPT: Final = 256
"""Blocks that stay, however small the limit: those that came in last."""
UNCHECKED: Final = -1
LARGEST_IO: Final = 1 << 20
"""Bytes of neighbours that are written, or read ahead, in one call of the device."""


@final
class BufferCounters(Counters):
    """What buffer caches did."""

    def __init__(self) -> None:
        self.misses: int = 0
        self.read_ahead: int = 0
        self.evicted: int = 0
        self.written_back: int = 0
        self.writes: int = 0
        self.errors: int = 0

    def names(self) -> tuple[str, ...]:
        return ("misses", "read_ahead", "evicted", "written_back", "writes", "errors")


@final
class Buffer:
    """One block in memory.  Change `data` in place, then `mark` it."""

    __slots__ = ("block", "checked", "data", "dirty", "pins", "used")

    def __init__(self, block: int, data: bytearray) -> None:
        self.block: int = block
        """Its number on the device."""
        self.data: bytearray = data
        self.dirty: bool = False
        """To be written back.  Set by `BufferCache.mark`, not by hand."""
        self.pins: int = 0
        """Those who want it neither written back nor evicted (a journal whose transaction holds it): they count up and down themselves."""
        self.used: int = 0
        """When it was last asked for, in blocks that came in until then."""
        self.checked: int = UNCHECKED
        """As what kind of block its file system has found it sound, by the file system's own numbers.  It goes with the buffer."""


@final
class BufferCache:
    """The cached blocks of one device, for one file system.  All methods are called on the schedule and may sleep off it."""

    def __init__(self, device: Device, block_size: int, limit: int) -> None:
        """A cache of `limit` bytes in blocks of `block_size`.  Raises EINVAL for a block size that is none."""
        if block_size < 512 or block_size & (block_size - 1):
            raise OSError(EINVAL, f"{block_size} is not a block size")
        self.device: Device = device
        self.block_size: int = block_size
        self.blocks: int = device.size() // block_size
        """Whole blocks that the device has."""
        self.limit: int = max(limit // block_size, KEPT)
        """Blocks that are cached, beyond which clean ones are evicted.  Pinned ones may be more."""
        self.dirty_limit: int = self.limit // 4
        """Blocks that may be dirty before they are written back."""
        self.counters: BufferCounters = BufferCounters()
        self._buffers: dict[int, Buffer] = {}
        self._dirty: dict[int, Buffer] = {}
        self._clock: int = 0
        self._evict_at: int = self.limit
        """How many there may be before eviction is tried: more than the limit where all are pinned."""
        self._write_at: int = 0
        """The same for dirty ones; 0: the limit."""

    def has(self, block: int) -> bool:
        """Whether the block is cached."""
        return block in self._buffers

    def get(self, block: int) -> Buffer:
        """The block, read in where it isn't cached.  Raises EIO, and EUCLEAN outside the device."""
        buffer = self._buffers.get(block)
        if buffer is not None:
            buffer.used = self._clock
            return buffer
        self._check(block, 1)
        data = self._read(block, 1)
        self.counters.misses += 1
        found = self._buffers.get(block)  # somebody else's, while the device slept
        return self._add(block, bytearray(data)) if found is None else found

    def fresh(self, block: int) -> Buffer:
        """The block, zeroed and not read: it is about to be overwritten.  Raises EUCLEAN outside the device."""
        buffer = self._buffers.get(block)
        if buffer is not None:
            buffer.used = self._clock
            buffer.data[:] = bytes(self.block_size)
            return buffer
        self._check(block, 1)
        return self._add(block, bytearray(self.block_size))

    def mark(self, buffer: Buffer) -> None:
        """`buffer` was changed: write it back with `sync`, when it is evicted, or when too many are dirty, but not while it is pinned.

        Changes after this need another `mark`.  Never raises: what can't be written stays dirty, and `sync` says so.
        """
        if buffer.dirty:
            return
        buffer.dirty = True
        block = buffer.block
        self._dirty[block] = buffer
        if self._buffers.get(block) is not buffer:
            self._take_back(buffer)
        if len(self._dirty) > (self._write_at or self.dirty_limit):
            self._write_some(buffer)

    def read_ahead(self, block: int, count: int) -> None:
        """Read the blocks in that will be asked for soon, neighbours at once.  What can't be read or is outside the device is left out."""
        end = min(block + min(count, self.limit // 4), self.blocks)
        most = LARGEST_IO // self.block_size
        block = max(block, 0)
        while block < end:
            if block in self._buffers:
                block += 1
                continue
            stop = block + 1
            while stop < end and stop - block < most and stop not in self._buffers:
                stop += 1
            try:
                data = self._read(block, stop - block)
            except OSError:
                return
            self._add_many(block, data)
            block = stop

    def forget(self, block: int, count: int) -> None:
        """These blocks were freed: drop them without writing."""
        buffers = self._buffers
        if count > len(buffers):
            for number in [number for number in buffers if block <= number < block + count]:
                self._drop(number)
            return
        for number in range(block, block + count):
            if number in buffers:
                self._drop(number)

    def distrust(self, block: int, count: int) -> None:
        """What was found out of these blocks' contents (`Buffer.checked`) counts no longer."""
        for number in self._held(block, count):
            self._buffers[number].checked = UNCHECKED

    def read_direct(self, block: int, count: int) -> bytes:
        """`count` blocks of file data, which are not cached; where one is dirty in the cache, that counts.  Raises EIO, EUCLEAN, EINVAL."""
        self._check(block, count)
        data = self._read(block, count)
        if not self._dirty:
            return data
        size = self.block_size
        mended = bytearray()
        for number in self._held(block, count):
            buffer = self._buffers[number]
            if buffer.dirty:
                if not mended:
                    mended = bytearray(data)
                at = (number - block) * size
                mended[at : at + size] = buffer.data
        return bytes(mended) if mended else data

    def write_direct(self, block: int, data: bytes) -> None:
        """Write whole blocks of file data now, and drop what is cached of them.  Raises EIO, ENOSPC, EROFS, EUCLEAN, EINVAL."""
        count, odd = divmod(len(data), self.block_size)
        if odd:
            raise OSError(EINVAL, f"{len(data)} bytes are not whole blocks of {self.block_size}")
        self._check(block, count)
        self.forget(block, count)
        self._write(block, data)

    def write_durable(self, block: int, data: bytes) -> None:
        """As `write_direct`, durable on return.  Raises the same."""
        count, odd = divmod(len(data), self.block_size)
        if odd:
            raise OSError(EINVAL, f"{len(data)} bytes are not whole blocks of {self.block_size}")
        self._check(block, count)
        self.forget(block, count)
        self.device.write_durable(block * self.block_size, data)

    def write_back(self, buffers: Iterable[Buffer]) -> None:
        """Write those of `buffers` that are dirty and not pinned now, in the order of blocks, neighbours in one write.

        Goes on after an error and raises the first (EIO, ENOSPC, EROFS); what was not written is still dirty.
        """
        waiting = {buffer.block: buffer for buffer in buffers if buffer.dirty and not buffer.pins}
        problem: OSError | None = None
        most = LARGEST_IO // self.block_size
        run: list[Buffer] = []
        for number in sorted(waiting):
            if run and (run[-1].block + 1 != number or len(run) == most):
                problem = self._write_run(run) or problem
                run = []
            run.append(waiting[number])
        if run:
            problem = self._write_run(run) or problem
        if problem is not None:
            raise problem

    def sync(self, lock: Mutex | None = None) -> None:
        """Write back everything that is not pinned, then make it durable (`flush`).

        Raises EIO and the like, once for all blocks, after all that could be written was; the rest is still dirty.
        """
        problem: OSError | None = None
        try:
            self.write_back(self._dirty.values())
        except OSError as failed:
            problem = failed
        self._write_at = 0
        self._evict_at = self.limit
        self.flush(lock)
        if problem is not None:
            raise problem
        if len(self._buffers) > self.limit:
            self._evict()

    def flush(self, lock: Mutex | None = None) -> None:
        """Make durable what was written: a barrier.  Writes nothing back.  Raises EIO.

        `lock` is the mount's, which the caller holds and can do without meanwhile: whoever is in the way of nobody gives it.
        """
        if lock is None:
            self.device.flush()
            return
        lock.release()
        try:
            self.device.flush()
        finally:
            lock.retake()

    def drop(self) -> None:
        """Forget everything, what is dirty too."""
        for buffer in self._dirty.values():
            buffer.dirty = False
        self._buffers.clear()
        self._dirty.clear()
        self._evict_at = self.limit
        self._write_at = 0

    def dirty(self) -> list[Buffer]:
        """What waits to be written back, pinned or not."""
        return list(self._dirty.values())

    # What is in ----------------------------------------------------------------------------------------

    def _add(self, block: int, data: bytearray) -> Buffer:
        self._clock += 1
        buffer = Buffer(block, data)
        buffer.used = self._clock
        self._buffers[block] = buffer
        if len(self._buffers) > self._evict_at:
            self._evict()
        return buffer

    def _add_many(self, block: int, data: bytes) -> None:
        size = self.block_size
        for at in range(0, len(data), size):
            if block not in self._buffers:
                self.counters.read_ahead += 1
                self._add(block, bytearray(data[at : at + size]))
            block += 1

    def _take_back(self, buffer: Buffer) -> None:
        """A buffer that was evicted while its user held it was changed."""
        if buffer.block in self._buffers:
            del self._dirty[buffer.block]
            buffer.dirty = False
            raise RuntimeError(
                f"block {buffer.block} was changed in a buffer that is out of the cache; pin what is held that long"
            )
        self._buffers[buffer.block] = buffer

    def _drop(self, block: int) -> None:
        buffer = self._buffers.pop(block)
        if buffer.dirty:
            buffer.dirty = False
            self._dirty.pop(block, None)

    def _held(self, block: int, count: int) -> list[int]:
        """Which of these blocks are cached."""
        buffers = self._buffers
        if count > len(buffers):
            return [number for number in buffers if block <= number < block + count]
        return [number for number in range(block, block + count) if number in buffers]

    # What goes -----------------------------------------------------------------------------------------

    def _evict(self) -> None:
        """Make room for an eighth of the limit: the least recently used go.  Raises EIO where nothing goes because it can't be written."""
        wanted = len(self._buffers) - (self.limit - self.limit // 8)
        newest = self._clock - KEPT
        old = [buffer for buffer in self._buffers.values() if buffer.used <= newest and not buffer.pins]
        old.sort(key=_last_use)
        del old[wanted:]
        failed = False
        try:
            self.write_back(old)
        except OSError:
            failed = True
        for buffer in old:
            if not buffer.dirty and not buffer.pins and self._buffers.get(buffer.block) is buffer:
                del self._buffers[buffer.block]
                self.counters.evicted += 1
        self._evict_at = max(self.limit, len(self._buffers) + self.limit // 8)
        if failed and len(self._buffers) > 2 * self.limit:
            raise error(EIO)

    def _write_some(self, newest: Buffer) -> None:
        """Too many are dirty: write back all but the newest, which its user may not be done with."""
        try:
            self.write_back([buffer for buffer in self._dirty.values() if buffer is not newest])
        except OSError:
            pass  # they are dirty still: `sync` tries again, and tells
        left = len(self._dirty)
        self._write_at = max(self.dirty_limit, left + self.dirty_limit // 4)

    def _write_run(self, run: list[Buffer]) -> OSError | None:
        """Write neighbours.  They are clean before the device sleeps: whoever changes one meanwhile marks it again."""
        for buffer in run:
            buffer.dirty = False
            del self._dirty[buffer.block]
        data = bytes(run[0].data) if len(run) == 1 else b"".join([buffer.data for buffer in run])
        try:
            self._write(run[0].block, data)
        except OSError as problem:
            self.counters.errors += 1
            for buffer in run:
                if self._buffers.get(buffer.block) is buffer:
                    buffer.dirty = True
                    self._dirty[buffer.block] = buffer
            return problem
        self.counters.written_back += len(run)
        return None

    # The device ----------------------------------------------------------------------------------------

    def _check(self, block: int, count: int) -> None:
        if block < 0 or count < 0 or block + count > self.blocks:
            what = f"block {block} is" if count == 1 else f"blocks {block} to {block + count} are"
            raise OSError(EUCLEAN, f"{what} outside the device {self.device.name} of {self.blocks} blocks")

    def _read(self, block: int, count: int) -> bytes:
        size = count * self.block_size
        data = self.device.read(block * self.block_size, size)
        if not isinstance(data, bytes) or len(data) != size:
            raise error(EIO)
        return data

    def _write(self, block: int, data: bytes) -> None:
        if not data:
            return
        self.counters.writes += 1
        if self.device.write(block * self.block_size, data) != len(data):
            raise error(EIO)


def _last_use(buffer: Buffer) -> int:
    return buffer.used
