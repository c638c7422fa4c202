"""Recorded disks, replayed."""

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.recorder import Flush, Mark, RecorderBackend, Write, apply, crash, marks, prefix, tear
from rumpkit.dev.seeded import Seeded
from rumpkit.kern.abi.errno import EINVAL, ENOSPC
from tests.vfs.helpers import fails

SIZE = 8192


def recorded() -> RecorderBackend:
    disk = RecorderBackend(RamDisk(SIZE))
    disk.write(0, b"a" * 512)
    disk.write(512, b"b" * 1024)
    disk.flush()
    disk.mark("b is safe")
    disk.write(2048, b"c" * 1024)
    disk.write(300, b"d" * 1000)
    return disk


def test_events() -> None:
    disk = recorded()
    assert [type(event) for event in disk.events] == [Write, Write, Flush, Mark, Write, Write]
    assert disk.recorded == 512 + 1024 + 1024 + 1000
    assert disk.read(2048, 3) == b"ccc"
    assert marks(disk.events, 3) == [] and marks(disk.events, 4) == ["b is safe"]
    fails(EINVAL, disk.write, SIZE, b"x")
    assert len(disk.events) == 6
    disk.clear()
    assert disk.events == [] and disk.recorded == 0
    disk.close()


def test_each_prefix() -> None:
    disk = recorded()
    for count in range(len(disk.events) + 1):
        copy, again = RamDisk(SIZE), RamDisk(SIZE)
        apply(prefix(disk.events, count), copy)
        for event in disk.events[:count]:
            if isinstance(event, Write):
                again.write(event.offset, event.data)
        assert copy.read(0, SIZE) == again.read(0, SIZE)
    assert copy.read(0, SIZE) == disk.read(0, SIZE)


@given(st.integers(0, 2**64 - 1), st.integers(0, 6))
def test_a_crash_keeps_what_was_flushed(seed: int, count: int) -> None:
    events = recorded().events
    writes = crash(events, count, seed)
    assert writes == crash(events, count, seed)
    if count >= 3:
        assert writes[:2] == events[:2]
    allowed = prefix(events, count)
    for write in writes:
        assert any(
            whole.offset <= write.offset and write.data in whole.data and write.offset - whole.offset < len(whole.data)
            for whole in allowed
        )


def test_all_and_nothing_of_the_rest() -> None:
    events = recorded().events
    assert crash(events, 6, 1, keep=1, torn=0) == prefix(events, 6)
    assert crash(events, 6, 1, keep=0) == prefix(events, 3)
    different = {tuple(crash(events, 6, seed)) for seed in range(50)}
    assert len(different) > 5


def test_torn_writes_are_whole_sectors() -> None:
    write = Write(300, bytes(range(250)) * 8)
    seen = set()
    for seed in range(100):
        for part in tear(write, Seeded(seed)):
            assert part.data == write.data[part.offset - 300 :][: len(part.data)]
            assert part.offset == 300 or part.offset % 512 == 0
            seen.add((part.offset, len(part.data)))
    assert seen == {(300, 212), (512, 512), (1024, 512), (1536, 512), (2048, 252)}


def test_a_limit() -> None:
    disk = RecorderBackend(RamDisk(SIZE), limit=10)
    disk.write(0, b"12345678")
    fails(ENOSPC, disk.write, 0, b"123")
    disk.write(0, b"12")


def test_seeded_numbers() -> None:
    assert [Seeded(0).next(), Seeded(1).next()] == [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1]
    random = Seeded(5)
    assert {random.below(6) for _ in range(200)} == set(range(6))
    assert 350 < sum(random.chance(0.4) for _ in range(1000)) < 450
    assert not random.chance(0) and random.chance(1)
