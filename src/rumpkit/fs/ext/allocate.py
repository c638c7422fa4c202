"""Blocks given out and taken back: near a goal, side by side, counted in groups and in the superblock.

What is freed stays taken in the bitmaps until the transaction is written (`settle`), so that nothing overwrites it that a
crash would bring back.  Where operations go on while the device makes it durable, the bitmaps in memory have it taken again from the moment
that copies of them are in the log (`withhold`) until it is (`give_out`).
"""

from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import ENOSPC, error
from .bitmaps import block_bitmap, change_blocks, clear_bits, first_free, free_run, set_bits
from .geometry import corrupt

if TYPE_CHECKING:
    from .groups import Group
    from .volume import Volume

LONG: Final = 2048
"""Blocks that are looked for side by side at first."""


@final
class Allocator:
    """The free blocks of a volume."""

    def __init__(self, volume: "Volume") -> None:
        self._volume: Volume = volume
        self._freed: list[tuple[int, int]] = []
        self.freed: int = 0
        """Blocks that become free with the running transaction, or with the one before that is not yet durable."""
        self._settled: list[tuple[Group, int, int]] = []
        """What the last transaction freed: group, first bit and count."""
        self._withheld: bool = False
        self.delayed: int = 0
        """Blocks promised to data that is not on disk yet."""
        self.kept: int = 0
        """Free blocks that the data which is being written must leave."""

    def available(self, privileged: bool) -> int:
        """Blocks that can be had now: without those promised, and without those kept for the superuser."""
        fields = self._volume.fields
        free = fields.free_blocks_count - self.delayed
        return free if privileged else free - fields.r_blocks_count

    def allocate(self, goal: int, want: int, least: int = 1) -> tuple[int, int]:
        """Up to `want` blocks side by side, the first at `goal` if that is free: where, and how many.  Raises ENOSPC.

        Of a long run rather `least` blocks or more elsewhere than a few at the goal.
        """
        volume = self._volume
        geometry = volume.geometry
        if volume.fields.free_blocks_count <= 0:
            raise error(ENOSPC)
        if not geometry.first_data_block <= goal < geometry.blocks:
            goal = geometry.first_data_block
        number, offset = divmod(goal - geometry.first_data_block, geometry.blocks_per_group)
        group = volume.groups.get(number)
        if group.descriptor.free_blocks:
            data = block_bitmap(volume, group).data
            run = free_run(data, offset, min(want, geometry.group_blocks(number) - offset))
            if run >= least:
                return self._take(group, offset, run)
        size = min(want, LONG) >> 3
        while True:
            for step in range(geometry.groups):
                group = volume.groups.get((number + step) % geometry.groups)
                if group.descriptor.free_blocks > size << 3 or (not size and group.descriptor.free_blocks):
                    found = self._search(group, size, offset if not step else 0, want)
                    if found is not None:
                        return found
            if not size:
                raise error(ENOSPC)
            size >>= 3

    def free(self, block: int, count: int) -> None:
        """Blocks are no longer in use.  Raises EUCLEAN where they can't be anybody's."""
        if count <= 0:
            return
        self._volume.geometry.check_block(block, count, "freed")
        freed = self._freed
        if freed and freed[-1][0] + freed[-1][1] == block:
            freed[-1] = (freed[-1][0], freed[-1][1] + count)
        elif freed and block + count == freed[-1][0]:
            freed[-1] = (block, freed[-1][1] + count)
        else:
            freed.append((block, count))
        self.freed += count
        self._mark(block, count)

    def settle(self) -> None:
        """The transaction is about to be written: what was freed is free.  Raises EUCLEAN where it was free already."""
        volume = self._volume
        geometry = volume.geometry
        freed = self._freed
        self._freed = []
        self._settled = []
        self.freed = 0
        for block, count in freed:
            while count:
                number, offset = divmod(block - geometry.first_data_block, geometry.blocks_per_group)
                piece = min(count, geometry.blocks_per_group - offset)
                group = volume.groups.get(number)
                buffer = block_bitmap(volume, group)
                change_blocks(volume, group, buffer)
                if not clear_bits(buffer.data, offset, piece):
                    raise corrupt(f"blocks {block} to {block + piece - 1} were freed twice")
                group.block_hint = min(group.block_hint, offset)
                group.descriptor.free_blocks += piece
                volume.fields.free_blocks_count += piece
                self._settled.append((group, offset, piece))
                block += piece
                count -= piece

    def withhold(self) -> None:
        """Have what was settled taken, in memory alone.  Its bitmaps are pinned by the transaction."""
        volume = self._volume
        for group, offset, piece in self._settled:
            set_bits(volume.cache.get(group.descriptor.block_bitmap).data, offset, piece)
            group.descriptor.free_blocks -= piece
            volume.fields.free_blocks_count -= piece
            group.blocks_changed = True  # the checksum is the other state's
            self.freed += piece
        self._withheld = True

    def give_out(self) -> None:
        """What was withheld is free, as the bitmaps in the log say."""
        if not self._withheld:
            return
        volume = self._volume
        for group, offset, piece in self._settled:
            clear_bits(volume.cache.get(group.descriptor.block_bitmap).data, offset, piece)
            group.block_hint = min(group.block_hint, offset)
            group.descriptor.free_blocks += piece
            volume.fields.free_blocks_count += piece
            group.blocks_changed = group.dirty
            self.freed -= piece
        self._settled = []
        self._withheld = False

    def _mark(self, block: int, count: int) -> None:
        """Say now which bitmaps the transaction will change."""
        volume = self._volume
        geometry = volume.geometry
        per = geometry.blocks_per_group
        first = (block - geometry.first_data_block) // per
        for number in range(first, (block + count - 1 - geometry.first_data_block) // per + 1):
            group = volume.groups.get(number)
            change_blocks(volume, group, block_bitmap(volume, group))

    def _search(self, group: "Group", size: int, offset: int, want: int) -> tuple[int, int] | None:
        """A run of at least `size` whole bytes of the bitmap; any block where `size` is 0."""
        volume = self._volume
        blocks = volume.geometry.group_blocks(group.number)
        data = block_bitmap(volume, group).data
        if size:
            zeros = bytes(size)
            found = data.find(zeros, offset >> 3, blocks >> 3)
            if found < 0:
                found = data.find(zeros, group.block_hint >> 3, blocks >> 3)
            if found < 0:
                return None
            at = found << 3
            while at and not data[at - 1 >> 3] >> (at - 1 & 7) & 1 and at > offset:
                at -= 1
            return self._take(group, at, free_run(data, at, min(want, blocks - at)))
        at = first_free(data, offset, blocks)
        if at < 0:
            at = first_free(data, group.block_hint, blocks)
            if at < 0:
                return None
            group.block_hint = at
        return self._take(group, at, free_run(data, at, min(want, blocks - at)))

    def _take(self, group: "Group", offset: int, count: int) -> tuple[int, int]:
        volume = self._volume
        buffer = block_bitmap(volume, group)
        change_blocks(volume, group, buffer)
        descriptor = group.descriptor
        if descriptor.free_blocks < count or volume.fields.free_blocks_count < count:
            raise corrupt(f"group {group.number}: more blocks are free than the descriptor says")
        set_bits(buffer.data, offset, count)
        descriptor.free_blocks -= count
        volume.fields.free_blocks_count -= count
        block = volume.geometry.group_start(group.number) + offset
        group.cursor = block + count
        volume.geometry.check_block(block, count, f"group {group.number}, bitmap")
        return block, count
