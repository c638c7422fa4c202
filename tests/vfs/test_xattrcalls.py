"""Extended attributes: names, who may do what, links, limits, read-only mounts."""

import pytest

from rumpkit.kern.abi.errno import (
    E2BIG,
    EACCES,
    EBADF,
    EEXIST,
    EINVAL,
    ENODATA,
    ENOSPC,
    ENOTSUP,
    EPERM,
    ERANGE,
    EROFS,
)
from rumpkit.kern.abi.fcntl import (
    AT_SYMLINK_NOFOLLOW,
    O_CREAT,
    O_PATH,
    O_RDWR,
    XATTR_CREATE,
    XATTR_REPLACE,
    XATTR_SIZE_MAX,
)
from tests.vfs.helpers import Files, fails


def test_set_get_list_and_remove(files: Files):
    root = files.root
    root.put("/f")
    root.symlink("f", "/l")
    before = root.stat("/f").st_ctime_ns
    root.setxattr("/f", "user.a", b"one")
    assert root.stat("/f").st_ctime_ns >= before
    root.setxattr("/l", b"user.b", b"")
    assert root.getxattr("/l", "user.a") == b"one"
    assert sorted(root.listxattr("/l")) == ["user.a", "user.b"]
    fails(EEXIST, root.setxattr, "/f", "user.a", b"", XATTR_CREATE)
    fails(ENODATA, root.setxattr, "/f", "user.c", b"", XATTR_REPLACE)
    root.setxattr("/f", "user.a", b"two", XATTR_REPLACE)
    fd = root.open("/f", O_RDWR)
    assert root.fgetxattr(fd, "user.a") == b"two"
    root.fsetxattr(fd, "user.c", b"3", XATTR_CREATE)
    assert sorted(root.flistxattr(fd)) == ["user.a", "user.b", "user.c"]
    root.fremovexattr(fd, "user.c")
    fails(ENODATA, root.fremovexattr, fd, "user.c")
    root.removexattr("/l", "user.a")
    fails(ENODATA, root.getxattr, "/f", "user.a")
    path = root.open("/f", O_PATH)
    fails(EBADF, root.fgetxattr, path, "user.b")
    fails(EBADF, root.fgetxattr, 99, "user.b")


def test_links_and_special_files_have_no_user_attributes(files: Files):
    root = files.root
    root.symlink("nowhere", "/l")
    root.mkfifo("/p")
    fails(EPERM, root.lsetxattr, "/l", "user.a", b"")
    fails(EPERM, root.setxattr, "/p", "user.a", b"")
    fails(ENODATA, root.lgetxattr, "/l", "user.a")
    root.lsetxattr("/l", "trusted.a", b"v")
    assert root.llistxattr("/l") == root.listxattr("/l", AT_SYMLINK_NOFOLLOW) == ["trusted.a"]
    assert root.lgetxattr("/l", "trusted.a") == b"v"
    root.lremovexattr("/l", "trusted.a")


def test_names_and_values(files: Files):
    root = files.root
    root.put("/f")
    for name in ("", "user." + "n" * 251):
        fails(ERANGE, root.setxattr, "/f", name, b"")
        fails(ERANGE, root.getxattr, "/f", name)
    for name in ("user", "odd.a", "system.a"):
        fails(ENOTSUP, root.setxattr, "/f", name, b"")
        fails(ENOTSUP, root.getxattr, "/f", name)
    fails(EINVAL, root.setxattr, "/f", "user.", b"")
    fails(EINVAL, root.setxattr, "/f", "user.a", b"", 4)
    fails(E2BIG, root.setxattr, "/f", "user.a", bytes(XATTR_SIZE_MAX + 1))
    root.setxattr("/f", "user." + "n" * 250, bytes(XATTR_SIZE_MAX))


def test_permissions(files: Files):
    root = files.root
    user = files.process(7)
    root.put("/f", b"", 0o600)
    root.setxattr("/f", "user.a", b"")
    root.setxattr("/f", "trusted.a", b"")
    root.setxattr("/f", "security.a", b"open")
    fails(EACCES, user.getxattr, "/f", "user.a")
    fails(EACCES, user.setxattr, "/f", "user.b", b"")
    fails(ENODATA, user.getxattr, "/f", "trusted.a")
    fails(EPERM, user.setxattr, "/f", "trusted.b", b"")
    assert user.getxattr("/f", "security.a") == b"open"
    fails(EPERM, user.setxattr, "/f", "security.a", b"")
    assert user.listxattr("/f") == ["user.a", "security.a"]
    root.chmod("/f", 0o606)
    user.setxattr("/f", "user.b", b"mine")
    assert user.getxattr("/f", "user.b") == b"mine"
    root.mkdir("/sticky")
    root.chmod("/sticky", 0o1777)
    fails(EPERM, user.setxattr, "/sticky", "user.a", b"")


def test_they_are_storage(files: Files):
    files.mount("tmpfs", "/small", size=16384)
    root = files.root
    root.put("/small/f")
    root.setxattr("/small/f", "user.a", bytes(8000))
    fails(ENOSPC, root.setxattr, "/small/f", "user.b", bytes(9000))
    assert root.listxattr("/small/f") == ["user.a"]
    root.unlink("/small/f")
    assert root.statvfs("/small").f_bfree == 4
    root.put("/small/g")
    for number in range(1 << 16):
        try:
            root.setxattr("/small/g", f"user.{number:0>200}", b"")
        except OSError as problem:
            assert problem.errno == ENOSPC
            break
    assert 10 < number < 100


@pytest.mark.parametrize("call", ["setxattr", "removexattr"])
def test_read_only(files: Files, call: str):
    files.mount("tmpfs", "/m", read_only=True)
    fails(EROFS, getattr(files.root, call), "/m", "user.a", *([b""] if call == "setxattr" else []))


def test_devices_have_them(files: Files):
    files.mount("devfs", "/dev")
    files.root.setxattr("/dev/null", "trusted.a", b"v")
    fd = files.root.open("/f", O_RDWR | O_CREAT)
    fails(ENODATA, files.root.fgetxattr, fd, "user.a")
