"""Vnodes of squashfs: files, directories, symbolic links and special files."""

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from ...vfs.vnode import Entry, Vnode
from ..readonly import ReadOnlyNode
from .format import corrupt
from .inode import Inode

if TYPE_CHECKING:
    from .mount import SquashfsMount

SECOND: Final = 1_000_000_000


@mypyc_attr(allow_interpreted_subclasses=True)
class SquashfsNode(ReadOnlyNode):
    """One file."""

    def __init__(self, mount: "SquashfsMount", inode: Inode) -> None:
        super().__init__(mount, inode.number, inode.mode, inode.uid, inode.gid, inode.mtime * SECOND)
        self.squashfs: SquashfsMount = mount
        self.inode: Inode = inode
        self.links = inode.links
        self.size = inode.size
        self.device = inode.device

    def getxattr(self, name: bytes) -> bytes:
        """The value of an attribute."""
        return self.squashfs.attributes.get(self.inode, name)

    def listxattr(self) -> list[bytes]:
        """The names of the attributes."""
        return self.squashfs.attributes.names(self.inode)

    def readlink(self) -> bytes:
        """The target of a symbolic link."""
        return self.inode.target or super().readlink()


@final
class FileNode(SquashfsNode):
    """A regular file."""

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file."""
        end = min(offset + size, self.size)
        return self.squashfs.volume.blocks_of(self.inode).read(offset, end) if offset < end else b""

    def blocks(self) -> int:
        """Storage that it would take unpacked; holes take none."""
        return (max(self.size - self.inode.sparse, 0) + 511) >> 9

    def next_data(self, offset: int) -> int:
        """The first byte that is in no hole."""
        return self.squashfs.volume.blocks_of(self.inode).next_data(offset)

    def next_hole(self, offset: int) -> int:
        """The first byte that is in a hole."""
        return self.squashfs.volume.blocks_of(self.inode).next_hole(offset)


@final
class DirectoryNode(SquashfsNode):
    """A directory."""

    def __init__(self, mount: "SquashfsMount", inode: Inode, above: "DirectoryNode | None") -> None:
        super().__init__(mount, inode)
        self.above: DirectoryNode | None = above
        """The directory that it was found in; None for the root."""

    def lookup(self, name: bytes) -> Vnode | None:
        """The file called `name`."""
        mount = self.squashfs
        known = mount.names.get(self.number, 0, name)
        if known == 0:
            return None
        if known > 0:
            return mount.get(known - 1, self)
        found = mount.volume.listing_of(self.inode).find(name)
        mount.names.put(self.number, 0, name, 0 if found is None else found[0] + 1)
        if found is None:
            return None
        node = mount.get(found[0], self)
        if node.number != found[1]:
            raise corrupt(f"{self.inode.where}: an entry says inode {found[1]}, and leads to {node.number}")
        return node

    def parent(self) -> Vnode:
        """The directory that it is in."""
        return self if self.above is None else self.squashfs.known(self.above)

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        """Entries from `cookie` on.  What they lead to is remembered: who lists files mostly looks them up, too."""
        mount = self.squashfs
        entries, found = mount.volume.listing_of(self.inode).entries(cookie, count)
        for name, reference, _, _ in found:
            mount.names.put(self.number, 0, name, reference + 1)
        return entries
