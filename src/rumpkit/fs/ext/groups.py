"""The block groups of a mounted file system: descriptors read when they are asked for, checked, and written back."""

from typing import final

from ...vfs.buffer import BufferCache
from .checksum import group_checksum
from .geometry import Geometry, corrupt
from .group import BLOCK_UNINIT, INODE_UNINIT, GroupDescriptor


@final
class Group:
    """One group in memory."""

    def __init__(self, number: int, descriptor: GroupDescriptor) -> None:
        self.number: int = number
        self.descriptor: GroupDescriptor = descriptor
        self.dirty: bool = False
        """The descriptor is to be written with the running transaction."""
        self.blocks_changed: bool = False
        self.inodes_changed: bool = False
        """Bitmaps that were changed, whose checksums are to be made."""
        self.block_hint: int = 0
        """No block below this one of the group is free."""
        self.inode_hint: int = 0
        """The same for inodes."""
        self.cursor: int = 0
        """Behind the blocks that were given out last; 0 at first."""


@final
class GroupTable:
    """All groups of a file system, those in memory that were needed."""

    def __init__(self, cache: BufferCache, geometry: Geometry, seed: int) -> None:
        self._cache: BufferCache = cache
        self._geometry: Geometry = geometry
        self._seed: int = seed
        self._groups: dict[int, Group] = {}

    def __len__(self) -> int:
        return self._geometry.groups

    def get(self, number: int) -> Group:
        """A group.  Raises EUCLEAN where its descriptor can't be."""
        group = self._groups.get(number)
        if group is None:
            group = self._read(number)
            self._groups[number] = group
        return group

    def place(self, number: int) -> tuple[int, int]:
        """Block and byte where a group's descriptor lies."""
        geometry = self._geometry
        index, slot = divmod(number, geometry.descriptors_per_block)
        return geometry.descriptor_block(index), slot * geometry.descriptor_size

    def store(self, group: Group) -> None:
        """Put a group's descriptor, with its checksum, into the cached block that it lies in."""
        geometry = self._geometry
        block, at = self.place(group.number)
        descriptor = group.descriptor
        if geometry.fields.has_group_checksums:
            raw = descriptor.emit(geometry.descriptor_size)
            descriptor.checksum = group_checksum(geometry.fields, self._seed, group.number, raw)
        self._cache.get(block).data[at : at + geometry.descriptor_size] = descriptor.emit(geometry.descriptor_size)

    def _read(self, number: int) -> Group:
        geometry = self._geometry
        fields = geometry.fields
        block, at = self.place(number)
        size = geometry.descriptor_size
        raw = bytes(self._cache.get(block).data[at : at + size])
        descriptor = GroupDescriptor(raw)
        where = f"group {number}"
        if fields.has_group_checksums:
            if group_checksum(fields, self._seed, number, raw) != descriptor.checksum:
                raise corrupt(f"{where}: the descriptor's checksum is wrong")
        else:
            descriptor.flags &= ~(BLOCK_UNINIT | INODE_UNINIT)
        geometry.check_block(descriptor.block_bitmap, 1, f"{where}, block bitmap")
        geometry.check_block(descriptor.inode_bitmap, 1, f"{where}, inode bitmap")
        geometry.check_block(descriptor.inode_table, geometry.inode_blocks, f"{where}, inode table")
        if descriptor.free_blocks > geometry.group_blocks(number):
            raise corrupt(f"{where}: {descriptor.free_blocks} free blocks")
        inodes = geometry.inodes_per_group
        if max(descriptor.free_inodes, descriptor.itable_unused, descriptor.used_dirs) > inodes:
            raise corrupt(
                f"{where}: {descriptor.free_inodes} free and {descriptor.itable_unused} unused inodes, "
                f"{descriptor.used_dirs} directories, of {inodes}"
            )
        return Group(number, descriptor)
