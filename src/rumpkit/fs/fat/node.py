"""Files of a FAT volume as vnodes.  Between vfs and the volume."""

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from ...kern.abi.errno import EUCLEAN
from ...kern.abi.fcntl import S_IFDIR, S_IFREG
from ...vfs.vnode import Vnode
from . import times
from .chain import Chain
from .layout import DIRECTORY, READ_ONLY
from .record import Record

if TYPE_CHECKING:
    from .directory import DirectoryNode
    from .mount import FatMount
    from .volume import Volume

DAY_NS: Final = 86400 * times.SECOND


@mypyc_attr(allow_interpreted_subclasses=True)
class Node(Vnode):
    """What files and directories share: an entry in a directory, from which all attributes come."""

    def __init__(
        self, mount: "FatMount", number: int, directory: "DirectoryNode | None", slot: int, found: Record | None
    ) -> None:
        kind = S_IFREG if found is not None and not found.attributes & DIRECTORY else S_IFDIR
        attributes = found.attributes if found is not None else DIRECTORY
        super().__init__(mount, number, mount.mode_for(kind, attributes), mount.uid, mount.gid, 0)
        self.fat: FatMount = mount
        self.volume: Volume = mount.volume
        self.directory: DirectoryNode | None = directory
        """The directory that it is in; None for the root."""
        self.slot: int = slot
        """Where its 8.3 entry is there."""
        self.attributes: int = attributes
        self.children: int = 0
        """Files of a directory that are in memory."""
        self.created: tuple[int, int, int] = (0, 0, 0)
        """Date, time and hundredths, as on disk."""
        self.stale: bool = False
        """Its entry has to be brought up to date with what is in here."""
        if found is not None:
            offset = mount.volume.time_offset
            self.created = found.created
            self.mtime = times.decode(found.written[0], found.written[1], 0, offset)
            self.atime = times.decode(found.accessed, 0, 0, offset) if found.accessed else self.mtime
            self.ctime = self.mtime
        if directory is not None:
            directory.children += 1

    def birth(self) -> int:
        """When it was made, in nanoseconds since 1970; to 10 ms."""
        return times.decode(*self.created, self.volume.time_offset) if self.created[0] else 0


@final
class FileNode(Node):
    """A regular file."""

    def __init__(self, mount: "FatMount", number: int, directory: "DirectoryNode", slot: int, found: Record) -> None:
        super().__init__(mount, number, directory, slot, found)
        first = found.cluster if mount.volume.geometry.bits == 32 else found.cluster & 0xFFFF
        self.size = found.size
        self.chain: Chain = Chain(mount.volume.table, first if first or found.size == 0 else 0)

    def blocks(self) -> int:
        """The clusters that its size takes, in units of 512 bytes."""
        cluster = self.volume.geometry.cluster_size
        return (self.size + cluster - 1) // cluster * (cluster >> 9)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from byte `offset`.  Raises EUCLEAN where the chain is shorter than the file, EIO."""
        end = min(offset + size, self.size)
        if end <= offset:
            return b""
        volume = self.volume
        geometry = volume.geometry
        cluster_size = geometry.cluster_size
        index = offset // cluster_size
        wanted = (end - 1) // cluster_size + 1
        chain = self.chain
        if chain.known < wanted and chain.find(wanted) < wanted:
            raise OSError(
                EUCLEAN,
                f"inode {self.number}: {self.size} bytes, but a chain of {chain.known} clusters of {cluster_size}",
            )
        start, count = chain.locate(index)
        within = offset - index * cluster_size
        there = count * cluster_size - within
        address = geometry.address(start) + within
        if there >= end - offset:
            return volume.read(address, end - offset)
        parts = [volume.read(address, there)]
        offset += there
        while offset < end:
            index += count
            start, count = chain.locate(index)
            there = min(count * cluster_size, end - offset)
            parts.append(volume.read(geometry.address(start), there))
            offset += there
        return b"".join(parts)


def permissions(attributes: int, kind: int, fmask: int, dmask: int) -> int:
    """The permission bits that attributes mean: all that the mask leaves, and none to write a read-only file."""
    if kind == S_IFDIR:
        return 0o777 & ~dmask
    return (0o555 if attributes & READ_ONLY else 0o777) & ~fmask
