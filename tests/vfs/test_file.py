"""Open files: offsets, appending, seeking, holes, times, and files without a name."""

from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EBADF, EFBIG, EINVAL, ENXIO, EOVERFLOW
from rumpkit.kern.abi.fcntl import (
    F_SETFL,
    O_APPEND,
    O_CREAT,
    O_DSYNC,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    S_ISGID,
    S_ISUID,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_HOLE,
    SEEK_SET,
)
from rumpkit.kern.abi.poll import POLLIN, POLLOUT
from tests.vfs.helpers import Files, fails

NEW = O_RDWR | O_CREAT


def test_offset_is_shared_by_dup_and_not_by_open(files: Files):
    root = files.root
    fd = root.open("/f", NEW)
    other = root.dup(fd)
    assert root.write(fd, b"abc") == 3
    assert root.write(other, b"def") == 3
    third = root.open("/f", O_RDONLY)
    assert root.read(third, 2) == b"ab"
    assert root.read(fd, 10) == b""
    assert root.lseek(other, 1, SEEK_SET) == 1
    assert root.read(fd, 2) == b"bc"
    assert root.read(third, 10) == b"cdef"


def test_access_mode(files: Files):
    root = files.root
    root.put("/f", b"data")
    fd = root.open("/f", O_RDONLY)
    fails(EBADF, root.write, fd, b"x")
    fails(EBADF, root.pwrite, fd, b"x", 0)
    fails(EINVAL, root.ftruncate, fd, 0)
    fd = root.open("/f", O_WRONLY)
    fails(EBADF, root.read, fd, 1)
    fails(EBADF, root.pread, fd, 1, 0)


def test_append(files: Files):
    root = files.root
    root.put("/f", b"one")
    fd = root.open("/f", O_RDWR | O_APPEND)
    other = root.open("/f", O_WRONLY | O_APPEND)
    root.lseek(fd, 0, SEEK_SET)
    root.write(fd, b"two")
    root.write(other, b"three")
    root.write(fd, b"four")
    assert root.lseek(fd, 0, SEEK_CUR) == 15
    assert root.get("/f") == b"onetwothreefour"
    root.fcntl(fd, F_SETFL, 0)
    root.lseek(fd, 0, SEEK_SET)
    root.write(fd, b"ONE")
    assert root.get("/f") == b"ONEtwothreefour"


def test_positioned(files: Files):
    root = files.root
    fd = root.open("/f", NEW)
    root.write(fd, b"0123456789")
    assert root.pread(fd, 3, 4) == b"456"
    assert root.pread(fd, 3, 100) == b""
    assert root.pwrite(fd, b"xy", 2) == 2
    assert root.lseek(fd, 0, SEEK_CUR) == 10
    assert root.pread(fd, 100, 0) == b"01xy456789"
    fails(EINVAL, root.pread, fd, 1, -1)
    fails(EINVAL, root.pwrite, fd, b"x", -1)


def test_seek(files: Files):
    root = files.root
    fd = root.open("/f", NEW)
    root.write(fd, b"0123456789")
    assert root.lseek(fd, -3, SEEK_END) == 7
    assert root.lseek(fd, -2, SEEK_CUR) == 5
    assert root.read(fd, 1) == b"5"
    assert root.lseek(fd, 5, SEEK_END) == 15
    assert root.read(fd, 1) == b""
    for offset, whence in ((-1, SEEK_SET), (-11, SEEK_END), (-16, SEEK_CUR), (0, 9)):
        fails(EINVAL, root.lseek, fd, offset, whence)
    fails(EOVERFLOW, root.lseek, fd, (1 << 63) - 1, SEEK_END)
    assert root.lseek(fd, 0, SEEK_CUR) == 15


def test_holes(files: Files):
    root = files.root
    fd = root.open("/f", NEW)
    root.pwrite(fd, b"x", 1 << 40)
    stat = root.fstat(fd)
    assert stat.st_size == (1 << 40) + 1
    assert stat.st_blocks * 512 <= 1 << 16
    assert root.pread(fd, 5, (1 << 40) - 4) == b"\0\0\0\0x"
    assert root.pread(fd, 3, 12345) == b"\0\0\0"
    data = root.lseek(fd, 0, SEEK_DATA)
    assert 0 < data <= 1 << 40
    assert root.lseek(fd, 0, SEEK_HOLE) == 0
    assert root.lseek(fd, 1 << 40, SEEK_DATA) == 1 << 40
    assert root.lseek(fd, 1 << 40, SEEK_HOLE) == (1 << 40) + 1
    for whence in (SEEK_DATA, SEEK_HOLE):
        fails(ENXIO, root.lseek, fd, (1 << 40) + 1, whence)
        fails(ENXIO, root.lseek, fd, -1, whence)
    root.ftruncate(fd, 1 << 41)
    fails(ENXIO, root.lseek, fd, 1 << 40 | 1 << 30, SEEK_DATA)


def test_truncate(files: Files):
    root = files.root
    fd = root.open("/f", NEW)
    root.write(fd, b"0123456789")
    root.ftruncate(fd, 4)
    assert root.pread(fd, 100, 0) == b"0123"
    root.ftruncate(fd, 8)
    assert root.pread(fd, 100, 0) == b"0123\0\0\0\0"
    assert root.lseek(fd, 0, SEEK_CUR) == 10
    root.write(fd, b"x")
    assert root.get("/f") == b"0123\0\0\0\0\0\0x"
    fails(EINVAL, root.ftruncate, fd, -1)
    fails(EFBIG, root.ftruncate, fd, 1 << 63)
    fails(EFBIG, root.pwrite, fd, b"x", (1 << 63) - 1)


def test_without_a_name_and_still_open(files: Files):
    root = files.root
    before = root.statvfs("/")
    fd = root.open("/f", NEW)
    root.write(fd, bytes(100_000))
    root.unlink("/f")
    assert root.names("/") == []
    stat = root.fstat(fd)
    assert (stat.st_nlink, stat.st_size) == (0, 100_000)
    root.write(fd, b"more")
    assert root.pread(fd, 10, 99_998) == b"\0\0more"
    other = root.dup(fd)
    root.close(fd)
    assert root.statvfs("/").f_bfree < before.f_bfree
    root.close(other)
    assert root.statvfs("/") == before


def test_times(files: Files):
    root = files.root
    host = files.host
    start = host.wall()
    fd = root.open("/f", NEW)

    def times():
        stat = root.fstat(fd)
        return tuple((time - start) // SECOND for time in (stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns))

    host.run(host.now + SECOND)
    root.write(fd, b"data")
    assert times() == (0, 1, 1)
    host.run(host.now + SECOND)
    root.write(fd, b"")
    root.pread(fd, 0, 0)
    assert times() == (0, 1, 1)
    root.pread(fd, 4, 0)
    assert times() == (2, 1, 1)
    # relatime: a second read changes nothing before a day has gone.
    host.run(host.now + SECOND)
    root.pread(fd, 4, 0)
    assert times() == (2, 1, 1)
    host.run(host.now + 86400 * SECOND)
    root.pread(fd, 4, 0)
    assert times() == (86403, 1, 1)
    host.run(host.now + SECOND)
    root.ftruncate(fd, 2)
    assert times() == (86403, 86404, 86404)
    host.run(host.now + SECOND)
    root.fchmod(fd, 0o600)
    assert times() == (86403, 86404, 86405)


def test_noatime(files: Files):
    files.mount("tmpfs", "/m", access_times=False)
    root = files.root
    root.put("/m/f", b"data")
    before = root.stat("/m/f").st_atime_ns
    files.host.run(files.host.now + SECOND)
    root.get("/m/f")
    root.names("/m")
    assert root.stat("/m/f").st_atime_ns == root.stat("/m").st_atime_ns == before


def test_directory_times(files: Files):
    root = files.root
    root.mkdir("/d")

    def changed():
        stat = root.stat("/d")
        assert stat.st_mtime_ns == stat.st_ctime_ns
        return stat.st_mtime_ns == files.host.wall()

    for call, arguments in (
        ("put", ("/d/f",)),
        ("link", ("/d/f", "/d/g")),
        ("unlink", ("/d/f",)),
        ("rename", ("/d/g", "/d/h")),
        ("mkdir", ("/d/e",)),
        ("rmdir", ("/d/e",)),
        ("symlink", ("x", "/d/l")),
    ):
        files.host.run(files.host.now + SECOND)
        assert not changed()
        getattr(root, call)(*arguments)
        assert changed(), call
    files.host.run(files.host.now + SECOND)
    root.chmod("/d/h", 0o600)
    root.names("/d")
    assert not changed()
    assert root.stat("/d").st_atime_ns == files.host.wall()


def test_writing_clears_set_user_id_unless_root_writes(files: Files):
    root = files.root
    root.put("/f", b"data", 0o777)
    user = files.process(1000)
    root.chmod("/f", 0o6777)
    root.put("/f", b"root")
    assert root.stat("/f").st_mode & (S_ISUID | S_ISGID) == S_ISUID | S_ISGID
    fd = user.open("/f", O_RDWR)
    user.write(fd, b"x")
    assert root.stat("/f").st_mode & 0o7777 == 0o777
    root.chmod("/f", 0o6767)
    user.ftruncate(fd, 1)
    assert root.stat("/f").st_mode & 0o7777 == 0o2767
    root.chmod("/f", 0o4777)
    user.truncate("/f", 0)
    assert root.stat("/f").st_mode & 0o7777 == 0o777


def test_sync(files: Files):
    root = files.root
    fd = root.open("/f", NEW | O_DSYNC)
    root.write(fd, b"x")
    root.fsync(fd)
    root.fdatasync(fd)
    reader, _ = root.pipe2()
    fails(EINVAL, root.fsync, reader)
    fails(EBADF, root.fsync, 99)


def test_always_ready_and_not_for_epoll(files: Files):
    root = files.root
    fd = root.open("/f", NEW)
    file = root.process.files.get(fd)
    assert file.poll() & (POLLIN | POLLOUT) == POLLIN | POLLOUT
    assert not file.pollable()
    assert file.describe().startswith("file ")
    assert root.process.files.get(root.open("/", O_RDONLY)).describe().startswith("directory ")
