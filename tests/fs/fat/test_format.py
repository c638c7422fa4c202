"""New volumes: their shapes by size, what is refused, the same bytes again; and how large one has to be."""

from __future__ import annotations

from typing import Any

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.fat.format import OPTIONS
from rumpkit.fs.fat.geometry import Geometry
from rumpkit.fs.fat.plan import Plan
from rumpkit.kern.abi import errno as abi
from rumpkit.vfs.types import Estimate
from tests.fs.fat.fatlab import Lab
from tests.vfs.helpers import fails

DEFAULTS = {option.name: option.default for option in OPTIONS}
KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@pytest.mark.parametrize(
    ("size", "bits", "cluster"),
    [
        (160 * KIB, 12, 512),
        (1440 * KIB, 12, 512),
        (8 * MIB, 12, 2 * KIB),
        (32 * MIB, 16, 2 * KIB),
        (128 * MIB, 16, 2 * KIB),
        (300 * MIB, 16, 8 * KIB),
        (511 * MIB, 16, 8 * KIB),
        (512 * MIB, 32, 4 * KIB),
        (4 * GIB, 32, 4 * KIB),
        (9 * GIB, 32, 8 * KIB),
        (20 * GIB, 32, 16 * KIB),
        (100 * GIB, 32, 32 * KIB),
        (2047 * GIB, 32, 32 * KIB),
    ],
)
def test_the_size_decides_what_a_volume_looks_like(size: int, bits: int, cluster: int):
    plan = Plan(size, DEFAULTS)
    assert (plan.bits, plan.per_cluster * 512) == (bits, cluster)
    data = plan.reserved + plan.fats * plan.fat_sectors + plan.root_entries // 16
    assert data + plan.clusters * plan.per_cluster <= size // 512 < data + (plan.clusters + 1) * plan.per_cluster
    assert (plan.clusters + 2) * bits <= plan.fat_sectors * 512 * 8
    if not (size < 2 * MIB):
        assert data % plan.per_cluster == 0


@pytest.mark.parametrize(
    ("size", "number", "options"),
    [
        (4 * KIB, abi.ENOSPC, {}),
        (0, abi.ENOSPC, {}),
        (1 << 42, abi.EFBIG, {}),
        (100 * MIB, abi.EINVAL, {"bits": 13}),
        (100 * MIB, abi.EINVAL, {"bits": 12, "cluster_size": 512}),
        (1 * MIB, abi.EINVAL, {"bits": 16, "cluster_size": 4096}),
        (100 * MIB, abi.EINVAL, {"sector_size": 1000}),
        (100 * MIB, abi.EINVAL, {"cluster_size": 3000}),
        (100 * MIB, abi.EINVAL, {"cluster_size": 512 * 256}),
        (100 * MIB, abi.EINVAL, {"bits": 32, "reserved": 1}),
    ],
)
def test_what_makes_no_volume_is_refused(size: int, number: int, options: dict[str, Any]):
    fails(number, Plan, size, {**DEFAULTS, **options})


def make(kib: int = 2048, **options: Any) -> Lab:
    lab = Lab(RamDisk(kib * 1024))
    lab.format(**options)
    return lab


def test_the_same_seed_and_time_make_the_same_bytes():
    first, second = make(label="x"), make(label="x")
    assert first.image() == second.image()
    assert Geometry(first.image()[:512], 2048 * 1024).volume_id != 0


def test_what_was_there_is_not_seen_again():
    lab = Lab(RamDisk(4096 * 1024))
    lab.backend.write(0, b"\x41" * (4096 * 1024))
    for options in ({"bits": 12}, {"bits": 32, "cluster_size": 1024}):
        lab.format(**options)
        assert lab.check() == (True, [])
        client = lab.up()
        assert client.names(".") == []
        client.mkdir("new")
        client.put("new/file", b"x" * 100)
        client.truncate("new/file", 5000)
        assert client.names("new") == ["file"] and client.get("new/file") == b"x" * 100 + bytes(4900)
        lab.down(client)
        assert lab.check() == (True, [])


def test_labels():
    for label in ("A.B", "TWELVE CHARS", " X", "a\u4e00"):
        fails(abi.EINVAL, make, label=label)
    assert make(label="Grün 1").image()[43:54] == "GRÜN 1".encode("cp437").ljust(11)


def test_a_read_only_disk_is_refused():
    fails(abi.EROFS, Lab(RamDisk(1 << 20, read_only=True)).format)


@pytest.mark.parametrize(
    ("count", "size", "directories"), [(10, 0, 2), (80, 100, 5), (40, 50000, 3), (5, 3_000_000, 1), (2000, 1, 50)]
)
def test_an_estimate_is_enough(count: int, size: int, directories: int):
    names = [f"directory {number % directories}/a file with a name {number}" for number in range(count)]
    files = Estimate(count, directories, [size] * count, sum(len(name) for name in names) + 20 * directories)
    lab = Lab(RamDisk(0))
    room = lab.vfs.types.find("vfat").estimate(files)
    assert room < 3 * count * (size + 4096) + 4 * MIB
    lab = Lab(RamDisk(room))
    lab.format()
    client = lab.up()
    for number in range(directories):
        client.mkdir(f"directory {number}")
    for name in names:
        client.put(name, b"x" * size)
    lab.down(client)


def test_a_root_directory_for_all_names_and_room_for_holes():
    kind = Lab(RamDisk(0)).vfs.types.find("vfat")
    crowd = Estimate(600, 1, [], 600 * 100, root_names=600, root_name_bytes=600 * 100)
    entries = kind.fitting(crowd, {})["root_entries"]
    assert isinstance(entries, int) and 600 * 9 < entries < 600 * 12 and entries % 16 == 0
    assert kind.fitting(crowd, {"root_entries": 512}) == {} == kind.fitting(Estimate(9, 1, [], 90, root_names=9), {})
    lab = Lab(RamDisk(kind.estimate(crowd)))
    lab.format(root_entries=entries)
    client = lab.up()
    for number in range(600):
        client.put(f"{number:03}".ljust(100, "x"), b"")
    lab.down(client)
    assert kind.estimate(Estimate(1, 1, [4096], 1, hole_bytes=50 * MIB)) > 50 * MIB
