"""Open files over vnodes: regular files, directories, and descriptors that only stand for a path (O_PATH).

They stand between the descriptor calls (kern/calls.py) and vnodes.  Where the file's mount sleeps, each operation
takes the mount's lock, and holds the open file so that a close meanwhile takes it away only afterwards.
"""

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from ..hyper.mutex import Mutex
from ..hyper.time import SECOND, Instant
from ..kern.abi.errno import EBADF, EFBIG, EINVAL, EISDIR, ENOENT, ENOTTY, ENXIO, EOVERFLOW, EPERM, error
from ..kern.abi.fcntl import (
    FALLOC_FL_KEEP_SIZE,
    FS_APPEND_FL,
    FS_IMMUTABLE_FL,
    O_ACCMODE,
    O_APPEND,
    O_DSYNC,
    O_RDONLY,
    S_IFDIR,
    S_ISGID,
    S_ISUID,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_HOLE,
    SEEK_SET,
)
from ..kern.abi.inotify import IN_ACCESS, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_MODIFY
from ..kern.abi.ioctl import FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
from ..kern.abi.poll import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from ..kern.file import OpenFile
from ..kern.process import Credentials
from ..kern.wait import Blocked
from .access import FIXED, without_suid
from .stat import DirectoryEntry
from .vnode import FIRST_COOKIE, NO_END, Vnode, let_go, make_durable

if TYPE_CHECKING:
    from .events import Events

LARGEST_READ: Final = 0x7FFFF000
"""Bytes that one read returns at most, as on Linux: a hole may be larger than any memory."""
OFFSET_MAX: Final = (1 << 63) - 1
READY: Final = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
DAY: Final = 86400 * SECOND


@mypyc_attr(allow_interpreted_subclasses=True)
class LocksOfFile:
    """The locks of a file, for an open file that goes (vfs/locks.py)."""

    def drop(self, owner: object) -> None:
        """Forget those of `owner`."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class VnodeFile(OpenFile):
    """An open file that has a vnode.  This class serves regular files; the others subclass it."""

    locks: LocksOfFile | None = None
    """Where it has locks of its own, perhaps."""
    events: "Events | None" = None
    """Who is told what is done to the file through this one, if somebody may want to know."""
    directory: Vnode | None = None
    """With `events`: where it was when it was opened, and what it was called."""
    name: bytes = b""

    def __init__(self, vnode: Vnode, flags: int, credentials: Credentials) -> None:
        super().__init__(flags)
        self.vnode: Vnode = vnode
        self.offset: int = 0
        self._uid: int = credentials.uid
        self._lock: Mutex | None = vnode.mount.lock
        vnode.hold()

    # The mount's lock ----------------------------------------------------------------------------------

    def enter(self) -> None:
        """Start an operation: keep this file and take its mount's lock, if it has one."""
        lock = self._lock
        if lock is not None:
            self.hold()
            try:
                lock.acquire()
            except BaseException:
                self.release(0)
                raise
            try:
                self.vnode.refresh()
            except BaseException:
                self.leave(0)
                raise

    def leave(self, now: Instant) -> None:
        """End an operation."""
        lock = self._lock
        if lock is not None:
            lock.release()
            self.release(now)

    def close(self, now: Instant) -> None:
        """Let go of the vnode.  Raises EUCLEAN, EIO as `let_go`."""
        if self.locks is not None:
            self.locks.drop(self)
        events = self.events
        if events is None:
            let_go(self.vnode)
            return
        self.tell(IN_CLOSE_NOWRITE if self.flags & O_ACCMODE == O_RDONLY else IN_CLOSE_WRITE)
        try:
            let_go(self.vnode)
        finally:
            events.closed(self.vnode)

    def tell(self, mask: int) -> None:
        """Something was done to the file."""
        if self.events is not None:
            self.events.tell(self.vnode, mask, self.directory, self.name)

    # Data ----------------------------------------------------------------------------------------------

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        """Up to `size` bytes from the file's offset."""
        if self._lock is None:
            data = self._read(self.offset, size)
            self.offset += len(data)
            return data
        self.enter()
        try:
            data = self._read(self.offset, size)
            self.offset += len(data)
            return data
        finally:
            self.leave(now)

    def pread(self, size: int, offset: int, now: Instant) -> bytes:
        """Up to `size` bytes from `offset`."""
        self.enter()
        try:
            return self._read(offset, size)
        finally:
            self.leave(now)

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        """Write at the file's offset, or at its end with O_APPEND.  Raises ENOSPC, EFBIG, EIO."""
        if self._lock is None:
            return self._write_on(data)
        self.enter()
        try:
            return self._write_on(data)
        finally:
            self.leave(now)

    def pwrite(self, data: bytes, offset: int, now: Instant) -> int:
        """Write at `offset`; with O_APPEND at the end nevertheless, as Linux does."""
        self.enter()
        try:
            done = self._write(self.vnode.size if self.flags & O_APPEND else offset, data)
            if self.flags & O_DSYNC and done:
                make_durable(self.vnode, True)
            return done
        finally:
            self.leave(now)

    def _read(self, offset: int, size: int) -> bytes:
        vnode = self.vnode
        if vnode.kind == S_IFDIR:
            raise error(EISDIR)
        if size == 0:
            return b""
        data = vnode.read(offset, min(size, LARGEST_READ))
        if self.events is not None and data:
            self.tell(IN_ACCESS)
        if vnode.mount.access_times:
            touch(vnode)
        return data

    def _write_on(self, data: bytes) -> int:
        if not data:
            return 0  # the offset stays, also with O_APPEND
        offset = self.vnode.size if self.flags & O_APPEND else self.offset
        done = self._write(offset, data)
        self.offset = offset + done
        if self.flags & O_DSYNC and done:
            # The last thing: others may use the mount meanwhile.
            make_durable(self.vnode, True)
        return done

    def _write(self, offset: int, data: bytes) -> int:
        if not data:
            return 0
        vnode = self.vnode
        vnode.mount.check_writable()
        done = vnode.write(offset, data)
        if self.events is not None:
            self.tell(IN_MODIFY)
        if vnode.mode & (S_ISUID | S_ISGID) or vnode.mount.watch.watchers:
            self._changed(vnode)
        return done

    def _changed(self, vnode: Vnode) -> None:
        """The file's data has changed: a program that an ordinary user has changed is not set-user-ID any more."""
        if vnode.mode & (S_ISUID | S_ISGID) and self._uid != 0:
            vnode.set_mode(without_suid(vnode.mode), vnode.mount.hyper.wall())
        vnode.mount.watch.changed(vnode, True)

    # The rest ------------------------------------------------------------------------------------------

    def seek(self, offset: int, whence: int) -> int:
        """Move the offset, also to the next data or hole (POSIX lseek).  Raises EINVAL, ENXIO, EOVERFLOW."""
        self.enter()
        try:
            self.offset = self._target(offset, whence)
            return self.offset
        finally:
            self.leave(0)

    def _target(self, offset: int, whence: int) -> int:
        size = self.vnode.size
        if whence == SEEK_DATA or whence == SEEK_HOLE:
            if not 0 <= offset < size:
                raise error(ENXIO)
            found = self.vnode.next_data(offset) if whence == SEEK_DATA else self.vnode.next_hole(offset)
            if found < 0:
                raise error(ENXIO)
            return found
        if whence == SEEK_CUR:
            offset += self.offset
        elif whence == SEEK_END:
            offset += size
        elif whence != SEEK_SET:
            raise error(EINVAL)
        if offset < 0:
            raise error(EINVAL)
        if offset > OFFSET_MAX:
            raise error(EOVERFLOW)
        return offset

    def truncate(self, size: int, now: Instant) -> None:
        """Make the file `size` bytes long (POSIX ftruncate).  Raises EINVAL unless regular and open for writing."""
        self.enter()
        try:
            truncate(self.vnode, size, self._uid == 0)
            self.tell(IN_MODIFY)
        finally:
            self.leave(now)

    def fallocate(self, mode: int, offset: int, length: int, now: Instant) -> None:
        """Give a range storage or take it away (Vnode.fallocate).  Raises EFBIG, ENOSPC, EPERM for an append-only file."""
        if offset + length > OFFSET_MAX:
            raise error(EFBIG)
        self.enter()
        try:
            vnode = self.vnode
            vnode.mount.check_writable()
            if vnode.flags & FS_IMMUTABLE_FL or (vnode.flags & FS_APPEND_FL and mode & ~FALLOC_FL_KEEP_SIZE):
                raise error(EPERM)
            vnode.fallocate(mode, offset, length)
            self._changed(vnode)
            self.tell(IN_MODIFY)
        finally:
            self.leave(now)

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """FS_IOC_GETFLAGS and FS_IOC_SETFLAGS: inode flags, 4 bytes little-endian.  Raises EINVAL, ENOTTY, ENOTSUP, and EPERM
        unless owner or superuser; only the latter sets and clears FS_IMMUTABLE_FL and FS_APPEND_FL."""
        if request not in (FS_IOC_GETFLAGS, FS_IOC_SETFLAGS):
            raise error(ENOTTY)
        self.enter()
        try:
            vnode = self.vnode
            if request == FS_IOC_GETFLAGS:
                return vnode.flags.to_bytes(4, "little")
            if len(argument) < 4:
                raise error(EINVAL)
            flags = int.from_bytes(argument[:4], "little")
            vnode.mount.check_writable()
            if self._uid not in (0, vnode.uid) or (self._uid and (flags ^ vnode.flags) & FIXED):
                raise error(EPERM)
            vnode.set_flags(flags, vnode.mount.hyper.wall())
            return b""
        finally:
            self.leave(0)

    def sync(self, data_only: bool, now: Instant) -> None:
        """Return once what was written is durable (POSIX fsync, fdatasync)."""
        self.enter()
        try:
            make_durable(self.vnode, data_only)
        finally:
            self.leave(now)

    def poll(self) -> int:
        """Always ready."""
        return READY

    def pollable(self) -> bool:
        """Always ready, so epoll won't have it."""
        return False

    def describe(self) -> str:
        """Kind and inode number; a file has no single name."""
        return f"{'directory' if self.vnode.kind == S_IFDIR else 'file'} {self.vnode.number} of {self.vnode.mount.kind}"


@final
class DirectoryFile(VnodeFile):
    """An open directory.  Its offset is the cookie of the next entry."""

    def __init__(self, vnode: Vnode, flags: int, credentials: Credentials) -> None:
        super().__init__(vnode, flags, credentials)
        self._end: int = NO_END

    def _target(self, offset: int, whence: int) -> int:
        if whence != SEEK_SET and whence != SEEK_CUR:
            raise error(EINVAL)
        return super()._target(offset, whence)

    def entries(self, count: int, now: Instant) -> list[DirectoryEntry]:
        """Up to `count` further entries; none at the end.  Raises ENOENT where the directory has been removed."""
        self.enter()
        try:
            return self._entries(count)
        finally:
            self.leave(now)

    def _entries(self, count: int) -> list[DirectoryEntry]:
        vnode = self.vnode
        if vnode.links == 0:
            raise error(ENOENT)
        found: list[DirectoryEntry] = []
        if self.offset == 0:
            # Whoever renames each entry it reads would never come to an end otherwise.
            self._end = vnode.end_cookie()
            self.offset = 1
            found.append(DirectoryEntry(".", vnode.number, S_IFDIR, 1))
        if self.offset == 1 and len(found) < count:
            self.offset = FIRST_COOKIE
            found.append(DirectoryEntry("..", _above(vnode).number, S_IFDIR, FIRST_COOKIE))
        if self.offset >= FIRST_COOKIE and len(found) < count:
            for entry in vnode.readdir(self.offset, count - len(found)):
                if entry.cookie > self._end:
                    break
                self.offset = entry.cookie
                name = entry.name.decode("utf-8", "surrogateescape")
                found.append(DirectoryEntry(name, entry.number, entry.kind, entry.cookie))
        if vnode.mount.access_times:
            touch(vnode)
        self.tell(IN_ACCESS)
        return found


@final
class PathFile(VnodeFile):
    """What O_PATH opens: it stands for a file in other calls and can't be read or written (Linux open(2))."""

    def check_readable(self) -> None:
        raise error(EBADF)

    def check_writable(self) -> None:
        raise error(EBADF)

    def seek(self, offset: int, whence: int) -> int:
        raise error(EBADF)


def truncate(vnode: Vnode, size: int, privileged: bool) -> None:
    """Change the length of a regular file on a writable mount; an ordinary user's change clears set-user-ID."""
    if size < 0:
        raise error(EINVAL)
    vnode.mount.check_writable()
    vnode.truncate(size)
    if vnode.mode & (S_ISUID | S_ISGID) and not privileged:
        vnode.set_mode(without_suid(vnode.mode), vnode.mount.hyper.wall())
    vnode.mount.watch.changed(vnode, True)


def touch(vnode: Vnode) -> None:
    """The file was read: set its access time if it is not newer than the last change or a day old (relatime)."""
    mount = vnode.mount
    if not mount.read_only:
        now = mount.hyper.wall()
        if vnode.atime <= vnode.mtime or vnode.atime <= vnode.ctime or now - vnode.atime >= DAY:
            vnode.accessed(now)


def _above(directory: Vnode) -> Vnode:
    """What ".." is in a directory listing."""
    mount = directory.mount
    if directory is mount.root and mount.covers is not None:
        return mount.covers.parent()
    return directory.parent()
