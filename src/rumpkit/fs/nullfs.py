"""nullfs: a directory of the tree, and all below it, at a second place (BSD's nullfs, Linux's bind mount).

A file of such a mount stands before one of the file system below and hands everything on to it, under that one's lock.  Its
attributes are copies, refreshed whenever somebody enters the mount or looks a name up.  What is mounted below the directory
does not show at the second place.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar, final

from ..hyper.mutex import Mutex
from ..kern.abi.errno import EINVAL, ENOTDIR, error
from ..kern.abi.fcntl import S_IFDIR
from ..vfs.acl import ACCESS, DEFAULT, UNREAD, Acl
from ..vfs.stat import Stat, StatVfs
from ..vfs.types import FileSystemType, OptionValue
from ..vfs.vnode import Entry, Mount, Vnode, make_durable

if TYPE_CHECKING:
    from ..vfs.vfs import Vfs

KEPT: Final = 4096
"""How many files nobody holds a mount remembers: more than one path has names."""

Result = TypeVar("Result")


@final
class NoMutex(Mutex):
    """The lock of a mount over one that has none."""

    def acquire(self) -> None:
        return None

    def release(self) -> None:
        return None


@final
class NullVnode(Vnode):
    """A file seen at its second place."""

    def __init__(self, mount: "NullMount", lower: Vnode) -> None:
        super().__init__(mount, lower.number, lower.mode, lower.uid, lower.gid, 0)
        self.over: NullMount = mount
        self.lower: Vnode = lower
        self.refresh()

    def hold(self) -> None:
        if self.references == 0:
            self.lower.hold()
        super().hold()

    def inactive(self) -> None:
        self.lower.release()

    def refresh(self) -> None:
        """Have the attributes of the file below."""
        lower = self.lower
        lower.refresh()
        self.kind = lower.kind
        self.mode = lower.mode
        self.uid = lower.uid
        self.gid = lower.gid
        self.links = lower.links
        self.size = lower.size
        self.device = lower.device
        self.atime = lower.atime
        self.mtime = lower.mtime
        self.ctime = lower.ctime
        self.generation = lower.generation
        self.flags = lower.flags
        self.acl: Acl | None = lower.acl
        self.default_acl: Acl | None = lower.default_acl

    def underlying(self) -> Vnode:
        return self.lower.underlying()

    def _changed(self, result: Result) -> Result:
        self.refresh()
        return result

    # Attributes ----------------------------------------------------------------------------------------

    def stat(self) -> Stat:
        return self.lower.stat()._replace(st_dev=self.mount.number)

    def blocks(self) -> int:
        return self.lower.blocks()

    def set_mode(self, mode: int, now: int) -> None:
        self.lower.set_mode(mode, now)
        self.refresh()

    def set_owner(self, uid: int, gid: int, mode: int, now: int) -> None:
        self.lower.set_owner(uid, gid, mode, now)
        self.refresh()

    def set_times(self, atime: int, mtime: int, now: int) -> None:
        self.lower.set_times(atime, mtime, now)
        self.refresh()

    def set_flags(self, flags: int, now: int) -> None:
        self.lower.set_flags(flags, now)
        self.refresh()

    def accessed(self, now: int) -> None:
        if not self.lower.mount.read_only:
            self.lower.accessed(now)
            self.refresh()

    def getxattr(self, name: bytes) -> bytes:
        return self.lower.getxattr(name)

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        self.lower.setxattr(name, value, flags)
        self._forget_acl(name)

    def listxattr(self) -> list[bytes]:
        return self.lower.listxattr()

    def removexattr(self, name: bytes) -> None:
        self.lower.removexattr(name)
        self._forget_acl(name)

    def _forget_acl(self, name: bytes) -> None:
        """vfs tells only the file that it knows what the access control list is now."""
        if name == ACCESS:
            self.lower.acl = UNREAD
        elif name == DEFAULT:
            self.lower.default_acl = UNREAD
        self.refresh()

    # Files ---------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> bytes:
        return self.lower.read(offset, size)

    def write(self, offset: int, data: bytes) -> int:
        return self._changed(self.lower.write(offset, data))

    def truncate(self, size: int) -> None:
        self.lower.truncate(size)
        self.refresh()

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        self.lower.fallocate(mode, offset, length)
        self.refresh()

    def sync(self, data_only: bool) -> None:
        make_durable(self.lower, data_only)

    def next_data(self, offset: int) -> int:
        return self.lower.next_data(offset)

    def next_hole(self, offset: int) -> int:
        return self.lower.next_hole(offset)

    def readlink(self) -> bytes:
        return self.lower.readlink()

    # Directories ---------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Vnode | None:
        found = self.lower.lookup(name)
        return None if found is None else self.over.upper(found)

    def parent(self) -> Vnode:
        return self if self is self.over.root else self.over.upper(self.lower.parent())

    def name_of(self, child: Vnode) -> bytes:
        return self.lower.name_of(below(child))

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        return self.lower.readdir(cookie, count)

    def end_cookie(self) -> int:
        return self.lower.end_cookie()

    def create(self, name: bytes, mode: int, uid: int, gid: int, device: int) -> Vnode:
        return self._made(self.lower.create(name, mode, uid, gid, device))

    def nameless(self, mode: int, uid: int, gid: int) -> Vnode:
        return self._made(self.lower.nameless(mode, uid, gid))

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Vnode:
        return self._made(self.lower.mkdir(name, mode, uid, gid))

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Vnode:
        return self._made(self.lower.symlink(name, target, uid, gid))

    def link(self, name: bytes, vnode: Vnode) -> None:
        self._with(vnode, lambda: self.lower.link(name, below(vnode)))

    def unlink(self, name: bytes, vnode: Vnode) -> None:
        self._with(vnode, lambda: self.lower.unlink(name, below(vnode)))

    def rmdir(self, name: bytes, vnode: Vnode) -> None:
        self._with(vnode, lambda: self.lower.rmdir(name, below(vnode)))

    def rename(self, name: bytes, vnode: Vnode, directory: Vnode, new_name: bytes, replaced: Vnode | None) -> None:
        over = None if replaced is None else below(replaced)
        self._with(vnode, lambda: self.lower.rename(name, below(vnode), below(directory), new_name, over))
        directory.refresh()
        if replaced is not None:
            replaced.refresh()

    def exchange(self, name: bytes, vnode: Vnode, directory: Vnode, other_name: bytes, other: Vnode) -> None:
        self._with(vnode, lambda: self.lower.exchange(name, below(vnode), below(directory), other_name, below(other)))
        directory.refresh()
        other.refresh()

    def _made(self, lower: Vnode) -> Vnode:
        return self._changed(self.over.upper(lower))

    def _with(self, vnode: Vnode, change: Callable[[], None]) -> None:
        """Make a change to this directory and `vnode`."""
        change()
        self.refresh()
        vnode.refresh()


def below(vnode: Vnode) -> Vnode:
    """The file that one of a null mount stands before."""
    assert isinstance(vnode, NullVnode)
    return vnode.lower


@final
class NullMount(Mount):
    """A directory at a second place."""

    def __init__(self, lower: Vnode, source: str) -> None:
        mount = lower.mount
        super().__init__(mount.hyper, "null", source, mount.lock or NoMutex())
        self.block_size = mount.block_size
        self.folds_case = mount.folds_case
        self.refreshes = True
        lower.hold()
        self._known: dict[int, NullVnode] = {}
        self.root = NullVnode(self, lower)
        self._known[lower.number] = self.root

    def upper(self, lower: Vnode) -> NullVnode:
        """The file before `lower`: the same one as long as anybody holds it."""
        known = self._known.get(lower.number)
        if known is not None and (known.references or known.lower is lower):
            known.refresh()
            return known
        if len(self._known) >= 2 * KEPT:
            self._forget()
        made = NullVnode(self, lower)
        self._known[lower.number] = made
        return made

    def _forget(self) -> None:
        """Forget files that nobody holds, but for those that a call may just have come by."""
        idle = [number for number, vnode in self._known.items() if not vnode.references]
        for number in idle[:-KEPT]:
            del self._known[number]

    def check_writable(self) -> None:
        """Raise EROFS where this mount or the one below is read-only."""
        super().check_writable()
        below(self.root).mount.check_writable()

    def statvfs(self) -> StatVfs:
        stat = below(self.root).mount.statvfs()
        return stat._replace(f_fsid=self.number, f_flag=stat.f_flag | int(self.read_only))

    def sync(self) -> None:
        below(self.root).mount.sync()

    def unmount(self) -> None:
        below(self.root).release()


@final
class Nullfs(FileSystemType):
    """The type "null", whose source is a directory of the tree."""

    def __init__(self) -> None:
        super().__init__("null")

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """The directory `source`, an absolute path, at a second place.  Raises EINVAL, ENOENT, ENOTDIR."""
        if not source.startswith("/"):
            raise OSError(EINVAL, "a null mount's source is an absolute path in the tree")
        lower = vfs.resolve(source)
        if lower.kind != S_IFDIR:
            raise error(ENOTDIR, source)
        return NullMount(lower, source)
