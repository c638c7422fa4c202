"""What a file system has accepted is not lost behind the back of who wrote it, whatever else happens on it."""

from __future__ import annotations

from typing import Any

import pytest

from rumpkit.dev.fault import WRITE, Fault, FaultBackend
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext.checksum import superblock_checksum
from rumpkit.fs.ext.features import ORPHAN_FILE, ORPHAN_PRESENT
from rumpkit.fs.ext.superblock import Superblock
from rumpkit.hyper.block import BlockBackend
from rumpkit.kern.abi.errno import EIO, ENOSPC, EROFS, EUCLEAN
from rumpkit.kern.abi.fcntl import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, O_CREAT, O_RDONLY, O_RDWR, SEEK_DATA
from tests.fs.ext.mkfs.mkhelp import new_disk
from tests.fs.ext.test_mounted import SIZE, Disk
from tests.vfs.helpers import Files, fails


def test_files_that_wait_beyond_the_limit_keep_what_was_written():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount(delayed_bytes=64 << 10)
    for number in range(30):
        fd = client.open(f"/mnt/f{number}", O_RDWR | O_CREAT)
        for _ in range(4):
            client.write(fd, bytes([number]) * 10_000)
        client.close(fd)
    client.sync()
    disk.unmount()
    client = disk.mount()
    for number in range(30):
        assert client.get(f"/mnt/f{number}") == bytes([number]) * 40_000
    disk.unmount()


@pytest.mark.parametrize("errno", [EIO, ENOSPC])
def test_data_that_could_not_be_written_is_not_said_to_be_durable(errno: int):
    disk = new_disk("ext4", 4 << 20, block_size=1024)
    files = Files()
    backend = FaultBackend(disk, 1, [], cache=0)
    files.entered(files.service("Disks").attach, "disk", backend)
    files.mount("ext4", "/m", "disk")
    client = files.root
    client.put("/m/other", b"o" * 4096)
    client.sync()
    fd = client.open("/m/f", O_RDWR | O_CREAT)
    client.write(fd, b"f" * 50_000)
    assert client.lseek(fd, 0, SEEK_DATA) == 0, "it has its blocks"
    backend.add(Fault(WRITE, errno=errno))
    fails(errno, client.get, "/m/other")
    backend.heal()
    fails(EROFS, client.fsync, fd)
    fails(EROFS, client.mkdir, "/m/d")


def test_free_counts_of_the_superblock_that_are_old_do_no_harm():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount()
    client.put("/mnt/f", b"f")
    client.sync()
    free = client.statvfs("/mnt")
    disk.unmount()
    raw = bytearray(disk.device.backend.read(1024, 1024))
    _spoil(raw)
    disk.device.backend.write(1024, bytes(raw))
    client = disk.mount()
    now = client.statvfs("/mnt")
    assert (now.f_bfree, now.f_ffree) == (free.f_bfree, free.f_ffree)
    client.put("/mnt/g", b"x" * 2_000_000)
    for number in range(10):
        client.put(f"/mnt/h{number}", b"h")
    disk.unmount()


def _spoil(raw: bytearray) -> None:
    """Make the free counts of a superblock small."""
    fields: Any = Superblock(bytes(raw))
    fields.free_blocks_count = 500
    fields.free_inodes_count = 3
    fields.checksum = superblock_checksum(fields.emit())
    raw[:] = fields.emit()


def test_large_writes_leave_what_is_promised():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount()
    fd = client.open("/mnt/small", O_RDWR | O_CREAT)
    for _ in range(10):
        client.write(fd, b"s" * 100_000)
    big = client.open("/mnt/big", O_RDWR | O_CREAT)
    with pytest.raises(OSError, match="") as caught:
        for _ in range(20):
            client.write(big, b"x" * (1 << 20))
    assert caught.value.errno == ENOSPC
    client.fsync(fd)
    client.close(fd)
    client.close(big)
    disk.unmount()
    client = disk.mount()
    assert client.get("/mnt/small") == b"s" * 1_000_000
    disk.unmount()


@pytest.mark.parametrize("piece", [50_000, 1 << 20])
def test_reserved_blocks_are_left_by_ordinary_users(piece: int):
    disk = Disk("ext4", {"block_size": 1024, "reserved_percent": 30})
    client = disk.mount()
    client.mkdir("/mnt/d", 0o777)
    client.chmod("/mnt/d", 0o777)
    user = disk.files.process(1000)
    before = client.statvfs("/mnt")
    reserved = before.f_bfree - before.f_bavail
    assert reserved > 1000
    fd = user.open("/mnt/d/f", O_RDWR | O_CREAT)
    done = 0
    with pytest.raises(OSError, match="") as caught:
        for _ in range(200):
            done += user.write(fd, b"x" * piece)
    assert caught.value.errno == ENOSPC and done > 3_000_000
    client.sync()
    assert client.statvfs("/mnt").f_bfree >= reserved - 16, "what the map of its blocks took"
    user.pwrite(fd, b"y" * 100_000, 0)
    user.unlink("/mnt/d/f")
    user.close(fd)
    user.put("/mnt/d/g", b"z" * 2_000_000)
    disk.unmount()


def test_a_read_only_remount_after_damage_writes_nothing():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount()
    client.put("/mnt/a", b"a")
    client.sync()
    volume: Any = disk.files.vfs.mounts()[-1]
    volume = volume.volume
    fails(EIO, _half, disk, volume)
    writes = disk.device.counters.writes
    disk.files.entered(disk.files.vfs.remount, "/mnt", {"read_only": True})
    assert disk.device.counters.writes == writes
    assert client.get("/mnt/a") == b"a"


def _half(disk: Disk, volume: Any) -> None:
    """An operation that finds damage when it has done one half."""
    disk.files.host.enter()
    volume.begin(4)
    try:
        volume.inodes.allocate(2, False, False)
        raise volume.failed(OSError(EIO, "damage"))
    finally:
        volume.end()
        disk.files.host.leave()


@pytest.mark.parametrize("closed", ["read-only", "writable"])
def test_files_without_a_name_live_through_remounts(closed: str):
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount()
    before = client.statvfs("/mnt")
    client.put("/mnt/a", b"a" * 5000)
    fd = client.open("/mnt/a", O_RDONLY)
    client.unlink("/mnt/a")
    disk.files.entered(disk.files.vfs.remount, "/mnt", {"read_only": True})
    if closed == "read-only":
        client.close(fd)
    disk.files.entered(disk.files.vfs.remount, "/mnt", {"read_only": False})
    client.put("/mnt/other", b"o" * 5000)
    client.sync()
    if closed == "writable":
        assert client.pread(fd, 10, 0) == b"a" * 10
        client.close(fd)
    client.unlink("/mnt/other")
    client.sync()
    after = client.statvfs("/mnt")
    assert (after.f_bfree, after.f_ffree) == (before.f_bfree, before.f_ffree)
    disk.unmount()


def test_an_inode_is_found_as_the_running_transaction_has_it():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount()
    client.put("/mnt/f", b"f" * 100)
    client.sync()
    number = client.stat("/mnt/f").st_ino
    volume: Any = disk.files.vfs.mounts()[-1]
    volume = volume.volume
    state = disk.files.entered(volume.read_inode, number)
    disk.files.entered(_change, volume, state)
    assert disk.files.entered(volume.current_inode, number) is state
    disk.files.entered(volume.transaction.sync, True)
    found = disk.files.entered(volume.current_inode, number)
    assert found is not state and found.inode.version == 7


def _change(volume: Any, state: Any) -> None:
    volume.begin(4)
    state.inode.version = 7
    volume.mark_inode(state)
    volume.end()


def test_data_does_not_wait_for_storage_for_ever():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount()
    fd = client.open("/mnt/f", O_RDWR | O_CREAT)
    client.write(fd, b"f" * 50_000)
    mount: Any = disk.files.vfs.mounts()[-1]
    assert mount.volume.blocks.delayed
    client.mkdir("/mnt/d")
    assert mount.volume.blocks.delayed, "it is not old yet"
    disk.files.host.now += 31_000_000_000
    client.mkdir("/mnt/e")
    assert not mount.volume.blocks.delayed
    client.write(fd, b"g" * 5000)
    disk.files.host.now += 31_000_000_000
    client.put("/mnt/h", b"h" * 5000)
    client.close(fd)
    assert client.get("/mnt/f") == b"f" * 50_000 + b"g" * 5000
    disk.unmount()


def test_storage_behind_the_end_is_given_back():
    disk = Disk("ext4", {"block_size": 1024})
    client = disk.mount()
    for path in ("/mnt/f", "/mnt/g"):
        client.put(path, b"a" * 5000)
        fd = client.open(path, O_RDWR)
        client.fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1_000_000)
        client.fsync(fd)
        assert client.fstat(fd).st_blocks > 1900
        if path == "/mnt/f":
            client.ftruncate(fd, 5000)
            assert client.fstat(fd).st_blocks == 10
        else:
            client.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 8192, 1_000_000)
            assert client.fstat(fd).st_blocks == 16
        client.close(fd)
        assert client.get(path) == b"a" * 5000
    disk.unmount()


class Watched(BlockBackend):
    """Keeps what the disk has at each flush."""

    def __init__(self, below: BlockBackend):
        super().__init__(below.size)
        self.below = below
        self.images: list[bytes] = []

    def read(self, offset: int, size: int) -> bytes:
        return self.below.read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        self.below.write(offset, data)

    def flush(self) -> None:
        self.below.flush()
        self.images.append(self.below.read(0, self.size))


def test_inline_data_that_moves_to_blocks_survives_a_crash_meanwhile():
    disk = Disk("ext4", {"block_size": 4096, "features": "inline_data"})
    client = disk.mount(transaction_blocks=1)
    fd = client.open("/mnt/f", O_RDWR | O_CREAT)
    client.write(fd, b"precious " * 5)
    client.fsync(fd)
    watched = Watched(disk.device.backend)
    disk.device.backend = watched
    client.pwrite(fd, b"y" * 3000, 45)
    client.fsync(fd)
    assert watched.images
    for image in watched.images:
        files = Files()
        after = RamDisk(SIZE)
        after.write(0, image)
        files.entered(files.service("Disks").attach, "disk", after)
        files.mount("ext4", "/m", "disk")
        assert files.root.get("/m/f").startswith(b"precious " * 5)


def test_a_huge_file_of_orphans_is_refused():
    disk = new_disk("ext4", 24 << 20, features="^metadata_csum")
    files = Files()
    files.entered(files.service("Disks").attach, "disk", disk)
    files.mount("ext4", "/m", "disk")
    files.root.put("/m/f", b"f")
    files.root.truncate("/m/f", 16 << 20)
    number = files.root.stat("/m/f").st_ino
    files.entered(files.vfs.unmount, "/m")
    fields = Superblock(disk.read(1024, 1024))
    fields.feature_compat |= ORPHAN_FILE
    fields.feature_ro_compat |= ORPHAN_PRESENT
    fields.orphan_file_inum = number
    disk.write(1024, fields.emit())
    with pytest.raises(OSError, match="file of orphans has 16777216 bytes") as caught:
        files.mount("ext4", "/m", "disk")
    assert caught.value.errno == EUCLEAN
