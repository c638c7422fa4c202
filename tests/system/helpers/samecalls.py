"""The same system calls on a directory of the host and in a kernel of ours, whose results must be the same, errno for errno."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.hostfs.type import Hostfs
from rumpkit.hosts.posix.hostdir import PosixDirectory
from tests.vfs.helpers import COMPONENTS, Client, Files

DEPTH = ("v", "w", "x", "y", "z")
"""Both sides start this far below their root, so that no ".." leaves it."""
AT_EACCESS = 0x200
AT_EMPTY_PATH = 0x1000
F_OFD_GETLK, F_OFD_SETLK = 36, 37
LIBC = ctypes.CDLL(None, use_errno=True)


class Host:
    """The same calls as a kernel's client, on a directory of the host."""

    folds = False

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

    def link_file(self, fd: int, other: str) -> None:
        if LIBC.linkat(fd, b"", self.base, other.encode(), AT_EMPTY_PATH):
            raise OSError(ctypes.get_errno(), "")

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

    folds = False
    """It is a FAT, whose files have neither links nor attributes."""

    def __init__(self, uid: int, where: str = ""):
        """On a tmpfs, or on what a subclass mounts at `where`."""
        self.files = Files(components=(*COMPONENTS, "fat"))
        self.prepare()
        for name in DEPTH:
            where += "/" + name
            self.files.root.mkdir(where, 0o755)
            self.own(where, uid)
        self.client: Client = self.files.process(uid, uid)
        self.client.chdir(where)

    def prepare(self) -> None:
        """Mount what is tested."""

    def own(self, path: str, uid: int) -> None:
        self.files.root.chown(path, uid, uid)

    def finish(self) -> None:
        for client in (self.client, self.files.root):
            client.exit()
        self.files.entered(self.files.vfs.close)

    def fcntl_lock(self, fd: int, command: int, *rest: int) -> Any:
        if command == F_OFD_GETLK and rest[0] == fcntl.F_UNLCK:
            return None
        found = self.client.fcntl_lock(fd, command, *rest)
        return found if found is None else (found.type, found.start, found.length)

    def link_file(self, fd: int, other: str) -> None:
        self.client.link("", other, AT_EMPTY_PATH, fd)

    def flock(self, fd: int, operation: int) -> None:
        assert self.client.flock(fd, operation | fcntl.LOCK_NB) is None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


class OnHostfs(Ours):
    """On a directory of the host."""

    def __init__(self, uid: int, directory: Path):
        self.directory = directory
        self.hostfs = Hostfs()
        super().__init__(uid, "/h")

    def prepare(self) -> None:
        self.files.vfs.types.register(self.hostfs)
        self.hostfs.attach("here", PosixDirectory(self.files.host, str(self.directory)))
        self.files.mount("hostfs", "/h", "here")

    def finish(self) -> None:
        super().finish()
        self.hostfs.close()


class OnDisk(Ours):
    """On a disk that begins as a copy of an image."""

    def __init__(self, user: int, kind: str, image: bytes, **options: Any):
        self.kind = kind
        self.folds = kind == "vfat"
        self.options = options
        self.disk = RamDisk(len(image))
        self.disk.write(0, image)
        super().__init__(user, "/h")

    def prepare(self) -> None:
        self.files.entered(self.files.service("Disks").attach, "disk0", self.disk)
        self.mount()

    def mount(self) -> None:
        self.files.mount(self.kind, "/h", "disk0", **self.options)

    def own(self, path: str, uid: int) -> None:
        if not self.folds:  # which has the owner that the mount says
            super().own(path, uid)

    def again(self, uid: int) -> None:
        """Unmount it, and mount it again: nothing of it is in memory then."""
        self.client.exit()
        self.files.entered(self.files.vfs.unmount, "/h")
        self.mount()
        self.client = self.files.process(uid, uid)
        self.client.chdir("/h/" + "/".join(DEPTH))


def names(side: Any, path: str) -> list[str]:
    """The sorted names in a directory."""
    if isinstance(side, Ours):
        return sorted(name.lower() if side.folds else name for name in side.client.names(path))
    fd = side.open(path, os.O_RDONLY | os.O_DIRECTORY, 0)
    try:
        return sorted(name for name in os.listdir(fd) if name != "lost+found")
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
        if name == "lseek" and arguments[1] == os.SEEK_END and stat.S_ISDIR(os.fstat(expected).st_mode):
            return  # where a directory ends is its file system's matter
        if name == "link_file" and self.host.uid:
            return  # Linux wants the very credentials that the file was opened with, which here come and go
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
