"""Block devices over a backend, and ram disks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.dev.block import BLKFLSBUF, BLKGETSIZE64
from rumpkit.dev.ramdisk import CHUNK, RamDisk
from rumpkit.hyper.block import BlockBackend
from rumpkit.hyper.calls import Hypercalls
from rumpkit.kern.abi.errno import EBADF, EBUSY, EEXIST, EINVAL, EIO, ENFILE, ENOSPC, ENOTTY, ENXIO, EPERM, EROFS
from rumpkit.kern.abi.fcntl import (
    O_APPEND,
    O_DSYNC,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_SET,
)
from tests.dev.helpers import with_devices
from tests.vfs.helpers import Files, fails


class HostBackend(BlockBackend):
    """Storage such as a host gives: it insists on being called off the schedule and can break."""

    def __init__(self, hyper: Hypercalls, size: int, read_only: bool = False):
        super().__init__(size, read_only)
        self.hyper = hyper
        self.data = bytearray(size)
        self.log: list[str] = []
        self.broken = False

    def enter(self, name: str) -> None:
        self.hyper.assert_unscheduled(name)
        self.log.append(name)
        if self.broken:
            raise OSError(EIO, "the disk is broken")

    def read(self, offset: int, size: int) -> bytes:
        self.enter("read")
        assert offset >= 0 and size > 0 and offset + size <= self.size
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.enter("write")
        assert offset >= 0 and offset + len(data) <= self.size
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        self.enter("flush")

    def close(self) -> None:
        self.enter("close")


def with_disk(size: int = 10_000, read_only: bool = False) -> tuple[Files, HostBackend]:
    files = with_devices()
    backend = HostBackend(files.host, size, read_only)
    files.entered(files.service("Disks").attach, "disk", backend)
    return files, backend


def test_reading_and_writing():
    files, backend = with_disk()
    root = files.root
    fd = root.open("/dev/disk", O_RDWR)
    assert root.pwrite(fd, b"hello", 4094) == 5
    assert root.pread(fd, 7, 4093) == b"\0hello\0"
    assert backend.data[4094:4099] == b"hello"
    root.lseek(fd, 4094, SEEK_SET)
    assert root.read(fd, 3) == b"hel"
    assert root.write(fd, b"LO") == 2
    assert root.lseek(fd, 0, SEEK_CUR) == 4099
    assert root.pread(fd, 5, 4094) == b"helLO"


def test_the_end():
    files, _ = with_disk(1000)
    root = files.root
    fd = root.open("/dev/disk", O_RDWR)
    assert root.lseek(fd, 0, SEEK_END) == 1000
    assert root.read(fd, 10) == b""
    fails(ENOSPC, root.write, fd, b"x")
    assert root.lseek(fd, -3, SEEK_CUR) == 997
    assert root.write(fd, b"abcdef") == 3
    assert root.pread(fd, 100, 997) == b"abc"
    assert root.pread(fd, 100, 5000) == b""
    fails(ENOSPC, root.pwrite, fd, b"x", 5000)
    for offset, whence in ((1001, SEEK_SET), (-1, SEEK_SET), (0, SEEK_DATA), (1, SEEK_END)):
        fails(EINVAL, root.lseek, fd, offset, whence)
    fails(EINVAL, root.ftruncate, fd, 5)
    appending = root.open("/dev/disk", O_WRONLY | O_APPEND)
    fails(ENOSPC, root.write, appending, b"x")


def test_flushing():
    files, backend = with_disk()
    root = files.root
    fd = root.open("/dev/disk", O_RDWR)
    root.write(fd, b"x")
    root.fsync(fd)
    root.fdatasync(fd)
    root.ioctl(fd, BLKFLSBUF, b"")
    assert backend.log == ["write", "flush", "flush", "flush"]
    root.write(root.open("/dev/disk", O_RDWR | O_DSYNC), b"y")
    assert backend.log[4:] == ["write", "flush"]


def test_ioctl():
    files, _ = with_disk(1 << 12)
    fd = files.root.open("/dev/disk", O_RDONLY)
    assert files.root.ioctl(fd, BLKGETSIZE64, b"") == (1 << 12).to_bytes(8, "little")
    fails(ENOTTY, files.root.ioctl, fd, 1, b"")


def test_read_only():
    files, backend = with_disk(read_only=True)
    root = files.root
    for flags in (O_RDWR, O_WRONLY):
        fails(EROFS, root.open, "/dev/disk", flags)
    fd = root.open("/dev/disk", O_RDONLY)
    assert root.read(fd, 3) == bytes(3)
    fails(EBADF, root.write, fd, b"x")
    assert backend.log == ["read"]


def test_a_broken_disk():
    files, backend = with_disk()
    root = files.root
    fd = root.open("/dev/disk", O_RDWR)
    root.write(fd, b"abc")
    backend.broken = True
    fails(EIO, root.read, fd, 10)
    fails(EIO, root.write, fd, b"x")
    fails(EIO, root.fsync, fd)
    backend.broken = False
    assert root.lseek(fd, 0, SEEK_CUR) == 3
    assert root.pread(fd, 3, 0) == b"abc"
    root.close(fd)
    files.entered(files.service("Disks").detach, "disk")


def test_detach_waits_for_its_users():
    files, backend = with_disk()
    disks = files.service("Disks")
    root = files.root
    fd = root.open("/dev/disk", O_RDONLY)
    other = root.dup(fd)
    root.close(fd)
    fails(EBUSY, files.entered, disks.detach, "disk")
    root.close(other)
    files.entered(disks.detach, "disk")
    assert backend.log == ["close"]
    fails(ENXIO, files.entered, disks.detach, "disk")
    assert not any(name.startswith("disk.disk") for name, _ in files.kernel.counters)
    files.entered(disks.attach, "disk", backend)


def test_attach_checks_name_and_number():
    files, backend = with_disk()
    disks = files.service("Disks")
    for name, number in (("disk", EEXIST), ("null", EEXIST), ("", EINVAL), ("a/b", EINVAL)):
        fails(number, files.entered, disks.attach, name, backend)
    fails(EINVAL, files.entered, disks.attach_ram, "ram", -1)
    files.entered(files.kernel.sysctl.set, "dev.disk.max_disks", 1)
    fails(ENFILE, files.entered, disks.attach_ram, "ram", 10)


def test_close_lets_go_of_all_backends():
    files, backend = with_disk()
    files.entered(files.service("Disks").close)
    assert backend.log == ["close"] and files.service("Disks").disks() == []


def test_counters():
    files, _ = with_disk()
    root = files.root
    fd = root.open("/dev/disk", O_RDWR)
    root.write(fd, b"12345")
    root.pread(fd, 3, 0)
    root.fsync(fd)
    counters = dict(files.kernel.counters)
    names = ("reads", "read_bytes", "writes", "written_bytes", "flushes")
    assert [counters["disk.disk." + name] for name in names] == [1, 3, 1, 5, 1]


def test_permissions():
    files, _ = with_disk()
    user = files.process(1000)
    with pytest.raises(OSError):
        user.open("/dev/disk", O_RDONLY)
    fails(EPERM, user.chmod, "/dev/disk", 0o666)


def test_ram_disk():
    files = with_devices()
    files.entered(files.service("Disks").attach_ram, "ram0", 1 << 40)
    root = files.root
    fd = root.open("/dev/ram0", O_RDWR)
    root.pwrite(fd, b"far", 1 << 39)
    assert root.pread(fd, 5, (1 << 39) - 1) == b"\0far\0"
    assert root.pread(fd, 3, 0) == bytes(3)


def test_ram_disk_bounds():
    disk = RamDisk(100)
    for call in (lambda: disk.read(99, 2), lambda: disk.read(-1, 1), lambda: disk.write(100, b"x")):
        fails(EINVAL, call)
    assert disk.read(100, 0) == b""
    disk.flush()
    fails(EROFS, RamDisk(10, read_only=True).write, 0, b"x")


@given(st.lists(st.tuples(st.integers(0, 3 * CHUNK), st.binary(min_size=1, max_size=30), st.integers(1, 5000))))
def test_ram_disk_like_a_bytearray(writes):
    disk = RamDisk(4 * CHUNK)
    model = bytearray(4 * CHUNK)
    for offset, data, times in writes:
        data = (data * times)[:CHUNK]
        disk.write(offset, data)
        model[offset : offset + len(data)] = data
        assert disk.read(offset // 2, len(data)) == model[offset // 2 : offset // 2 + len(data)]
    assert disk.read(0, 4 * CHUNK) == model


def test_the_device_itself_checks_what_it_is_asked():
    files, backend = with_disk(100)
    disk = files.service("Disks").disks()[0]
    for call in (lambda: disk.read(-1, 5), lambda: disk.read(0, -1), lambda: disk.write(-1, b"x")):
        fails(EINVAL, call)
    fails(ENOSPC, disk.write, 100, b"x")
    assert disk.read(100, 1) == b"" and backend.log == []
    assert files.entered(disk.write, 98, b"abc") == 2
    backend.read_only = True
    fails(EROFS, disk.write, 0, b"x")
