"""ext2, ext3 and ext4 on a ram disk, formatted, used, unmounted and checked by our own means."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest

from rumpkit.fs.ext.node import ExtNode
from rumpkit.fs.ext.volume import AHEAD_TRIES
from rumpkit.kern.abi.errno import EIO, ENOSPC, ENOTEMPTY, ENOTSUP, EROFS, EUCLEAN
from rumpkit.kern.abi.fcntl import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    SEEK_DATA,
    SEEK_HOLE,
)
from rumpkit.vfs.buffer import KEPT, Buffer
from rumpkit.vfs.types import Finding, check_format_options
from tests.vfs.helpers import Files, fails

SIZE = 8 << 20
CASES = [
    ("ext2", {"block_size": 1024}),
    ("ext3", {"block_size": 1024}),
    ("ext4", {"block_size": 1024}),
    ("ext4", {"block_size": 4096, "features": "inline_data,^has_journal"}),
]


class Disk:
    """A formatted disk that can be mounted and checked."""

    def __init__(self, kind: str, options: dict[str, Any]):
        self.kind = kind
        self.files = Files()
        self.device: Any = self.files.entered(self.files.service("Disks").attach_ram, "disk0", SIZE)
        self.type = self.files.vfs.types.find(kind)
        checked = check_format_options(self.type, options)
        self.files.entered(self.type.format, self.files.vfs, self.device, checked)

    def mount(self, **options: Any) -> Any:
        self.files.mount(self.kind, "/mnt", "disk0", **options)
        return self.files.root

    def unmount(self) -> None:
        self.files.entered(self.files.vfs.unmount, "/mnt")
        findings: list[Finding] = []
        sound = self.files.entered(self.type.check, self.files.vfs, self.device, False, findings.append)
        assert sound and not findings, findings


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]['block_size']}")
def disk(request: pytest.FixtureRequest) -> Disk:
    return Disk(*request.param)


def test_recognised(disk: Disk):
    found = disk.files.entered(disk.type.recognise, disk.device)
    assert found is not None and found.kind == disk.kind and found.size == SIZE and found.state == "clean"


def test_files_and_names(disk: Disk):
    client = disk.mount()
    noise = random.Random(1)
    content: dict[str, bytes] = {}
    client.mkdir("/mnt/d")
    for number in range(250):
        path = f"/mnt/d/a-name-of-some-length-{number}"
        content[path] = noise.randbytes(noise.choice((0, 10, 100, 1500, 9000)))
        client.put(path, content[path])
    for path in list(content)[::3]:
        client.unlink(path)
        del content[path]
    for number, path in enumerate(list(content)[::5]):
        content[f"/mnt/moved{number}"] = content.pop(path)
        client.rename(path, f"/mnt/moved{number}")
    disk.unmount()
    client = disk.mount()
    for path, data in content.items():
        assert client.get(path) == data
    assert len(client.names("/mnt/d")) == sum(path.startswith("/mnt/d/") for path in content)
    disk.unmount()


def test_holes(disk: Disk):
    client = disk.mount()
    fd = client.open("/mnt/f", O_RDWR | O_CREAT)
    for at in (0, 100_000, 3_000_000):
        client.pwrite(fd, b"x" * 4096, at)
    assert client.lseek(fd, 5000, SEEK_DATA) in range(98_304, 100_001)
    assert client.lseek(fd, 0, SEEK_HOLE) in range(4096, 8193)
    assert client.fstat(fd).st_blocks < 100
    client.close(fd)
    disk.unmount()


def test_files_that_are_removed_while_open(disk: Disk):
    client = disk.mount()
    before = client.statvfs("/mnt")
    client.put("/mnt/f", b"x" * 100_000)
    fd = client.open("/mnt/f", O_RDONLY)
    client.unlink("/mnt/f")
    client.sync()
    assert client.read(fd, 10) == b"x" * 10
    client.close(fd)
    after = client.statvfs("/mnt")
    assert (after.f_bfree, after.f_ffree) == (before.f_bfree, before.f_ffree)
    disk.unmount()


def test_a_full_disk_takes_a_part(disk: Disk):
    client = disk.mount()
    fd = client.open("/mnt/f", O_RDWR | O_CREAT)
    done = 0
    try:
        while True:
            done += client.write(fd, b"x" * 100_000)
    except OSError as problem:
        assert problem.errno == ENOSPC
    assert client.fstat(fd).st_size == done
    fails(ENOSPC, client.pwrite, fd, b"x" * 200_000, done)
    client.close(fd)
    client.unlink("/mnt/f")
    client.put("/mnt/h", b"x" * 200_000)
    disk.unmount()


def test_a_read_only_disk(disk: Disk):
    client = disk.mount()
    client.put("/mnt/f", b"data")
    disk.unmount()
    writes = disk.device.counters.writes
    client = disk.mount(read_only=True)
    assert client.get("/mnt/f") == b"data"
    fails(EROFS, client.put, "/mnt/f", b"other")
    fails(EROFS, client.mkdir, "/mnt/d")
    disk.unmount()
    assert disk.device.counters.writes == writes


def test_vnodes_are_dropped_and_come_back():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount(vnodes=64)
    held = client.open("/mnt/held", O_RDWR | O_CREAT)
    for number in range(400):
        client.put(f"/mnt/f{number}", str(number).encode())
    mount: Any = disk.files.vfs.mounts()[-1]
    client.sync()
    for number in range(400):
        assert client.get(f"/mnt/f{number}") == str(number).encode()
        assert len(mount._nodes) < 500
    client.sync()
    client.sync()
    assert len(mount._nodes) < 100
    for number in range(400):
        client.lstat(f"/mnt/f{number}")
    assert len(mount._nodes) < 100
    client.write(held, b"still here")
    client.close(held)
    assert client.get("/mnt/held") == b"still here"
    disk.unmount()


def alive(kind: type, mount: Any) -> int:
    """Objects of a class in memory that belong to a mount, known to it or not."""
    found = [each for each in gc.get_objects() if issubclass(type(each), kind)]
    return len([each for each in found if kind is Buffer or each.mount is mount])


def test_what_a_long_walk_has_seen_is_gone_at_once():
    disk = Disk("ext4", {"block_size": 1024, "features": "^has_journal"})
    client = disk.mount()
    for number in range(1500):
        client.put(f"/mnt/f{number}", b"x")
    disk.unmount()
    client = disk.mount(vnodes=64)
    mount: Any = disk.files.vfs.mounts()[-1]
    cache = mount.volume.cache
    cache.limit = cache._evict_at = KEPT + 64
    gc.collect()
    gc.disable()
    try:
        others = alive(Buffer, mount) - len(cache._buffers)
        for number in range(1500):
            client.lstat(f"/mnt/f{number * 701 % 1500}")
            if not number % 100:
                assert alive(ExtNode, mount) <= len(mount._nodes) < 100
                assert alive(Buffer, mount) - others <= len(cache._buffers)
        assert cache.counters.evicted
    finally:
        gc.enable()
    disk.unmount()


def test_inode_tables_are_read_ahead_only_where_that_is_of_use():
    disk = Disk("ext4", {"block_size": 1024, "features": "^has_journal"})

    def read(step: int) -> int:
        """Blocks that are read for 160 inodes, `step` from one to the next."""
        disk.mount(read_only=True)
        mount: Any = disk.files.vfs.mounts()[-1]
        counters, volume = mount.volume.cache.counters, mount.volume
        assert volume.geometry.inodes_per_block == 4 and volume.geometry.inodes > 2000
        before = counters.read_ahead + counters.misses
        for number in range(160):
            disk.files.entered(volume.read_inode, 12 + number * step % 2000)
        disk.unmount()
        return int(counters.read_ahead + counters.misses - before)

    assert read(1) <= 160 // 4 + 2 * 16, "one after the other: those that they lie in, and a part"
    assert read(701) <= 160 + AHEAD_TRIES * 16, "far apart: hardly more than one each"


def test_damage_stops_writing():
    disk = Disk("ext4", {"block_size": 1024, "features": "^has_journal"})
    client = disk.mount()
    client.put("/mnt/f", b"x" * 50_000)
    disk.unmount()
    client = disk.mount()
    mount: Any = disk.files.vfs.mounts()[-1]
    volume = mount.volume
    bitmap = volume.groups.get(0).descriptor.block_bitmap
    raw = bytearray(disk.device.backend.read(bitmap << 10, 1024))
    raw[100] ^= 1
    disk.device.backend.write(bitmap << 10, bytes(raw))
    writes = disk.device.counters.writes
    fd = client.open("/mnt/g", O_RDWR | O_CREAT)
    client.write(fd, b"y" * 5000)
    fails(EUCLEAN, client.fsync, fd)
    fails(EROFS, client.mkdir, "/mnt/d")
    client.close(fd)
    fails(EIO, disk.files.entered, disk.files.vfs.unmount, "/mnt")
    assert disk.device.counters.writes == writes


def test_flags_that_users_may_set():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount()
    client.put("/mnt/f", b"x")
    node = disk.files.entered(disk.files.vfs.mounts()[-1].root.lookup, b"f")
    extents = node.flags
    fails(ENOTSUP, lambda: disk.files.entered(node.set_flags, extents ^ 0x80000, 0))
    disk.files.entered(node.set_flags, extents | 0x40, 1)
    disk.unmount()
    client = disk.mount(read_only=True)
    node = disk.files.entered(disk.files.vfs.mounts()[-1].root.lookup, b"f")
    assert node.flags == extents | 0x40
    disk.unmount()


def test_an_indexed_directory_that_was_emptied_before_is_removed(disk: Disk):
    client = disk.mount()
    client.mkdir("/mnt/d")
    for number in range(300):
        client.mknod(f"/mnt/d/a-name-of-some-length-{number}", 0o644)
    for number in range(300):
        client.unlink(f"/mnt/d/a-name-of-some-length-{number}")
    client.mknod("/mnt/d/last", 0o644)
    disk.unmount()
    client = disk.mount()
    fails(ENOTEMPTY, client.rmdir, "/mnt/d")
    client.unlink("/mnt/d/last")
    disk.unmount()
    client = disk.mount()
    client.rmdir("/mnt/d")
    disk.unmount()


def fill(client: Any) -> None:
    """Leave no space at all."""
    fd = client.open("/mnt/ballast", O_CREAT | O_RDWR)
    while True:
        try:
            client.write(fd, bytes(1 << 16))
        except OSError as problem:
            assert problem.errno == ENOSPC
            break
    client.close(fd)


def test_a_write_that_finds_no_space_leaves_the_size(disk: Disk):
    client = disk.mount()
    client.put("/mnt/file", b"text")
    client.sync()
    fill(client)
    fd = client.open("/mnt/file", O_RDWR)
    fails(ENOSPC, client.pwrite, fd, bytes(100_000), 1_000_000)
    assert client.fstat(fd).st_size == 4
    client.close(fd)
    disk.unmount()
    client = disk.mount()
    assert client.get("/mnt/file") == b"text"
    disk.unmount()


def test_zeros_in_the_place_of_data_need_no_space():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount()
    client.put("/mnt/file", b"x" * 500_000)
    client.sync()
    fill(client)
    fd = client.open("/mnt/file", O_RDWR)
    before = client.fstat(fd).st_blocks
    client.fallocate(fd, FALLOC_FL_ZERO_RANGE, 1000, 400_000)
    assert abs(client.fstat(fd).st_blocks - before) <= 2
    client.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 450_000, 5000)
    client.close(fd)
    disk.unmount()
    client = disk.mount()
    assert client.get("/mnt/file") == b"x" * 1000 + bytes(400_000) + b"x" * 49_000 + bytes(5000) + b"x" * 45_000
    disk.unmount()
