"""The host's kernel judges ours: the same random system calls on a host directory and on a tmpfs, errno for errno."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rumpkit.fs.hostfs.type import Hostfs
from rumpkit.hosts.posix.hostdir import PosixDirectory
from tests.vfs.helpers import Client, Files

DEPTH = ("v", "w", "x", "y", "z")
"""Both sides start this far below their root, so that no ".." leaves it."""
USER = 1000
AT_EACCESS = 0x200
F_OFD_GETLK, F_OFD_SETLK = 36, 37
LIBC = ctypes.CDLL(None, use_errno=True)


class Host:
    """The same calls as a kernel's client, on a directory of the host."""

    def __init__(self, base: Path, uid: int):
        start = base.joinpath(*DEPTH)
        start.mkdir(parents=True)
        for directory in (base, *list(start.parents)[: len(DEPTH)], start):
            os.chown(directory, uid, uid)
            directory.chmod(0o755)
        self.uid = uid
        self.base = os.open(start, os.O_RDONLY)

    @contextmanager
    def user(self) -> Iterator[None]:
        if self.uid:
            os.setegid(self.uid)
            os.seteuid(self.uid)
        try:
            yield
        finally:
            if self.uid:
                os.seteuid(0)
                os.setegid(0)

    def here(self, path: str) -> str:
        """`path` for calls that take no dir_fd."""
        return f"/proc/self/fd/{self.base}/{path}" if path else ""

    def open(self, path: str, flags: int, mode: int) -> int:
        return os.open(path, flags, mode, dir_fd=self.base)

    def rename(self, path: str, other: str, flags: int) -> None:
        if LIBC.renameat2(self.base, path.encode(), self.base, other.encode(), flags):
            raise OSError(ctypes.get_errno(), "")

    def stat(self, path: str) -> Any:
        return os.stat(path, dir_fd=self.base)

    def lstat(self, path: str) -> Any:
        return os.lstat(path, dir_fd=self.base)

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode, dir_fd=self.base)

    def rmdir(self, path: str) -> None:
        os.rmdir(path, dir_fd=self.base)

    def unlink(self, path: str) -> None:
        os.unlink(path, dir_fd=self.base)

    def link(self, path: str, other: str) -> None:
        os.link(path, other, src_dir_fd=self.base, dst_dir_fd=self.base, follow_symlinks=False)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, path, dir_fd=self.base)

    def readlink(self, path: str) -> str:
        return os.readlink(path, dir_fd=self.base)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode, dir_fd=self.base)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(path, uid, gid, dir_fd=self.base)

    def utimens(self, path: str, atime: int, mtime: int) -> None:
        os.utime(path, ns=(atime, mtime), dir_fd=self.base)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self.here(path), size)

    def access(self, path: str, mode: int) -> None:
        if LIBC.faccessat(self.base, path.encode(), mode, AT_EACCESS):
            raise OSError(ctypes.get_errno(), "")

    def mkfifo(self, path: str, mode: int) -> None:
        os.mkfifo(path, mode, dir_fd=self.base)

    def getxattr(self, path: str, name: str, flags: int) -> bytes:
        return os.getxattr(self.here(path), name, follow_symlinks=not flags)

    def setxattr(self, path: str, name: str, value: bytes, flags: int, at_flags: int) -> None:
        os.setxattr(self.here(path), name, value, flags, follow_symlinks=not at_flags)

    def removexattr(self, path: str, name: str, flags: int) -> None:
        os.removexattr(self.here(path), name, follow_symlinks=not flags)

    def listxattr(self, path: str, flags: int) -> list[str]:
        return os.listxattr(self.here(path), follow_symlinks=not flags)

    def fsetxattr(self, fd: int, name: str, value: bytes) -> None:
        os.setxattr(fd, name, value)

    def fgetxattr(self, fd: int, name: str) -> bytes:
        return os.getxattr(fd, name)

    def fcntl_lock(self, fd: int, command: int, kind: int, start: int, length: int, whence: int) -> Any:
        if command == F_OFD_GETLK and kind == fcntl.F_UNLCK:
            return None  # what Linux makes of that depends on its version
        packed = struct.pack("hhqqi4x", kind, whence, start, length, 0)
        found = struct.unpack("hhqqi4x", fcntl.fcntl(fd, command, packed))
        return (found[0], found[2], found[3]) if command == F_OFD_GETLK else None

    def flock(self, fd: int, operation: int) -> None:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)

    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        if LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)):
            raise OSError(ctypes.get_errno(), "")

    close = staticmethod(os.close)
    read = staticmethod(os.read)
    write = staticmethod(os.write)
    pread = staticmethod(os.pread)
    pwrite = staticmethod(os.pwrite)
    lseek = staticmethod(os.lseek)
    ftruncate = staticmethod(os.ftruncate)
    fstat = staticmethod(os.fstat)


class Ours:
    """A kernel's client, whose working directory is as deep."""

    def __init__(self, uid: int, directory: Path | None = None):
        """On a tmpfs, or on a hostfs of `directory`."""
        self.files = Files()
        self.hostfs: Hostfs | None = None
        where = ""
        if directory is not None:
            hostfs = self.hostfs = Hostfs()
            self.files.vfs.types.register(hostfs)
            hostfs.attach("here", PosixDirectory(self.files.host, str(directory)))
            self.files.mount("hostfs", "/h", "here")
            where = "/h"
        for name in DEPTH:
            where += "/" + name
            self.files.root.mkdir(where, 0o755)
            self.files.root.chown(where, uid, uid)
        self.client: Client = self.files.process(uid, uid)
        self.client.chdir(where)

    def finish(self) -> None:
        for client in (self.client, self.files.root):
            client.exit()
        self.files.vfs.close()
        if self.hostfs is not None:
            self.hostfs.close()

    def fcntl_lock(self, fd: int, command: int, *rest: int) -> Any:
        if command == F_OFD_GETLK and rest[0] == fcntl.F_UNLCK:
            return None
        found = self.client.fcntl_lock(fd, command, *rest)
        return found if found is None else (found.type, found.start, found.length)

    def flock(self, fd: int, operation: int) -> None:
        assert self.client.flock(fd, operation | fcntl.LOCK_NB) is None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


def names(side: Any, path: str) -> list[str]:
    """The sorted names in a directory."""
    if isinstance(side, Ours):
        return sorted(side.client.names(path))
    fd = side.open(path, os.O_RDONLY | os.O_DIRECTORY, 0)
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def shown(value: Any) -> Any:
    """The parts of a result that both sides must agree on."""
    if isinstance(value, list):
        return sorted(value)
    if not hasattr(value, "st_mode"):
        return value
    directory = stat.S_ISDIR(value.st_mode)
    return (
        oct(value.st_mode),
        value.st_nlink,
        value.st_uid,
        value.st_gid,
        -1 if directory else value.st_size,
        directory or (value.st_mtime_ns < 10**15 and value.st_mtime_ns),  # only times that utimens set
    )


class Run:
    """The same operations on both sides."""

    def __init__(self, ours: Ours, host: Host):
        self.ours = ours
        self.host = host
        self.open: list[tuple[int, int]] = []
        self.log: list[str] = []

    def both(self, name: str, *arguments: Any) -> None:
        self.compare(
            f"{name}{arguments}",
            lambda: getattr(self.ours, name)(*arguments),
            lambda: getattr(self.host, name)(*arguments),
        )

    def compare(self, text: str, mine: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[Any, Any]:
        with self.host.user():
            expected = _outcome(theirs)
        found = _outcome(mine)
        self.log.append(f"{text} = {found}")
        assert shown(found) == shown(expected), "\n".join([*self.log, f"the host says {expected}"])
        return found, expected

    def open_file(self, path: str, flags: int, mode: int) -> None:
        with self.host.user():
            expected = _outcome(lambda: self.host.open(path, flags, mode))
        found = _outcome(lambda: self.ours.open(path, flags, mode))
        self.log.append(f"open({path!r}, {flags:#o}, {mode:#o}) = {found}")
        if isinstance(expected, int) and isinstance(found, int):
            self.open.append((found, expected))
        else:
            assert found == expected, "\n".join([*self.log, f"the host says {expected}"])

    def on_file(self, which: int, name: str, *arguments: Any) -> None:
        if not self.open:
            return
        found, expected = self.open[which % len(self.open)]
        self.compare(
            f"{name}({found}, {arguments})",
            lambda: getattr(self.ours, name)(found, *arguments),
            lambda: getattr(self.host, name)(expected, *arguments),
        )
        if name == "close":
            self.open.pop(which % len(self.open))

    def list(self, path: str) -> None:
        self.compare(f"names({path!r})", lambda: names(self.ours, path), lambda: names(self.host, path))


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]


NAMES = st.sampled_from(["a", "b", "c", "d", "a", "b", ".", "..", "é", "n" * 255, "n" * 256])
SIMPLE = st.sampled_from(["a", "b", "c", "a/b", "b/a", "a/a", "a/b/c", "c/a"])
ODD = st.builds(
    lambda parts, joint, end: joint.join(parts) + end,
    st.lists(NAMES, min_size=0, max_size=3),
    st.sampled_from(["/", "/", "//"]),
    st.sampled_from(["", "", "", "/", "/.", "/.."]),
).filter(lambda path: not path.startswith("/"))
PATHS = st.one_of(SIMPLE, SIMPLE, SIMPLE, ODD)
MODES = st.sampled_from([0o777, 0o644, 0o600, 0o700, 0o000, 0o111, 0o4755, 0o2755, 0o1777, 0o2644])
FLAGS = st.builds(
    lambda access, more: access | sum(set(more)),
    st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]),
    st.lists(
        st.sampled_from(
            [
                os.O_CREAT,
                os.O_CREAT,
                os.O_EXCL,
                os.O_TRUNC,
                os.O_APPEND,
                os.O_DIRECTORY,
                os.O_NOFOLLOW,
                os.O_NONBLOCK,
                os.O_PATH,
            ]
        )
    ),
).filter(lambda flags: flags & (os.O_CREAT | os.O_DIRECTORY) != os.O_CREAT | os.O_DIRECTORY)
"""Linux changed its mind about O_CREAT with O_DIRECTORY in version 6.4."""
OFFSETS = st.integers(-2, 300) | st.sampled_from([4095, 65536, 200_000])
DATA = st.binary(max_size=40)
FILE = st.integers(0, 20)


XATTRS = st.sampled_from(
    [
        "user.a",
        "user.a",
        "user.b",
        "user.",
        "trusted.a",
        "security.a",
        "system.a",
        "odd.a",
        "a",
        "",
        "user." + "n" * 251,
    ]
)
VALUES = st.sampled_from([b"", b"x", b"some value"])
AT_FLAGS = st.sampled_from([0, 0, 256])
TAGS = st.sampled_from([1, 2, 4, 8, 16, 32])
IDS = st.sampled_from([0, USER, 1001, 0xFFFFFFFF])


def acl(user: int, entries: list[tuple[int, int, int]], group: int, mask: int, other: int) -> bytes:
    """A list with some named entries.  Its mask denies nothing to the owning group alone: where all group bits of the mode
    are clear Linux takes "other" for everybody but the owner, against acl(5)."""
    rows = [(1, user, 0xFFFFFFFF), *sorted(row for row in entries if row[0] == 2), (4, group, 0xFFFFFFFF)]
    rows += sorted(row for row in entries if row[0] == 8)
    if mask >= 0:
        rows.append((16, mask, 0xFFFFFFFF))
    return packed([*rows, (32, other, 0xFFFFFFFF)])


def packed(rows: list[tuple[int, int, int]], version: int = 2) -> bytes:
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *row) for row in rows)


BITS = st.integers(0, 7)
NAMED = st.lists(st.tuples(st.sampled_from([2, 8]), BITS, st.sampled_from([USER, 1001])), max_size=3)
ACLS = st.one_of(
    st.builds(acl, BITS, NAMED, BITS, st.integers(1, 7), BITS),
    st.builds(acl, BITS, NAMED, BITS, st.integers(1, 7), BITS),
    st.builds(acl, BITS, NAMED, st.integers(1, 7), st.just(-1), BITS),
    st.builds(packed, st.lists(st.tuples(TAGS, st.integers(0, 8), IDS), max_size=5), st.sampled_from([2, 2, 2, 1])),
    st.binary(max_size=20),
)
LOCK_COMMANDS = st.sampled_from([F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLK])
KINDS = st.sampled_from([0, 1, 2, 0, 1, 2, 5])
ACL_NAMES = st.sampled_from(["system.posix_acl_access", "system.posix_acl_default"])


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just("both"), st.tuples(st.just(name), *arguments))


def on_file(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just("on_file"), st.tuples(FILE, st.just(name), *arguments))


STEPS = st.one_of(
    st.tuples(st.just("open_file"), st.tuples(PATHS, FLAGS, MODES)),
    st.tuples(st.just("open_file"), st.tuples(PATHS, st.just(os.O_RDWR | os.O_CREAT), st.just(0o666))),
    step("mkdir", PATHS, st.just(0o777) | MODES),
    step("mkdir", SIMPLE, st.just(0o777)),
    step("rmdir", PATHS),
    step("unlink", PATHS),
    step("rename", PATHS, PATHS, st.sampled_from([0, 0, 0, 1, 2, 3])),
    step("rename", SIMPLE, SIMPLE, st.just(0)),
    step("link", PATHS, PATHS),
    step("symlink", PATHS, PATHS),
    step("readlink", PATHS),
    step("stat", PATHS),
    step("lstat", PATHS),
    step("chmod", PATHS, MODES),
    step("chown", PATHS, st.sampled_from([-1, 0, USER]), st.sampled_from([-1, 0, USER])),
    step("utimens", PATHS, st.integers(0, 10**14), st.integers(0, 10**14)),
    step("truncate", PATHS, OFFSETS),
    step("access", PATHS, st.integers(0, 7)),
    step("mkfifo", PATHS, MODES),
    step("setxattr", PATHS, XATTRS, VALUES, st.integers(0, 4), AT_FLAGS),
    step("setxattr", SIMPLE, st.just("user.a"), VALUES, st.just(0), AT_FLAGS),
    step("getxattr", PATHS, XATTRS | ACL_NAMES, AT_FLAGS),
    step("listxattr", SIMPLE, AT_FLAGS),
    step("removexattr", PATHS, XATTRS | ACL_NAMES, AT_FLAGS),
    step("setxattr", SIMPLE, ACL_NAMES, ACLS, st.integers(0, 2), AT_FLAGS),
    st.tuples(st.just("list"), st.tuples(PATHS)),
    on_file("close"),
    on_file("fstat"),
    on_file("read", st.integers(0, 100)),
    on_file("write", DATA),
    on_file("pread", st.integers(0, 100), OFFSETS),
    on_file("pwrite", DATA, OFFSETS),
    on_file("lseek", OFFSETS, st.integers(-1, 2)),
    on_file("ftruncate", OFFSETS),
    on_file("fsetxattr", XATTRS, VALUES),
    on_file("fgetxattr", XATTRS),
    on_file("flock", st.sampled_from([1, 2, 8, 1, 2, 8, 3])),
    on_file("fcntl_lock", LOCK_COMMANDS, KINDS, OFFSETS, st.integers(-9, 90), st.integers(0, 2)),
    on_file("fcntl_lock", LOCK_COMMANDS, KINDS, st.integers(0, 9), st.integers(0, 9), st.just(0)),
    on_file("fallocate", st.sampled_from([0, 1, 3, 3, 2, 64]), OFFSETS, OFFSETS),
)


PRELUDE = [
    ("both", ("mkdir", "a", 0o777)),
    ("both", ("mkdir", "b", 0o777)),
    ("both", ("mkdir", "a/b", 0o700)),
    ("open_file", ("a/a", os.O_RDWR | os.O_CREAT, 0o666)),
    ("on_file", (0, "write", b"some text")),
    ("both", ("symlink", "a", "c")),
    ("both", ("symlink", "../a/a", "b/a")),
]
"""So that the random calls find something."""


def _is_fifo(run: Run, path: str) -> bool:
    """Whether opening `path` would wait for the other end."""
    try:
        return stat.S_ISFIFO(run.host.stat(path).st_mode)
    except OSError:
        return False


def _same(uid: int, steps: list[Any], hostfs: bool) -> None:
    base = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    old_mask = os.umask(0o022)
    run = None
    try:
        for name in ("host", "ours"):
            (base / name).mkdir()
        run = Run(Ours(uid, base / "ours" if hostfs else None), Host(base / "host", uid))
        for name, arguments in PRELUDE + steps:
            if name == "open_file" and not arguments[1] & os.O_NONBLOCK and _is_fifo(run, arguments[0]):
                continue
            getattr(run, name)(*arguments)
    finally:
        os.umask(old_mask)
        if run is not None:
            for _, fd in run.open:
                os.close(fd)
            os.close(run.host.base)
            run.ours.finish()
        shutil.rmtree(base, ignore_errors=True)


@pytest.mark.needs("root")
@pytest.mark.parametrize("uid", [0, USER])
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=60))
def test_same_calls_have_the_same_outcome(uid: int, steps: list[Any]) -> None:
    _same(uid, steps, hostfs=False)


def _reaches_the_host(step: Any) -> bool:
    """Whether hostfs hands a step on: neither set-user-ID bits nor attributes that mean something to the host."""
    name, arguments = step
    if name == "on_file":
        arguments = arguments[1:]
    texts = [argument for argument in arguments if isinstance(argument, str)]
    if any(text.startswith(("trusted", "security", "system")) for text in texts):
        return False
    called = arguments[0] if name in ("both", "on_file") else name
    numbers = arguments[-1:] if called in ("mkdir", "mkfifo", "chmod", "open_file") else ()
    return not any(number & 0o7000 for number in numbers)


@pytest.mark.needs("root")
@pytest.mark.parametrize("uid", [0, USER])
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=50)
@given(steps=st.lists(STEPS.filter(_reaches_the_host), max_size=60))
def test_a_host_directory_is_like_a_host_directory(uid: int, steps: list[Any]) -> None:
    _same(uid, steps, hostfs=True)
