"""An image below vnodes: superblock, metadata, tables, data blocks.  Between the mount and the device."""

from typing import Final, final

from ...kern.abi.errno import EINVAL, error
from ...kern.device import Device
from ..unpack.method import Decompressor, method
from .data import BlockList
from .directory import Listing
from .format import EXPORT, FRAGMENT, ID, NO_TABLE, NONE, PLAIN, SUPERBLOCK, Superblock, corrupt
from .inode import Inode
from .metadata import Cursor, Metadata, Table, read_exactly

COMPRESSORS: Final = ("", "gzip", "lzma", "lzo", "xz", "lz4", "zstd")
"""By the superblock's number."""
MOST_LISTS: Final = 32
"""Files whose lists of blocks are in memory, and directories whose indexes are."""
MOST_INDEXES: Final = 1 << 16
"""Entries of all those indexes, but for the one that was read last."""


@final
class Volume:
    """One image, open."""

    def __init__(self, device: Device, metadata_bytes: int, data_bytes: int) -> None:
        """Raises EINVAL, EUCLEAN, EIO; ENOTSUP where what it takes to unpack it is missing, with a text that says what."""
        fields = self.fields = Superblock(read_head(device), device.size())
        if not 0 < fields.compressor < len(COMPRESSORS):
            raise OSError(EINVAL, f"squashfs: compressor {fields.compressor} is not known")
        self.device: Device = device
        self.unpack: Decompressor = method(COMPRESSORS[fields.compressor])
        self.metadata: Metadata = Metadata(device, self.unpack, fields.bytes_used, metadata_bytes)
        self._ids: Table = Table(self.metadata, "owner", fields.id_table, fields.ids, ID)
        self._owners: dict[int, int] = {}
        """Of that table what was asked for; it has at most 65535 entries."""
        fragments = fields.fragments if fields.fragment_table != NO_TABLE else 0
        self.fragments: Table = Table(self.metadata, "fragment", fields.fragment_table, fragments, FRAGMENT)
        exported = fields.inodes if fields.export_table != NO_TABLE else 0
        self.exports: Table = Table(self.metadata, "exported inode", fields.export_table, exported, EXPORT)
        self._most: int = max(data_bytes, 2 * fields.block_size)
        self._held: int = 0
        self._blocks: dict[int, bytes] = {}
        """Data blocks and fragments that were unpacked last, by position."""

        self._files: dict[int, BlockList] = {}
        self._directories: dict[int, Listing] = {}

    def owner(self, number: int) -> int:
        """A user or group that inodes name by a number.  Raises EUCLEAN, EIO."""
        found = self._owners.get(number)
        if found is None:
            found = self._owners[number] = self._ids.get(number)[0]
        return found

    def blocks_of(self, inode: Inode) -> BlockList:
        """A file's list of blocks."""
        files = self._files
        found = files.pop(inode.reference, None)
        if found is None:
            found = BlockList(self, inode)
            if len(files) >= MOST_LISTS:
                del files[next(iter(files))]
        files[inode.reference] = found
        return found

    def listing_of(self, inode: Inode) -> Listing:
        """A directory's listing."""
        directories = self._directories
        found = directories.pop(inode.reference, None)
        if found is None:
            found = Listing(self, inode)
            if len(directories) >= MOST_LISTS:
                del directories[next(iter(directories))]
        directories[inode.reference] = found
        return found

    def indexed(self, listing: Listing) -> None:
        """A directory has read its index: those of others go, the oldest first, where they are too large together."""
        others = [each for each in self._directories.values() if each is not listing]
        held = sum([each.indexes() for each in others])
        for each in others:
            if held <= MOST_INDEXES:
                break
            held -= each.indexes()
            each.forget_index()

    def inode_cursor(self, reference: int) -> Cursor:
        """Where an inode is.  Raises EUCLEAN, EIO."""
        position = self.fields.inode_table + (reference >> 16)
        if position >= self.fields.directory_table:
            raise corrupt(f"an inode at {reference:#x}, behind the inode table")
        return Cursor(self.metadata, position, reference & 0xFFFF)

    def data_block(self, position: int, length: int, size: int) -> bytes:
        """The data block at byte `position`, which takes `length` there (with PLAIN) and is to have at most `size` bytes unpacked.
        Raises EUCLEAN, EIO."""
        found = self._blocks.pop(position, None)
        if found is None:
            found = self._read(position, length, size)
            self._held += len(found)
            while self._held > self._most and self._blocks:
                self._held -= len(self._blocks.pop(next(iter(self._blocks))))
        self._blocks[position] = found
        return found

    def _read(self, position: int, length: int, size: int) -> bytes:
        stored = length & (PLAIN - 1)
        if length & ~(PLAIN | PLAIN - 1) or not 0 < stored <= self.fields.block_size:
            raise corrupt(f"a data block of {length:#x} bytes at {position}")
        if position < SUPERBLOCK.size or position + stored > self.fields.bytes_used:
            raise corrupt(f"a data block of {stored} bytes at {position}, behind the end")
        data = read_exactly(self.device, position, stored)
        if length & PLAIN:
            return data
        try:
            return self.unpack(data, size)
        except ValueError as problem:
            raise corrupt(f"the data block at {position} can't be unpacked: {problem}") from None

    def fragment(self, number: int, offset: int, size: int) -> bytes:
        """The tail of a file: `size` bytes from `offset` of a fragment block.  Raises EUCLEAN, EIO."""
        if number == NONE:
            raise corrupt("a file's tail is nowhere")
        position, length, _ = self.fragments.get(number)
        data = self.data_block(position, length, self.fields.block_size)
        if offset + size > len(data):
            raise corrupt(f"fragment {number} has {len(data)} bytes, and a file's tail is at {offset}, of {size}")
        return data[offset : offset + size]

    def drop(self) -> None:
        """Forget what is cached."""
        self._blocks.clear()
        self._held = 0


def read_head(device: Device) -> bytes:
    """The bytes of the superblock, as many of them as there are.  Raises EIO."""
    data = device.read(0, SUPERBLOCK.size)
    if not isinstance(data, bytes):
        raise error(EINVAL)
    return data
