"""Block storage in a file or block device of the host."""

import errno
import fcntl
import os
import stat
from typing import Final, final

from ...hyper.block import BlockBackend
from ...hyper.calls import Hypercalls

BLKGETSIZE64: Final = 0x80081272
"""ioctl: the size of a block device in bytes, as 8 bytes in host order (linux/fs.h)."""
BLKROGET: Final = 0x125E
"""ioctl: whether a block device is read-only, as a C int."""


class BackendError(OSError):
    """A file that can't serve as storage; the message names it and says why."""


@final
class FileBackend(BlockBackend):
    """A host file, or a block device, locked against a second user (flock: exclusive, or shared when read-only).

    Calls may take as long as the device does, so each raises RuntimeError in a debug build when it is made on the schedule.
    """

    def __init__(self, hyper: Hypercalls, path: str, read_only: bool = False) -> None:
        """Open `path`.  Raises BackendError with the errno of what went wrong (EBUSY: another process has it)."""
        hyper.assert_unscheduled(f"opening {path}")
        fd = _open(path, read_only)
        try:
            size = _size(fd, path)
            if not read_only and _device_is_read_only(fd):
                raise BackendError(errno.EROFS, "the device is read-only", path)
            _lock(fd, path, read_only)
        except BaseException:
            os.close(fd)
            raise
        super().__init__(size, read_only)
        self.path: str = path
        self._fd: int = fd
        self._hyper: Hypercalls = hyper

    def read(self, offset: int, size: int) -> bytes:
        """Read exactly `size` bytes at `offset`.  Raises EINVAL beyond the end, EIO if the file has shrunk."""
        self._hyper.assert_unscheduled("a block read")
        self._check(offset, size)
        data = os.pread(self._fd, size, offset)
        while len(data) < size:
            more = os.pread(self._fd, size - len(data), offset + len(data))
            if not more:
                raise BackendError(errno.EIO, f"the file ends before byte {offset + size}", self.path)
            data += more
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`.  Raises EINVAL beyond the end, EROFS, EBADF when closed, ENOSPC, EIO."""
        self._hyper.assert_unscheduled("a block write")
        if self.read_only:
            raise BackendError(errno.EROFS, os.strerror(errno.EROFS), self.path)
        self._check(offset, len(data))
        written = os.pwrite(self._fd, data, offset)
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], offset + written)

    def flush(self) -> None:
        """Return once everything is durable (fdatasync)."""
        self._hyper.assert_unscheduled("a block flush")
        if not self.read_only:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file, which gives up the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise BackendError(errno.EINVAL, f"bytes {offset} to {offset + size} are not within {self.size}", self.path)


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


def _lock(fd: int, path: str, read_only: bool) -> None:
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BackendError(errno.EBUSY, "another process or kernel uses it", path) from None
