"""Writes that are durable on return (FUA): through each kind of disk, up to a journal's commit block."""

from __future__ import annotations

from rumpkit.dev.fault import WRITE, Fault, FaultBackend
from rumpkit.dev.partition import PartitionBackend
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.recorder import Durable, Flush, RecorderBackend, Write, apply, crash
from rumpkit.dev.snapshot import SnapshotBackend
from rumpkit.kern.abi.errno import EINVAL, EIO, ENOSPC, EROFS
from tests.dev.helpers import with_devices
from tests.vfs.helpers import fails

SIZE = 1 << 16


def test_a_crash_keeps_it_and_not_what_came_before() -> None:
    disk = RecorderBackend(RamDisk(SIZE))
    disk.write(0, b"a" * 2048)
    disk.write_durable(4096, b"b" * 2048)
    disk.write(8192, b"c" * 2048)
    assert [type(event) for event in disk.events] == [Write, Write, Durable, Write]
    seen = set()
    for seed in range(200):
        copy = RamDisk(SIZE)
        apply(crash(disk.events, len(disk.events), seed), copy)
        assert copy.read(4096, 2048) == b"b" * 2048
        seen.add((copy.read(0, 1), copy.read(8192, 1)))
    assert len(seen) == 4
    # Before it has returned it may be lost or torn as any other.
    torn = [crash(disk.events, 2, seed) for seed in range(200)]
    assert any(all(write.offset < 4096 for write in writes) for writes in torn)
    assert any(write.offset >= 4096 and len(write.data) == 512 for writes in torn for write in writes)


def test_a_power_cut_does_not_lose_it() -> None:
    base = RamDisk(SIZE)
    disk = FaultBackend(base, 1, ())
    disk.write(0, b"old and overwritten")
    disk.write(1000, b"lost")
    disk.write_durable(4, b"DURABLE")
    assert disk.read(0, 19) == b"old DURABLErwritten"
    disk.power_cut()
    disk.power_on()
    assert disk.read(4, 7) == b"DURABLE" and disk.read(1000, 4) == bytes(4)
    disk.flush()
    assert base.read(4, 7) == b"DURABLE"  # nothing older came over it


def test_it_fails_as_writes_do() -> None:
    disk = FaultBackend(RamDisk(SIZE), 1, (Fault(WRITE, start=512, end=1024),))
    disk.write_durable(0, b"x" * 512)
    fails(EIO, disk.write_durable, 1000, b"x")
    fails(EINVAL, disk.write_durable, SIZE, b"x")
    fails(EROFS, PartitionBackend(RamDisk(10, read_only=True), 0, 5).write_durable, 0, b"x")


def test_through_a_partition_and_a_snapshot() -> None:
    recorder = RecorderBackend(RamDisk(SIZE))
    part = PartitionBackend(PartitionBackend(recorder, 4096, 8192), 512, 1024)
    part.write_durable(8, b"here")
    assert recorder.events == [Write(4096 + 512 + 8, b"here"), Durable()]
    fails(EINVAL, part.write_durable, 1022, b"xxx")
    assert part.window() == (recorder.window()[0], 4608, 5632)
    snapshot = SnapshotBackend(recorder, RamDisk(SIZE))
    snapshot.write_durable(0, b"over")
    assert snapshot.read(0, 4) == b"over" and len(recorder.events) == 2
    assert snapshot.window() == (snapshot, 0, SIZE)


def test_a_device_passes_it_on() -> None:
    files = with_devices()
    recorder = RecorderBackend(RamDisk(SIZE))
    device = files.entered(files.service("Disks").attach, "disk", recorder)
    files.entered(device.write_durable, 512, b"now")
    assert recorder.events == [Write(512, b"now"), Durable()]
    assert (device.counters.durable_writes, device.counters.flushes, device.counters.writes) == (1, 0, 0)
    fails(ENOSPC, files.entered, device.write_durable, SIZE - 1, b"now")
    fails(EINVAL, files.entered, device.write_durable, -1, b"now")


def test_a_commit_has_one_barrier_and_a_durable_block() -> None:
    from rumpkit.vfs.types import check_format_options

    files = with_devices()
    recorder = RecorderBackend(RamDisk(8 << 20))
    device = files.entered(files.service("Disks").attach, "disk", recorder)
    kind = files.vfs.types.find("ext4")
    files.entered(kind.format, files.vfs, device, check_format_options(kind, {}))
    files.mount("ext4", "/m", "disk")
    files.root.put("/m/first", b"x")
    files.root.sync()
    recorder.clear()
    files.root.put("/m/second", b"x")
    files.root.sync()
    events = recorder.events
    assert [type(event) for event in events if not isinstance(event, Write)] == [Flush, Durable]
    commit = events[-2]
    assert isinstance(commit, Write) and commit.data[:8] == bytes.fromhex("c03b399800000002")
