"""Storage given and taken: fallocate, and inode flags."""

import pytest

from rumpkit.kern.abi.errno import EBADF, EFBIG, EINVAL, ENODEV, ENOSPC, ENOTSUP, ENOTTY, ENXIO, EPERM, ESPIPE
from rumpkit.kern.abi.fcntl import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    FS_APPEND_FL,
    FS_IMMUTABLE_FL,
    O_APPEND,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    SEEK_DATA,
    SEEK_HOLE,
)
from rumpkit.kern.abi.ioctl import FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
from tests.vfs.helpers import Files, fails

PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
EXTENT = 1 << 16


def test_reserve():
    files = Files({"size": 10 * EXTENT})
    root = files.root
    fd = root.open("/f", O_RDWR | O_CREAT)
    root.fallocate(fd, 0, 0, 3 * EXTENT + 1)
    stat = root.fstat(fd)
    assert (stat.st_size, stat.st_blocks * 512) == (3 * EXTENT + 1, 3 * EXTENT + 4096)
    assert root.pread(fd, 4 * EXTENT, 0) == bytes(3 * EXTENT + 1)
    root.fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 5 * EXTENT)
    assert root.fstat(fd).st_size == 3 * EXTENT + 1
    fails(ENOSPC, root.fallocate, fd, 0, 0, 11 * EXTENT)
    fails(ENOSPC, root.fallocate, fd, 0, 0, 1 << 60)
    assert root.fstat(fd).st_blocks * 512 == 5 * EXTENT
    root.ftruncate(fd, 0)
    assert root.statvfs("/").f_bfree == root.statvfs("/").f_blocks


def test_punch_and_zero():
    files = Files()
    root = files.root
    fd = root.open("/f", O_RDWR | O_CREAT)
    model = bytearray(b"x" * (5 * EXTENT))
    root.write(fd, bytes(model))
    for mode, offset, size in (
        (PUNCH, EXTENT, 2 * EXTENT),
        (PUNCH, 10, 100),
        (PUNCH, 4 * EXTENT + 5, 10 * EXTENT),
        (FALLOC_FL_ZERO_RANGE, 3 * EXTENT - 7, 20),
        (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 4 * EXTENT, 2 * EXTENT),
    ):
        root.fallocate(fd, mode, offset, size)
        model[offset : min(offset + size, 5 * EXTENT)] = bytes(min(size, 5 * EXTENT - offset))
        assert root.pread(fd, 10 * EXTENT, 0) == model
    assert root.lseek(fd, 0, SEEK_HOLE) == EXTENT
    assert root.lseek(fd, EXTENT, SEEK_DATA) == 2 * EXTENT
    root.fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 6 * EXTENT)
    assert root.pread(fd, 10 * EXTENT, 0) == bytes(6 * EXTENT)
    root.fallocate(fd, PUNCH, 0, 1 << 62)
    assert root.fstat(fd).st_blocks == 0
    fails(ENXIO, root.lseek, fd, 0, SEEK_DATA)


def test_what_cannot_be_done():
    files = Files({"file_size": 1 << 20})
    root = files.root
    fd = root.open("/f", O_RDWR | O_CREAT)
    for offset, size in ((-1, 1), (0, 0), (0, -1)):
        fails(EINVAL, root.fallocate, fd, 0, offset, size)
    for mode in (FALLOC_FL_PUNCH_HOLE, 8, 0x40, PUNCH | FALLOC_FL_ZERO_RANGE):
        fails(ENOTSUP, root.fallocate, fd, mode, 0, 1)
    fails(EFBIG, root.fallocate, fd, 0, 0, (1 << 20) + 1)
    fails(EFBIG, root.fallocate, fd, 0, (1 << 63) - 1, 1)
    fails(EBADF, root.fallocate, root.open("/f", O_RDONLY), 0, 0, 1)
    reader, writer = root.pipe2()
    fails(ESPIPE, root.fallocate, writer, 0, 0, 1)
    fails(EBADF, root.fallocate, reader, 0, 0, 1)
    files.mount("devfs", "/dev")
    fails(ENODEV, root.fallocate, root.open("/dev/null", O_WRONLY), 0, 0, 1)


def set_flags(files: Files, path: str, flags: int) -> None:
    fd = files.root.open(path, O_RDONLY)
    files.root.ioctl(fd, FS_IOC_SETFLAGS, flags.to_bytes(4, "little"))
    assert files.root.ioctl(fd, FS_IOC_GETFLAGS, b"") == flags.to_bytes(4, "little")
    files.root.close(fd)


@pytest.mark.parametrize("flag", [FS_IMMUTABLE_FL, FS_APPEND_FL])
def test_what_cannot_change(flag: int):
    files = Files()
    root = files.root
    root.put("/f", b"text")
    root.mkdir("/d")
    root.put("/d/inner")
    open_before = root.open("/f", O_RDWR)
    set_flags(files, "/f", flag)
    set_flags(files, "/d", flag)
    for call, arguments in (
        ("chmod", ("/f", 0o600)),
        ("chown", ("/f", 1, 1)),
        ("utimens", ("/f", 1, 1)),
        ("truncate", ("/f", 0)),
        ("setxattr", ("/f", "user.a", b"")),
        ("unlink", ("/f",)),
        ("rename", ("/f", "/g")),
        ("link", ("/f", "/g")),
        ("open", ("/f", O_WRONLY)),
        ("open", ("/f", O_WRONLY | O_APPEND | O_TRUNC)),
        ("unlink", ("/d/inner",)),
        ("rename", ("/d/inner", "/g")),
    ):
        fails(EPERM, getattr(root, call), *arguments)
    fails(EPERM, root.fallocate, open_before, PUNCH, 0, 1)
    if flag == FS_APPEND_FL:
        fd = root.open("/f", O_WRONLY | O_APPEND)
        root.write(fd, b" more")
        root.put("/d/new")
    else:
        fails(EPERM, root.open, "/f", O_WRONLY | O_APPEND)
        fails(EPERM, root.put, "/d/new")
        fails(EPERM, root.mkdir, "/d/new")
    assert root.get("/f").startswith(b"text")
    set_flags(files, "/f", 0)
    root.unlink("/f")


def test_who_sets_flags():
    files = Files()
    root = files.root
    root.put("/f", b"", 0o666)
    user = files.process(5)
    fd = user.open("/f", O_RDONLY)
    fails(EPERM, user.ioctl, fd, FS_IOC_SETFLAGS, bytes(4))
    root.chown("/f", 5, 5)
    user.ioctl(fd, FS_IOC_SETFLAGS, (0x40).to_bytes(4, "little"))
    fails(EPERM, user.ioctl, fd, FS_IOC_SETFLAGS, (0x10).to_bytes(4, "little"))
    fails(ENOTSUP, user.ioctl, fd, FS_IOC_SETFLAGS, (0x1).to_bytes(4, "little"))
    fails(EINVAL, user.ioctl, fd, FS_IOC_SETFLAGS, b"")
    fails(ENOTTY, user.ioctl, fd, 1, b"")
