"""The redo log of an image: changes gather in a file beside it, and are brought to it all at once or not at all.

The log of `disk.img` has no name until it is committed (O_TMPFILE; where the file system lacks that, its name says that it is
open), so that a process that is killed leaves nothing behind.  Changed bytes lie in it where they would in the image; behind them
are an index, and a record with checksums.  To commit it is made durable, then it gets its name, `disk.img.rump-redo`: from then on
the image is as after.  The changes are copied to the image, that is made durable, and the log removed.  A log that is found when
the image is opened was interrupted in that, and is brought to its end.

Where more was changed than stays, the log is not copied: what stays is added to it, and it takes the image's place (replacement.py).
"""

import errno
import os
import stat
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple, final

from ...hyper.block import BlockBackend
from ...hyper.calls import Hypercalls
from .allocate import reserve, start_writing
from .block import BackendError, FileBackend, write_all
from .copying import WRITE_BEHIND, copy_extents
from .filelock import NEW_SUFFIX, remove_stale
from .replacement import complete

LOG_SUFFIX: Final = ".rump-redo"
"""Behind the image's name: its committed log."""
OPEN_SUFFIX: Final = ".rump-open"
"""The same of a log that is not committed, where it needs a name: while it takes the image's place, or for want of O_TMPFILE."""
MAX_EXTENTS: Final = 1 << 21
"""Changed places of a log that is read."""
BLOCK: Final = 4096

_RECORD: Final = struct.Struct("<8s I I Q Q Q Q Q I I")
"""Magic, version, zero, size, device and inode of the image, number of extents, place of the index, its CRC, CRC of all that.
The device is for who looks at it: its number may be another after a reboot, so nothing depends on it."""
_MAGIC: Final = b"rumpredo"
_VERSION: Final = 1
_EXTENT: Final = struct.Struct("<QQ")

Extents = Sequence[tuple[int, int]]
"""First byte, and the byte after the last, in order."""


class CommittedLog(NamedTuple):
    """A log that is waiting to be brought to its image."""

    fd: int
    extents: list[tuple[int, int]]


@final
class RedoLog(BlockBackend):
    """The open log of an image that is opened for writing: the overlay of a snapshot, which `commit` brings to the image.

    Off the schedule, all of it.
    """

    def __init__(self, hyper: Hypercalls, image: FileBackend) -> None:
        """Raises BackendError where there can be no file beside the image (EACCES, EROFS, ENOSPC), and EMLINK where the image has
        several names: the log would be found by one of them only."""
        super().__init__(image.size)
        status = os.fstat(image.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BackendError(
                errno.EINVAL, "changes of a device can't be kept beside it; write it in place", image.path
            )
        if status.st_nlink > 1:
            text = (
                f"it has {status.st_nlink} names (hard links), and its changes are kept beside one; write it in place"
            )
            raise BackendError(errno.EMLINK, text, image.path)
        path = os.path.realpath(image.path)
        self._hyper: Hypercalls = hyper
        self._image: FileBackend = image
        self._base: str = os.path.basename(path)
        self._named: bool = False
        self._streamed: int = 0
        self._folder: int = -1
        try:
            self._folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._fd: int = self._make()
        except OSError as problem:
            if self._folder >= 0:
                os.close(self._folder)
            number = problem.errno or errno.EIO
            text = f"changes cannot be kept beside the image: {os.strerror(number)}"
            raise BackendError(number, text, image.path) from None

    def read(self, offset: int, size: int) -> bytes:
        """What was written there before.  Raises EIO for what was not."""
        self._hyper.assert_unscheduled("a block read")
        data = os.pread(self._fd, size, offset)
        while len(data) < size:
            more = os.pread(self._fd, size - len(data), offset + len(data))
            if not more:
                raise BackendError(errno.EIO, "the file of changes is too short", self._image.path)
            data += more
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Keep a change.  Raises ENOSPC, EIO.  What streams in is sent on its way to the disk meanwhile."""
        self._hyper.assert_unscheduled("a block write")
        write_all(self._fd, data, offset)
        self._streamed += len(data)
        if self._streamed >= WRITE_BEHIND:
            start_writing(self._fd, 0, 0)
            self._streamed = 0

    def flush(self) -> None:
        """Nothing: what is not committed is not meant to last."""

    def commit(self, extents: Extents) -> None:
        """Bring the changes in `extents` to the image, all or none of them, durably.  The log is closed then.

        Raises ENOSPC, EIO and the like before anything has changed; and EIO where the log is committed and the image can't be
        written: then the next opening tries again.
        """
        self._hyper.assert_unscheduled("a commit")
        if not extents or (complete(self._image.fileno(), self._fd, extents) and self._take_its_place()):
            self.close()
            return
        _make_room(self._image.fileno(), extents)
        self._seal(extents)
        self._publish()
        copy_extents(self._fd, self._image.fileno(), extents)
        os.fdatasync(self._image.fileno())
        self._remove(LOG_SUFFIX)
        self.close()

    def close(self) -> None:
        """Discard what is not committed."""
        if self._fd < 0:
            return
        if self._named:
            self._remove(OPEN_SUFFIX)
        os.close(self._fd)
        os.close(self._folder)
        self._fd = -1

    def _make(self) -> int:
        """A new file, ours alone."""
        flags = os.O_RDWR | os.O_CLOEXEC
        nameless = getattr(os, "O_TMPFILE", 0)
        if nameless:
            try:
                return os.open(".", flags | nameless, 0o600, dir_fd=self._folder)
            except OSError as problem:
                if problem.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                    raise
        name = self._base + OPEN_SUFFIX
        made = os.open(name, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=self._folder)
        self._named = True
        return made

    def _take_its_place(self) -> bool:
        """Give the whole and durable file the image's name, which commits it.  False where the host won't: all is as it was then.

        Raises EIO where it can't be said what a power cut would leave, before or after.
        """
        try:
            there = os.stat(self._base, dir_fd=self._folder, follow_symlinks=False)
            if not os.path.samestat(there, os.fstat(self._image.fileno())):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            if not self._named:
                self._link(OPEN_SUFFIX)
                self._named = True
            os.rename(self._base + OPEN_SUFFIX, self._base, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            os.fchmod(self._fd, 0o600)
            return False
        self._named = False
        os.fsync(self._folder)
        return True

    def _link(self, suffix: str) -> None:
        """The first name of a file that has none."""
        os.link(f"/proc/self/fd/{self._fd}", self._base + suffix, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _seal(self, extents: Extents) -> None:
        """Write index and record, and make the whole log durable."""
        index = b"".join([_EXTENT.pack(start, end) for start, end in extents])
        place = -(-self.size // BLOCK) * BLOCK
        record = place + -(-len(index) // BLOCK) * BLOCK
        write_all(self._fd, index, place)
        write_all(self._fd, _record(self._image.fileno(), self.size, len(extents), place, index), record)
        os.fdatasync(self._fd)

    def _publish(self) -> None:
        """Give the log its name, which commits it."""
        if self._named:
            name = self._base + LOG_SUFFIX
            os.rename(self._base + OPEN_SUFFIX, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._named = False
        else:
            self._link(LOG_SUFFIX)
        try:
            os.fsync(self._folder)
        except OSError:
            self._remove(LOG_SUFFIX)
            raise

    def _remove(self, suffix: str) -> None:
        os.unlink(self._base + suffix, dir_fd=self._folder)
        os.fsync(self._folder)
        self._named = False


@final
class LogView(BlockBackend):
    """A committed log, to be read: the overlay of a snapshot that shows an image as its log says it is.  Closing it closes the log."""

    def __init__(self, log: CommittedLog, size: int) -> None:
        super().__init__(size, read_only=True)
        self._fd: int = log.fd

    def read(self, offset: int, size: int) -> bytes:
        """Bytes that the log has.  Raises EIO."""
        data = os.pread(self._fd, size, offset)
        if len(data) != size:
            raise OSError(errno.EIO, "the redo log is shorter than it says")
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Raises EROFS."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def flush(self) -> None:
        """Nothing to be done."""

    def close(self) -> None:
        """Close the log."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def recover(image: int, path: str) -> None:
    """What a process that was killed has left beside the image `path`, open and locked as `image`: a committed log is brought to its
    end, one that is not committed goes, and so does an image that was to replace it.  Raises as `committed`."""
    path = os.path.realpath(path)
    if os.path.lexists(path + LOG_SUFFIX):
        _finish(image, path)
    if os.path.lexists(path + OPEN_SUFFIX):
        with suppress(OSError):  # not ours: whoever needs the name will say so
            os.unlink(path + OPEN_SUFFIX)
    if os.path.lexists(path + NEW_SUFFIX):
        with suppress(OSError):
            remove_stale(path + NEW_SUFFIX)


def _finish(image: int, path: str) -> None:
    """Bring the committed log of the image `path` to its end."""
    log = committed(image, path)
    if log is None:
        return
    try:
        copy_extents(log.fd, image, log.extents)
        os.fdatasync(image)
    finally:
        os.close(log.fd)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.unlink(os.path.basename(path) + LOG_SUFFIX, dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def committed(image: int, path: str) -> CommittedLog | None:
    """The committed log of an image, if it has one; its `fd` is the caller's to close.

    Raises BackendError (EUCLEAN, EPERM) for a file by its name that is damaged, of another image, or of another user.
    """
    name = os.path.realpath(path) + LOG_SUFFIX
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise BackendError(
            problem.errno or errno.EIO, f"its redo log cannot be opened: {problem.strerror}", path
        ) from None
    try:
        status = os.fstat(fd)
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_uid not in (os.geteuid(), os.fstat(image).st_uid, 0)
            or status.st_mode & 0o022
        ):
            raise BackendError(errno.EPERM, "its redo log is not a file that its owner alone can write", name)
        return CommittedLog(fd, _read_record(fd, status.st_size, image, name))
    except BaseException:
        os.close(fd)
        raise


def _record(image: int, size: int, count: int, place: int, index: bytes) -> bytes:
    status = os.fstat(image)
    fields = (_MAGIC, _VERSION, 0, size, status.st_dev, status.st_ino, count, place, zlib.crc32(index))
    return _RECORD.pack(*fields, zlib.crc32(_RECORD.pack(*fields, 0))).ljust(BLOCK, b"\0")


def _read_record(fd: int, length: int, image: int, name: str) -> list[tuple[int, int]]:
    """The extents of a log of `length` bytes, all numbers checked."""
    raw = os.pread(fd, BLOCK, length - BLOCK) if length >= 2 * BLOCK else b""
    if len(raw) != BLOCK or not raw.startswith(_MAGIC):
        raise BackendError(errno.EUCLEAN, "this is no redo log", name)
    magic, version, zero, size, device, inode, count, place, index_crc, crc = _RECORD.unpack_from(raw)
    fields = (magic, version, zero, size, device, inode, count, place, index_crc)
    if zlib.crc32(_RECORD.pack(*fields, 0)) != crc or version != _VERSION:
        raise BackendError(errno.EUCLEAN, "the record of this redo log is damaged", name)
    status = os.fstat(image)
    together = status.st_dev == os.fstat(fd).st_dev
    if not together or status.st_ino != inode or (stat.S_ISREG(status.st_mode) and status.st_size != size):
        raise BackendError(errno.EUCLEAN, "this is the redo log of another image; remove it if it is of no use", name)
    if count > MAX_EXTENTS or place < size or place + count * _EXTENT.size > length - BLOCK:
        raise BackendError(errno.EUCLEAN, "the record of this redo log can't be", name)
    index = os.pread(fd, count * _EXTENT.size, place)
    if len(index) != count * _EXTENT.size or zlib.crc32(index) != index_crc:
        raise BackendError(errno.EUCLEAN, "the index of this redo log is damaged", name)
    extents = list(_EXTENT.iter_unpack(index))
    last = 0
    for start, end in extents:
        if not last <= start < end <= size:
            raise BackendError(errno.EUCLEAN, "the index of this redo log can't be", name)
        last = end
    return extents


def _make_room(image: int, extents: Extents) -> None:
    """Allocate the image's blocks while it may still fail: a sparse image can want space.  Raises ENOSPC, EDQUOT."""
    for start, end in extents:
        number = reserve(image, start, end - start)
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(number, f"the image's changes do not fit: {os.strerror(number)}")
        if number:
            return
