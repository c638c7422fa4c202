"""Chains and the FAT under them, against lists of clusters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.fat.alloc import Allocator
from rumpkit.fs.fat.chain import Chain
from rumpkit.fs.fat.table import END, Table
from rumpkit.fs.fat.volume import read_geometry
from rumpkit.kern.abi import errno as abi
from tests.fs.fat.fatlab import Lab
from tests.vfs.helpers import fails

SHAPES: dict[int, tuple[int, dict[str, Any]]] = {
    12: (300, {"bits": 12, "cluster_size": 512}),
    16: (5000, {"bits": 16, "cluster_size": 1024}),
    32: (9000, {"bits": 32, "cluster_size": 512}),
}


def make(bits: int) -> tuple[Lab, Table]:
    size, options = SHAPES[bits]
    lab = Lab(RamDisk(size * 1024))
    lab.format(**options)
    geometry = lab.entered(read_geometry, lab.disk)
    return lab, Table(lab.disk, geometry, 1 << 20)


OPERATIONS = st.lists(st.tuples(st.sampled_from("abcX"), st.integers(0, 40)), max_size=30)


@pytest.mark.parametrize("bits", [12, 16, 32])
@given(operations=OPERATIONS)
def test_chains_that_grow_and_shrink_are_lists(bits: int, operations: list[tuple[str, int]]):
    lab, table = make(bits)
    lab.host.enter()
    alloc = Allocator(table)
    chains = {name: Chain(table, 0) for name in "abc"}
    lists: dict[str, list[int]] = {name: [] for name in "abc"}
    for name, count in operations:
        if name == "X":
            # What was given up is free from here on, as after a commit.
            for start, size in alloc.freeing:
                table.free(start, size)
            alloc.freeing.clear()
            continue
        chain, clusters = chains[name], lists[name]
        if count < len(clusters):
            alloc.give_up(chain.cut(count))
            if count:
                table.set(chain.last, table.last)
            del clusters[count:]
        else:
            assert alloc.extend(chain, count - len(clusters)) == count - len(clusters)
            clusters += [chain.locate(index)[0] for index in range(len(clusters), count)]
        taken = [cluster for one in lists.values() for cluster in one]
        assert len(set(taken)) == len(taken)
        for one, expected in lists.items():
            fresh = Chain(table, chains[one].first)
            assert fresh.all() == len(expected) == chains[one].known
            assert [fresh.locate(index)[0] for index in range(len(expected))] == expected
            assert [start + index for start, size in chains[one].runs() for index in range(size)] == expected
    table.write()
    free = table.count_free()
    again = Table(lab.disk, table.geometry, 1 << 20)
    assert again.count_free() == free
    offset, size = table.geometry.fat_offset, table.geometry.fat_bytes
    assert lab.disk.read(offset, size) == lab.disk.read(offset + size, size)
    lab.host.leave()


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_entries_are_what_was_set_and_others_stay(bits: int):
    lab, table = make(bits)
    lab.host.enter()
    end = table.geometry.end
    for cluster in (2, 3, 4, end // 2, end - 2, end - 1):
        table.set(cluster, cluster ^ 1)
    table.write()
    again = Table(lab.disk, table.geometry, 1 << 20)
    assert [again.get(cluster) for cluster in (2, 3, 4, end // 2, end - 2, end - 1)] == [
        cluster ^ 1 for cluster in (2, 3, 4, end // 2, end - 2, end - 1)
    ]
    assert again.get(0) == table.mask & ~0xFF | table.geometry.media
    assert again.get(5) == 0
    lab.host.leave()


def test_the_reserved_bits_of_fat32_entries_are_kept():
    lab, table = make(32)
    lab.host.enter()
    at = table.geometry.fat_offset + 4 * 10
    lab.disk.write(at, b"\0\0\0\xa0")
    table.set(10, 11)
    table.write()
    assert lab.disk.read(at, 4) == b"\x0b\0\0\xa0"
    table.free(9, 3)
    table.write()
    assert lab.disk.read(at, 4) == b"\0\0\0\xa0"
    lab.host.leave()


def test_what_is_no_chain_is_an_error_with_a_reason():
    lab, table = make(16)
    lab.host.enter()
    table.set(2, 3)
    table.set(3, table.last)
    assert table.following(2) == 3 and table.following(3) == END
    for value in (0, 1, table.bad, table.geometry.end):
        table.set(3, value)
        fails(abi.EUCLEAN, table.following, 3)
    for length in (1, 2, 3, 50):
        for cluster in range(2, 2 + length):
            table.set(cluster, cluster + 1)
        for back in range(2, 2 + length):
            table.set(1 + length, back)
            fails(abi.EUCLEAN, Chain(table, 2).all)
    for first in (1, table.geometry.end, 1 << 40):
        fails(abi.EUCLEAN, Chain(table, first).all)
    lab.host.leave()


def test_what_cools_is_not_taken():
    lab, table = make(12)
    lab.host.enter()
    alloc = Allocator(table)
    alloc.cooling += [(2, 10), (20, 30)]
    chain = Chain(table, 0)
    assert alloc.extend(chain, 15) == 15
    assert chain.runs() == [(10, 10), (30, 5)]
    lab.host.leave()


def test_no_more_of_the_fat_is_kept_than_the_limit_says():
    lab = Lab(RamDisk(200 << 20))
    lab.format(bits=32, cluster_size=512)
    geometry = lab.entered(read_geometry, lab.disk)
    table = Table(lab.disk, geometry, 1 << 17)
    lab.host.enter()
    assert table.count_free() == geometry.clusters - 1
    for cluster in range(2, geometry.end, 1000):
        table.get(cluster)
    assert not table.is_over()
    for cluster in range(2, geometry.end, 1000):
        table.set(cluster, table.last)
    assert table.is_over()
    table.write()
    table.trim()
    assert not table.is_over()
    assert all(table.get(cluster) == table.last for cluster in range(2, geometry.end, 1000))
    lab.host.leave()
