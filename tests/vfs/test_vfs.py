"""Mounts: the tree, what is busy, read-only and other options, the registry of types."""

import pytest

from rumpkit.kern.abi.errno import EACCES, EBUSY, EINVAL, ENFILE, ENODEV, ENOENT, ENOTDIR, EPERM, EROFS, EXDEV
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, S_IFCHR, W_OK
from tests.vfs.helpers import Files, fails

KINDS = ["tmpfs", "locked"]


@pytest.mark.parametrize("kind", KINDS)
def test_paths_cross_mount_points(files: Files, kind: str):
    root = files.root
    root.mkdir("/m")
    root.put("/m/hidden")
    files.mount(kind, "/m")
    assert root.names("/m") == []
    root.mkdir("/m/d")
    root.put("/m/d/f", b"x")
    assert root.stat("/m").st_dev == root.stat("/m/d/f").st_dev != root.stat("/").st_dev
    assert root.stat("/m/d/../..").st_ino == root.stat("/").st_ino
    root.chdir("/m/d")
    assert root.getcwd() == "/m/d"
    root.chdir("../..")
    assert root.getcwd() == "/"
    root.chdir("/m")
    assert root.stat("..").st_dev == root.stat("/").st_dev
    fd = root.open("/m", O_RDONLY)
    assert [entry.d_ino for entry in root.readdir(fd)][1] == root.stat("/").st_ino
    root.close(fd)
    root.chdir("/")
    root.unmount("/m")
    assert root.names("/m") == ["hidden"]


@pytest.mark.parametrize("kind", KINDS)
def test_mounts_in_mounts(files: Files, kind: str):
    root = files.root
    files.mount(kind, "/a")
    files.mount(kind, "/a/b")
    files.mount(kind, "/a/b/c")
    root.put("/a/b/c/f", b"deep")
    assert root.get("/a/../a/b/c/../c/f") == b"deep"
    root.symlink("/a/b/c/f", "/l")
    assert root.get("/l") == b"deep"
    assert [mount.path for mount in files.vfs.mounts()] == [b"/", b"/a", b"/a/b", b"/a/b/c"]
    fails(EBUSY, root.unmount, "/a/b")
    for path in ("/a/b/c", "/a/b", "/a"):
        root.unmount(path)
    assert root.names("/a") == []


@pytest.mark.parametrize("kind", KINDS)
def test_busy_while_in_use(files: Files, kind: str):
    root = files.root
    files.mount(kind, "/m")
    fd = root.open("/m/f", O_RDWR | O_CREAT)
    fails(EBUSY, root.unmount, "/m")
    root.unlink("/m/f")
    fails(EBUSY, root.unmount, "/m")
    root.close(fd)
    root.chdir("/m")
    fails(EBUSY, root.unmount, "/m")
    root.chdir("/")
    root.unmount("/m")
    fails(EINVAL, root.unmount, "/m")
    fails(EBUSY, root.unmount, "/")


@pytest.mark.parametrize("kind", KINDS)
def test_names_do_not_cross(files: Files, kind: str):
    root = files.root
    files.mount(kind, "/m")
    root.put("/f")
    fails(EXDEV, root.rename, "/f", "/m/f")
    fails(EXDEV, root.link, "/f", "/m/f")
    fails(EBUSY, root.rename, "/m", "/n")
    fails(EBUSY, root.rmdir, "/m")
    root.mkdir("/d")
    fails(EBUSY, root.rename, "/d", "/m")
    fails(EXDEV, root.rename, "/m/.", "/d")
    assert root.names("/m") == []


def test_what_cannot_be_mounted(files: Files):
    root = files.root
    root.put("/f")
    fails(ENODEV, root.mount, "minix", "/")
    fails(ENOENT, root.mount, "tmpfs", "/missing")
    fails(ENOTDIR, root.mount, "tmpfs", "/f")
    fails(EBUSY, root.mount, "tmpfs", "/")
    fails(EINVAL, root.mount, "tmpfs", "/f", source="/dev/disk")
    fails(EPERM, files.process(1000).mount, "tmpfs", "/")
    fails(EPERM, files.process(1000).unmount, "/")
    files.entered(files.kernel.sysctl.set, "vfs.max_mounts", 1)
    root.mkdir("/m")
    fails(ENFILE, root.mount, "tmpfs", "/m")


def test_the_first_mount_is_the_root():
    files = Files()
    files.entered(files.vfs.close)
    fails(ENOENT, files.entered, files.vfs.mount, "tmpfs", "/m")
    fails(ENOENT, files.entered, files.vfs.root)


@pytest.mark.parametrize("kind", KINDS)
def test_read_only(files: Files, kind: str):
    root = files.root
    files.mount(kind, "/m", read_only=True)
    fails(EROFS, root.open, "/m/f", O_WRONLY | O_CREAT)
    fails(ENOENT, root.open, "/m/f", O_RDONLY)
    fails(EROFS, root.mkdir, "/m/d")
    fails(EROFS, root.symlink, "x", "/m/l")
    fails(EROFS, root.chmod, "/m", 0o700)
    fails(EROFS, root.chown, "/m", 1, 1)
    fails(EROFS, root.utimens, "/m")
    fails(EROFS, root.access, "/m", W_OK)
    assert root.statvfs("/m").f_flag == 1


def test_read_only_after_the_fact(files: Files):
    root = files.root
    files.mount("tmpfs", "/m")
    root.put("/m/f", b"data")
    fd = root.open("/m/f", O_RDWR)
    files.vfs.mounts()[-1].read_only = True
    before = root.stat("/m/f")
    assert root.read(fd, 4) == b"data"
    for call in (root.unlink, root.rmdir):
        fails(EROFS, call, "/m/f")
    fails(EROFS, root.rename, "/m/f", "/m/g")
    fails(EROFS, root.link, "/m/f", "/m/g")
    fails(EROFS, root.open, "/m/f", O_RDWR)
    fails(EROFS, root.open, "/m/f", O_RDONLY | O_TRUNC)
    fails(EROFS, root.truncate, "/m/f", 0)
    fails(EROFS, root.write, fd, b"x")
    assert root.stat("/m/f") == before


def test_nodev(files: Files):
    root = files.root
    files.mount("tmpfs", "/m", devices=False)
    root.mknod("/m/null", S_IFCHR | 0o666, 0x103)
    root.mknod("/null", S_IFCHR | 0o666, 0x103)
    fails(EACCES, root.open, "/m/null", O_RDONLY)
    assert root.get("/null") == b""


@pytest.mark.parametrize(
    "options",
    [{"colour": 1}, {"size": "64M"}, {"size": -1}, {"size": True}, {"read_only": 1}, {"mode": 0o10000}],
)
def test_options_are_checked(options):
    files = Files()
    files.root.mkdir("/m")
    fails(EINVAL, files.root.mount, "tmpfs", "/m", options)
    assert len(files.vfs.mounts()) == 1


def test_a_failed_mount_changes_nothing(files: Files):
    root = files.root
    root.mkdir("/m")
    fails(EINVAL, root.mount, "locked", "/m", {}, "bad")
    files.mount("tmpfs", "/m")
    root.unmount("/m")


def test_make_directories(files: Files):
    files.entered(files.vfs.make_directories, "/a/b/c", 0o700)
    files.entered(files.vfs.make_directories, "a//b/d/")
    assert files.root.names("/a/b") == ["c", "d"]
    assert files.root.stat("/a").st_mode & 0o777 == 0o700
    files.root.put("/f")
    fails(ENOTDIR, files.entered, files.vfs.make_directories, "/f/x")


def test_close_ends_it_all(files: Files):
    files.mount("locked", "/m")
    files.mount("devfs", "/dev")
    files.entered(files.kernel.close)
    mounts = files.vfs.mounts()
    files.entered(files.vfs.close)
    assert files.vfs.mounts() == []
    assert all(mount.references == 0 for mount in mounts)


def test_sync(files: Files):
    files.mount("locked", "/m")
    files.root.sync()


def test_counters(files: Files):
    root = files.root
    root.put("/a")
    root.mkdir("/d")
    root.rename("/a", "/b")
    root.unlink("/b")
    counters = dict(files.kernel.counters)
    assert [counters["vfs." + name] for name in ("opened", "created", "removed", "renamed")] == [1, 2, 1, 1]
