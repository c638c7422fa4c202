"""Vnodes of ext2, ext3 and ext4: what all kinds of files share, and symbolic links and special files."""

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from ...kern.abi.errno import ENOTSUP, error
from ...kern.abi.fcntl import S_IFDIR, S_IFLNK
from ...vfs.acl import UNREAD
from ...vfs.stat import Stat
from ...vfs.vnode import Vnode
from . import filedata, inline, xattr, xattrwrite
from .geometry import corrupt
from .inode import BLOCK_SIZE, EXTRA, INLINE, SETTABLE
from .state import InodeState

if TYPE_CHECKING:
    from .mount import ExtMount

MAX_LINKS: Final = 65000
"""Names that one file may have."""
EARLIEST: Final = -(1 << 31) * 1_000_000_000
LATEST: Final = ((1 << 34) - (1 << 31)) * 1_000_000_000 - 1
LATEST_SMALL: Final = (1 << 31) * 1_000_000_000 - 1
"""Times that can be kept, in inodes that have room for two more bits of seconds and in others."""
SECOND: Final = 1_000_000_000
ATTRIBUTE_CREDITS: Final = 12
"""Blocks of metadata that an extended attribute changes, about."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ExtNode(Vnode):
    """One file.  Its attributes go into its inode when the transaction is written."""

    def __init__(self, mount: "ExtMount", state: InodeState) -> None:
        inode = state.inode
        super().__init__(mount, state.number, inode.mode, inode.uid, inode.gid, inode.ctime)
        self.ext: ExtMount = mount
        self.state: InodeState = state
        self.links = inode.links
        self.size = inode.size
        self.atime = inode.atime
        self.mtime = inode.mtime
        self.generation = inode.generation
        self.flags = inode.flags
        if self.kind != S_IFLNK and xattr.has_some(state):
            self.acl = self.default_acl = UNREAD
        self.recent: bool = True
        """Asked for since the mount last looked for vnodes to drop."""
        state.node = self

    def copy_attributes(self) -> None:
        """Put the vnode's attributes into the inode."""
        inode = self.state.inode
        inode.mode = self.mode
        inode.uid = self.uid
        inode.gid = self.gid
        inode.links = self.links
        inode.atime = self.atime
        inode.mtime = self.mtime
        inode.ctime = self.ctime

    def inactive(self) -> None:
        """Nobody holds the file: without a name its storage is free."""
        if self.links == 0:
            self.ext.remove(self)

    def blocks(self) -> int:
        """Storage in units of 512 bytes."""
        return self.state.sectors()

    # Attributes ----------------------------------------------------------------------------------------

    def stat(self) -> Stat:
        """The attributes.  Times are whole seconds where the inode has no room for more."""
        found = super().stat()
        if self.state.inode.extra_isize >= EXTRA:
            return found
        return found._replace(
            st_atime_ns=found.st_atime_ns // SECOND * SECOND,
            st_mtime_ns=found.st_mtime_ns // SECOND * SECOND,
            st_ctime_ns=found.st_ctime_ns // SECOND * SECOND,
        )

    def touched(self) -> None:
        """An attribute was changed."""
        self.ext.change_inode(self.state)

    def set_mode(self, mode: int, now: int) -> None:
        """Set the permission bits."""
        self.mode = self.kind | mode
        self.ctime = now
        self.touched()

    def set_owner(self, uid: int, gid: int, mode: int, now: int) -> None:
        """Set owner, group and permission bits."""
        self.uid = uid
        self.gid = gid
        self.set_mode(mode, now)

    def set_times(self, atime: int, mtime: int, now: int) -> None:
        """Set the times; those that the inode has no room for become the nearest that it has."""
        latest = LATEST if self.state.inode.extra_isize >= EXTRA else LATEST_SMALL
        self.atime = min(max(atime, EARLIEST), latest)
        self.mtime = min(max(mtime, EARLIEST), latest)
        self.ctime = now
        self.touched()

    def accessed(self, now: int) -> None:
        """The file was read."""
        self.atime = now
        self.touched()

    def set_flags(self, flags: int, now: int) -> None:
        """Set those inode flags that users may change."""
        inode = self.state.inode
        if (flags ^ inode.flags) & ~SETTABLE:
            raise error(ENOTSUP)
        inode.flags = self.flags = flags
        self.ctime = now
        self.touched()

    # Extended attributes -------------------------------------------------------------------------------

    def getxattr(self, name: bytes) -> bytes:
        """The value of an attribute."""
        return xattr.get(self.state, name)

    def listxattr(self) -> list[bytes]:
        """The names of the attributes."""
        return xattr.names(self.state)

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        """Set an attribute."""
        self._change_attribute(name, value, flags)

    def removexattr(self, name: bytes) -> None:
        """Remove an attribute."""
        self._change_attribute(name, None, 0)

    def _change_attribute(self, name: bytes, value: bytes | None, flags: int) -> None:
        self.ext.begin(ATTRIBUTE_CREDITS)
        try:
            gone = xattrwrite.change(self.state, name, value, flags)
            if gone:
                self.ext.drop_values(gone)
            self.ctime = self.mount.hyper.wall()
            self.touched()
        except OSError as problem:
            raise self.ext.failed(problem) from None
        finally:
            self.ext.end()

    def flush(self) -> None:
        """Give storage to what was written and has none yet."""
        return None

    def moving(self) -> None:
        """A directory's entries are about to get other positions."""
        return None

    def sync(self, data_only: bool) -> None:
        """Make the file durable."""
        self.ext.commit()


@final
class SymlinkNode(ExtNode):
    """A symbolic link."""

    def readlink(self) -> bytes:
        """The target: in the inode if it is short, else in a block.  Raises EUCLEAN."""
        state = self.state
        size = self.size
        if state.inode.flags & INLINE:
            target = inline.read(state)
        elif is_fast(state):
            target = state.inode.block[:size]
        elif 0 < size <= state.volume.block_size:
            target = filedata.read(state, 0, size)
        else:
            raise corrupt(f"{state.where}: a symbolic link of {size} bytes")
        if not target or b"\0" in target:
            raise corrupt(f"{state.where}: a symbolic link with a NUL in its target")
        return target


def is_fast(state: InodeState) -> bool:
    """Whether a symbolic link's target is where other inodes have their block map."""
    inode = state.inode
    if state.volume.has_values:  # whose blocks count, too
        return inode.size < BLOCK_SIZE and not state.extents
    return inode.size < BLOCK_SIZE and not state.extents and state.sectors() <= _attribute_sectors(state)


def _attribute_sectors(state: InodeState) -> int:
    return state.volume.block_size >> 9 if state.inode.file_acl else 0


@final
class SpecialNode(ExtNode):
    """A device, a FIFO or a socket."""

    def __init__(self, mount: "ExtMount", state: InodeState) -> None:
        super().__init__(mount, state)
        block = state.inode.block
        old = int.from_bytes(block[:4], "little")
        self.device = old & 0xFFFF if old else int.from_bytes(block[4:8], "little")


def is_directory(state: InodeState) -> bool:
    """Whether an inode is a directory's."""
    return state.inode.mode & 0o170000 == S_IFDIR
