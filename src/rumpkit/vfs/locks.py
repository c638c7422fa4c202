"""Advisory locks of one file: records that processes lock (POSIX fcntl) or open files do (Linux's open file description locks), and
whole files (BSD flock).  The two kinds know nothing of each other.

A process's record locks belong to its descriptor table, and go when it closes any descriptor of the file; the others belong to the open
file, and go with that.
"""

from typing import Final, NamedTuple, final

from ..kern.abi.errno import EDEADLK, ENOLCK, error
from ..kern.abi.fcntl import F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET
from ..kern.file import FileGuard, OpenFile
from ..kern.wait import WaitQueue
from .file import LocksOfFile, VnodeFile

END: Final = (1 << 63) - 1
"""The last byte that a file can have."""
OF_A_FILE: Final = -1
"""What asking for a lock says in the place of a process, where an open file has it."""


class FileLock(NamedTuple):
    """A record lock as POSIX struct flock has it."""

    type: int
    """F_RDLCK, F_WRLCK; F_UNLCK where nothing is in the way."""
    start: int
    """Byte, from the beginning of the file."""
    length: int
    """Bytes; 0: to whatever the end will be."""
    pid: int
    """Whose it is; -1 where an open file has it, which several processes may share."""
    whence: int = SEEK_SET


@final
class LockLimit:
    """How many locks a kernel has, and how many it may have."""

    def __init__(self) -> None:
        self.used: int = 0
        self.limit: int = 65536


@final
class LockOwner(FileGuard):
    """A process as an owner of record locks: the guard of its descriptor table."""

    def __init__(self, pid: int) -> None:
        self.pid: int = pid
        self.waits_for: list[LockOwner] = []
        """Who has what its calls wait for, one for each call."""

    def closing(self, file: OpenFile) -> None:
        """The process closes a descriptor: its locks of that file go, whichever descriptor they were made with."""
        if isinstance(file, VnodeFile):
            locks = file.vnode.underlying().locks
            if isinstance(locks, FileLocks):
                locks.drop(self)

    def check_no_deadlock(self, holder: "LockOwner") -> None:
        """Raise EDEADLK where `holder` waits, perhaps through others, for what this process has."""
        seen: list[LockOwner] = []
        following = [holder]
        while following:
            one = following.pop()
            if one is self:
                raise error(EDEADLK)
            if one not in seen:
                seen.append(one)
                following += one.waits_for


@final
class _Record:
    __slots__ = ("end", "exclusive", "owner", "start")

    def __init__(self, owner: object, exclusive: bool, start: int, end: int) -> None:
        self.owner: object = owner
        self.exclusive: bool = exclusive
        self.start: int = start
        self.end: int = end
        """The last byte."""


def _start(record: _Record) -> int:
    return record.start


@final
class FileLocks(LocksOfFile):
    """All locks of one file."""

    def __init__(self, limit: LockLimit) -> None:
        self.queue: WaitQueue = WaitQueue()
        """Woken when a lock goes."""
        self._limit: LockLimit = limit
        self._records: list[_Record] = []
        self._whole: list[_Record] = []
        """Of flock."""

    def conflict(self, owner: object, exclusive: bool, start: int, end: int) -> _Record | None:
        """The first of other owners' locks that is in the way."""
        for record in self._records:
            if record.owner is not owner and record.start <= end and start <= record.end:
                if exclusive or record.exclusive:
                    return record
        return None

    def show(self, owner: object, exclusive: bool, start: int, end: int) -> FileLock | None:
        """The lock that is in the way, or None."""
        record = self.conflict(owner, exclusive, start, end)
        if record is None:
            return None
        holder = record.owner
        length = 0 if record.end == END else record.end - record.start + 1
        pid = holder.pid if isinstance(holder, LockOwner) else OF_A_FILE
        return FileLock(F_WRLCK if record.exclusive else F_RDLCK, record.start, length, pid)

    def put(self, owner: object, kind: int, start: int, end: int) -> None:
        """Lock or unlock bytes, which nobody else's lock is in the way of; what the owner had there goes.  Raises ENOLCK."""
        kept: list[_Record] = []
        mine: list[_Record] = []
        freed = False
        for record in self._records:
            if record.owner is not owner or record.end < start - 1 or end + 1 < record.start:
                kept.append(record)
                continue
            if kind != F_UNLCK and record.exclusive == (kind == F_WRLCK):
                # It touches the new one and is like it: they become one.
                start = min(start, record.start)
                end = max(end, record.end)
                continue
            freed = freed or kind == F_UNLCK or record.exclusive
            if record.start < start:
                mine.append(_Record(owner, record.exclusive, record.start, min(record.end, start - 1)))
            if end < record.end:
                mine.append(_Record(owner, record.exclusive, max(record.start, end + 1), record.end))
        if kind != F_UNLCK:
            mine.append(_Record(owner, kind == F_WRLCK, start, end))
        grown = len(kept) + len(mine) - len(self._records)
        if grown > 0 and self._limit.used + grown > self._limit.limit:
            raise error(ENOLCK)
        self._limit.used += grown
        self._records = sorted(kept + mine, key=_start)
        if freed:
            self.queue.wake_all()

    def put_whole(self, owner: object, kind: int) -> bool:
        """Lock or unlock the whole file, as flock does; False where another's lock is in the way.  What the owner had goes first."""
        kept = [record for record in self._whole if record.owner is not owner]
        if len(kept) < len(self._whole):
            self._limit.used -= 1
            self._whole = kept
            self.queue.wake_all()
        if kind == F_UNLCK:
            return True
        if any(kind == F_WRLCK or record.exclusive for record in kept):
            return False
        if self._limit.used >= self._limit.limit:
            raise error(ENOLCK)
        self._limit.used += 1
        self._whole.append(_Record(owner, kind == F_WRLCK, 0, END))
        return True

    def has_whole(self, owner: object, kind: int) -> bool:
        """Whether the owner has just this lock of the whole file."""
        return any(record.owner is owner and record.exclusive == (kind == F_WRLCK) for record in self._whole)

    def drop(self, owner: object) -> None:
        """The owner goes, or closes the file: so do its locks."""
        before = len(self._records) + len(self._whole)
        self._records = [record for record in self._records if record.owner is not owner]
        self._whole = [record for record in self._whole if record.owner is not owner]
        gone = before - len(self._records) - len(self._whole)
        if gone:
            self._limit.used -= gone
            self.queue.wake_all()

    def __len__(self) -> int:
        return len(self._records) + len(self._whole)
