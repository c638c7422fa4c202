"""A file that is to take another's place in its directory, where most of that was changed: it gets what stays, and all that a name has.

Beside the redo log (redo.py), whose file of changes it completes.  Nothing here touches the file that is replaced.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Sequence
from typing import Final

from .allocate import punch, reserve
from .copying import copy_extents
from .filelock import lock

LEAST: Final = 16 << 20
"""Bytes that must have changed, or else the file is not replaced: for less, who has it open need not notice."""
MAX_KEPT: Final = 1 << 16
"""Places that are copied into the new file."""
SLACK: Final = 1 << 20
"""Bytes that a file may occupy beyond its data: what its file system needs to find them, and parts of blocks."""
SECTOR: Final = 512
"""Bytes of a unit of st_blocks."""
_GETFLAGS: Final = 0x80086601
"""ioctl FS_IOC_GETFLAGS (linux/fs.h): what chattr(1) sets, 8 bytes."""
_CHOSEN: Final = 0x2283C8FF
"""Flags of it that were chosen by somebody: chattr's letters, encryption, no copy on write, DAX, a project's inheritance."""
_GETXATTR: Final = 0x801C581F
"""ioctl FS_IOC_FSGETXATTR: flags, size of an extent, count, project, size of an extent that is copied; 8 bytes."""
_FSXATTR: Final = struct.Struct("<IIIII8x")

Extents = Sequence[tuple[int, int]]
"""First byte, and the byte after the last, in order."""


def complete(old: int, new: int, changed: Extents) -> bool:
    """Make `new`, which has the bytes in `changed` where they belong, all that `old` is: content, owner, mode, times, attributes, lock.

    It is durable then.  Returns False where it shall not take the place of `old`, or can't: too much stays, or something is not for
    us to give.  What it holds at `changed` is as before then.
    """
    status = os.fstat(old)
    size = sum(end - start for start, end in changed)
    if not hasattr(os, "listxattr") or size < LEAST or status.st_nlink != 1:
        return False
    if status.st_blocks * SECTOR > max(status.st_size, 2 * size) + SLACK:
        return False
    try:
        data = _data(old, status.st_size)
        kept = None if data is None else without(data, changed)
        if data is None or kept is None or len(kept) > MAX_KEPT or _length(kept) > size:
            return False
        length = os.fstat(new).st_size
    except OSError:
        return False
    try:
        os.ftruncate(new, status.st_size)
        if _keep_room(new, status, _length(data)):
            copy_extents(old, new, kept)
            if _adopt(old, new, status) and not lock(new, True):
                os.fsync(new)
                return True
    except OSError:
        pass
    os.fchmod(new, 0o600)
    for start, end in without([(0, status.st_size)], changed):
        punch(new, start, end - start)  # blocks that were reserved, too
    os.ftruncate(new, length)
    return False


def without(data: Extents, changed: Extents) -> list[tuple[int, int]]:
    """What of `data` is not in `changed`."""
    kept = []
    index = 0
    for start, end in data:
        while index < len(changed) and changed[index][1] <= start:
            index += 1
        at, following = start, index
        while following < len(changed) and changed[following][0] < end:
            if changed[following][0] > at:
                kept.append((at, changed[following][0]))
            at = max(at, changed[following][1])
            following += 1
        if at < end:
            kept.append((at, end))
    return kept


def _length(extents: Extents) -> int:
    return sum(end - start for start, end in extents)


def _data(fd: int, size: int) -> list[tuple[int, int]] | None:
    """Where a file is no hole.  None if it is in too many pieces.  Raises OSError."""
    found: list[tuple[int, int]] = []
    end = 0
    while end < size and len(found) <= MAX_KEPT:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno != errno.ENXIO:
                raise
            break
        end = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, end))
    return found if len(found) <= MAX_KEPT else None


def _keep_room(new: int, status: os.stat_result, data: int) -> bool:
    """Where the old file has blocks for all of it, give them to the new one.  False if many are reserved and it can't be said which;
    a few don't count: mke2fs reserves those of a journal, which it would have read as zeros."""
    occupied = status.st_blocks * SECTOR
    if occupied <= data + SLACK + (status.st_size >> 3):
        return True
    return occupied >= status.st_size and reserve(new, 0, status.st_size) == 0


def _adopt(old: int, new: int, status: os.stat_result) -> bool:
    """Owner, mode, attributes and the time of the last access.  Returns False, or raises OSError, where not all of it can be had."""
    mine = os.fstat(new)
    if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(new, status.st_uid, status.st_gid)
    os.fchmod(new, stat.S_IMODE(status.st_mode) & 0o777)
    there, wanted = _attributes(new), _attributes(old)
    for name in there.keys() - wanted.keys():
        os.removexattr(new, name)
    for name, value in wanted.items():
        if there.get(name) != value:
            os.setxattr(new, name, value)
    os.utime(new, ns=(status.st_atime_ns, mine.st_mtime_ns))
    mine = os.fstat(new)
    same = (mine.st_uid, mine.st_gid, mine.st_mode) == (status.st_uid, status.st_gid, status.st_mode)
    return same and _attributes(new) == wanted and _flags(old) == _flags(new)


def _attributes(fd: int) -> dict[str, bytes]:
    """Extended attributes, with access lists and security labels."""
    try:
        return {name: os.getxattr(fd, name) for name in os.listxattr(fd)}
    except OSError as problem:
        if problem.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
            return {}
        raise


def _flags(fd: int) -> tuple[int, ...]:
    """What chattr(1) shows, and the project that a quota counts the file for; 0 where the file system has neither."""
    flags = int.from_bytes(_ask(fd, _GETFLAGS, 8)[:4], "little")
    _, extent, _, project, copied = _FSXATTR.unpack(_ask(fd, _GETXATTR, _FSXATTR.size))
    return flags & _CHOSEN, extent, project, copied


def _ask(fd: int, request: int, size: int) -> bytes:
    try:
        return fcntl.ioctl(fd, request, bytes(size))
    except OSError:
        return bytes(size)
