"""Vnodes and mounts: what a file system implements.  This stands between the path calls of `vfs` and `fs`.

A vnode is one file in memory, whatever file system it lies in; a mount is one instance of a file system.  Both are
called on the schedule.  A file system that never sleeps (tmpfs) has no lock.  One that does block I/O has a mutex
(`Mount.lock`), which `vfs` holds for the whole of every call into that mount, so that a file system's own code
is always alone in its mount, even while it sleeps off the schedule.

`vfs` checks what does not depend on the file system before it calls a vnode: kinds (ENOTDIR, EISDIR), permissions,
read-only mounts, names (NAME_MAX, "." and ".."), mount points.  The file system does the rest, including timestamps.
Names are bytes in here; text exists only at the face of the system calls.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

from mypy_extensions import mypyc_attr

from ..hyper.calls import Hypercalls
from ..hyper.mutex import Mutex
from ..hyper.time import FOREVER, Instant
from ..kern.abi.errno import EINVAL, EISDIR, ENOENT, ENOTSUP, EPERM, EROFS, EXDEV, error
from ..kern.abi.fcntl import NAME_MAX, S_IFDIR, S_IFMT
from .acl import Acl
from .stat import Stat, StatVfs
from .watch import WatchList

if TYPE_CHECKING:
    from .events import Watch
    from .writeback import WriteBack

FIRST_COOKIE: Final = 2
"""Where the entries of a directory start for `Vnode.readdir`: 0 and 1 are those of "." and "..", which vfs adds."""
NO_END: Final = 1 << 60
NOBODY: Final = WatchList()


class Entry(NamedTuple):
    """One name in a directory, as a file system reports it."""

    name: bytes
    number: int
    """The file's inode number."""
    kind: int
    """S_IFMT bits."""
    cookie: int
    """Where to go on behind it."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Vnode:
    """One file.  Subclasses override what their kind of file can do; the rest fails with the errno POSIX gives it.

    The attributes are the file's, kept current by the file system.  Times are nanoseconds since 1970-01-01 UTC.
    """

    generation: int = 0
    """Tells the files apart that had this inode number one after the other, where the file system counts them."""
    flags: int = 0
    """FS_IMMUTABLE_FL, FS_APPEND_FL and the like (Linux FS_IOC_GETFLAGS).  vfs refuses what these two forbid."""
    acl: Acl | None = None
    """The access control list, where there is one; a file system that may have one stored sets `acl.UNREAD`.  vfs does
    the rest, through the extended attribute."""
    default_acl: Acl | None = None
    """Likewise, of a directory: what new files in it inherit."""

    linkable: bool = False
    """It never had a name, and may be given one (O_TMPFILE)."""
    watches: "list[Watch] | None" = None
    """Who wants to know what happens to it (vfs/events.py)."""
    locks: object | None = None
    """Its advisory locks, once there are any; vfs keeps them (vfs/locks.py)."""

    def __init__(self, mount: "Mount", number: int, mode: int, uid: int, gid: int, now: int) -> None:
        self.mount: Mount = mount
        self.number: int = number
        """Inode number, of which a mount has no two alike."""
        self.kind: int = mode & S_IFMT
        self.mode: int = mode
        """Kind and permission bits."""
        self.uid: int = uid
        self.gid: int = gid
        self.links: int = 1
        self.size: int = 0
        self.device: int = 0
        """dev_t of a special file."""
        self.atime: int = now
        self.mtime: int = now
        self.ctime: int = now
        self.references: int = 0
        """Open files, working directories and mounts that hold this vnode."""
        self.mounted_here: Mount | None = None
        """What is mounted on this directory."""
        self.pipe: object | None = None
        """What an open FIFO's ends share; vfs keeps it (vfs/fifo.py)."""

    # Life ----------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Keep the file and its mount until `release`, even when its last name goes."""
        self.references += 1
        self.mount.references += 1

    def release(self) -> None:
        """Give a hold back.  Called under the mount's lock."""
        self.references -= 1
        mount = self.mount
        mount.references -= 1
        if self.references == 0:
            try:
                self.inactive()
            finally:
                if mount.detached and mount.references == 0:
                    mount.finish()

    def inactive(self) -> None:
        """Nobody holds this vnode any more: if it has no name left either, its storage is free."""
        return None

    def refresh(self) -> None:
        """The call has just come here, under the mount's lock: bring attributes up to date that others than this file
        system may have changed.  Mounts without a lock are not asked."""
        return None

    def underlying(self) -> "Vnode":
        """The file that this one stands for, where it only shows another mount's."""
        return self

    # Attributes ----------------------------------------------------------------------------------------

    def stat(self) -> Stat:
        """The file's attributes (POSIX stat)."""
        return Stat(
            self.mode,
            self.number,
            self.mount.number,
            self.links,
            self.uid,
            self.gid,
            self.device,
            self.size,
            self.mount.block_size,
            self.blocks(),
            self.atime,
            self.mtime,
            self.ctime,
        )

    def blocks(self) -> int:
        """Storage that the file takes, in units of 512 bytes."""
        return (self.size + 511) >> 9

    def set_mode(self, mode: int, now: int) -> None:
        """Set the permission bits."""
        self.mode = self.kind | mode
        self.ctime = now

    def set_owner(self, uid: int, gid: int, mode: int, now: int) -> None:
        """Set owner, group and permission bits (which lose set-user-ID and set-group-ID then)."""
        self.uid = uid
        self.gid = gid
        self.mode = self.kind | mode
        self.ctime = now

    def set_times(self, atime: int, mtime: int, now: int) -> None:
        """Set the times of access and modification."""
        self.atime = atime
        self.mtime = mtime
        self.ctime = now

    def set_flags(self, flags: int, now: int) -> None:
        """Set the inode flags (Linux FS_IOC_SETFLAGS).  Raises ENOTSUP for those that the file system doesn't keep."""
        raise error(ENOTSUP)

    def accessed(self, now: int) -> None:
        """The file was read, and its mount wants to know when."""
        self.atime = now

    # Extended attributes -------------------------------------------------------------------------------

    def getxattr(self, name: bytes) -> bytes:
        """The value of the extended attribute `name`, which has its prefix: b"user.comment".  Raises ENODATA.

        Access control lists are b"system.posix_acl_access" and b"system.posix_acl_default", in the form of Linux's
        xattrs (vfs/acl.py has it).  vfs has checked permissions, and names and values against XATTR_NAME_MAX and
        XATTR_SIZE_MAX.
        """
        raise error(ENOTSUP)

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute and the time of change.  Flags: XATTR_CREATE (EEXIST where it is there),
        XATTR_REPLACE (ENODATA where it isn't).  Raises ENOSPC, and ENOTSUP for prefixes that the format lacks."""
        raise error(ENOTSUP)

    def listxattr(self) -> list[bytes]:
        """The names of the extended attributes, with their prefixes."""
        raise error(ENOTSUP)

    def removexattr(self, name: bytes) -> None:
        """Remove an extended attribute and set the time of change.  Raises ENODATA."""
        raise error(ENOTSUP)

    # Files ---------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from byte `offset`; b"" at the end."""
        raise error(EISDIR if self.kind == S_IFDIR else EINVAL)

    def write(self, offset: int, data: bytes) -> int:
        """Write `data` at byte `offset`; returns how much there was room for.  Raises ENOSPC if none, EFBIG."""
        raise error(EISDIR if self.kind == S_IFDIR else EINVAL)

    def truncate(self, size: int) -> None:
        """Make the file `size` bytes long; what is new reads as zeros.  Raises ENOSPC, EFBIG."""
        raise error(EISDIR if self.kind == S_IFDIR else EINVAL)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Give the bytes from `offset` on storage, which reads as zeros where there was none; the file grows to their
        end, unless `mode` has FALLOC_FL_KEEP_SIZE (Linux fallocate).  Other modes: FALLOC_FL_PUNCH_HOLE |
        FALLOC_FL_KEEP_SIZE makes them a hole, FALLOC_FL_ZERO_RANGE makes them zeros with storage.

        vfs has checked that `offset` is not negative and `length` positive.  Raises ENOSPC, EFBIG, and ENOTSUP for
        modes that the file system lacks.
        """
        raise error(ENOTSUP)

    def sync(self, data_only: bool) -> None:
        """Return once the file (with `data_only`: what it takes to read it back) is durable.

        A file system may give the mount's lock up while its device makes things durable, and take it again: what the caller knew of
        the mount is old then, which may even have been unmounted by force.
        """
        return None

    def next_data(self, offset: int) -> int:
        """The first byte at or behind `offset` that is not in a hole, -1 if none is; `offset` is below the size."""
        return offset

    def next_hole(self, offset: int) -> int:
        """The first byte at or behind `offset` that is in a hole; the end of the file counts as one."""
        return self.size

    def readlink(self) -> bytes:
        """What a symbolic link points to."""
        raise error(EINVAL)

    # Directories ---------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> "Vnode | None":
        """The file called `name` in this directory, or None.  Never asked for "." or ".."."""
        return None

    def parent(self) -> "Vnode":
        """The directory that this directory is in; the root's is itself."""
        return self

    def name_of(self, child: "Vnode") -> bytes:
        """The name of the directory `child` in this one.  Raises ENOENT."""
        cookie = FIRST_COOKIE
        while True:
            entries = self.readdir(cookie, 256)
            if not entries:
                raise error(ENOENT)
            for entry in entries:
                if entry.number == child.number:
                    return entry.name
            cookie = entries[-1].cookie

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        """Up to `count` entries from `cookie` (FIRST_COOKIE, or that of an entry seen before) on; none at the end.

        "." and ".." are not among them.  An entry that is there all the while is reported once, whatever
        else comes and goes meanwhile.
        """
        return []

    def end_cookie(self) -> int:
        """A cookie behind all entries that are there now: where a reader that starts now may stop."""
        return NO_END

    def create(self, name: bytes, mode: int, uid: int, gid: int, device: int) -> "Vnode":
        """Make a file of the kind in `mode` (not a directory or a link) called `name`, which is free.

        Raises ENOSPC, EDQUOT; ENOENT where this directory has been removed.
        """
        raise error(EPERM)

    def nameless(self, mode: int, uid: int, gid: int) -> "Vnode":
        """Make a regular file near this directory, without a name (`links` is 0): it goes when nobody holds it, unless `link` gives
        it one.  Raises as `create`; ENOTSUP."""
        raise error(ENOTSUP)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> "Vnode":
        """Make a directory called `name`, which is free.  Raises EMLINK and as `create`."""
        raise error(EPERM)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> "Vnode":
        """Make a symbolic link called `name`, which is free."""
        raise error(EPERM)

    def link(self, name: bytes, vnode: "Vnode") -> None:
        """Give `vnode`, a file of this mount and not a directory, the further name `name`.  Raises EMLINK."""
        raise error(EPERM)

    def unlink(self, name: bytes, vnode: "Vnode") -> None:
        """Take the name `name`, which is `vnode`'s, away."""
        raise error(EPERM)

    def rmdir(self, name: bytes, vnode: "Vnode") -> None:
        """Remove the directory `vnode`, called `name`.  Raises ENOTEMPTY."""
        raise error(EPERM)

    def rename(
        self, name: bytes, vnode: "Vnode", directory: "Vnode", new_name: bytes, replaced: "Vnode | None"
    ) -> None:
        """Move `vnode`, called `name` in here, to `new_name` in `directory`, where `replaced` is now.

        `replaced` is another file, and a directory exactly if `vnode` is one; `directory` is of this mount and not
        below `vnode`.  Raises ENOTEMPTY, EMLINK, ENOSPC.
        """
        raise error(EPERM)

    def exchange(self, name: bytes, vnode: "Vnode", directory: "Vnode", other_name: bytes, other: "Vnode") -> None:
        """Swap the files of two names (RENAME_EXCHANGE); neither is below the other."""
        raise error(EINVAL)


@mypyc_attr(allow_interpreted_subclasses=True)
class Mount:
    """One instance of a file system.  Subclasses set `root` before they are mounted."""

    root: Vnode
    watches: "list[Watch] | None" = None
    """All watches of its files, which don't keep it from being unmounted."""

    def __init__(self, hyper: Hypercalls, kind: str, source: str, lock: Mutex | None = None) -> None:
        self.hyper: Hypercalls = hyper
        self.kind: str = kind
        """The file system's type: "tmpfs"."""
        self.source: str = source
        """What listings show as its source: a device's name, or the type's where it has none."""
        self.lock: Mutex | None = lock
        """Held for each call into this mount; None for a file system that never sleeps."""
        self.number: int = 0
        """st_dev of its files; vfs sets it."""
        self.watch: WatchList = NOBODY
        """Who is to be told of changes; vfs sets it."""
        self.block_size: int = 4096
        self.read_only: bool = False
        self.access_times: bool = True
        """Keep atime as relatime does; False never writes it (noatime)."""
        self.folds_case: bool = False
        """Names that differ by case alone are one name here, which keeps the spelling it was made with (FAT).  A file may have
        further names that `readdir` doesn't tell of."""
        self.refreshes: bool = False
        """Its files' attributes are others', who may have changed them (`Vnode.refresh`)."""
        self.devices: bool = True
        """Let special files of this mount open devices; False is nodev."""
        self.covers: Vnode | None = None
        """The directory that it is mounted on; None for the root."""
        self.path: bytes = b"/"
        """Where it was mounted, as listings show it."""
        self.references: int = 0
        """Held vnodes: with any, the mount is busy."""
        self.calls: int = 0
        """Calls that are in this mount or wait for its lock: with any, the mount is busy."""
        self.detached: bool = False
        """It is out of the tree and goes with the last vnode that somebody holds."""
        self.finished: bool = False
        """It has been unmounted."""
        self.writer: WriteBack | None = None
        """Who calls `write_back` in time; vfs sets it."""
        self._problem: OSError | None = None
        """Why `write_back` failed first, until somebody has been told."""

    def begin_call(self) -> None:
        """A call comes to this mount: take its lock, if it has one, and keep the mount from going meanwhile."""
        lock = self.lock
        if lock is not None:
            self.calls += 1
            try:
                lock.acquire()
            except BaseException:
                self.calls -= 1
                raise

    def end_call(self) -> None:
        """It has ended."""
        lock = self.lock
        if lock is not None:
            lock.release()
            self.calls -= 1

    def statvfs(self) -> StatVfs:
        """How large it is and how full (POSIX statvfs)."""
        return StatVfs(self.block_size, self.block_size, 0, 0, 0, 0, 0, 0, self.number, int(self.read_only), NAME_MAX)

    def sync(self) -> None:
        """Return once everything is durable.  The lock may be given up meanwhile, as by `Vnode.sync`."""
        return None

    def dirtied(self) -> None:
        """The file system may have something to write that it had not: it is to be written back when it is due."""
        if self.writer is not None:
            self.writer.add(self)

    def due(self) -> Instant:
        """When `write_back` is to be called; FOREVER where nothing waits."""
        return FOREVER

    def write_back(self) -> None:
        """Make durable what has waited for long enough.  The lock may be given up meanwhile, as by `Vnode.sync`.  Raises as `sync`."""
        return None

    def keep_problem(self, problem: OSError) -> None:
        """`write_back` failed: the next who syncs or unmounts is told."""
        if self._problem is None:
            self._problem = OSError(*problem.args)

    def tell_problem(self) -> None:
        """After something was made durable: raise, once, why it could not be in the background before."""
        problem = self._problem
        if problem is not None:
            self._problem = None
            raise problem

    def remount(self, read_only: bool) -> None:
        """Become read-only or writable; vfs has made sure that no file is open for writing, and sets `read_only` after.

        What is to be durable on a read-only mount is written before this returns.  Raises EROFS where the source can't
        be written, EIO.
        """
        if read_only:
            self.sync()

    def unmount(self) -> None:
        """Write back what must be and let go of the source.  Nobody will call this mount again."""
        return None

    def finish(self) -> None:
        """Unmount, once.  Called under the lock; nobody holds a vnode any more."""
        if not self.finished:
            self.finished = True
            self.unmount()
            self.tell_problem()

    def check_writable(self) -> None:
        """Raise EROFS on a read-only mount."""
        if self.read_only:
            raise error(EROFS)

    def check_same(self, other: "Mount") -> None:
        """Raise EXDEV where `other` is another mount: names can't cross."""
        if other is not self:
            raise error(EXDEV)


def make_durable(vnode: Vnode, data_only: bool) -> None:
    """Return once a file is durable (`Vnode.sync`).  Raises EIO, ENOSPC and the like, also those of the background before."""
    vnode.sync(data_only)
    vnode.mount.tell_problem()


def let_go(vnode: Vnode) -> None:
    """Release a vnode under its mount's lock, which the caller does not hold.

    Raises EUCLEAN, EIO where the file goes with it and cannot be removed; it is released nevertheless.
    """
    mount = vnode.mount
    mount.begin_call()
    try:
        vnode.release()
    finally:
        mount.end_call()
