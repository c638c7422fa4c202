"""Hammers files and names in two directories with the same random calls, and stops at the first difference.

    python fsx.py DIRECTORY REFERENCE SEED COUNT [data]

With "data" it does only what a file system without owners, modes and holes can do: everything with one file's contents.
A process of its own, as it maps files: the process that serves a mount must not.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import random
import sys
from collections.abc import Callable
from typing import Any

SIZE = 300_000
"""How long a file becomes, about."""
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE = 1, 2, 0x10
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


def libc() -> Any:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return library


LIBC = libc()


def checked(result: int) -> int:
    import ctypes

    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


class Side:
    """One of the two directories: an open file in it, and names."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.fd = os.open(directory + "/file", os.O_RDWR | os.O_CREAT, 0o644)

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}"

    # Data --------------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes) -> int:
        return os.pwrite(self.fd, data, offset)

    def append(self, data: bytes) -> int:
        fd = os.open(self.path("file"), os.O_WRONLY | os.O_APPEND)
        try:
            return os.write(fd, data)
        finally:
            os.close(fd)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.fd, size, offset)

    def truncate(self, size: int) -> None:
        os.truncate(self.path("file") if size % 2 else self.fd, size)

    def reopen(self, flags: int) -> None:
        os.close(self.fd)
        self.fd = os.open(self.path("file"), os.O_RDWR | flags)

    def drop(self) -> None:
        """Forget cached pages, so that reads go to the file system."""
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def map_write(self, offset: int, data: bytes) -> None:
        size = os.fstat(self.fd).st_size
        if offset + len(data) <= size:
            with mmap.mmap(self.fd, size) as mapped:
                mapped[offset : offset + len(data)] = data
                if offset % 3 == 0:
                    mapped.flush()

    def map_read(self, offset: int, size: int) -> bytes:
        end = os.fstat(self.fd).st_size
        if not end:
            return b""
        with mmap.mmap(self.fd, end, prot=mmap.PROT_READ) as mapped:
            return mapped[offset : offset + size]

    def fallocate(self, mode: int, offset: int, length: int) -> int:
        try:
            return checked(LIBC.fallocate(self.fd, mode, offset, length))
        except OSError as problem:
            if problem.errno != errno.EOPNOTSUPP or mode != FALLOC_FL_ZERO_RANGE:
                raise
        os.pwrite(self.fd, bytes(length), offset)  # Linux's tmpfs has no such mode
        return 0

    def copy(self, offset: int, size: int, to: int) -> int:
        if offset < to + size and to < offset + size:
            return 0
        done = 0
        while done < size:
            step = os.copy_file_range(self.fd, self.fd, size - done, offset + done, to + done)
            if not step:
                break
            done += step
        return done

    def data(self, offset: int) -> bytes:
        """What is read through SEEK_DATA and SEEK_HOLE: holes may be reported as data, but nothing else."""
        size = os.fstat(self.fd).st_size
        found = bytearray(size)
        place = offset
        while place < size:
            try:
                start = os.lseek(self.fd, place, os.SEEK_DATA)
            except OSError as problem:
                if problem.errno != errno.ENXIO:
                    raise
                break
            place = os.lseek(self.fd, start, os.SEEK_HOLE)
            found[start:place] = os.pread(self.fd, place - start, start)
        return bytes(found[offset:])

    # Names -------------------------------------------------------------------------------------------------

    def make(self, name: str, mode: int) -> None:
        os.close(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def mkdir(self, name: str) -> None:
        os.mkdir(self.path(name))

    def rename(self, name: str, other: str, flags: int) -> int:
        a, b = self.path(name).encode(), self.path(other).encode()
        return checked(LIBC.renameat2(-100, a, -100, b, flags))

    def unlink(self, name: str) -> None:
        os.unlink(self.path(name))

    def rmdir(self, name: str) -> None:
        os.rmdir(self.path(name))

    def link(self, name: str, other: str) -> None:
        os.link(self.path(name), self.path(other), follow_symlinks=False)

    def symlink(self, name: str, target: str) -> str:
        os.symlink(target, self.path(name))
        return os.readlink(self.path(name))

    def chmod(self, name: str, mode: int) -> None:
        os.chmod(self.path(name), mode)

    def utime(self, name: str, ns: tuple[int, int]) -> None:
        os.utime(self.path(name), ns=ns)

    def lock(self, name: str) -> None:
        with open(self.path(name), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def stat(self, name: str) -> tuple[int, ...]:
        found = os.lstat(self.path(name))
        directory = found.st_mode & 0o170000 == 0o040000
        return (found.st_mode, found.st_nlink, 0 if directory else found.st_size, found.st_uid, found.st_gid)

    def tree(self) -> list[tuple[Any, ...]]:
        lines: list[tuple[Any, ...]] = []
        for directory, names, files in os.walk(self.directory):
            for name in [*names, *files]:
                path = os.path.relpath(os.path.join(directory, name), self.directory)
                lines.append((path, *self.stat(path)))
        return sorted(lines)


def outcome(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return call(*arguments)
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, problem.errno)


NAMES = ("a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "e/d", "s")


DATA = ("write", "append", "read", "truncate", "reopen", "drop", "map_write", "map_read", "copy", "data")


def plain(call: str, arguments: tuple[Any, ...]) -> bool:
    """Whether any file system can do it."""
    return call in DATA or (call == "fallocate" and arguments[0] == 0)


def choose(chance: random.Random) -> tuple[str, tuple[Any, ...]]:
    """One call and its arguments."""
    offset, size = chance.randrange(SIZE), chance.choice((1, 100, 4096, 5000, 65536, 100_000))
    name, other = chance.choice(NAMES), chance.choice(NAMES)
    data = chance.randbytes(1) * size
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("write", (offset, data)),
        ("write", (offset & -4096, data)),
        ("append", (data,)),
        ("read", (offset, size)),
        ("read", (0, SIZE * 2)),
        ("truncate", (chance.choice((0, offset, SIZE)),)),
        ("reopen", (chance.choice((0, 0, 0, os.O_TRUNC)),)),
        ("drop", ()),
        ("map_write", (offset, data)),
        ("map_read", (offset, size)),
        ("fallocate", (chance.choice((0, FALLOC_FL_KEEP_SIZE)), offset, size)),
        ("fallocate", (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size)),
        ("fallocate", (FALLOC_FL_ZERO_RANGE, offset, size)),
        ("copy", (offset, size, chance.randrange(SIZE))),
        ("data", (offset,)),
        ("make", (name, chance.choice((0o644, 0o400, 0o4755)))),
        ("mkdir", (name,)),
        ("mkdir", (other,)),
        ("rename", (name, other, chance.choice((0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE)))),
        ("rename", ("file", "file", 0)),
        ("unlink", (name,)),
        ("rmdir", (name,)),
        ("link", (name, other)),
        ("symlink", (name, other)),
        ("chmod", (name, chance.choice((0o600, 0o755, 0o2711)))),
        ("utime", (name, (chance.randrange(1 << 40), chance.randrange(1 << 40)))),
        ("lock", (name,)),
        ("stat", (name,)),
        ("stat", ("file",)),
    ]
    return chance.choice(calls)


def main() -> int:
    ours, reference = Side(sys.argv[1]), Side(sys.argv[2])
    chance = random.Random(int(sys.argv[3]))
    data_only = sys.argv[5:] == ["data"]
    done: list[str] = []
    for number in range(int(sys.argv[4])):
        call, arguments = choose(chance)
        while data_only and not plain(call, arguments):
            call, arguments = choose(chance)
        short = [argument[:1] + b"..." if isinstance(argument, bytes) else argument for argument in arguments]
        done.append(f"{call}{tuple(short)}")
        got = outcome(getattr(ours, call), arguments)
        expected = outcome(getattr(reference, call), arguments)
        if got != expected:
            print(*done[-20:], sep="\n")
            print(f"call {number}: got {str(got)[:200]!r}, and the reference {str(expected)[:200]!r}")
            return 1
        if number % 50 == 0 and not data_only and ours.tree() != reference.tree():
            print(*done[-50:], sep="\n")
            print(f"after call {number}: {set(ours.tree()) ^ set(reference.tree())}")
            return 1
    ours.drop()
    return 0 if ours.read(0, SIZE * 4) == reference.read(0, SIZE * 4) else 1


if __name__ == "__main__":
    sys.exit(main())
