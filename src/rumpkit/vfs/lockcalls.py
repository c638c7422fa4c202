"""System calls on advisory locks: the lock commands of fcntl, and flock."""

from typing import Final, final

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import EAGAIN, EBADF, EINVAL, EOVERFLOW, error
from ..kern.abi.fcntl import (
    F_GETLK,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_RDLCK,
    F_SETLK,
    F_SETLKW,
    F_UNLCK,
    F_WRLCK,
    LOCK_EX,
    LOCK_NB,
    LOCK_SH,
    LOCK_UN,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
)
from ..kern.process import Process
from ..kern.wait import Blocked
from .file import PathFile, VnodeFile
from .locks import END, FileLock, FileLocks, LockOwner
from .vfs import Vfs
from .xattrcalls import XattrCalls

COMMANDS: Final = (F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW)
_FLOCK: Final = {LOCK_SH: F_RDLCK, LOCK_EX: F_WRLCK, LOCK_UN: F_UNLCK}


@mypyc_attr(allow_interpreted_subclasses=True)
class LockCalls(XattrCalls):
    """Locks that bind only those who ask."""

    def fcntl_lock(
        self,
        process: Process,
        fd: int,
        command: int,
        kind: int,
        start: int = 0,
        length: int = 0,
        whence: int = SEEK_SET,
    ) -> FileLock | Blocked | None:
        """Lock, unlock or ask for bytes of a file (POSIX fcntl; Linux's open file description locks).

        F_SETLK and F_SETLKW set a lock of the process, F_OFD_SETLK and F_OFD_SETLKW one of the open file; those with W wait.
        `kind` is F_RDLCK, F_WRLCK or F_UNLCK; `length` 0 reaches to whatever the end will be, a negative one lies before
        `start`.  F_GETLK and F_OFD_GETLK return the lock that would be in the way, or one of type F_UNLCK.  Raises EAGAIN
        where another's lock is in the way, EDEADLK, EBADF unless open for reading or writing as `kind` needs, EINVAL, EOVERFLOW,
        ENOLCK beyond the sysctl vfs.max_locks.
        """
        file = self.lockable(process, fd)
        if command not in COMMANDS or kind not in (F_RDLCK, F_WRLCK, F_UNLCK):
            raise error(EINVAL)
        first, last = _range(file, start, length, whence)
        locks = _locks(self.vfs, file)
        owner: LockOwner | VnodeFile = file
        if command in (F_GETLK, F_SETLK, F_SETLKW):
            owner = _owner(process)
        if command == F_GETLK or command == F_OFD_GETLK:
            if kind == F_UNLCK:
                raise error(EINVAL)
            found = locks.show(owner, kind == F_WRLCK, first, last)
            return found if found is not None else FileLock(F_UNLCK, start, length, 0, whence)
        if kind == F_RDLCK:
            file.check_readable()
        elif kind == F_WRLCK:
            file.check_writable()
        if owner is file:
            file.locks = locks
        if kind != F_UNLCK:
            if locks.conflict(owner, kind == F_WRLCK, first, last) is not None:
                if command in (F_SETLK, F_OFD_SETLK):
                    raise error(EAGAIN)
                return RecordWait(self.vfs, process, file, locks, owner, kind, first, last)
        locks.put(owner, kind, first, last)
        return None

    def flock(self, process: Process, fd: int, operation: int) -> Blocked | None:
        """Lock a whole file for an open file: LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB without waiting (BSD flock).

        Changing a lock gives the old one up first.  Raises EAGAIN, EBADF, EINVAL, ENOLCK.
        """
        kind = _FLOCK.get(operation & ~LOCK_NB)
        if kind is None:
            raise error(EINVAL)
        file = self.lockable(process, fd)
        locks = _locks(self.vfs, file)
        file.locks = locks
        if locks.has_whole(file, kind) or locks.put_whole(file, kind):
            return None
        if operation & LOCK_NB:
            raise error(EAGAIN)
        return WholeWait(self.vfs, file, locks, kind)

    def lockable(self, process: Process, fd: int) -> VnodeFile:
        """An open file that can be locked.  Raises EBADF, EINVAL for pipes and sockets."""
        file = process.files.get(fd)
        if isinstance(file, PathFile):
            raise error(EBADF)
        if not isinstance(file, VnodeFile):
            raise error(EINVAL)
        return file


@final
class RecordWait(Blocked):
    """A call that waits for a record lock."""

    def __init__(
        self,
        vfs: Vfs,
        process: Process,
        file: VnodeFile,
        locks: FileLocks,
        owner: LockOwner | VnodeFile,
        kind: int,
        start: int,
        end: int,
    ) -> None:
        super().__init__(locks.queue)
        self._vfs: Vfs = vfs
        self._process: Process = process
        self._file: VnodeFile = file
        self._locks: FileLocks = locks
        self._owner: LockOwner | VnodeFile = owner
        self._kind: int = kind
        self._start: int = start
        self._end: int = end
        self._waits_for: LockOwner | None = None
        self._find_holder()
        file.hold()

    def retry(self) -> object:
        """The lock, once nothing is in the way.  Raises EDEADLK; EBADF where the descriptor was closed meanwhile."""
        self._leave()
        files = self._process.files
        if all(files.lookup(fd) is not self._file for fd in files.numbers()):
            raise error(EBADF)
        if self._find_holder():
            return self
        self._locks.put(self._owner, self._kind, self._start, self._end)
        return None

    def cancel(self) -> None:
        """Wait no longer."""
        self._leave()
        self._file.release(self._vfs.hyper.now)

    def _find_holder(self) -> bool:
        """Note who is in the way; whether anybody is.  Raises EDEADLK."""
        found = self._locks.conflict(self._owner, self._kind == F_WRLCK, self._start, self._end)
        if found is None:
            return False
        owner, holder = self._owner, found.owner
        if isinstance(owner, LockOwner) and isinstance(holder, LockOwner):
            owner.check_no_deadlock(holder)
            owner.waits_for.append(holder)
            self._waits_for = holder
        return True

    def _leave(self) -> None:
        if self._waits_for is not None and isinstance(self._owner, LockOwner):
            self._owner.waits_for.remove(self._waits_for)
            self._waits_for = None


@final
class WholeWait(Blocked):
    """A call that waits for a whole file."""

    def __init__(self, vfs: Vfs, file: VnodeFile, locks: FileLocks, kind: int) -> None:
        super().__init__(locks.queue)
        self._vfs: Vfs = vfs
        self._file: VnodeFile = file
        self._locks: FileLocks = locks
        self._kind: int = kind
        file.hold()

    def retry(self) -> object:
        """The lock, once nothing is in the way."""
        return None if self._locks.put_whole(self._file, self._kind) else self

    def cancel(self) -> None:
        """Wait no longer."""
        self._file.release(self._vfs.hyper.now)


def _owner(process: Process) -> LockOwner:
    """The process as an owner of locks."""
    guard = process.files.guard
    if not isinstance(guard, LockOwner):
        guard = LockOwner(process.pid)
        process.files.guard = guard
    return guard


def _locks(vfs: Vfs, file: VnodeFile) -> FileLocks:
    """The locks of the open file's file."""
    vnode = file.vnode.underlying()
    locks = vnode.locks
    if not isinstance(locks, FileLocks):
        vfs.lock_limit.limit = vfs.settings.max_locks
        locks = FileLocks(vfs.lock_limit)
        vnode.locks = locks
    return locks


def _range(file: VnodeFile, start: int, length: int, whence: int) -> tuple[int, int]:
    """The first and the last byte that a lock is for.  Raises EINVAL, EOVERFLOW."""
    if whence == SEEK_CUR:
        start += file.offset
    elif whence == SEEK_END:
        start += file.vnode.size
    elif whence != SEEK_SET:
        raise error(EINVAL)
    if start > END:
        raise error(EOVERFLOW)
    if length < 0:
        start, last = start + length, start - 1
    else:
        last = start + length - 1 if length else END
    if start < 0:
        raise error(EINVAL)
    if last > END:
        raise error(EOVERFLOW)
    return start, last
