"""What a file system has accepted is not lost behind the back of who wrote it, whatever else happens on it."""

from __future__ import annotations

from typing import Any

import pytest

from rumpkit.dev.fault import WRITE, Fault, FaultBackend
from rumpkit.kern.abi.errno import EIO, ENOSPC, EROFS
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDWR, SEEK_DATA
from tests.fs.ext.mkfs.mkhelp import new_disk
from tests.fs.ext.test_mounted import Disk
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
    from rumpkit.fs.ext.checksum import superblock_checksum
    from rumpkit.fs.ext.superblock import Superblock

    fields: Any = Superblock(bytes(raw))
    fields.free_blocks_count = 500
    fields.free_inodes_count = 3
    fields.checksum = superblock_checksum(fields.emit())
    raw[:] = fields.emit()
