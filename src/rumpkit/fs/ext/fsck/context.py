"""What the passes of a check share: the file system, what they have found of it, and the list of findings.

Memory: a bit for each block, three bytes for each inode, a dictionary entry for each directory and each inode with
another number of links than 1, the names of one directory, and a small buffer cache; `MEMORY` is the limit of the
first two.
"""

from collections.abc import Callable
from typing import Final, final

from ....hyper.calls import Hypercalls
from ....kern.abi.errno import EFBIG
from ....kern.device import Device
from ....vfs.buffer import BufferCache
from ....vfs.types import Finding
from ..checksum import seed
from ..geometry import Geometry
from ..group import GroupDescriptor
from .bits import Bits

MEMORY: Final = 1 << 30
"""Bytes of bitmaps and tables beyond which a check is refused."""
CACHE: Final = 8 << 20
MOST_FINDINGS: Final = 1000
"""Findings that are reported one by one; more are counted."""

MOST_COUNTED: Final = 0xFFFF
"""Entries of an inode that are counted."""

# What an inode is, as directory entries say it.
DIRECTORY: Final = 2
SYMLINK: Final = 7


@final
class Check:
    """One check of one file system."""

    def __init__(
        self, hyper: Hypercalls, device: Device, geometry: Geometry, report: Callable[[Finding], None]
    ) -> None:
        """Raises EFBIG where that takes too much memory."""
        self.hyper: Hypercalls = hyper
        self.device: Device = device
        self.geometry: Geometry = geometry
        self.fields = geometry.fields
        self.seed: int = seed(geometry.fields)
        self.block_size: int = geometry.block_size
        needed = geometry.blocks // 8 + geometry.inodes * 3
        if needed > MEMORY:
            raise OSError(EFBIG, f"checking it takes {needed >> 20} MiB of memory, more than {MEMORY >> 20}")
        self.cache: BufferCache = BufferCache(device, geometry.block_size, CACHE)
        self.descriptors: list[GroupDescriptor] = []
        self.claimed: Bits = Bits(geometry.blocks)
        """Blocks that somebody has."""
        self.kinds: bytearray = bytearray(geometry.inodes + 1)
        """What each inode is, as in a directory entry; 0: not in use."""
        self.counted: bytearray = bytearray(2 * (geometry.inodes + 1))
        """Entries that name each inode: two bytes, little-endian, that stop at 65535."""
        self.links: dict[int, int] = {}
        """Numbers of links of the inodes that don't say 1."""
        self.values: dict[int, int] = {}
        """Files that hold values of extended attributes: how many entries they say to have; -1: they don't say."""
        self.parents: dict[int, int] = {}
        """Each directory, and the one that has an entry for it; 0: none was seen yet."""
        self.dotdots: dict[int, int] = {}
        """What ".." is in a directory, where that is not what `parents` says in the end."""
        self.xattr_blocks: dict[int, list[int]] = {}
        """Blocks of extended attributes: how many inodes they say to have, how many they have."""
        self.free_blocks: int = 0
        self.free_inodes: int = 0
        self.orphans: set[int] = set()
        self.lost_and_found: int = 0
        """The directory of that name in the root."""
        # What a repair does, where nothing is wrong that it can't.
        self.bad_entries: list[tuple[int, int, int, int]] = []
        """Directory, block, byte, and the kind that the entry there should have; 0: it is to go."""
        self.bad_dtimes: list[tuple[int, int]] = []
        """Inodes, and what their time of deletion should be: 1 stands for now."""
        self.bad_sectors: list[tuple[int, int]] = []
        """Inodes, and how much storage they have."""
        self.bad_links: list[tuple[int, int]] = []
        """Inodes, and how many links they have."""
        self.bad_dotdots: list[tuple[int, int]] = []
        """Directories, and the ones that they are in."""
        self.findings: int = 0
        self.beyond: int = 0
        """Findings that are not repaired here."""
        self._report: Callable[[Finding], None] = report

    def find(self, text: str, where: str = "", mendable: bool = False, fatal: bool = False) -> None:
        """Something is wrong.  What is not `mendable` makes a repair impossible."""
        self.findings += 1
        if not mendable:
            self.beyond += 1
        if self.findings <= MOST_FINDINGS:
            self._report(Finding(text, where, False, fatal))

    def set_report(self, report: Callable[[Finding], None]) -> None:
        """Report to somebody else from now on."""
        self._report = report

    def finish(self) -> None:
        """Say how many findings were not reported."""
        if self.findings > MOST_FINDINGS:
            self._report(Finding(f"and {self.findings - MOST_FINDINGS} more"))

    def claim(self, start: int, count: int, where: str) -> bool:
        """Note that somebody has these blocks; False, with a finding, where they are outside or somebody else's."""
        geometry = self.geometry
        if start <= geometry.first_data_block or start + count > geometry.blocks:
            self.find(f"blocks {start} to {start + count - 1} are outside of the file system", where)
            return False
        if not self.claimed.add(start, count):
            self.find(f"blocks {start} to {start + count - 1} are claimed twice", where)
            return False
        return True

    def count(self, number: int) -> int:
        """Count an entry for an inode; how many there are now."""
        at = 2 * number
        value = self.counted[at] | self.counted[at + 1] << 8
        if value < MOST_COUNTED:
            value += 1
            self.counted[at] = value & 0xFF
            self.counted[at + 1] = value >> 8
        return value

    def entries(self, number: int) -> int:
        """How many entries name an inode."""
        at = 2 * number
        return self.counted[at] | self.counted[at + 1] << 8

    def place(self, number: int) -> tuple[int, int]:
        """Block and byte where an inode lies."""
        geometry = self.geometry
        group, index = divmod(number - 1, geometry.inodes_per_group)
        block, slot = divmod(index, geometry.inodes_per_block)
        return self.descriptors[group].inode_table + block, slot * geometry.inode_size

    def raw_inode(self, number: int) -> bytes:
        """The bytes of an inode."""
        block, at = self.place(number)
        return bytes(self.cache.get(block).data[at : at + self.geometry.inode_size])
