"""The host's kernel judges our inotify: the same calls there and on file systems of ours give the same events in the same order."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpkit.kern.abi.inotify import IN_ALL_EVENTS, IN_EXCL_UNLINK, IN_MODIFY, IN_ONESHOT
from tests.vfs.helpers import Files

LIBC = ctypes.CDLL(None, use_errno=True)
Event = tuple[int, int, int, str]


class Host:
    """Calls of the host on paths in a directory."""

    def __init__(self, base: Path) -> None:
        self.base = str(base)

    def path(self, path: str) -> str:
        return self.base + path

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        return os.open(self.path(path), flags, mode)

    def rename(self, path: str, other: str, flags: int = 0) -> None:
        assert LIBC.renameat2(-100, self.path(path).encode(), -100, self.path(other).encode(), flags) == 0

    def link(self, path: str, other: str) -> None:
        os.link(self.path(path), self.path(other))

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, self.path(path))

    def utimens(self, path: str, atime: int, mtime: int) -> None:
        os.utime(self.path(path), ns=(atime, mtime))

    def list(self, path: str) -> None:
        os.listdir(self.path(path))

    def inotify_init1(self, flags: int) -> int:
        return int(LIBC.inotify_init1(flags))

    def inotify_add_watch(self, fd: int, path: str, mask: int) -> int:
        return int(LIBC.inotify_add_watch(fd, self.path(path).encode(), mask))

    def inotify_rm_watch(self, fd: int, watch: int) -> None:
        assert LIBC.inotify_rm_watch(fd, watch) == 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(os, name)
        return lambda first, *rest: call(self.path(first) if isinstance(first, str) else first, *rest)


class Ours:
    """The same, of a kernel."""

    def __init__(self, kind: str = "tmpfs") -> None:
        self.client = Files(root=kind).root

    def list(self, path: str) -> None:
        fd = self.client.open(path, os.O_RDONLY | os.O_DIRECTORY)
        while self.client.readdir(fd):
            pass
        self.client.close(fd)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


def drain(side: Any, fd: int) -> list[Event]:
    """All events that wait, with cookies numbered as they come."""
    cookies: dict[int, int] = {0: 0}
    events: list[Event] = []
    while True:
        try:
            data = side.read(fd, 4096)
        except BlockingIOError:
            return events
        while data:
            number, mask, cookie, length = struct.unpack_from("<iIII", data)
            assert length % 16 == 0
            name = data[16 : 16 + length].rstrip(b"\0").decode()
            events.append((number, mask, cookies.setdefault(cookie, len(cookies)), name))
            data = data[16 + length :]


def run(side: Any, watches: dict[str, int]) -> list[list[Event]]:
    """What each step tells; the watches are there from the start."""
    side.mkdir("/d", 0o755)
    side.mkdir("/e", 0o755)
    for path in ("/d/f", "/e/over", "/outside"):
        side.close(side.open(path, os.O_CREAT | os.O_WRONLY))
    fd = side.inotify_init1(os.O_NONBLOCK)
    for path, mask in watches.items():
        assert side.inotify_add_watch(fd, path, mask) > 0
    found: list[list[Event]] = []
    opened = 0

    def step(name: str, *arguments: Any) -> Any:
        result = getattr(side, name)(*arguments)
        found.append([(0, 0, 0, name), *drain(side, fd)])
        return result

    opened = step("open", "/d/f", os.O_RDWR)
    step("read", opened, 9)
    step("write", opened, b"data")
    step("write", opened, b"more")
    step("pread", opened, 3, 0)
    step("fchmod", opened, 0o600)
    step("ftruncate", opened, 2)
    step("close", opened)
    step("close", step("open", "/d/new", os.O_CREAT | os.O_EXCL | os.O_RDWR))
    step("close", step("open", "/d/f", os.O_RDONLY))
    step("close", step("open", "/d/f", os.O_WRONLY | os.O_TRUNC))
    step("chmod", "/d/f", 0o644)
    step("chown", "/d/f", -1, -1)
    step("chown", "/d/f", 0, -1)
    step("utimens", "/d/f", 5, 5)
    step("truncate", "/d/f", 7)
    step("setxattr", "/d/f", "trusted.a", b"")
    step("removexattr", "/d/f", "trusted.a")
    step("mkdir", "/d/sub", 0o755)
    step("list", "/d")
    step("list", "/d/sub")
    step("symlink", "nowhere", "/d/l")
    step("link", "/d/f", "/d/second")
    step("link", "/d/f", "/outside2")
    step("rename", "/d/new", "/d/newer")
    step("rename", "/d/newer", "/e/moved")
    step("rename", "/e/moved", "/e/over")
    step("rename", "/d/sub", "/e/sub")
    step("rename", "/d/f", "/e/over", 2)
    step("rename", "/d/f", "/e/over", 2)
    step("chmod", "/d", 0o700)
    step("chmod", "/e/sub", 0o700)
    step("rmdir", "/e/sub")
    step("unlink", "/d/l")
    step("unlink", "/d/second")
    opened = step("open", "/d/f", os.O_RDWR)
    step("unlink", "/outside2")
    step("unlink", "/d/f")
    step("write", opened, b"unlinked")
    step("close", opened)
    step("unlink", "/e/over")
    step("rmdir", "/e")
    if "/d" in watches:
        step("inotify_rm_watch", fd, 1)
    side.close(fd)
    return found


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    "watches",
    [
        {"/d": IN_ALL_EVENTS},
        {"/d/f": IN_ALL_EVENTS, "/e/over": IN_ALL_EVENTS},
        {"/d": IN_ALL_EVENTS, "/d/f": IN_ALL_EVENTS, "/e": IN_ALL_EVENTS, "/e/over": IN_ALL_EVENTS},
        {"/d": IN_ALL_EVENTS | IN_EXCL_UNLINK, "/e": IN_MODIFY},
    ],
    ids=["directory", "files", "both", "excl_unlink"],
)
@pytest.mark.parametrize("kind", ["tmpfs", "ext2", "ext4"])
def test_same_events(kind: str, watches: dict[str, int], tmp_path: Path) -> None:
    base = Path("/dev/shm" if os.path.isdir("/dev/shm") else tmp_path) / f"events-{os.getpid()}"
    base.mkdir()
    try:
        expected = run(Host(base), watches)
    finally:
        os.system(f"rm -r {base}")
    assert run(Ours(kind), watches) == expected


@pytest.mark.needs("root")
def test_once(tmp_path: Path) -> None:
    def once(side: Any) -> list[Event]:
        side.mkdir("/d", 0o755)
        fd = side.inotify_init1(os.O_NONBLOCK)
        side.inotify_add_watch(fd, "/d", IN_ALL_EVENTS | IN_ONESHOT)
        side.mkdir("/d/a", 0o755)
        side.mkdir("/d/b", 0o755)
        found = drain(side, fd)
        found.append((side.inotify_add_watch(fd, "/d", IN_MODIFY), 0, 0, ""))
        side.close(fd)
        return found

    assert once(Ours()) == once(Host(tmp_path))
