"""Attributes of files: asking for them and changing them."""

import pytest

from rumpkit.kern.abi.errno import EACCES, EBADF, EINVAL, EISDIR, ENOENT, EPERM
from rumpkit.kern.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_SYMLINK_NOFOLLOW,
    F_OK,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    R_OK,
    S_IFIFO,
    S_IFMT,
    UTIME_NOW,
    UTIME_OMIT,
    W_OK,
    X_OK,
)
from tests.vfs.helpers import Files, fails


def bits(client, path):
    return client.lstat(path).st_mode & 0o7777


def test_stat(files: Files):
    root = files.root
    root.put("/f", b"x" * 5000)
    stat = root.stat("/f")
    assert (stat.st_size, stat.st_nlink, stat.st_uid, stat.st_gid) == (5000, 1, 0, 0)
    assert stat.st_blocks == 16 and stat.st_blksize == 4096
    fd = root.open("/f", O_RDONLY)
    assert root.fstat(fd) == stat == root.lstat("/f") == root.stat("", AT_EMPTY_PATH, fd)
    fails(ENOENT, root.stat, "")
    fails(EINVAL, root.stat, "/f", 0x8000)
    fails(EBADF, root.fstat, 99)


def test_stat_of_pipes(files: Files):
    reader, writer = files.root.pipe2()
    for fd in (reader, writer):
        assert files.root.fstat(fd).st_mode & S_IFMT == S_IFIFO


def test_chmod(files: Files):
    root = files.root
    root.put("/f")
    user = files.process(1000, 1000)
    fails(EPERM, user.chmod, "/f", 0o777)
    root.chown("/f", 1000, 50)
    user.chmod("/f", 0o4711)
    assert bits(root, "/f") == 0o4711
    user.chmod("/f", 0o2711)  # not a member of the file's group
    assert bits(root, "/f") == 0o711
    root.chmod("/f", 0o2711)
    assert bits(root, "/f") == 0o2711
    fd = root.open("/f", O_RDONLY)
    root.fchmod(fd, 0o10600)
    assert bits(root, "/f") == 0o600
    root.symlink("/f", "/l")
    root.chmod("/l", 0o640)
    assert bits(root, "/f") == 0o640 and bits(root, "/l") == 0o777


def test_chown(files: Files):
    root = files.root
    root.put("/f")
    root.chown("/f", 1000, 1000)
    root.chown("/f", -1, 2000)
    root.chown("/f", 1001, -1)
    assert root.stat("/f")[4:6] == (1001, 2000)
    owner = files.process(1001, 5, (7,))
    owner.chown("/f", -1, 7)
    owner.chown("/f", 1001, 5)
    fails(EPERM, owner.chown, "/f", -1, 8)
    fails(EPERM, owner.chown, "/f", 1002, -1)
    fails(EPERM, files.process(1002, 5).chown, "/f", -1, 5)
    root.symlink("/f", "/l")
    root.lchown("/l", 3, 4)
    assert root.lstat("/l")[4:6] == (3, 4)
    assert root.stat("/f")[4:6] == (1001, 5)
    fd = root.open("/f", O_RDONLY)
    root.fchown(fd, 1, 2)
    root.chown("", 2, -1, AT_EMPTY_PATH, fd)
    assert root.stat("/f")[4:6] == (2, 2)


def test_chown_clears_set_user_id(files: Files):
    root = files.root
    root.put("/f")
    for before, after in ((0o6755, 0o755), (0o2744, 0o2744), (0o4700, 0o700)):
        root.chmod("/f", before)
        root.chown("/f", 1, 1)
        assert bits(root, "/f") == after
    root.mkdir("/d")
    root.chmod("/d", 0o2755)
    root.chown("/d", 1, 1)
    assert bits(root, "/d") == 0o2755


def test_access(files: Files):
    root = files.root
    root.put("/f")
    root.chmod("/f", 0o640)
    root.access("/f", R_OK | W_OK)
    fails(EACCES, root.access, "/f", X_OK)
    root.access("/", X_OK | R_OK | W_OK)
    user = files.process(1000)
    user.access("/f", F_OK)
    for mode in (R_OK, W_OK, X_OK):
        fails(EACCES, user.access, "/f", mode)
    fails(EINVAL, user.access, "/f", 8)
    fails(ENOENT, user.access, "/x", F_OK)
    root.chmod("/f", 0o001)
    user.access("/f", X_OK)
    root.symlink("/x", "/l")
    fails(ENOENT, user.access, "/l", F_OK)
    user.access("/l", F_OK, AT_SYMLINK_NOFOLLOW)


def test_utimens(files: Files):
    root = files.root
    root.put("/f")
    root.utimens("/f", 1, -2_000_000_000)
    stat = root.stat("/f")
    assert (stat.st_atime_ns, stat.st_mtime_ns) == (1, -2_000_000_000)
    assert stat.st_ctime_ns == files.host.wall()
    root.utimens("/f", UTIME_OMIT, 5)
    root.utimens("/f", 6, UTIME_OMIT)
    stat = root.stat("/f")
    assert (stat.st_atime_ns, stat.st_mtime_ns) == (6, 5)
    root.utimens("/f")
    assert root.stat("/f").st_mtime_ns == files.host.wall()
    fd = root.open("/f", O_RDONLY)
    root.futimens(fd, 8, 9)
    root.utimens("", 10, UTIME_OMIT, AT_EMPTY_PATH, fd)
    stat = root.stat("/f")
    assert (stat.st_atime_ns, stat.st_mtime_ns) == (10, 9)
    fails(EINVAL, root.utimens, "/f", 1 << 70, 0)
    root.symlink("/f", "/l")
    root.utimens("/l", 1, 1, AT_SYMLINK_NOFOLLOW)
    assert root.stat("/f").st_mtime_ns == 9 and root.lstat("/l").st_mtime_ns == 1


def test_who_may_set_times(files: Files):
    root = files.root
    root.put("/f", mode=0o600)
    user = files.process(1000)
    fails(EACCES, user.utimens, "/f")
    fails(EPERM, user.utimens, "/f", 1, 1)
    fails(EPERM, user.utimens, "/f", UTIME_NOW, UTIME_OMIT)
    user.utimens("/f", UTIME_OMIT, UTIME_OMIT)
    root.chmod("/f", 0o602)
    user.utimens("/f")
    fails(EPERM, user.utimens, "/f", 1, 1)


def test_truncate(files: Files):
    root = files.root
    root.put("/f", b"0123456789")
    root.truncate("/f", 3)
    assert root.get("/f") == b"012"
    root.mkdir("/d")
    root.mkfifo("/p")
    fails(EISDIR, root.truncate, "/d", 0)
    fails(EINVAL, root.truncate, "/p", 0)
    fails(EINVAL, root.truncate, "/f", -1)
    fails(EACCES, files.process(1000).truncate, "/f", 0)
    reader, _ = root.pipe2()
    fails(EINVAL, root.ftruncate, reader, 0)


def test_statvfs(files: Files):
    root = files.root
    stat = root.statvfs("/")
    assert stat.f_bfree == stat.f_blocks and stat.f_files - stat.f_ffree == 1
    root.put("/f", b"x" * 5000)
    after = root.statvfs("/f")
    assert stat.f_bfree - after.f_bfree == 2 and stat.f_ffree - after.f_ffree == 1
    fd = root.open("/f", O_RDWR | O_CREAT)
    assert root.fstatvfs(fd) == after
    root.unlink("/f")
    assert root.statvfs("/") == after
    root.close(fd)
    assert root.statvfs("/") == stat


@pytest.mark.parametrize("call", ["fchmod", "fchown", "futimens"])
def test_pipes_have_no_attributes_to_set(files: Files, call: str):
    reader, _ = files.root.pipe2()
    fails(EBADF, getattr(files.root, call), reader, *(0, 0)[: 1 if call == "fchmod" else 2])
