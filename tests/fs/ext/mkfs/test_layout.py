"""Where things go in a new file system: nothing overlaps, whatever is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.ext.mkfs.layout import Layout, UsedBlocks, indirect_blocks
from rumpkit.fs.ext.mkfs.options import Request
from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.abi.errno import EFBIG, EINVAL, ENOSPC
from rumpkit.vfs.types import OptionValue
from tests.fs.ext.mkfs.mkhelp import complete


def layout(kind: str, size: int, **options: OptionValue) -> Layout:
    return Layout(Request(kind, size, complete(options), SimHost()))


@given(
    st.integers(16, 40000),
    st.sampled_from(["ext2", "ext3", "ext4"]),
    st.sampled_from([1024, 2048, 4096]),
    st.sampled_from(["", "^flex_bg", "^resize_inode", "sparse_super2", "meta_bg,^resize_inode", "^64bit"]),
    st.sampled_from([2048, 16384, 1 << 20]),
)
def test_a_layout_fits_or_is_refused(kilobytes: int, kind: str, block_size: int, features: str, ratio: int) -> None:
    """Overlaps would raise in `UsedBlocks.add`; blocks outside of the file system, too."""
    try:
        made = layout(kind, kilobytes * 4096, block_size=block_size, features=features, inode_ratio=ratio)
    except OSError as problem:
        assert problem.errno in (ENOSPC, EINVAL)
        return
    geometry = made.geometry
    seen = set()
    for group, descriptor in enumerate(made.descriptors):
        places = [descriptor.block_bitmap, descriptor.inode_bitmap]
        places += range(descriptor.inode_table, descriptor.inode_table + geometry.inode_blocks)
        start = geometry.group_start(group)
        places += range(start, start + geometry.fixed_blocks(group))
        assert not seen.intersection(places)
        seen.update(places)
    for start, count in [*made.lost, *made.journal, (made.root, 1)]:
        assert not seen.intersection(range(start, start + count))
        seen.update(range(start, start + count))
    seen.update(made.journal_maps)
    seen.update([made.resize] * bool(made.resize))
    assert made.used.total() == len(seen) and max(seen) < geometry.blocks
    assert made.free_blocks() == geometry.blocks - geometry.first_data_block - len(seen)


def test_what_cannot_be_is_refused() -> None:
    for kind, size, options, errno in (
        ("ext2", 8192, {}, ENOSPC),
        ("ext2", 1 << 20, {"inodes": 10000}, EINVAL),
        ("ext2", 1 << 20, {"inodes": 4040}, ENOSPC),
        ("ext2", 1 << 43, {"block_size": 1024}, EFBIG),
        ("ext4", 64 << 20, {"journal_size": 40}, ENOSPC),
        ("ext4", 1 << 62, {"block_size": 1024}, EFBIG),
    ):
        with pytest.raises(OSError) as caught:
            layout(kind, size, **options)
        assert caught.value.errno == errno, (kind, size, options, caught.value)


def test_a_last_group_that_holds_little_is_left_out() -> None:
    assert layout("ext2", (8192 + 90) * 1024, block_size=1024).geometry.groups == 1
    assert layout("ext2", (8192 + 1000) * 1024, block_size=1024).geometry.groups == 2


def test_the_journal_is_as_large_as_the_device_deserves() -> None:
    for size, blocks in ((1 << 20, 0), (8 << 20, 1024), (1 << 30, 8192), (40 << 30, 65536), (1 << 40, 262144)):
        made = layout("ext4", size)
        assert sum(count for _, count in made.journal) == blocks
        assert bool(made.fields.features().count("has_journal")) == bool(blocks)


@given(st.integers(0, 300000), st.sampled_from([256, 1024]))
def test_indirect_blocks_are_counted_as_they_are_needed(count: int, per: int) -> None:
    left = count - 12
    expected = 0
    for depth in (1, 2, 3):
        span = min(max(left, 0), per**depth)
        expected += sum(-(-span // per**level) for level in range(1, depth + 1))
        left -= per**depth
    assert indirect_blocks(count, per) == expected


def test_runs_that_touch_become_one() -> None:
    used = UsedBlocks(1, 100)
    for start, count in ((10, 5), (20, 5), (15, 5), (1, 2)):
        used.add(start, count)
    assert used.within(0, 100) == [(1, 3), (10, 25)] and used.total() == 17
    assert used.take(10) == [(3, 7), (25, 3)]
    assert used.take_run(5, 50, 60) == 50 and used.take_run(40, 40, 100) == 55
    for start, count in ((24, 2), (50, 1), (49, 2), (99, 2)):
        with pytest.raises(OSError, match="no room"):
            used.add(start, count)
