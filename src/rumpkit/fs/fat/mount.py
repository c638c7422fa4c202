"""A FAT volume as a mount: options, the files that are in memory, how full it is."""

from collections.abc import Mapping
from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.time import FOREVER, Instant
from ...kern.abi.errno import EUCLEAN
from ...kern.abi.fcntl import O_RDONLY, O_RDWR
from ...kern.device import Device
from ...vfs.stat import StatVfs
from ...vfs.types import OptionValue
from ...vfs.vnode import Mount
from . import record
from .directory import DirectoryNode
from .geometry import Geometry
from .layout import DIRECTORY, ENTRY_SIZE
from .node import FileNode, Node, permissions
from .numbers import ROOT
from .volume import Volume

SPARED: Final = 16
"""Directories whose names stay in memory, whatever the limit: a call works with a few at once."""
MOST_PENDING: Final = 512
"""Directories that may have something to be written."""
MOST_FREEING: Final = 16384
"""Runs of clusters that may wait to be free."""
TRIED: Final = 64
"""Files that are looked at for one that can be forgotten."""


@final
class FatMount(Mount):
    """One mounted volume."""

    def __init__(
        self, hyper: Hypercalls, kind: str, device: Device, geometry: Geometry, options: Mapping[str, OptionValue]
    ) -> None:
        super().__init__(hyper, kind, device.name, hyper.mutex())
        self.device: Device = device
        self.volume: Volume = Volume(hyper, device, geometry, int(options["table_bytes"]), int(options["cached_files"]))
        self.volume.mount = self
        self.volume.time_offset = int(options["time_offset"])
        self.uid: int = int(options["uid"])
        self.gid: int = int(options["gid"])
        self.fmask: int = int(options["fmask"])
        self.dmask: int = int(options["dmask"])
        self.quiet: bool = bool(options["quiet"])
        self.folds_case = True
        self.block_size = geometry.cluster_size
        self.nodes: dict[int, Node] = self.volume.nodes
        """Files in memory, by number.  Once they are many, those used last are at the end."""
        self.directories: dict[int, DirectoryNode] = {}
        """Those of them that are directories, by first cluster."""
        self.loaded: dict[DirectoryNode, None] = {}
        """Directories whose names are in memory, those used last at the end."""
        self._overdue: bool = False
        """Directories can't be forgotten before the next commit."""
        self._most_files: int = int(options["cached_files"])
        self._most_bytes: int = int(options["directory_bytes"])
        root = DirectoryNode(self, ROOT, None, 0, None)
        self.root = root
        if geometry.bits == 32:
            self.directories[geometry.root_cluster] = root

    def mode_for(self, kind: int, attributes: int) -> int:
        """Kind and permission bits of a file with such attributes."""
        return kind | permissions(attributes, kind, self.fmask, self.dmask)

    # Files in memory -----------------------------------------------------------------------------------

    def node(self, directory: DirectoryNode, slot: int) -> Node:
        """The file in a slot of `directory`, whose names are in memory."""
        number = self.volume.numbers.at(directory.address(slot))
        nodes = self.nodes
        node = nodes.get(number)
        if node is not None:
            if node.directory is not directory or node.slot != slot:
                raise OSError(EUCLEAN, f"the entry of inode {number} is in two directories")
            if 2 * len(nodes) > self._most_files:
                nodes[number] = nodes.pop(number)
            return node
        found = record.unpack(directory.slots.data, slot)
        if found.attributes & DIRECTORY:
            node = self._directory(directory, slot, number, found)
        else:
            node = FileNode(self, number, directory, slot, found)
        self.keep(node)
        return node

    def _directory(self, above: DirectoryNode, slot: int, number: int, found: record.Record) -> Node:
        """A directory that comes into memory.  One that lies at two places may lie in itself: a path without an end."""
        node = DirectoryNode(self, number, above, slot, found)
        other = self.directories.get(node.first_cluster())
        if other is not None:
            self.drop(node)
            raise OSError(
                EUCLEAN, f"cluster {node.first_cluster()} is of two directories, inodes {other.number} and {number}"
            )
        self.directories[node.first_cluster()] = node
        return node

    def keep(self, node: Node) -> None:
        """Have a new file in memory, and forget others for it."""
        if len(self.nodes) >= self._most_files:
            self._forget()
        self.nodes[node.number] = node

    def _forget(self) -> None:
        nodes = self.nodes
        for number in [number for number, _ in zip(nodes, range(TRIED), strict=False)]:
            node = nodes.pop(number)
            if node.references or node.children or node.stale or (isinstance(node, DirectoryNode) and node.index):
                nodes[number] = node
            else:
                self.drop(node)

    def drop(self, node: Node) -> None:
        """A file is not in memory any longer."""
        if isinstance(node, DirectoryNode) and self.directories.get(node.first_cluster()) is node:
            del self.directories[node.first_cluster()]
        if node.directory is not None:
            node.directory.children -= 1

    def make_room(self) -> None:
        """Forget the names of directories that nobody asked for lately, if those in memory are too many."""
        loaded = self.loaded
        total = sum(len(directory.slots.data) for directory in loaded)
        if total <= self._most_bytes:
            return
        for directory in list(loaded)[:-SPARED]:
            if directory.slots not in self.volume.writer.slots:
                total -= len(directory.slots.data)
                directory.forget_names()
                del loaded[directory]
                if total <= self._most_bytes // 2:
                    return
        # What is left waits to be written.
        self._overdue = bool(self.volume.writer.slots)

    def bury(self, node: Node) -> None:
        """A file without a name that nobody holds goes, and its storage with it."""
        self.volume.writer.changes += 1
        if self.nodes.get(node.number) is node:
            del self.nodes[node.number]
            self.drop(node)
        self.volume.numbers.gone(node.number)
        self.volume.writer.stale.pop(node, None)
        node.discard()

    def balance(self) -> None:
        """Before a change: write what waits, if it is much."""
        writer = self.volume.writer
        if (
            self._overdue
            or len(writer.slots) > MOST_PENDING
            or 4 * len(writer.stale) > self._most_files
            or len(writer.alloc.freeing) > MOST_FREEING
            or writer.table.is_over()
        ):
            writer.commit()
            self._overdue = False

    # The whole -----------------------------------------------------------------------------------------

    def statvfs(self) -> StatVfs:
        """Clusters, and those that are free.  FAT has no inodes, so none are counted; names have 255 UTF-16 units."""
        geometry = self.volume.geometry
        free = self.volume.free_clusters()
        size = geometry.cluster_size
        flags = int(self.read_only)
        return StatVfs(size, size, geometry.clusters, free, free, 0, 0, 0, self.number, flags, record.NAME_BYTES)

    def label(self) -> bytes:
        """The volume label: that of the root directory, else the boot sector's; b"" for none."""
        root = self.root
        assert isinstance(root, DirectoryNode)
        return volume_label(root)

    def sync(self) -> None:
        """Make everything durable, and mark the volume as not in use."""
        self.volume.writer.sync()
        self.volume.waiting = False

    def due(self) -> Instant:
        """So long after the first change."""
        volume = self.volume
        if not volume.waiting or self.writer is None:
            return FOREVER
        return volume.since + self.writer.commit_interval()

    def write_back(self) -> None:
        """Write everything.  The volume stays marked as in use: marking it anew would cost the next change a flush."""
        volume = self.volume
        if self.due() <= self.hyper.now:
            volume.waiting = False  # others may change something while the device makes this durable
            try:
                self.root.sync(False)
            except BaseException:
                volume.changed()
                raise

    def remount(self, read_only: bool) -> None:
        """Become read-only or writable.  Raises EROFS where the device is read-only, EBUSY where it is mounted once more."""
        self.sync()
        device = self.device.open(O_RDONLY if read_only else O_RDWR)
        device.close(self.hyper.now)
        self.device.reclaim(not read_only)

    def unmount(self) -> None:
        """Make everything durable and let go of the device."""
        try:
            self.sync()
        finally:
            self.device.disclaim()
            self.device.close(self.hyper.now)


def volume_label(root: DirectoryNode) -> bytes:
    """The 11 bytes of a volume's label, without the spaces behind it."""
    end = root.names().end
    data = root.slots.data
    for slot in range(end):
        at = slot * ENTRY_SIZE
        if data[at] != 0xE5 and data[at + 11] & 0x3F in (0x08, 0x28):
            return bytes(data[at : at + 11]).rstrip(b" ")
    label = root.volume.geometry.label.rstrip(b" ")
    return b"" if label == b"NO NAME" else label
