"""Disks that fail as they are told."""

from __future__ import annotations

from rumpkit.dev.fault import FLUSH, READ, WRITE, Fault, FaultBackend
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi.errno import EINVAL, EIO, ENOSPC, EROFS
from tests.vfs.helpers import fails

SIZE = 1 << 16


def disk(*faults: Fault, seed: int = 1, **more) -> tuple[FaultBackend, RamDisk]:
    base = RamDisk(SIZE)
    return FaultBackend(base, seed, faults, **more), base


def test_without_faults_it_is_a_disk_with_a_cache() -> None:
    faulty, base = disk()
    faulty.write(10, b"hello")
    assert faulty.read(8, 9) == b"\0\0hello\0\0" and base.read(10, 5) == bytes(5)
    faulty.flush()
    assert base.read(10, 5) == b"hello" and faulty.read(10, 5) == b"hello"
    faulty.write(10, b"J")
    faulty.close()
    assert base.read(10, 5) == b"Jello"
    fails(EINVAL, faulty.read, SIZE, 1)
    fails(EINVAL, faulty.write, SIZE - 1, b"xx")


def test_errors_in_a_range_after_some_calls() -> None:
    faulty, _ = disk(Fault(READ, start=4096, end=8192, after=2), Fault(WRITE, start=0, end=512, errno=ENOSPC))
    for _ in range(2):
        faulty.read(4000, 100)
    faulty.read(0, 4096)
    faulty.read(8192, 100)
    fails(EIO, faulty.read, 4095, 2)
    fails(EIO, faulty.read, 8191, 100)
    fails(ENOSPC, faulty.write, 0, b"x")
    faulty.write(512, b"x")
    assert faulty.counters.errors == 3
    faulty.heal()
    faulty.write(0, b"x")
    faulty.add(Fault(FLUSH))
    fails(EIO, faulty.flush)
    assert faulty.read(0, 1) == b"x"


def test_probabilities_follow_the_seed() -> None:
    def run(seed: int) -> list[bool]:
        faulty, _ = disk(Fault(WRITE, 0.3), seed=seed)
        result = []
        for _ in range(200):
            try:
                faulty.write(0, b"x")
                result.append(True)
            except OSError:
                result.append(False)
        return result

    assert run(1) == run(1) != run(2)
    assert 100 < sum(run(1)) < 180


def test_torn_writes() -> None:
    faulty, _ = disk(Fault(WRITE, torn=True))
    fails(EIO, faulty.write, 0, b"x" * 512 * 40)
    sectors = [faulty.read(512 * index, 512) for index in range(40)]
    assert set(sectors) == {bytes(512), b"x" * 512}
    assert faulty.counters.torn == 1


def test_delays() -> None:
    slept: list[int] = []
    faulty, _ = disk(Fault(FLUSH, errno=0, delay=1000), sleep=slept.append)
    faulty.flush()
    faulty.flush()
    assert slept == [1000, 1000] and faulty.counters.delays == 2 and faulty.counters.errors == 0


def test_a_power_cut_loses_what_was_not_flushed() -> None:
    faulty, base = disk()
    faulty.write(0, b"a" * 512)
    faulty.flush()
    faulty.write(0, b"b" * 512)
    faulty.write(512, b"c" * 512)
    faulty.power_cut()
    for call in (lambda: faulty.read(0, 1), lambda: faulty.write(0, b"x"), faulty.flush):
        fails(EIO, call)
    faulty.power_on()
    assert faulty.read(0, 1024) == b"a" * 512 + bytes(512) == base.read(0, 1024)
    assert faulty.counters.lost == 2


def test_a_power_cut_may_keep_some() -> None:
    faulty, base = disk()
    for index in range(100):
        faulty.write(index * 512, b"x" * 512)
    faulty.power_cut(keep=0.5)
    kept = sum(base.read(index * 512, 1) == b"x" for index in range(100))
    assert 20 < kept < 80 and faulty.counters.lost == 100 - kept
    faulty.close()


def test_the_cache_has_a_limit() -> None:
    faulty, base = disk(cache=1000)
    faulty.write(0, b"x" * 900)
    assert base.read(0, 1) == b"\0"
    faulty.write(900, b"x" * 200)
    assert base.read(0, 1100) == b"x" * 1100


def test_what_is_no_fault() -> None:
    for fault in (Fault("seek"), Fault(READ, 1.5), Fault(READ, delay=-1), Fault(READ, delay=5)):
        fails(EINVAL, FaultBackend, RamDisk(10), 0, [fault])
    fails(EROFS, FaultBackend(RamDisk(10, read_only=True)).write, 0, b"x")
