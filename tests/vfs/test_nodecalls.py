"""Calls on vnodes: what path calls do, without paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rumpkit.kern.abi.errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EROFS,
    EXDEV,
)
from rumpkit.kern.abi.fcntl import O_NONBLOCK, RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFDIR, S_IFREG, S_ISGID, S_ISUID
from rumpkit.kern.abi.inotify import (
    IN_ALL_EVENTS,
    IN_ATTRIB,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_MODIFY,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
)
from rumpkit.kern.process import Credentials
from rumpkit.vfs.nodecalls import SUPERUSER, NodeCalls
from rumpkit.vfs.vnode import Vnode
from tests.vfs.helpers import Files, fails
from tests.vfs.test_events import masks


class Nodes:
    """The calls, entered on the schedule."""

    def __init__(self, root: str) -> None:
        self.files = Files(root=root)
        self.calls = NodeCalls(self.files.vfs)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.calls, name)
        return lambda *arguments: self.files.entered(call, *arguments)

    def file(self, directory: Vnode, name: bytes, mode: int = 0o644, uid: int = 0) -> Vnode:
        made: Vnode = self.create(directory, name, S_IFREG | mode, 0, uid, uid, 0, SUPERUSER)
        return made

    def folder(self, directory: Vnode, name: bytes, mode: int = 0o755, uid: int = 0) -> Vnode:
        made: Vnode = self.create(directory, name, S_IFDIR | mode, 0, uid, uid, 0, SUPERUSER)
        return made


@pytest.fixture(params=["tmpfs", "locked"])
def nodes(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    yield Nodes(request.param)


def test_names_come_are_found_and_go(nodes: Nodes) -> None:
    root = nodes.find("/")
    made = nodes.file(root, b"a")
    assert nodes.lookup(root, b"a", SUPERUSER) is made
    assert nodes.lookup(root, b"b", SUPERUSER) is None
    fails(EEXIST, nodes.file, root, b"a")
    nodes.link(made, root, b"b", SUPERUSER)
    assert made.links == 2
    link = nodes.symlink(root, b"l", b"a", 0, 0, SUPERUSER)
    assert nodes.readlink(link) == b"a"
    assert [entry.name for entry in nodes.readdir(root, 2, 10)][-3:] == [b"a", b"b", b"l"]
    nodes.remove(root, b"a", False, SUPERUSER)
    nodes.remove(root, b"b", False, SUPERUSER)
    assert made.links == 0
    fails(ENOENT, nodes.remove, root, b"a", False, SUPERUSER)
    fails(ENOENT, nodes.link, made, root, b"c", SUPERUSER)


def test_kinds_and_names_are_checked(nodes: Nodes) -> None:
    root = nodes.find("/")
    file, folder = nodes.file(root, b"f"), nodes.folder(root, b"d")
    fails(ENOTDIR, nodes.lookup, file, b"x", SUPERUSER)
    fails(ENOTDIR, nodes.remove, root, b"f", True, SUPERUSER)
    fails(EISDIR, nodes.remove, root, b"d", False, SUPERUSER)
    nodes.file(folder, b"x")
    fails(ENOTEMPTY, nodes.remove, root, b"d", True, SUPERUSER)
    fails(EPERM, nodes.link, folder, root, b"e", SUPERUSER)
    fails(EISDIR, nodes.truncate, folder, 0, True)
    for name, code in ((b"..", EINVAL), (b".", EINVAL), (b"", EINVAL), (b"a/b", EINVAL), (b"n" * 256, ENAMETOOLONG)):
        fails(code, nodes.lookup, root, name, SUPERUSER)
        fails(code, nodes.file, root, name)
        fails(code, nodes.rename, root, b"f", root, name, 0, SUPERUSER)


def test_data(nodes: Nodes) -> None:
    file = nodes.file(nodes.find("/"), b"f", 0o6755, 7)
    assert nodes.write(file, 2, b"hello", True) == 5
    assert file.mode & (S_ISUID | S_ISGID)
    assert nodes.read(file, 0, 100) == b"\0\0hello"
    nodes.write(file, 0, b"HE", False)
    assert not file.mode & (S_ISUID | S_ISGID), "who isn't privileged clears set-user-ID"
    nodes.truncate(file, 3, True)
    assert nodes.read(file, 1, 100) == b"Eh"
    nodes.sync(file, False)
    assert nodes.next_data(file, 0, False) == 0
    assert nodes.next_data(file, 0, True) == 3
    assert nodes.next_data(file, 3, False) == -1


def test_attributes(nodes: Nodes) -> None:
    file = nodes.file(nodes.find("/"), b"f", 0o4755)
    nodes.set_owner(file, 5, -1, SUPERUSER)
    assert (file.uid, file.gid, file.mode & 0o7777) == (5, 0, 0o755)
    nodes.set_mode(file, 0o600, SUPERUSER)
    nodes.set_times(file, 11, 22, SUPERUSER)
    assert (file.mode & 0o7777, file.atime, file.mtime) == (0o600, 11, 22)


def test_moving(nodes: Nodes) -> None:
    root = nodes.find("/")
    one, two = nodes.folder(root, b"one"), nodes.folder(root, b"two")
    a, b = nodes.file(one, b"a"), nodes.file(two, b"b")
    fails(EEXIST, nodes.rename, one, b"a", two, b"b", RENAME_NOREPLACE, SUPERUSER)
    fails(ENOENT, nodes.rename, one, b"a", two, b"c", RENAME_EXCHANGE, SUPERUSER)
    nodes.rename(one, b"a", two, b"b", RENAME_EXCHANGE, SUPERUSER)
    assert nodes.lookup(one, b"a", SUPERUSER) is b and nodes.lookup(two, b"b", SUPERUSER) is a
    nodes.rename(one, b"a", two, b"b", 0, SUPERUSER)
    assert nodes.lookup(two, b"b", SUPERUSER) is b and a.links == 0
    fails(EINVAL, nodes.rename, root, b"one", one, b"in", 0, SUPERUSER)
    fails(EISDIR, nodes.rename, two, b"b", root, b"one", 0, SUPERUSER)
    fails(ENOTDIR, nodes.rename, root, b"one", two, b"b", 0, SUPERUSER)
    fails(ENOTEMPTY, nodes.rename, root, b"one", root, b"two", 0, SUPERUSER)
    fails(EINVAL, nodes.rename, root, b"one", root, b"three", 4, SUPERUSER)


def test_permissions_are_checked_where_credentials_are_given(nodes: Nodes) -> None:
    root = nodes.find("/")
    stranger = Credentials(1000, 1000)
    closed = nodes.folder(root, b"closed", 0o700)
    nodes.file(closed, b"f")
    fails(EACCES, nodes.lookup, closed, b"f", stranger)
    fails(EACCES, nodes.create, closed, b"g", S_IFREG | 0o644, 0, 1000, 1000, 0, stranger)
    sticky = nodes.folder(root, b"sticky", 0o1777)
    nodes.file(sticky, b"f")
    fails(EPERM, nodes.remove, sticky, b"f", False, stranger)
    fails(EPERM, nodes.rename, sticky, b"f", sticky, b"g", 0, stranger)
    nodes.remove(sticky, b"f", False, SUPERUSER)
    fails(EACCES, nodes.access, closed, stranger, 4)


def test_a_set_group_id_directory_gives_its_group(nodes: Nodes) -> None:
    folder = nodes.folder(nodes.find("/"), b"d", 0o755)
    nodes.set_owner(folder, 0, 42, SUPERUSER)
    nodes.set_mode(folder, 0o2755, SUPERUSER)
    assert nodes.file(folder, b"f", uid=7).gid == 42
    inner = nodes.folder(folder, b"e", uid=7)
    assert inner.gid == 42 and inner.mode & S_ISGID


def test_mount_points(nodes: Nodes) -> None:
    nodes.files.mount("tmpfs", "/m")
    nodes.files.root.put("/m/inside", b"x")
    root = nodes.find("/")
    inner = nodes.lookup(root, b"m", SUPERUSER)
    assert inner is nodes.find("/m") and inner.mount is not root.mount
    assert nodes.lookup(inner, b"inside", SUPERUSER).size == 1
    fails(EBUSY, nodes.remove, root, b"m", True, SUPERUSER)
    fails(EBUSY, nodes.rename, root, b"m", root, b"n", 0, SUPERUSER)
    file = nodes.file(root, b"f")
    fails(EXDEV, nodes.rename, root, b"f", inner, b"f", 0, SUPERUSER)
    fails(EXDEV, nodes.link, file, inner, b"f", SUPERUSER)


def test_a_read_only_mount(nodes: Nodes) -> None:
    nodes.files.mount("tmpfs", "/m")
    inner = nodes.find("/m")
    file = nodes.file(inner, b"f")
    inner.mount.read_only = True
    for call, *arguments in (
        (nodes.file, inner, b"g"),
        (nodes.remove, inner, b"f", False, SUPERUSER),
        (nodes.write, file, 0, b"x", True),
        (nodes.truncate, file, 0, True),
        (nodes.set_mode, file, 0o600, SUPERUSER),
        (nodes.set_owner, file, 1, 1, SUPERUSER),
        (nodes.set_times, file, 1, 1, SUPERUSER),
        (nodes.rename, inner, b"f", inner, b"g", 0, SUPERUSER),
        (nodes.link, file, inner, b"g", SUPERUSER),
        (nodes.symlink, inner, b"g", b"x", 0, 0, SUPERUSER),
        (nodes.fallocate, file, 0, 0, 1),
        (nodes.setxattr, file, b"user.a", b"", 0, SUPERUSER),
        (nodes.removexattr, file, b"user.a", SUPERUSER),
    ):
        fails(EROFS, call, *arguments)
    assert nodes.read(file, 0, 1) == b""


def test_who_watches_hears_of_it(nodes: Nodes) -> None:
    client = nodes.files.root
    root = nodes.find("/")
    folder = nodes.folder(root, b"d")
    fd = client.inotify_init1(O_NONBLOCK)
    client.inotify_add_watch(fd, "/d", IN_ALL_EVENTS)
    file = nodes.file(folder, b"f")
    client.inotify_add_watch(fd, "/d/f", IN_ALL_EVENTS)
    nodes.write(file, 0, b"x", True)
    nodes.link(file, folder, b"g", SUPERUSER)
    nodes.rename(folder, b"g", folder, b"h", 0, SUPERUSER)
    nodes.symlink(folder, b"s", b"x", 0, 0, SUPERUSER)
    nodes.remove(folder, b"h", False, SUPERUSER)
    nodes.remove(folder, b"f", False, SUPERUSER)
    assert masks(client, fd) == [
        (1, IN_CREATE),
        (2, IN_MODIFY),
        (2, IN_ATTRIB),
        (1, IN_CREATE),
        (1, IN_MOVED_FROM),
        (1, IN_MOVED_TO),
        (2, IN_MOVE_SELF),
        (1, IN_CREATE),
        (2, IN_ATTRIB),
        (1, IN_DELETE),
        (2, IN_ATTRIB),
        (2, IN_DELETE_SELF),
        (2, IN_IGNORED),
        (1, IN_DELETE),
    ]
