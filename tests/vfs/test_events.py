"""Watches: their limits, overflow, masks, who waits, and what unmounting does to them."""

import struct

import pytest

from rumpkit.kern.abi.errno import EACCES, EEXIST, EINVAL, EMFILE, ENOSPC, ENOTDIR
from rumpkit.kern.abi.fcntl import MNT_DETACH, MNT_FORCE, O_CREAT, O_NONBLOCK, O_RDWR
from rumpkit.kern.abi.inotify import (
    IN_ALL_EVENTS,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_ISDIR,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_MODIFY,
    IN_ONLYDIR,
    IN_OPEN,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
)
from rumpkit.kern.abi.ioctl import FIONREAD
from rumpkit.kern.abi.poll import POLLIN
from rumpkit.kern.wait import Blocked
from tests.vfs.helpers import Client, Files, fails


def masks(client: Client, fd: int) -> list[tuple[int, int]]:
    """Watch and mask of what waits."""
    data = client.read(fd, 65536)
    found = []
    while data:
        number, mask, _, length = struct.unpack_from("<iIII", data)
        found.append((number, mask))
        data = data[16 + length :]
    return found


def test_masks_and_numbers(files: Files):
    root = files.root
    root.mkdir("/d")
    root.put("/f")
    fd = root.inotify_init1(O_NONBLOCK)
    assert root.inotify_add_watch(fd, "/d", IN_CREATE) == 1
    assert root.inotify_add_watch(fd, "/f", IN_OPEN) == 2
    assert root.inotify_add_watch(fd, "/d", IN_DELETE | IN_MASK_ADD) == 1
    fails(EEXIST, root.inotify_add_watch, fd, "/d", IN_DELETE | IN_MASK_CREATE)
    fails(ENOTDIR, root.inotify_add_watch, fd, "/f", IN_OPEN | IN_ONLYDIR)
    for mask in (0, IN_MASK_ADD, 1 << 20, IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE):
        fails(EINVAL, root.inotify_add_watch, fd, "/f", mask)
    fails(EINVAL, root.inotify_init1, 1)
    fails(EINVAL, root.inotify_rm_watch, fd, 3)
    fails(EINVAL, root.inotify_add_watch, root.open("/f", O_RDWR), "/f", IN_OPEN)
    root.mkdir("/d/x")
    root.rmdir("/d/x")
    assert masks(root, fd) == [(2, IN_OPEN), (1, IN_CREATE | IN_ISDIR), (1, IN_DELETE | IN_ISDIR)]
    root.inotify_add_watch(fd, "/d", IN_DELETE)
    root.mkdir("/d/x")
    root.inotify_rm_watch(fd, 1)
    assert masks(root, fd) == [(1, IN_IGNORED)]
    root.chmod("/f", 0o600)
    user = files.process(5)
    other = user.inotify_init1()
    fails(EACCES, user.inotify_add_watch, other, "/f", IN_OPEN)


def test_reading(files: Files):
    root = files.root
    root.mkdir("/d")
    fd = root.inotify_init1()
    root.inotify_add_watch(fd, "/d", IN_CREATE)
    wait = root.read(fd, 100)
    assert isinstance(wait, Blocked)
    root.mkdir("/d/a")
    root.mkdir("/d/" + "b" * 16)
    assert root.ioctl(fd, FIONREAD, b"") == (16 + 16 + 16 + 32).to_bytes(4, "little")
    assert files.entered(root.process.files.get(fd).poll) & POLLIN
    assert len(files.entered(wait.retry)) == 80
    files.entered(wait.cancel)
    root.mkdir("/d/c")
    fails(EINVAL, root.read, fd, 31)
    assert len(root.read(fd, 32)) == 32


def test_the_same_event_again_is_one(files: Files):
    root = files.root
    fd = root.inotify_init1(O_NONBLOCK)
    opened = root.open("/f", O_RDWR | O_CREAT)
    root.inotify_add_watch(fd, "/f", IN_MODIFY)
    for _ in range(5):
        root.write(opened, b"x")
    assert masks(root, fd) == [(1, IN_MODIFY)]


def test_overflow_and_limits(files: Files):
    root = files.root
    for name, value in (("max_queued_events", 3), ("max_watches", 2), ("max_instances", 2)):
        files.kernel.sysctl.set(f"vfs.inotify.{name}", value)
    fd = root.inotify_init1(O_NONBLOCK)
    root.inotify_add_watch(fd, "/", IN_CREATE)
    for number in range(6):
        root.mkdir(f"/{number}")
    found = masks(root, fd)
    assert found == [(1, IN_CREATE | IN_ISDIR)] * 3 + [(-1, IN_Q_OVERFLOW)]
    root.inotify_add_watch(fd, "/1", IN_CREATE)
    fails(ENOSPC, root.inotify_add_watch, fd, "/2", IN_CREATE)
    other = root.inotify_init1()
    fails(EMFILE, root.inotify_init1)
    root.close(fd)
    root.inotify_add_watch(other, "/2", IN_CREATE)
    root.inotify_add_watch(root.inotify_init1(), "/2", IN_CREATE)
    files.entered(files.kernel.exit, root.process)
    assert (files.vfs.events.watches, files.vfs.events.instances) == (0, 0)


@pytest.mark.parametrize("flags", [0, MNT_DETACH, MNT_FORCE])
def test_unmounting(files: Files, flags: int):
    root = files.root
    files.mount(files.vfs.mounts()[0].kind, "/m")
    mount = files.vfs.mounts()[-1]
    root.put("/m/f")
    fd = root.inotify_init1(O_NONBLOCK)
    root.inotify_add_watch(fd, "/m", IN_ALL_EVENTS)
    root.inotify_add_watch(fd, "/m/f", IN_ALL_EVENTS)
    root.unmount("/m", flags)
    assert masks(root, fd) == [(1, IN_UNMOUNT), (1, IN_IGNORED), (2, IN_UNMOUNT), (2, IN_IGNORED)]
    assert mount.finished and mount.references == 0 and files.vfs.events.watches == 0


def test_watches_keep_no_storage(files: Files):
    files.mount("tmpfs", "/m", size=8192)
    root = files.root
    fd = root.inotify_init1(O_NONBLOCK)
    root.put("/m/f", bytes(4096))
    root.inotify_add_watch(fd, "/m/f", IN_DELETE_SELF)
    opened = root.open("/m/f", O_RDWR)
    root.unlink("/m/f")
    assert root.statvfs("/m").f_bfree == 1
    root.close(opened)
    assert root.statvfs("/m").f_bfree == 2
    assert masks(root, fd) == [(1, IN_DELETE_SELF), (1, IN_IGNORED)]


def test_through_a_null_mount(files: Files):
    root = files.root
    root.mkdir("/a")
    files.mount("null", "/n", "/a")
    fd = root.inotify_init1(O_NONBLOCK)
    root.inotify_add_watch(fd, "/n", IN_CREATE)
    root.mkdir("/a/below")
    root.mkdir("/n/above")
    assert masks(root, fd) == [(1, IN_CREATE | IN_ISDIR)] * 2
