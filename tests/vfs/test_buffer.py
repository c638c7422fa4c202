"""The buffer cache: what is in it, what goes out, and what a device that fails does to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.kern.abi.errno import EINVAL, EIO, EUCLEAN
from rumpkit.kern.abi.fcntl import S_IFBLK
from rumpkit.kern.device import Device
from rumpkit.vfs.buffer import KEPT, LARGEST_IO, Buffer, BufferCache
from tests.vfs.helpers import Files, fails

SIZE = 512


class Disk(Device):
    """A disk in memory that keeps a list of what it was asked, and breaks where it is told to."""

    def __init__(self, blocks: int, size: int = SIZE) -> None:
        super().__init__("disk", S_IFBLK, 1)
        self.data = bytearray(blocks * size)
        self.block = size
        self.log: list[tuple[str, int, int]] = []
        self.bad: set[int] = set()

    def size(self) -> int:
        return len(self.data)

    def note(self, what: str, offset: int, size: int) -> None:
        first, count = offset // self.block, size // self.block
        assert offset % self.block == 0 and size % self.block == 0
        self.log.append((what, first, count))
        if any(first <= block < first + count for block in self.bad):
            raise OSError(EIO, "the disk is broken")

    def read(self, offset: int, size: int) -> bytes:
        self.note("read", offset, size)
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> int:
        self.note("write", offset, len(data))
        self.data[offset : offset + len(data)] = data
        return len(data)

    def flush(self) -> None:
        self.log.append(("flush", 0, 0))

    def content(self, block: int) -> bytes:
        return bytes(self.data[block * self.block : (block + 1) * self.block])

    def said(self) -> list[tuple[str, int, int]]:
        """What it was asked since the last time."""
        log, self.log = self.log, []
        return log


def fill(value: int) -> bytes:
    return bytes([value]) * SIZE


def change(cache: BufferCache, block: int, value: int) -> Buffer:
    buffer = cache.get(block)
    buffer.data[:] = fill(value)
    cache.mark(buffer)
    return buffer


def test_a_block_is_read_once() -> None:
    disk = Disk(10)
    disk.data[3 * SIZE : 4 * SIZE] = fill(7)
    cache = BufferCache(disk, SIZE, 0)
    assert cache.blocks == 10 and cache.block_size == SIZE
    buffer = cache.get(3)
    assert buffer.data == fill(7) and buffer.block == 3 and not buffer.dirty
    assert cache.get(3) is buffer
    assert disk.said() == [("read", 3, 1)]
    assert cache.counters.misses == 1


def test_fresh_is_not_read() -> None:
    disk = Disk(10)
    disk.data[:] = b"x" * len(disk.data)
    cache = BufferCache(disk, SIZE, 0)
    assert cache.fresh(3).data == bytes(SIZE)
    assert disk.said() == []
    held = cache.get(4)
    assert cache.fresh(4) is held and held.data == bytes(SIZE)


def test_what_is_outside_the_device() -> None:
    cache = BufferCache(Disk(10), SIZE, 0)
    for block in (-1, 10, 1 << 60):
        fails(EUCLEAN, cache.get, block)
        fails(EUCLEAN, cache.fresh, block)
        fails(EUCLEAN, cache.read_direct, block, 1)
        fails(EUCLEAN, cache.write_direct, block, fill(1))
    fails(EUCLEAN, cache.read_direct, 9, 2)
    fails(EUCLEAN, cache.read_direct, 0, -1)
    fails(EINVAL, cache.write_direct, 0, b"x")
    cache.read_ahead(-5, 1 << 60)
    cache.forget(-5, 1 << 60)
    for size in (0, 256, 1000, -512):
        fails(EINVAL, BufferCache, Disk(10), size, 0)


def test_a_device_whose_end_is_no_block() -> None:
    disk = Disk(10)
    disk.data += b"tail"
    assert BufferCache(disk, 1024, 0).blocks == 5


def test_sync_writes_neighbours_at_once_and_in_order() -> None:
    disk = Disk(100)
    cache = BufferCache(disk, SIZE, 0)
    for block in (9, 3, 50, 4, 5, 8):
        cache.mark(cache.fresh(block))
    cache.sync()
    assert disk.said() == [("write", 3, 3), ("write", 8, 2), ("write", 50, 1), ("flush", 0, 0)]
    cache.sync()
    assert disk.said() == [("flush", 0, 0)]
    assert (cache.counters.writes, cache.counters.written_back) == (3, 6)


def test_one_write_has_a_limit() -> None:
    most = LARGEST_IO // SIZE
    disk = Disk(2 * most)
    cache = BufferCache(disk, SIZE, 100 << 20)
    for block in range(most + 3):
        cache.mark(cache.fresh(block))
    cache.sync()
    assert disk.said() == [("write", 0, most), ("write", most, 3), ("flush", 0, 0)]


def test_pinned_blocks_are_not_written() -> None:
    disk = Disk(10)
    cache = BufferCache(disk, SIZE, 0)
    first, second = change(cache, 1, 1), change(cache, 2, 2)
    first.pins += 1
    disk.said()
    cache.sync()
    cache.write_back([first])
    assert disk.said() == [("write", 2, 1), ("flush", 0, 0)]
    assert first.dirty and not second.dirty and cache.dirty() == [first]
    first.pins -= 1
    cache.write_back([first, second])
    assert disk.said() == [("write", 1, 1)] and disk.content(1) == fill(1)
    cache.flush()
    assert disk.said() == [("flush", 0, 0)]


def test_pinned_blocks_are_not_evicted() -> None:
    cache = BufferCache(Disk(8 * KEPT), SIZE, 0)
    held = cache.get(0)
    held.pins += 1
    dropped = cache.get(1)
    for block in range(2, 8 * KEPT):
        cache.get(block)
    assert cache.get(0) is held
    assert cache.get(1) is not dropped


def test_more_may_be_pinned_than_the_limit() -> None:
    count = 4 * KEPT
    disk = Disk(2 * count)
    cache = BufferCache(disk, SIZE, 0)
    held: list[Buffer] = []
    for block in range(count):
        buffer = cache.get(block)
        buffer.pins += 1
        buffer.data[:] = fill(block % 256)
        cache.mark(buffer)
        held.append(buffer)
    assert all(cache.get(buffer.block) is buffer for buffer in held)
    assert not any(what == "write" for what, _, _ in disk.said())
    for buffer in held:
        buffer.pins -= 1
    cache.sync()
    assert [disk.content(block) for block in range(count)] == [fill(block % 256) for block in range(count)]
    for block in range(count, 2 * count):
        cache.get(block)
    assert cache.counters.evicted >= 5 * KEPT  # the limit holds again


def test_the_least_recently_used_goes() -> None:
    limit = 2 * KEPT
    cache = BufferCache(Disk(4 * KEPT), SIZE, limit * SIZE)
    often, seldom = cache.get(0), cache.get(1)
    for block in range(2, 2 * KEPT + 1):
        cache.get(block)
        assert cache.get(0) is often
    assert cache.get(0) is often and cache.counters.evicted > 0
    assert cache.get(1) is not seldom


def test_eviction_writes_what_is_dirty() -> None:
    disk = Disk(8 * KEPT)
    cache = BufferCache(disk, SIZE, 0)
    cache.dirty_limit = 1 << 30
    for block in range(8 * KEPT):
        change(cache, block, block % 251)
    evicted = cache.counters.evicted
    assert evicted >= 6 * KEPT
    for block in range(8 * KEPT):
        assert cache.get(block).data == fill(block % 251)


def test_too_many_dirty_blocks_are_written_but_for_the_newest() -> None:
    disk = Disk(1000)
    cache = BufferCache(disk, SIZE, 1000 * SIZE)
    for block in range(250):
        cache.mark(cache.fresh(block))
    assert disk.said() == []
    newest = cache.fresh(250)
    cache.mark(newest)
    assert disk.said() == [("write", 0, 250)] and cache.dirty() == [newest]


def test_read_ahead() -> None:
    disk = Disk(100)
    cache = BufferCache(disk, SIZE, 4 * 100 * SIZE)
    change(cache, 5, 1)
    disk.said()
    cache.read_ahead(3, 6)
    assert disk.said() == [("read", 3, 2), ("read", 6, 3)]
    for block in range(3, 9):
        cache.get(block)
    assert disk.said() == [] and cache.get(5).data == fill(1)
    cache.read_ahead(98, 50)
    assert disk.said() == [("read", 98, 2)]
    disk.bad = {20}
    cache.read_ahead(20, 5)
    assert disk.said() == [("read", 20, 5)]
    fails(EIO, cache.get, 20)
    assert cache.counters.read_ahead == 7


def test_forget() -> None:
    disk = Disk(10)
    cache = BufferCache(disk, SIZE, 0)
    change(cache, 3, 3)
    change(cache, 4, 4)
    change(cache, 5, 5)
    cache.forget(3, 2)
    cache.sync()
    assert disk.content(3) == disk.content(4) == bytes(SIZE) and disk.content(5) == fill(5)
    assert cache.get(3).data == bytes(SIZE)


def test_direct_reads_see_what_is_cached() -> None:
    disk = Disk(10)
    cache = BufferCache(disk, SIZE, 0)
    assert cache.read_direct(2, 0) == b""
    change(cache, 3, 3)
    assert cache.read_direct(2, 3) == bytes(SIZE) + fill(3) + bytes(SIZE)
    assert cache.read_direct(5, 2) == bytes(2 * SIZE)


def test_direct_writes_drop_what_is_cached() -> None:
    disk = Disk(10)
    cache = BufferCache(disk, SIZE, 0)
    change(cache, 3, 3)
    cache.write_direct(2, fill(8) + fill(9))
    cache.write_direct(0, b"")
    cache.sync()
    assert disk.content(3) == fill(9) and cache.get(3).data == fill(9)


def test_a_failed_write_is_tried_again() -> None:
    disk = Disk(10)
    cache = BufferCache(disk, SIZE, 0)
    for block in (1, 2, 5):
        change(cache, block, block)
    disk.bad = {2}
    disk.said()
    fails(EIO, cache.sync)
    assert disk.said() == [("write", 1, 2), ("write", 5, 1), ("flush", 0, 0)]
    assert disk.content(5) == fill(5) and [buffer.block for buffer in cache.dirty()] == [1, 2]
    disk.bad = set()
    cache.sync()
    assert disk.content(1) == fill(1) and disk.content(2) == fill(2)
    assert cache.counters.errors == 1


def test_a_broken_disk_does_not_take_all_memory() -> None:
    disk = Disk(8 * KEPT)
    cache = BufferCache(disk, SIZE, 0)
    disk.bad = set(range(8 * KEPT))
    with pytest.raises(OSError) as caught:
        for block in range(8 * KEPT):
            cache.mark(cache.fresh(block))
    assert caught.value.errno == EIO
    assert len(cache.dirty()) <= 3 * KEPT


def test_a_buffer_marked_after_its_eviction_is_written() -> None:
    disk = Disk(8 * KEPT)
    cache = BufferCache(disk, SIZE, 0)
    held = cache.get(0)
    for block in range(1, 4 * KEPT):
        cache.get(block)
    held.data[:] = fill(1)
    cache.mark(held)
    assert cache.get(0) is held
    cache.sync()
    assert disk.content(0) == fill(1)
    for block in range(1, 4 * KEPT):
        cache.get(block)
    assert cache.get(0) is not held
    with pytest.raises(RuntimeError, match="block 0"):
        cache.mark(held)
    assert cache.dirty() == []


def test_drop_forgets_everything() -> None:
    disk = Disk(10)
    cache = BufferCache(disk, SIZE, 0)
    change(cache, 1, 1)
    cache.drop()
    cache.sync()
    assert cache.get(1).data == bytes(SIZE) and disk.content(1) == bytes(SIZE)


def test_the_kernel_gives_limits_and_counts() -> None:
    files = Files()
    files.entered(files.kernel.sysctl.set, "vfs.buffer_bytes", 4 << 20)
    files.entered(files.kernel.sysctl.set, "vfs.buffer_dirty_percent", 50)
    cache = files.entered(files.vfs.buffer_cache, Disk(10, 4096), 4096)
    assert (cache.limit, cache.dirty_limit) == (1024, 512)
    files.entered(cache.get, 1)
    assert files.kernel.counters.get("vfs.buffer.misses") == 1


BLOCKS = 3 * KEPT
STEP = st.tuples(
    st.sampled_from(("change", "change", "get", "fresh", "sync", "forget", "direct", "read", "ahead", "pin", "sweep")),
    st.integers(0, BLOCKS - 1),
    st.integers(1, 9),
)


@given(st.lists(STEP, max_size=60))
def test_like_a_plain_disk(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens, each block reads as what was last written to it, and after a sync the disk has it."""
    disk = Disk(BLOCKS)
    cache = BufferCache(disk, SIZE, 0)
    cache.dirty_limit = 20
    model = [bytes(SIZE)] * BLOCKS
    pinned: list[Buffer] = []
    for number, (what, block, count) in enumerate(steps):
        count = min(count, BLOCKS - block)
        if what == "change":
            for each in range(block, block + count):
                change(cache, each, number)
                model[each] = fill(number)
        elif what == "get":
            assert cache.get(block).data == model[block]
        elif what == "fresh":
            cache.mark(cache.fresh(block))
            model[block] = bytes(SIZE)
        elif what == "direct":
            cache.write_direct(block, fill(number) * count)
            model[block : block + count] = [fill(number)] * count
        elif what == "read":
            assert cache.read_direct(block, count) == b"".join(model[block : block + count])
        elif what == "forget":
            clean = [each for each in range(block, block + count) if disk.content(each) == model[each]]
            for each in clean:
                cache.forget(each, 1)
        elif what == "ahead":
            cache.read_ahead(block, count * 20)
        elif what == "pin":
            buffer = cache.get(block)
            buffer.pins += 1
            pinned.append(buffer)
        elif what == "sweep":
            for each in range(BLOCKS):
                assert cache.get(each).data == model[each]
        else:
            cache.sync()
    for buffer in pinned:
        buffer.pins -= 1
    cache.sync()
    assert disk.data == b"".join(model)
