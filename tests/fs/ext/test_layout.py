"""What is parsed is emitted as it was: superblocks, group descriptors, inodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.ext.features import BIT64, CSUM_SEED, names, unreadable, unwritable
from rumpkit.fs.ext.group import GroupDescriptor
from rumpkit.fs.ext.inode import EXTRA_AT, Inode
from rumpkit.fs.ext.superblock import SIZE, Superblock


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_superblock(data):
    fields = Superblock(data)
    assert fields.emit() == data


def test_superblock_counts_have_two_halves():
    fields = Superblock()
    fields.feature_incompat = BIT64
    fields.blocks_count = 5 << 32 | 7
    again = Superblock(fields.emit())
    assert again.blocks_count == 5 << 32 | 7
    assert fields.emit()[4] == 7 and fields.emit()[0x150] == 5


@given(st.sampled_from([32, 64, 128]), st.data())
def test_group_descriptor(size, data):
    raw = data.draw(st.binary(min_size=min(size, 64), max_size=min(size, 64))) + bytes(max(size - 64, 0))
    assert GroupDescriptor(raw).emit(size) == raw


@given(st.sampled_from([128, 256, 512]), st.data())
def test_inode(size, data):
    raw = bytearray(data.draw(st.binary(min_size=size, max_size=size)))
    extra = 0
    if size > 128:
        extra = data.draw(st.sampled_from([0, 4, 8, 24, 28, 32, 40, size - 128]))
        raw[EXTRA_AT : EXTRA_AT + 2] = extra.to_bytes(2, "little")
        for at in (0x84, 0x88, 0x8C, 0x94):  # nanoseconds below a second
            raw[at + 3] &= 0x7F
        if extra < 4:
            raw[0x82:0x84] = b"\0\0"
    inode = Inode(bytes(raw), size)
    again = inode.emit(size)
    if extra >= 24 or extra == 0:
        assert again == raw
    fields = Inode(again, size)
    assert (fields.mtime, fields.size, fields.rest) == (inode.mtime, inode.size, inode.rest)


@pytest.mark.parametrize("time", [0, -1, 1, 1 << 31, (1 << 34) - (1 << 31) - 1, -(1 << 31), 1_700_000_000])
def test_times(time):
    inode = Inode(bytes(256), 256)
    inode.extra_isize = 32
    inode.mtime = time * 10**9 + 123456789
    assert Inode(inode.emit(256), 256).mtime == inode.mtime


def test_feature_names():
    assert names(0x4, 0x40, 0x400) == ("has_journal", "extent", "metadata_csum")
    assert names(1 << 31, 0, 0) == ("FEATURE_C31",)
    assert unreadable(CSUM_SEED | 1) == ("compression",)
    assert unwritable(0x10000, 0x200) == ("encrypt", "bigalloc")
