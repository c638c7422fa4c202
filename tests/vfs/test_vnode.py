"""A file system that implements as little as it can: what vfs makes of the base class's answers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rumpkit.hyper.calls import Hypercalls
from rumpkit.hyper.mutex import Mutex
from rumpkit.kern.abi.errno import EINVAL, EIO, EISDIR, ENODEV, ENOENT, ENXIO, EPERM, EUCLEAN, error
from rumpkit.kern.abi.fcntl import (
    MNT_DETACH,
    MNT_FORCE,
    O_CREAT,
    O_DSYNC,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    RENAME_EXCHANGE,
    S_IFDIR,
    S_IFLNK,
    S_IFREG,
    SEEK_DATA,
    SEEK_HOLE,
)
from rumpkit.vfs.types import FileSystemType, OptionValue
from rumpkit.vfs.vfs import Vfs
from rumpkit.vfs.vnode import FIRST_COOKIE, Entry, Mount, Vnode
from tests.vfs.helpers import Files, fails

COUNT = 600


class Number(Vnode):
    """A file whose text is its inode number."""

    def read(self, offset: int, size: int) -> bytes:
        return b"%d\n" % self.number if offset == 0 else b""


class Stuck(Vnode):
    """A file that cannot be let go, as one whose storage is found damaged when it is freed."""

    def inactive(self) -> None:
        raise error(EUCLEAN)


class Numbers(Vnode):
    """A directory with the subdirectories 1 to COUNT, or in those the file "text"."""

    def __init__(self, mount: Mount, number: int, above: Numbers | None, now: int) -> None:
        super().__init__(mount, number, S_IFDIR | 0o755, 0, 0, now)
        self.above = above
        self.children: dict[bytes, Vnode] = {}

    def parent(self) -> Vnode:
        return self.above or self

    def lookup(self, name: bytes) -> Vnode | None:
        return self.children.get(name)

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        place = cookie - FIRST_COOKIE
        entries = list(self.children.items())[place : place + count]
        return [Entry(name, child.number, child.kind, cookie + i + 1) for i, (name, child) in enumerate(entries)]


class NumbersMount(Mount):
    def __init__(self, hyper: Hypercalls) -> None:
        super().__init__(hyper, "numbers", "numbers")
        self.root = root = Numbers(self, 1, None, 0)
        for number in range(1, COUNT + 1):
            directory = Numbers(self, 10 * number, root, 0)
            root.children[b"%d" % number] = directory
            text = Number(self, 10 * number + 1, S_IFREG | 0o644, 0, 0, 0)
            text.size = 5
            directory.children[b"text"] = text
        link = Vnode(self, 5, S_IFLNK | 0o777, 0, 0, 0)
        root.children[b"link"] = link
        self.lock = hyper.mutex()
        root.children[b"stuck"] = Stuck(self, 6, S_IFREG | 0o644, 0, 0, 0)
        root.children[b"stuck directory"] = Stuck(self, 7, S_IFDIR | 0o755, 0, 0, 0)


class NumbersType(FileSystemType):
    def make(self, vfs: Vfs, source: str, options: Mapping[str, OptionValue]) -> Mount:
        return NumbersMount(vfs.hyper)


@pytest.fixture
def files() -> Files:
    files = Files()
    files.vfs.types.register(NumbersType("numbers"))
    files.mount("numbers", "/m")
    return files


def test_reading(files: Files):
    root = files.root
    assert root.get("/m/7/text") == b"71\n"
    assert len(root.names("/m")) == COUNT + 3
    assert root.stat("/m/7/../8").st_ino == 80
    stat = root.statvfs("/m")
    assert (stat.f_blocks, stat.f_bsize, stat.f_namemax) == (0, 4096, 255)
    assert root.stat("/m/7/text").st_blocks == 1


def test_the_name_of_a_directory_is_found_by_reading(files: Files):
    files.root.chdir(f"/m/{COUNT}")
    assert files.root.getcwd() == f"/m/{COUNT}"
    numbers = files.vfs.mounts()[-1].root
    fails(ENOENT, numbers.name_of, Number(numbers.mount, 99999, S_IFREG, 0, 0, 0))


def test_what_it_does_not_have(files: Files):
    root = files.root
    fails(EPERM, root.open, "/m/new", O_WRONLY | O_CREAT)
    fails(EPERM, root.mkdir, "/m/new")
    fails(EPERM, root.symlink, "x", "/m/new")
    fails(EPERM, root.link, "/m/7/text", "/m/new")
    fails(EPERM, root.unlink, "/m/7/text")
    fails(EPERM, root.rmdir, "/m/7")
    fails(EPERM, root.rename, "/m/7", "/m/new")
    fails(EINVAL, root.rename, "/m/7", "/m/8", RENAME_EXCHANGE)
    fails(EINVAL, root.stat, "/m/link")
    fails(EINVAL, root.truncate, "/m/7/text", 0)
    fd = root.open("/m/7/text", O_RDWR | O_DSYNC)
    fails(EINVAL, root.write, fd, b"x")
    directory = files.vfs.mounts()[-1].root
    fails(EISDIR, directory.read, 0, 1)
    fails(EISDIR, directory.write, 0, b"x")
    fails(EISDIR, directory.truncate, 0)
    root.fsync(fd)
    root.sync()


def test_files_without_holes(files: Files):
    root = files.root
    fd = root.open("/m/7/text", O_RDONLY)
    assert root.lseek(fd, 2, SEEK_DATA) == 2
    assert root.lseek(fd, 2, SEEK_HOLE) == 5
    fails(ENXIO, root.lseek, fd, 5, SEEK_HOLE)


def test_attributes(files: Files):
    root = files.root
    root.chmod("/m/7/text", 0o4600)
    root.chown("/m/7/text", 5, 6)
    root.utimens("/m/7/text", 1, 2)
    stat = root.stat("/m/7/text")
    assert (stat.st_mode, stat.st_uid, stat.st_gid) == (S_IFREG | 0o600, 5, 6)
    assert (stat.st_atime_ns, stat.st_mtime_ns) == (1, 2)


def test_unmount(files: Files):
    files.root.unmount("/m")
    fails(ENODEV, files.root.mount, "letters", "/m")


def test_a_type_has_to_make_mounts(files: Files):
    with pytest.raises(NotImplementedError):
        FileSystemType("x").make(files.vfs, "", {})
    with pytest.raises(ValueError, match="registered already"):
        files.vfs.types.register(NumbersType("numbers"))


def test_an_error_when_a_file_is_let_go_leaves_the_lock_free(files: Files):
    root = files.root
    mount = files.vfs.mounts()[-1]
    fd = root.open("/m/stuck", O_RDONLY)
    fails(EUCLEAN, root.close, fd)
    assert mount.calls == 0
    root.chdir("/m/stuck directory")
    fails(EUCLEAN, root.chdir, "/")
    assert root.getcwd() == "/" and mount.calls == 0
    assert root.get("/m/7/text") == b"71\n", "others get in"
    root.chdir("/m/stuck directory")
    root.unmount("/m", MNT_DETACH)
    fails(EUCLEAN, root.chdir, "/")
    assert mount.finished, "the last one out unmounts it nevertheless"


def test_forced_from_files_that_cannot_be_let_go(files: Files):
    root = files.root
    mount = files.vfs.mounts()[-1]
    fd = root.open("/m/stuck", O_RDONLY)
    root.chdir("/m/stuck directory")
    root.unmount("/m", MNT_FORCE)
    assert mount.finished and mount.references == 0 and mount.calls == 0
    fails(EIO, root.read, fd, 9)
    root.close(fd)
    root.chdir("/")


def test_an_error_when_a_walk_ends_leaves_the_lock_free(files: Files):
    root = files.root
    mount = files.vfs.mounts()[-1]
    fails(EUCLEAN, root.link, "/m/stuck", "/m/new")
    assert mount.calls == 0
    assert root.get("/m/7/text") == b"71\n"


class Interrupted(Mutex):
    """A lock at which a signal ends the wait."""

    def acquire(self) -> None:
        raise KeyboardInterrupt

    def release(self) -> None:
        raise AssertionError("it was never taken")


def test_a_call_that_is_interrupted_before_it_has_the_lock_is_none() -> None:
    """Else the mount would be busy for ever."""
    mount = Mount(Files().vfs.hyper, "kind", "source", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        mount.begin_call()
    assert mount.calls == 0
