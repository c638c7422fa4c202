"""Snapshots on ram disks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.snapshot import SnapshotBackend
from rumpkit.kern.abi.errno import EINVAL, ENOSPC
from tests.vfs.helpers import fails

SIZE = 3000


def filled() -> RamDisk:
    disk = RamDisk(SIZE)
    disk.write(0, bytes(range(250)) * 12)
    return disk


@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, 700), st.integers(0, 255)), max_size=20))
def test_changes_are_seen_and_the_base_stays(writes) -> None:
    base = filled()
    before = base.read(0, SIZE)
    model = bytearray(before)
    snapshot = SnapshotBackend(base, RamDisk(SIZE))
    for offset, size, value in writes:
        size = min(size, SIZE - offset)
        snapshot.write(offset, bytes([value]) * size)
        model[offset : offset + size] = bytes([value]) * size
        assert snapshot.read(offset // 2, size) == model[offset // 2 : offset // 2 + size]
    snapshot.flush()
    assert snapshot.read(0, SIZE) == model and base.read(0, SIZE) == before
    changed = snapshot.changed()
    snapshot.revert()
    assert snapshot.read(0, SIZE) == before and snapshot.changed() == []
    for start, end in changed:
        snapshot.write(start, bytes(model[start:end]))
    snapshot.merge()
    assert base.read(0, SIZE) == model == snapshot.read(0, SIZE) and snapshot.changed() == []


def test_bounds() -> None:
    snapshot = SnapshotBackend(filled(), RamDisk(SIZE + 1), max_extents=2)
    for call in (lambda: snapshot.read(SIZE, 1), lambda: snapshot.read(-1, 1), lambda: snapshot.write(SIZE - 1, b"xy")):
        fails(EINVAL, call)
    snapshot.write(0, b"a")
    snapshot.write(10, b"b")
    fails(ENOSPC, snapshot.write, 20, b"c")
    fails(EINVAL, SnapshotBackend, filled(), RamDisk(SIZE - 1))
    snapshot.close()


def test_a_read_only_base_can_have_a_snapshot() -> None:
    base = RamDisk(SIZE, read_only=True)
    snapshot = SnapshotBackend(base, RamDisk(SIZE))
    snapshot.write(5, b"hello")
    assert snapshot.read(4, 7) == b"\0hello\0" and base.read(5, 5) == bytes(5)
    with pytest.raises(OSError):
        snapshot.merge()
    assert snapshot.read(5, 5) == b"hello"
