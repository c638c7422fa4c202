"""null, zero, full, random, urandom and console."""

from rumpkit.dev.memory import LARGEST_READ
from rumpkit.kern.abi.errno import EACCES, EINVAL, ENOSPC, ENOTTY, ESPIPE
from rumpkit.kern.abi.fcntl import O_APPEND, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, SEEK_END
from rumpkit.kern.abi.poll import POLLIN, POLLOUT
from tests.dev.helpers import with_devices
from tests.vfs.helpers import fails


def test_null():
    root = with_devices().root
    fd = root.open("/dev/null", O_RDWR | O_TRUNC | O_APPEND)
    assert root.write(fd, b"data") == 4
    assert root.read(fd, 10) == b""
    assert root.lseek(fd, 5, SEEK_END) == 0


def test_zero():
    root = with_devices().root
    fd = root.open("/dev/zero", O_RDWR)
    assert root.read(fd, 1000) == bytes(1000)
    assert root.write(fd, b"data") == 4
    assert len(root.read(fd, LARGEST_READ + 1)) == LARGEST_READ


def test_full():
    root = with_devices().root
    fd = root.open("/dev/full", O_RDWR)
    assert root.read(fd, 10) == bytes(10)
    fails(ENOSPC, root.write, fd, b"x")
    assert root.write(fd, b"") == 0


def test_random():
    root = with_devices().root
    for name in ("/dev/random", "/dev/urandom"):
        fd = root.open(name, O_RDWR)
        first, second = root.read(fd, 32), root.read(fd, 32)
        assert len(first) == len(second) == 32 and first != second
        assert root.read(fd, 0) == b""
        assert root.write(fd, b"seed") == 4


def test_console():
    files = with_devices()
    root = files.root
    fd = root.open("/dev/console", O_RDWR)
    assert root.write(fd, b"hello\n") == 6
    assert files.host.console == b"hello\n"
    assert root.read(fd, 10) == b""


def test_what_no_character_device_can():
    root = with_devices().root
    fd = root.open("/dev/zero", O_RDWR)
    fails(ESPIPE, root.pread, fd, 1, 0)
    fails(ESPIPE, root.pwrite, fd, b"x", 0)
    fails(EINVAL, root.ftruncate, fd, 0)
    fails(ENOTTY, root.ioctl, fd, 0x5401, b"")
    root.fsync(fd)
    file = root.process.files.get(fd)
    assert file.pollable() and file.poll() & (POLLIN | POLLOUT) == POLLIN | POLLOUT
    assert file.describe() == "zero"


def test_ordinary_users():
    files = with_devices()
    user = files.process(1000)
    user.close(user.open("/dev/null", O_RDWR))
    user.close(user.open("/dev/console", O_WRONLY))
    fails(EACCES, user.open, "/dev/console", O_RDONLY)
    fails(EACCES, user.unlink, "/dev/null")
