"""Null mounts: a directory at a second place, over file systems with and without a lock."""

import pytest

from rumpkit.fs import nullfs
from rumpkit.kern.abi.errno import EBUSY, EINVAL, ENOENT, ENOTDIR, EROFS, EXDEV
from rumpkit.kern.abi.fcntl import (
    MNT_DETACH,
    O_APPEND,
    O_CREAT,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    R_OK,
    RENAME_EXCHANGE,
    SEEK_END,
)
from rumpkit.vfs import acl as acls
from rumpkit.vfs.acl import GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, Acl, AclEntry
from tests.vfs.helpers import Files, fails

NOBODY = acls.UNDEFINED_ID


@pytest.fixture(params=["tmpfs", "locked"])
def files(request: pytest.FixtureRequest) -> Files:
    """/a/b is seen at /n, too."""
    files = Files(root=request.param)
    files.root.mkdir("/a")
    files.root.mkdir("/a/b")
    files.root.put("/a/b/f", b"text")
    files.mount("null", "/n", "/a/b")
    return files


def test_both_places_show_the_same(files: Files):
    root = files.root
    assert root.names("/n") == ["f"]
    assert root.get("/n/f") == b"text"
    root.put("/n/new", b"from above")
    assert root.get("/a/b/new") == b"from above"
    root.put("/a/b/f", b"longer text")
    assert root.stat("/n/f").st_size == 11
    root.mkdir("/n/d", 0o700)
    root.symlink("../f", "/n/d/l")
    assert root.get("/n/d/l") == b"longer text" and root.readlink("/n/d/l") == "../f"
    root.rename("/n/f", "/n/d/g")
    root.rename("/n/d/g", "/n/new", RENAME_EXCHANGE)
    assert root.get("/a/b/new") == b"longer text"
    root.link("/n/new", "/n/d/h")
    assert root.stat("/a/b/d/h").st_nlink == 2
    root.chmod("/n/new", 0o604)
    root.chown("/n/new", 4, 5)
    root.utimens("/n/new", 1, 2)
    root.truncate("/n/new", 3)
    stat = root.stat("/a/b/new")
    assert (stat.st_mode & 0o777, stat.st_uid, stat.st_gid, stat.st_size) == (0o604, 4, 5, 3)
    root.unlink("/n/d/h")
    root.unlink("/n/d/l")
    root.unlink("/n/d/g")
    root.rmdir("/n/d")
    assert sorted(root.names("/a/b")) == ["new"]


def test_open_files_see_what_the_other_place_does(files: Files):
    root = files.root
    above = root.open("/n/f", O_RDWR | O_APPEND)
    below = root.open("/a/b/f", O_RDWR | O_APPEND)
    root.write(above, b" one")
    root.write(below, b" two")
    root.write(above, b" three")
    assert root.get("/a/b/f") == b"text one two three"
    assert root.lseek(above, 0, SEEK_END) == 18
    root.ftruncate(below, 2)
    assert root.lseek(above, 0, SEEK_END) == 2
    assert root.pread(above, 9, 0) == b"te"


def test_paths(files: Files):
    root = files.root
    root.mkdir("/n/d")
    root.chdir("/n/d")
    assert root.getcwd() == "/n/d"
    assert root.stat("../..").st_ino == root.stat("/").st_ino
    fails(EINVAL, root.rename, "/n/d", "/n/d/e")
    fails(EXDEV, root.rename, "/n/f", "/a/b/g")
    fails(EXDEV, root.link, "/n/f", "/a/b/g")
    assert root.stat("/n").st_dev != root.stat("/a/b").st_dev
    assert root.stat("/n").st_ino == root.stat("/a/b").st_ino
    files.mount("tmpfs", "/a/b/d/inner")
    assert root.names("/n/d/inner") == []  # and not what is mounted there
    files.mount("tmpfs", "/n/d/inner")
    root.put("/n/d/inner/x")
    assert root.names("/a/b/d/inner") == []


def test_read_only(files: Files):
    files.mount("null", "/r", "/a/b", read_only=True)
    root = files.root
    reader = root.open("/r/f", O_RDONLY)
    assert root.read(reader, 9) == b"text"
    for call, arguments in (
        ("open", ("/r/f", O_WRONLY)),
        ("open", ("/r/new", O_WRONLY | O_CREAT)),
        ("mkdir", ("/r/new",)),
        ("unlink", ("/r/f",)),
        ("chmod", ("/r/f", 0)),
        ("fchmod", (reader, 0)),
        ("truncate", ("/r/f", 0)),
        ("setxattr", ("/r/f", "user.a", b"")),
        ("futimens", (reader, 1, 1)),
    ):
        fails(EROFS, getattr(root, call), *arguments)
    root.put("/n/f", b"changed")
    assert root.pread(reader, 9, 0) == b"changed"
    root.remount("/", {"read_only": True})
    fails(EROFS, root.put, "/n/f")


def test_life(files: Files):
    root = files.root
    mount = files.vfs.mounts()[-1]
    fd = root.open("/n/f", O_RDONLY)
    fails(EBUSY, root.unmount, "/n")
    root.unlink("/a/b/f")
    assert root.read(fd, 9) == b"text"
    root.close(fd)
    root.unmount("/n")
    assert mount.finished and mount.references == 0
    fails(EINVAL, files.mount, "null", "/n", "a/b")
    fails(ENOENT, files.mount, "null", "/n", "/a/none")
    root.put("/file")
    fails(ENOTDIR, files.mount, "null", "/n", "/file")
    before = [mount.references for mount in files.vfs.mounts()]
    files.mount("null", "/n", "/a/b")
    files.mount("null", "/o", "/n")
    root.put("/o/f", b"twice over")
    assert root.get("/a/b/f") == b"twice over"
    fails(EBUSY, root.unmount, "/n")
    root.unmount("/n", MNT_DETACH)
    assert root.get("/o/f") == b"twice over"
    root.unmount("/o")
    assert [mount.references for mount in files.vfs.mounts()] == before


def test_fifos_and_access_lists_are_shared(files: Files):
    root = files.root
    root.mkfifo("/a/b/p")
    reader = root.open("/n/p", O_RDONLY | O_NONBLOCK)
    writer = root.open("/a/b/p", O_WRONLY | O_NONBLOCK)
    root.write(writer, b"through")
    assert root.read(reader, 9) == b"through"
    rows = ((USER_OBJ, 6, NOBODY), (USER, 4, 7), (GROUP_OBJ, 0, NOBODY), (MASK, 4, NOBODY), (OTHER, 0, NOBODY))
    root.setxattr("/n/f", acls.ACCESS, Acl(tuple(AclEntry(*row) for row in rows)).pack())
    for path in ("/n/f", "/a/b/f"):
        files.process(7).access(path, R_OK)
    root.removexattr("/a/b/f", acls.ACCESS)
    assert root.listxattr("/n/f") == []


def test_what_is_remembered_is_limited(files: Files, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nullfs, "KEPT", 4)
    root = files.root
    held = root.open("/n/f", O_RDWR)
    for number in range(50):
        root.put(f"/n/{number}", b"%d" % number)
    mount = files.vfs.mounts()[-1]
    assert isinstance(mount, nullfs.NullMount) and len(mount._known) <= 11
    root.write(held, b"TE")
    assert root.get("/n/f") == b"TExt"
