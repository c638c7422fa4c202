"""Inodes given out and taken back: files near their directory, directories spread over the groups (after Orlov)."""

from typing import TYPE_CHECKING, final

from ...kern.abi.errno import ENOSPC, error
from .bitmaps import change_inodes, first_free, inode_bitmap
from .geometry import corrupt
from .group import INODE_UNINIT

if TYPE_CHECKING:
    from .groups import Group
    from .volume import Volume


@final
class InodeAllocator:
    """The free inodes of a volume."""

    def __init__(self, volume: "Volume") -> None:
        self._volume: Volume = volume

    def allocate(self, parent: int, directory: bool, top: bool) -> int:
        """A free inode for a file in the directory `parent`; `top` where that is the root.  Raises ENOSPC, EUCLEAN."""
        volume = self._volume
        groups = len(volume.groups)
        if volume.fields.free_inodes_count <= 0:
            raise error(ENOSPC)
        start = (parent - 1) // volume.geometry.inodes_per_group
        if directory:
            start = self._for_directory(start, top)
        for step in range(groups):
            group = volume.groups.get((start + step) % groups)
            if group.descriptor.free_inodes:
                index = self._search(group)
                if index >= 0:
                    return self._take(group, index, directory)
        raise error(ENOSPC)

    def claim(self, number: int, directory: bool) -> bool:
        """Take an inode that a fast commit names; whether it was free.  Raises EUCLEAN for a number that none has."""
        volume = self._volume
        if not 0 < number <= volume.geometry.inodes:
            raise corrupt(f"inode {number} is outside of the file system")
        place, index = divmod(number - 1, volume.geometry.inodes_per_group)
        group = volume.groups.get(place)
        if inode_bitmap(volume, group).data[index >> 3] >> (index & 7) & 1:
            return False
        hint = group.inode_hint
        self._take(group, index, directory)
        group.inode_hint = min(hint, index)
        return True

    def free(self, number: int, directory: bool) -> None:
        """An inode is no longer in use.  Raises EUCLEAN where it wasn't."""
        volume = self._volume
        place, index = divmod(number - 1, volume.geometry.inodes_per_group)
        group = volume.groups.get(place)
        buffer = inode_bitmap(volume, group)
        change_inodes(volume, group, buffer)
        bit = 1 << (index & 7)
        if not buffer.data[index >> 3] & bit:
            raise corrupt(f"inode {number} was freed twice")
        buffer.data[index >> 3] &= ~bit
        group.inode_hint = min(group.inode_hint, index)
        group.descriptor.free_inodes += 1
        volume.fields.free_inodes_count += 1
        if directory and group.descriptor.used_dirs:
            group.descriptor.used_dirs -= 1

    def _for_directory(self, start: int, top: bool) -> int:
        """The group for a new directory: near its parent if there is room, but those of the root far from each other."""
        volume = self._volume
        groups = len(volume.groups)
        free_inodes = volume.fields.free_inodes_count // groups
        free_blocks = volume.fields.free_blocks_count // groups
        best = -1
        fewest = 0
        for step in range(groups):
            number = (start + step) % groups
            descriptor = volume.groups.get(number).descriptor
            if not descriptor.free_inodes:
                continue
            if not top:
                if 4 * descriptor.free_inodes >= free_inodes and 4 * descriptor.free_blocks >= free_blocks:
                    return number
            elif descriptor.free_inodes >= free_inodes and descriptor.free_blocks >= free_blocks:
                if best < 0 or descriptor.used_dirs < fewest:
                    best = number
                    fewest = descriptor.used_dirs
                    if not fewest:
                        break
        return start if best < 0 else best

    def _search(self, group: "Group") -> int:
        volume = self._volume
        geometry = volume.geometry
        data = inode_bitmap(volume, group).data
        start = group.inode_hint
        if group.number * geometry.inodes_per_group + start + 1 < geometry.first_inode:
            start = geometry.first_inode - 1
        index = first_free(data, start, geometry.inodes_per_group)
        if index >= 0:
            group.inode_hint = index
        return index

    def _take(self, group: "Group", index: int, directory: bool) -> int:
        volume = self._volume
        geometry = volume.geometry
        descriptor = group.descriptor
        buffer = inode_bitmap(volume, group)
        change_inodes(volume, group, buffer)
        buffer.data[index >> 3] |= 1 << (index & 7)
        group.inode_hint = index + 1
        if descriptor.free_inodes <= 0:
            raise corrupt(f"group {group.number}: more inodes are free than the descriptor says")
        descriptor.free_inodes -= 1
        descriptor.flags &= ~INODE_UNINIT
        volume.fields.free_inodes_count -= 1
        if directory:
            descriptor.used_dirs += 1
        if volume.fields.has_group_checksums:
            used = geometry.inodes_per_group - descriptor.itable_unused
            if index >= used:
                self._clear_table(group, used, index)
                descriptor.itable_unused = geometry.inodes_per_group - index - 1
        return group.number * geometry.inodes_per_group + index + 1

    def _clear_table(self, group: "Group", used: int, index: int) -> None:
        """Zero the blocks of the inode table that are used for the first time: whatever was there may be there still."""
        volume = self._volume
        per = volume.geometry.inodes_per_block
        for block in range(-(-used // per), index // per + 1):
            volume.mark(volume.cache.fresh(group.descriptor.inode_table + block))
