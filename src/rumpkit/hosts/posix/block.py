"""Block storage in a file or block device of the host."""

import errno
import fcntl
import os
import stat
from typing import Final, final

from ...hyper.block import BlockBackend
from ...hyper.calls import Hypercalls
from .filelock import is_at, lock

BLKGETSIZE64: Final = 0x80081272
"""ioctl: the size of a block device in bytes, as 8 bytes in host order (linux/fs.h)."""
BLKROGET: Final = 0x125E
"""ioctl: whether a block device is read-only, as a C int."""


OPEN_TRIES: Final = 100
"""How often a file is opened whose name belongs to another one once it is locked."""


class BackendError(OSError):
    """A file that can't serve as storage; the message names it and says why."""


@final
class FileBackend(BlockBackend):
    """A host file, or a block device, locked against a second user (flock: exclusive, or shared when read-only).

    Calls may take as long as the device does, so each raises RuntimeError in a debug build when it is made on the schedule.
    """

    def __init__(self, hyper: Hypercalls, path: str, read_only: bool = False) -> None:
        """Open `path`; to write, after finishing what a transaction that was interrupted had committed (redo.py).

        Raises BackendError with the errno of what went wrong (EBUSY: somebody else has it).
        """
        hyper.assert_unscheduled(f"opening {path}")
        fd = _open_locked(path, read_only)
        try:
            size = _size(fd, path)
            if not read_only:
                _recover(fd, path)
        except BaseException:
            os.close(fd)
            raise
        super().__init__(size, read_only)
        self.shares_flush = True
        self.path: str = path
        self._fd: int = fd
        self._hyper: Hypercalls = hyper
        self._through: int = getattr(os, "RWF_DSYNC", 0)
        """pwritev's flag for durable writes; 0 where the host has none."""

    def read(self, offset: int, size: int) -> bytes:
        """Read exactly `size` bytes at `offset`.  Raises EINVAL beyond the end, EIO if the file has shrunk."""
        self._hyper.assert_unscheduled("a block read")
        self._check(offset, size)
        data = os.pread(self._fd, size, offset)
        return data if len(data) == size else self._read_rest(data, offset, size)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`.  Raises EINVAL beyond the end, EROFS, EBADF when closed, ENOSPC, EIO."""
        self._hyper.assert_unscheduled("a block write")
        if self.read_only:
            raise BackendError(errno.EROFS, os.strerror(errno.EROFS), self.path)
        self._check(offset, len(data))
        write_all(self._fd, data, offset)

    def write_durable(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`, durably (pwritev2 with RWF_DSYNC; else fdatasync).  Raises as `write`."""
        self._hyper.assert_unscheduled("a block write")
        if self.read_only:
            raise BackendError(errno.EROFS, os.strerror(errno.EROFS), self.path)
        self._check(offset, len(data))
        if self._through:
            try:
                if os.pwritev(self._fd, [data], offset, self._through) == len(data):
                    return
            except OSError as problem:
                if problem.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                    raise
                self._through = 0
        write_all(self._fd, data, offset)
        os.fdatasync(self._fd)

    def flush(self) -> None:
        """Return once everything is durable (fdatasync)."""
        self._hyper.assert_unscheduled("a block flush")
        if not self.read_only:
            os.fdatasync(self._fd)

    def discard(self, offset: int, size: int) -> bool:
        """Punch a hole.  False where the host can't.  Raises EINVAL, EROFS."""
        self._hyper.assert_unscheduled("a block discard")
        if self.read_only:
            raise BackendError(errno.EROFS, os.strerror(errno.EROFS), self.path)
        self._check(offset, size)
        from .allocate import punch

        return not size or punch(self._fd, offset, size)

    def fileno(self) -> int:
        """The open file, for who moves data without reading it."""
        return self._fd

    def close(self) -> None:
        """Close the file, which gives up the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read_rest(self, data: bytes, offset: int, size: int) -> bytes:
        """The host gave less than was asked for: a signal, a limit of its own, or the file's end."""
        parts, have = [data], len(data)
        while have < size:
            more = os.pread(self._fd, size - have, offset + have)
            if not more:
                raise BackendError(errno.EIO, f"the file ends before byte {offset + size}", self.path)
            parts.append(more)
            have += len(more)
        return b"".join(parts)

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise BackendError(errno.EINVAL, f"bytes {offset} to {offset + size} are not within {self.size}", self.path)


def _open_locked(path: str, read_only: bool) -> int:
    """Open and lock what `path` leads to, once it has its lock: a transaction may just have put another file there (replacement.py)."""
    for _ in range(OPEN_TRIES):
        fd = _open(path, read_only)
        try:
            _size(fd, path)  # before the lock: whether it is storage at all
            if not read_only and _device_is_read_only(fd):
                raise BackendError(errno.EROFS, "the device is read-only", path)
            who = lock(fd, not read_only)
            if who:
                raise BackendError(errno.EBUSY, f"{who} uses it", path)
            if is_at(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise BackendError(errno.EBUSY, "it is replaced by other files all the time", path)


def _open(path: str, read_only: bool) -> int:
    try:
        return os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    except OSError as error:
        number = error.errno or errno.EIO
        raise BackendError(number, os.strerror(number), path) from None


def _size(fd: int, path: str) -> int:
    """The size in bytes; of block devices too, whose st_size is 0."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return os.fstat(fd).st_size
    if stat.S_ISBLK(mode):
        answer = fcntl.ioctl(fd, BLKGETSIZE64, bytes(8))
        return int.from_bytes(answer, "little")
    raise BackendError(errno.ENOTBLK, "neither a file nor a block device", path)


def _device_is_read_only(fd: int) -> bool:
    if not stat.S_ISBLK(os.fstat(fd).st_mode):
        return False
    return fcntl.ioctl(fd, BLKROGET, bytes(4)) != bytes(4)


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, in as many calls as the host wants.  Raises OSError."""
    written = os.pwrite(fd, data, offset)
    if written == len(data):
        return
    view = memoryview(data)
    while written < len(data):
        count = os.pwrite(fd, view[written:], offset + written)
        if not count:
            raise OSError(errno.EIO, "nothing more could be written")
        written += count


def _recover(fd: int, path: str) -> None:
    from .redo import recover

    recover(fd, path)
