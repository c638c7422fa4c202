"""Remounts, forced and lazy unmounts: who notices, what goes when."""

import pytest

from rumpkit.kern.abi.errno import EBUSY, EINVAL, EIO, ENOENT, EPERM, EROFS
from rumpkit.kern.abi.fcntl import MNT_DETACH, MNT_FORCE, O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR, SEEK_END
from tests.vfs.helpers import Files, fails


@pytest.fixture
def mounted(files: Files) -> Files:
    """With a mount of the same kind on /m, which has a file and a directory."""
    files.mount(files.vfs.mounts()[0].kind, "/m")
    files.root.put("/m/f", b"text")
    files.root.mkdir("/m/d")
    return files


def test_remount(mounted: Files):
    root = mounted.root
    fd = root.open("/m/f", O_RDWR)
    fails(EBUSY, root.remount, "/m", {"read_only": True})
    reader = root.open("/m/f", O_RDONLY)
    root.close(fd)
    root.remount("/m", {"read_only": True})
    fails(EROFS, root.open, "/m/f", O_RDWR)
    fails(EROFS, root.mkdir, "/m/e")
    fails(EROFS, root.fchmod, reader, 0o600)
    assert root.read(reader, 9) == b"text"
    assert root.statvfs("/m").f_flag & 1
    root.remount("/m", {"read_only": False, "access_times": False})
    root.mkdir("/m/e")
    mount = mounted.vfs.mounts()[-1]
    assert not mount.access_times and mount.devices
    root.remount("/m/.", {})
    fails(EINVAL, root.remount, "/m/d", {"read_only": True})
    fails(EINVAL, root.remount, "/m", {"size": 1})
    fails(EPERM, mounted.process(5).remount, "/m", {})


def test_lazy(mounted: Files):
    root = mounted.root
    mount = mounted.vfs.mounts()[-1]
    fd = root.open("/m/f", O_RDWR)
    folder = root.open("/m/d", O_RDONLY | O_DIRECTORY)
    fails(EBUSY, root.unmount, "/m")
    root.unmount("/m", MNT_DETACH)
    assert root.names("/m") == [] and mount not in mounted.vfs.mounts()
    fails(EINVAL, root.unmount, "/m")
    assert root.read(fd, 9) == b"text"
    root.close(root.open("inside", O_RDWR | O_CREAT, 0o600, folder))
    assert not mount.finished
    root.close(fd)
    assert not mount.finished
    root.close(folder)
    assert mount.finished and mount.references == 0


def test_lazy_takes_what_is_mounted_inside(mounted: Files):
    root = mounted.root
    mounted.mount("tmpfs", "/m/d/inner")
    mounted.mount("locked", "/m/d/inner/most")
    root.chdir("/m/d/inner/most")
    mounts = mounted.vfs.mounts()[1:]
    assert len(mounts) == 3
    root.unmount("/m", MNT_DETACH)
    assert len(mounted.vfs.mounts()) == 1
    assert [mount.finished for mount in mounts] == [True, True, False]
    fails(ENOENT, root.getcwd)
    root.chdir("/")
    assert mounts[2].finished
    assert [mount.references for mount in mounts] == [0, 0, 0]


def test_forced(mounted: Files):
    root = mounted.root
    other = mounted.process(3)
    mount = mounted.vfs.mounts()[-1]
    fd = root.open("/m/f", O_RDWR)
    copy = root.dup(fd)
    folder = other.open("/m/d", O_RDONLY | O_DIRECTORY)
    other.chdir("/m/d")
    root.mkfifo("/m/p")
    fifo = root.open("/m/p", O_RDWR)
    root.unmount("/m", MNT_FORCE)
    assert mount.finished and mount.references == 0 and mount not in mounted.vfs.mounts()
    for call, arguments in (
        ("read", (fd, 1)),
        ("write", (copy, b"x")),
        ("pread", (fd, 1, 0)),
        ("fstat", (fd,)),
        ("fsync", (fd,)),
        ("ftruncate", (fd, 0)),
        ("fchmod", (fd, 0o600)),
        ("fallocate", (fd, 0, 0, 1)),
        ("fgetxattr", (fd, "user.a")),
        ("flistxattr", (fd,)),
        ("fstatvfs", (fd,)),
        ("fstat", (fifo,)),
    ):
        fails(EIO, getattr(root, call), *arguments)
    fails(EIO, other.stat, "f")
    fails(EIO, other.open, "g", O_RDWR | O_CREAT)
    fails(EIO, other.mkdir, "new", 0o755, folder)
    fails(ENOENT, other.readdir, folder)
    fails(ENOENT, other.getcwd)
    assert root.lseek(fd, 0, SEEK_END) == 0
    for number in (fd, copy, fifo):
        root.close(number)
    other.close(folder)
    other.chdir("/")
    assert root.names("/m") == []
    mounted.mount("tmpfs", "/m")
    root.unmount("/m", MNT_FORCE)


def test_forced_with_mounts_inside(mounted: Files):
    mounted.mount("tmpfs", "/m/d")
    fails(EBUSY, mounted.root.unmount, "/m", MNT_FORCE)
    fails(EBUSY, mounted.root.unmount, "/", MNT_FORCE)
    fails(EBUSY, mounted.root.unmount, "/", MNT_DETACH)
    fails(EINVAL, mounted.root.unmount, "/m", 64)
    assert mounted.root.names("/m/d") == []


def test_closing_the_kernel_ends_what_is_left(mounted: Files):
    mount = mounted.vfs.mounts()[-1]
    keep = mounted.vfs.resolve("/m/f")
    keep.hold()
    mounted.root.unmount("/m", MNT_DETACH)
    assert not mount.finished
    mounted.entered(mounted.kernel.close)
    mounted.entered(mounted.vfs.close)
    assert not mount.finished  # its holder is no business of the kernel's
    mounted.entered(keep.release)
    assert mount.finished
