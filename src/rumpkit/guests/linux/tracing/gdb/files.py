"""vFile packets: gdb reads the program and its libraries as the program itself would find them ("Host I/O Packets" of gdb's manual).

Beside `session`.  Files are opened below the program's root, to be read and for nothing else.
"""

import os
import stat
from collections.abc import Callable
from errno import EACCES, EBADF, EINVAL, EMFILE
from struct import Struct
from typing import Final, final

from ... import libc
from .packets import MAX_PACKET, escape

MAX_OPEN: Final = 64
_OPENAT2: Final = 437
_HOW: Final = Struct("<QQQ")
_RESOLVE_IN_ROOT: Final = 0x10
_STAT: Final = Struct(">IIIIIIIQQQIII")
"""gdb's struct stat: device, inode, mode, links, user, group, rdev, size, block size, blocks, three times."""


@final
class Files:
    """Those that gdb has opened."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._open: set[int] = set()

    def answer(self, data: bytes) -> bytes:
        """Do what a packet says behind "vFile:"."""
        name, _, rest = data.partition(b":")
        operation = _OPERATIONS.get(name)
        if operation is None:
            return b""
        try:
            return operation(self, rest)
        except OSError as problem:
            return b"F-1,%x" % (problem.errno or EINVAL)

    def set_root(self, rest: bytes) -> bytes:
        """setfs: all names are the program's."""
        return b"F0"

    def open(self, rest: bytes) -> bytes:
        """open: NAME,FLAGS,MODE."""
        name, flags, _ = rest.split(b",")
        if int(flags, 16) & 3:
            raise OSError(EACCES, "read-only")
        if len(self._open) >= MAX_OPEN:
            raise OSError(EMFILE, "too many files")
        fd = self._find(bytes.fromhex(name.decode()))
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(EACCES, "not a file")
        self._open.add(fd)
        return b"F%x" % fd

    def _find(self, name: bytes) -> int:
        """Open below the program's root, wherever links lead.  Raises OSError."""
        import ctypes

        root = os.open(f"/proc/{self._process}/root", os.O_PATH | os.O_CLOEXEC)
        try:
            how = _HOW.pack(os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, 0, _RESOLVE_IN_ROOT)
            fd: int = libc.library().syscall(
                ctypes.c_long(_OPENAT2), ctypes.c_long(root), name, how, ctypes.c_long(_HOW.size)
            )
            if fd < 0:
                raise libc.failed("openat2")
            return fd
        finally:
            os.close(root)

    def close_one(self, rest: bytes) -> bytes:
        """close: FD."""
        fd = self._known(rest)
        self._open.discard(fd)
        os.close(fd)
        return b"F0"

    def _known(self, word: bytes) -> int:
        fd = int(word, 16)
        if fd not in self._open:
            raise OSError(EBADF, "not open")
        return fd

    def read(self, rest: bytes) -> bytes:
        """pread: FD,COUNT,OFFSET."""
        fd, count, offset = rest.split(b",")
        data = os.pread(self._known(fd), min(int(count, 16), MAX_PACKET // 4), int(offset, 16))
        return b"F%x;" % len(data) + escape(data)

    def status(self, rest: bytes) -> bytes:
        """fstat: FD."""
        found = os.fstat(self._known(rest))
        low = 0xFFFFFFFF
        data = _STAT.pack(
            found.st_dev & low,
            found.st_ino & low,
            found.st_mode,
            found.st_nlink & low,
            found.st_uid,
            found.st_gid,
            found.st_rdev & low,
            found.st_size,
            found.st_blksize,
            found.st_blocks,
            *(int(when) & low for when in (found.st_atime, found.st_mtime, found.st_ctime)),
        )
        return b"F%x;" % len(data) + escape(data)

    def close(self) -> None:
        """Let go of all."""
        while self._open:
            os.close(self._open.pop())


_OPERATIONS: Final[dict[bytes, Callable[[Files, bytes], bytes]]] = {
    b"setfs": Files.set_root,
    b"open": Files.open,
    b"close": Files.close_one,
    b"pread": Files.read,
    b"fstat": Files.status,
}
