"""Making file systems: the same input gives the same bytes, old contents leave no trace, estimates are enough."""

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext.mkfs.format import estimate_size, inodes_for
from rumpkit.fs.ext.mkfs.layout import Layout
from rumpkit.fs.ext.mkfs.options import Request
from rumpkit.fs.ext.superblock import Superblock
from rumpkit.fs.ext.type import Ext
from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.block import BlockBackend
from rumpkit.kern.abi.errno import EIO, EROFS
from rumpkit.vfs.types import Estimate
from tests.fs.ext.mkfs.mkhelp import complete, format_disk, new_disk

MIB = 1 << 20


def everything(disk: RamDisk) -> bytes:
    return disk.read(0, disk.size)


def test_the_same_clock_and_seed_give_the_same_bytes() -> None:
    one, two, three = (new_disk("ext4", 16 * MIB, seed) for seed in (1, 1, 2))
    assert everything(one) == everything(two) != everything(three)


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_what_was_on_the_device_before_is_no_part_of_it(kind: str) -> None:
    """All metadata is as on a new device, but for bitmaps that need not be written; free blocks may hold anything."""
    fresh, dirty = RamDisk(12 * MIB), RamDisk(12 * MIB)
    dirty.write(0, b"\x5a" * dirty.size)
    options = complete({"uuid": "1" * 32, "hash_seed": "2" * 32})
    for disk in (fresh, dirty):
        format_disk(disk, kind, options)
    layout = Layout(Request(kind, fresh.size, options, SimHost()))
    size = layout.geometry.block_size
    geometry = layout.geometry
    places = [descriptor.inode_table for descriptor in layout.descriptors]
    for place in [*places, layout.descriptors[0].block_bitmap, layout.root, *(start for start, _ in layout.lost), 0, 1]:
        count = geometry.inode_blocks if place in places else 1
        assert fresh.read(place * size, count * size) == dirty.read(place * size, count * size), place


def test_a_device_that_fails_half_way_holds_no_file_system() -> None:
    class Failing(BlockBackend):
        """A backend that takes so many writes."""

        def __init__(self, writes: int) -> None:
            super().__init__(4 * MIB)
            self.disk = new_disk("ext2", 4 * MIB)
            self.left = writes

        def read(self, offset: int, size: int) -> bytes:
            return self.disk.read(offset, size)

        def write(self, offset: int, data: bytes) -> None:
            if not self.left:
                raise OSError(EIO, "broken")
            self.left -= 1
            self.disk.write(offset, data)

        def flush(self) -> None:
            return None

    for writes in range(1, 6):
        disk = Failing(writes)
        with pytest.raises(OSError, match="broken"):
            format_disk(disk, "ext2", {})
        assert Superblock(disk.read(1024, 1024)).magic == 0


def test_a_read_only_device_is_refused() -> None:
    with pytest.raises(OSError) as caught:
        format_disk(RamDisk(4 * MIB, read_only=True), "ext4", {})
    assert caught.value.errno == EROFS


ESTIMATES = [
    Estimate(0, 0, [], 0),
    Estimate(100, 10, [5000] * 100, 1500),
    Estimate(20000, 200, [100] * 20000, 300000),
    Estimate(3, 1, [1 << 30, 1, 0], 30),
    Estimate(10, 1, [3 << 30] * 10, 100, 100000),
]


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
@pytest.mark.parametrize("case", range(len(ESTIMATES)))
def test_an_estimate_has_room_for_the_files_and_not_much_more(kind: str, case: int) -> None:
    files = ESTIMATES[case]
    size = estimate_size(kind, files)
    layout = Layout(Request(kind, size, complete({"inodes": inodes_for(kind, files)}), SimHost()))
    needed = sum(-(-length // layout.geometry.block_size) for length in files.sizes) + files.directories
    assert layout.free_blocks() >= needed and layout.free_inodes() >= files.files + files.directories
    content = sum(-(-length // 4096) * 4096 for length in files.sizes)
    assert size <= 1.15 * content + 32 * MIB


def test_small_files_get_inodes_and_not_a_larger_image() -> None:
    many = Estimate(20000, 200, [10] * 20000, 300000)
    assert estimate_size("ext4", many) < 40 * MIB and inodes_for("ext4", many) >= 20200
    assert inodes_for("ext4", Estimate(3, 1, [1 << 30], 30)) == 0
    kind = Ext("ext4")
    assert kind.fitting(many, {}) == {"inodes": inodes_for("ext4", many)}
    assert kind.fitting(many, {"inode_ratio": 8192}) == {}
