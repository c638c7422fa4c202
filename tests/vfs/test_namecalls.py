"""Names come, go and move."""

import pytest

from rumpkit.kern.abi.errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    EMLINK,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
)
from rumpkit.kern.abi.fcntl import (
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFREG,
    S_IFSOCK,
)
from tests.vfs.helpers import Files, fails


def links(client, path):
    return client.stat(path).st_nlink


def test_mkdir_and_rmdir(files: Files):
    root = files.root
    root.mkdir("/d", 0o1757)
    assert root.stat("/d").st_mode == S_IFDIR | 0o1755
    assert (links(root, "/"), links(root, "/d")) == (3, 2)
    root.mkdir("/d/e/")
    assert links(root, "/d") == 3
    for path in ("/d", "/d/", "/", "/.", "/d/..", "/d/e/."):
        fails(EEXIST, root.mkdir, path)
    fails(ENOENT, root.mkdir, "/x/y")
    root.put("/f")
    fails(EEXIST, root.mkdir, "/f")
    fails(ENOTDIR, root.mkdir, "/f/x")
    fails(ENOTEMPTY, root.rmdir, "/d")
    fails(ENOTDIR, root.rmdir, "/f")
    fails(ENOENT, root.rmdir, "/x")
    fails(EINVAL, root.rmdir, "/d/e/.")
    fails(ENOTEMPTY, root.rmdir, "/d/e/..")
    fails(EBUSY, root.rmdir, "/")
    root.symlink("/d/e", "/l")
    fails(ENOTDIR, root.rmdir, "/l")
    fails(ENOTDIR, root.rmdir, "/l/")
    root.rmdir("/d/e/")
    root.unlink("/d", AT_REMOVEDIR)
    assert links(root, "/") == 2


def test_unlink(files: Files):
    root = files.root
    root.mkdir("/d")
    root.put("/f")
    root.symlink("/f", "/l")
    fails(EISDIR, root.unlink, "/d")
    fails(EISDIR, root.unlink, "/d/")
    fails(EISDIR, root.unlink, "/d/.")
    fails(EISDIR, root.unlink, "/")
    fails(ENOTDIR, root.unlink, "/f/")
    fails(ENOTDIR, root.unlink, "/l/")
    fails(ENOENT, root.unlink, "/x")
    root.unlink("/l")
    assert root.names("/") == ["d", "f"]
    root.unlink("/f")
    assert root.names("/") == ["d"]


def test_hard_links(files: Files):
    root = files.root
    root.put("/a", b"data")
    root.mkdir("/d")
    root.link("/a", "/d/b")
    assert links(root, "/a") == 2
    assert root.stat("/a").st_ino == root.stat("/d/b").st_ino
    root.unlink("/a")
    assert root.get("/d/b") == b"data" and links(root, "/d/b") == 1
    fails(EPERM, root.link, "/d", "/e")
    fails(EEXIST, root.link, "/d/b", "/d")
    fails(ENOENT, root.link, "/x", "/y")
    fails(ENOENT, root.link, "/d/b", "/y/")
    fails(ENOENT, root.link, "/d/b", "/x/y")
    fails(EINVAL, root.link, "/d/b", "/y", 1)
    root.symlink("d/b", "/l")
    root.link("/l", "/m")
    assert root.lstat("/m").st_mode & S_IFLNK == S_IFLNK
    root.link("/l", "/n", AT_SYMLINK_FOLLOW)
    assert root.lstat("/n").st_ino == root.stat("/d/b").st_ino


def test_a_file_without_a_name_gets_no_new_one(files: Files):
    root = files.root
    fd = root.open("/f", O_RDWR | O_CREAT)
    root.symlink("/f", "/l")
    root.unlink("/f")
    fails(ENOENT, root.link, "/l", "/g", AT_SYMLINK_FOLLOW)
    assert root.fstat(fd).st_nlink == 0


def test_symlink(files: Files):
    root = files.root
    root.symlink("target", "/l")
    stat = root.lstat("/l")
    assert (stat.st_mode, stat.st_size) == (S_IFLNK | 0o777, 6)
    assert root.readlink("/l") == "target"
    fails(EEXIST, root.symlink, "x", "/l")
    fails(ENOENT, root.symlink, "", "/m")
    fails(ENOENT, root.symlink, "x", "/m/")
    fails(ENAMETOOLONG, root.symlink, "x" * 4096, "/m")
    root.put("/f")
    fails(EINVAL, root.readlink, "/f")
    fails(EINVAL, root.readlink, "/")


def test_mknod(files: Files):
    root = files.root
    for name, kind in (("c", S_IFCHR), ("b", S_IFBLK), ("p", S_IFIFO), ("s", S_IFSOCK), ("f", S_IFREG), ("g", 0)):
        root.mknod("/" + name, kind | 0o600, 0x105)
        stat = root.stat("/" + name)
        assert stat.st_mode == (kind or S_IFREG) | 0o600
        assert stat.st_rdev == (0x105 if kind != S_IFREG and kind else 0)
    fails(EEXIST, root.mknod, "/c", S_IFCHR)
    fails(EPERM, root.mknod, "/d", S_IFDIR)
    fails(EINVAL, root.mknod, "/d", S_IFLNK)
    root.chmod("/", 0o777)
    user = files.process(1000)
    fails(EPERM, user.mknod, "/d", S_IFCHR, 0x103)
    user.mkfifo("/q", 0o644)


class TestRename:
    def test_within_and_across_directories(self, files: Files):
        root = files.root
        root.mkdir("/d")
        root.put("/a", b"data")
        number = root.stat("/a").st_ino
        root.rename("/a", "/b")
        root.rename("/b", "/d/c")
        assert root.names("/") == ["d"] and root.names("/d") == ["c"]
        assert root.stat("/d/c").st_ino == number
        root.mkdir("/e")
        root.rename("/e", "/d/f")
        assert (links(root, "/"), links(root, "/d")) == (3, 3)
        assert root.stat("/d/f/..").st_ino == root.stat("/d").st_ino
        root.rename("/d/f/", "/g/")
        assert (links(root, "/"), links(root, "/d")) == (4, 2)

    def test_over_existing(self, files: Files):
        root = files.root
        root.put("/a", b"new")
        root.put("/b", b"old")
        fd = root.open("/b", O_RDONLY)
        root.rename("/a", "/b")
        assert root.get("/b") == b"new" and root.names("/") == ["b"]
        assert root.read(fd, 9) == b"old" and root.fstat(fd).st_nlink == 0
        root.mkdir("/d")
        root.mkdir("/e")
        root.put("/d/f")
        root.rename("/d", "/e")
        assert root.names("/e") == ["f"] and links(root, "/") == 3
        root.mkdir("/d")
        fails(ENOTEMPTY, root.rename, "/d", "/e")
        fails(EISDIR, root.rename, "/b", "/d")
        fails(ENOTDIR, root.rename, "/d", "/b")
        fails(ENOTDIR, root.rename, "/b", "/new/")
        fails(ENOTDIR, root.rename, "/b/", "/new")

    def test_onto_itself(self, files: Files):
        root = files.root
        root.put("/a")
        root.link("/a", "/b")
        root.mkdir("/d")
        root.rename("/a", "/a")
        root.rename("/a", "/b")  # both stay, says POSIX
        root.rename("/d", "/d")
        assert root.names("/") == ["a", "b", "d"]

    def test_into_itself(self, files: Files):
        root = files.root
        root.mkdir("/a")
        root.mkdir("/a/b")
        root.mkdir("/a/b/c")
        fails(EINVAL, root.rename, "/a", "/a/x")
        fails(EINVAL, root.rename, "/a", "/a/b/c/x")
        fails(ENOTEMPTY, root.rename, "/a/b/c", "/a")
        fails(EINVAL, root.rename, "/a/b/c", "/a", RENAME_EXCHANGE)

    def test_odd_names(self, files: Files):
        root = files.root
        root.mkdir("/d")
        for old, new in (("/d/.", "/e"), ("/d/..", "/e"), ("/", "/e"), ("/d", "/."), ("/d", "/d/.."), ("/d", "/")):
            fails(EBUSY, root.rename, old, new)
        fails(EEXIST, root.rename, "/d", "/.", RENAME_NOREPLACE)
        fails(ENOENT, root.rename, "/x", "/y")
        fails(ENOENT, root.rename, "/d", "/x/y")
        fails(ENAMETOOLONG, root.rename, "/d", "/" + "n" * 256)
        fails(EINVAL, root.rename, "/d", "/e", RENAME_EXCHANGE | RENAME_NOREPLACE)
        fails(EINVAL, root.rename, "/d", "/e", 8)

    def test_no_replace(self, files: Files):
        root = files.root
        root.put("/a")
        root.put("/b")
        fails(EEXIST, root.rename, "/a", "/b", RENAME_NOREPLACE)
        fails(EEXIST, root.rename, "/a", "/a", RENAME_NOREPLACE)
        root.rename("/a", "/c", RENAME_NOREPLACE)
        assert root.names("/") == ["b", "c"]

    def test_exchange(self, files: Files):
        root = files.root
        root.put("/a", b"a")
        root.mkdir("/d")
        root.mkdir("/d/e")
        fails(ENOENT, root.rename, "/a", "/x", RENAME_EXCHANGE)
        root.rename("/a", "/d/e", RENAME_EXCHANGE)
        assert root.get("/d/e") == b"a" and root.names("/a") == []
        assert (links(root, "/"), links(root, "/d")) == (4, 2)
        assert root.stat("/a/..").st_ino == root.stat("/").st_ino
        root.chdir("/a")
        assert root.getcwd() == "/a"
        root.mkdir("/d/f")
        root.rename("/a", "/d/f", RENAME_EXCHANGE)
        assert root.getcwd() == "/d/f"

    def test_permissions(self, files: Files):
        root = files.root
        user = files.process(1000, 1000)
        for name in ("/mine", "/theirs", "/sticky"):
            root.mkdir(name)
        root.chown("/mine", 1000, 1000)
        root.chown("/sticky", 1, 1)
        root.chmod("/sticky", 0o1777)
        root.put("/theirs/f")
        root.put("/mine/f")
        fails(EACCES, user.rename, "/theirs/f", "/mine/g")
        fails(EACCES, user.rename, "/mine/f", "/theirs/g")
        root.put("/sticky/f")
        fails(EPERM, user.rename, "/sticky/f", "/mine/g")
        fails(EPERM, user.rename, "/mine/f", "/sticky/f")
        fails(EPERM, user.unlink, "/sticky/f")
        root.chown("/sticky/f", 1000, 0)
        user.rename("/sticky/f", "/mine/g")
        # Moving a directory changes its "..", which takes permission to write to it.
        root.mkdir("/mine/d")
        fails(EACCES, user.rename, "/mine/d", "/sticky/d")
        user.rename("/mine/d", "/mine/e")


@pytest.mark.parametrize("call", ["mkdir", "mkfifo", "put", "unlink", "rmdir", "symlink", "link"])
def test_changing_a_directory_needs_write_and_search_permission(files: Files, call: str):
    root = files.root
    root.mkdir("/d")
    root.put("/d/f")
    root.mkdir("/d/e")
    root.put("/own", mode=0o666)
    root.chown("/own", 1000, 1000)
    arguments = {
        "mkdir": ("/d/new",),
        "mkfifo": ("/d/new",),
        "put": ("/d/new",),
        "unlink": ("/d/f",),
        "rmdir": ("/d/e",),
        "symlink": ("x", "/d/new"),
        "link": ("/own", "/d/new"),
    }[call]
    user = files.process(1000, 1000)
    for mode in (0o755, 0o756, 0o754):
        root.chmod("/d", mode)
        fails(EACCES, getattr(user, call), *arguments)
    root.chmod("/d", 0o757)
    getattr(user, call)(*arguments)


def test_too_many_links():
    files = Files({"links": 4})
    root = files.root
    root.put("/f")
    for number in range(3):
        root.link("/f", f"/f{number}")
    fails(EMLINK, root.link, "/f", "/g")
    root.mkdir("/a")
    root.mkdir("/b")
    fails(EMLINK, root.mkdir, "/c")
    root.mkdir("/a/x")
    root.mkdir("/a/y")
    fails(EMLINK, root.rename, "/b", "/a/z")
    root.rename("/b", "/a/x")
    assert root.names("/a") == ["x", "y"]


@pytest.mark.parametrize("call", ["link", "rename"])
@pytest.mark.parametrize("bad", ["with\0in it", "\ud800"])
def test_a_new_name_that_is_none_leaves_nothing_held(files: Files, call: str, bad: str):
    files.mount("tmpfs", "/apart")
    files.root.put("/apart/file")
    fails(EINVAL, getattr(files.root, call), "/apart/file", bad)
    files.root.unmount("/apart")
