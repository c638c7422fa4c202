"""Hostile volumes: bits flipped by seed, and evil made by hand.  They give errors with a reason: no traceback, no endless loop."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.fat.geometry import Geometry
from rumpkit.kern.abi import errno as abi
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDONLY, O_WRONLY, S_IFDIR, S_IFMT
from tests.fs.fat.fatlab import Lab, tree
from tests.vfs.helpers import Client, fails

CORRUPT = {abi.EUCLEAN, abi.EIO}
REFUSED = CORRUPT | {abi.EINVAL}
OTHER = {
    abi.ENOENT,
    abi.ENAMETOOLONG,
    abi.ENOSPC,
    abi.EEXIST,
    abi.ENOTDIR,
    abi.EISDIR,
    abi.ENOTEMPTY,
    abi.EINVAL,
    abi.EFBIG,
}
SHAPES: dict[int, tuple[int, dict[str, Any]]] = {
    12: (300, {"bits": 12, "cluster_size": 512}),
    16: (5000, {"bits": 16, "cluster_size": 1024}),
    32: (300, {"bits": 32, "cluster_size": 512, "reserved": 9}),
}


def sample(bits: int) -> bytes:
    """A small volume with something of everything."""
    size, options = SHAPES[bits]
    lab = Lab(RamDisk(size * 1024))
    lab.format(volume_id=3, label="EVIL", **options)
    client = lab.up()
    client.mkdir("directory")
    client.mkdir("directory/below it")
    for number in range(20):
        client.put(f"directory/a long name {number}", bytes([number]) * 700)
    client.put("directory/below it/SHORT.TXT", b"short" * 1000)
    client.put("top", b"top" * 3000)
    lab.down(client)
    return lab.image()


def walk(client: Client, where: str = ".", budget: list[int] | None = None) -> None:
    """Look at everything, whatever single files say; more than a volume can hold is a loop."""
    budget = [5000] if budget is None else budget
    try:
        names = client.names(where)
    except OSError as problem:
        assert problem.errno in CORRUPT | OTHER, problem
        return
    for name in names:
        budget[0] -= 1
        assert budget[0] > 0, "an endless tree"
        path = f"{where}/{name}"
        try:
            state = client.stat(path)
            if state.st_mode & S_IFMT == S_IFDIR:
                walk(client, path, budget)
            else:
                fd = client.open(path, O_RDONLY)
                for offset in (0, 5000, state.st_size - 1):
                    client.pread(fd, 100000, max(offset, 0))
        except OSError as problem:
            assert problem.errno in CORRUPT | OTHER, problem
            assert problem.errno not in CORRUPT or str(problem)


def change(client: Client) -> None:
    """Change what is there; each may fail."""
    calls: list[tuple[Any, ...]] = [
        (client.put, "new file with a long name", b"new" * 2000),
        (client.mkdir, "directory/new"),
        (client.unlink, "top"),
        (client.rename, "directory/a long name 3", "directory/below it/moved"),
        (client.truncate, "directory/a long name 4", 10),
        (client.truncate, "directory/a long name 5", 3000),
        (client.rmdir, "directory/below it"),
        (client.put, "directory/below it/more", b"more"),
        (client.rename, "directory", "renamed directory"),
    ]
    for call, *arguments in calls:
        try:
            call(*arguments)
        except OSError as problem:
            assert problem.errno in CORRUPT | OTHER, problem


def flip(image: bytes, seed: int) -> bytes:
    """The volume with some bits of its metadata flipped."""
    random = Random(seed)
    geometry = Geometry(image[:512], len(image))
    parts = [(0, 90), (geometry.fat_offset, 120), (geometry.root_offset, 400), (geometry.data_offset, 8000)]
    data = bytearray(image)
    for _ in range(random.choice((1, 3, 20))):
        start, size = random.choice(parts)
        data[start + random.randrange(size)] ^= 1 << random.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_flipped_bits_give_errors_and_a_repair_mends_what_is_left(bits: int):
    image = sample(bits)
    mounted = 0
    for seed in range(30):
        evil = flip(image, 1000 * bits + seed)
        lab = Lab.of(evil)
        try:
            client = lab.up(read_only=True)
        except OSError as problem:
            assert problem.errno in REFUSED and str(problem)
            continue
        walk(client)
        lab.down(client)
        assert lab.image() == evil
        client = lab.up()
        change(client)
        walk(client)
        lab.down(client)
        lab.check(repair=True)
        assert lab.check() == (True, [])
        client = lab.up()
        tree(client)
        lab.down(client)
        mounted += 1
    assert mounted > 10


# Evil by hand --------------------------------------------------------------------------------------------------------------


def poke(image: bytes, offset: int, data: bytes) -> bytes:
    return image[:offset] + data + image[offset + len(data) :]


def mount_fails(image: bytes, number: int = abi.EUCLEAN) -> None:
    fails(number, Lab.of(image).up)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (11, struct.pack("<H", 0)),  # bytes a sector
        (11, struct.pack("<H", 8192)),
        (11, struct.pack("<H", 513)),
        (13, b"\0"),  # sectors a cluster
        (13, b"\3"),
        (14, b"\0\0"),  # reserved sectors
        (16, b"\0"),  # FATs
        (21, b"\x12"),  # media
        (19, b"\0\0"),  # no sectors: the 32-bit count is 0, too
        (19, b"\xff\xff"),  # more than the device has
        (17, b"\0\0"),  # root entries
        (17, b"\1\0"),
        (17, b"\xf0\xff"),
        (22, b"\xff\xff"),  # sectors a FAT
    ],
)
def test_a_boot_sector_with_impossible_numbers_is_refused(offset: int, value: bytes):
    mount_fails(poke(sample(12), offset, value))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (36, b"\0\0\0\0"),  # sectors a FAT
        (36, b"\xff\xff\xff\xff"),
        (42, b"\1\1"),  # version
        (44, b"\0\0\0\0"),  # root cluster
        (44, b"\xff\xff\xff\x0f"),
        (40, b"\x8f\0"),  # FAT 15 is the active one
        (32, b"\xff\xff\xff\xff"),  # sectors
    ],
)
def test_a_fat32_boot_sector_with_impossible_numbers_is_refused(offset: int, value: bytes):
    mount_fails(poke(sample(32), offset, value))


def test_what_is_no_boot_sector_is_refused():
    mount_fails(poke(sample(12), 510, b"\0\0"), abi.EINVAL)
    mount_fails(bytes(100), abi.EINVAL)
    mount_fails(b"", abi.EINVAL)


def test_a_truncated_volume_is_refused():
    image = sample(16)
    for size in (512, 1024, 70000, len(image) - 512):
        mount_fails(image[:size])


def entry(image: bytes, name: bytes) -> int:
    """Where the entry with that 8.3 name is."""
    at = image.index(name)
    assert at % 32 == 0
    return at


def link(image: bytes, cluster: int, following: int) -> bytes:
    """Let `following` come behind `cluster` in a FAT16, in both copies."""
    geometry = Geometry(image[:512], len(image))
    for copy in range(2):
        at = geometry.fat_offset + copy * geometry.fat_bytes + 2 * cluster
        image = poke(image, at, struct.pack("<H", following))
    return image


def first_cluster(image: bytes, at: int) -> int:
    return int(struct.unpack_from("<H", image, at + 26)[0])


def test_a_file_whose_chain_is_a_loop():
    image = sample(16)
    at = entry(image, b"TOP        ")
    first = first_cluster(image, at)
    for back in (first, first + 2):
        client = Lab.of(poke(link(image, first + 4, back), at + 28, b"\xff\xff\xff\xff")).up()
        fd = client.open("top", O_RDONLY)
        fails(abi.EUCLEAN, client.pread, fd, 10, 1 << 30)
        fails(abi.EUCLEAN, client.truncate, "top", 10)


@pytest.mark.parametrize("following", [0, 1, 0xFFF7, 0xFFF0])
def test_a_file_whose_chain_leads_out_of_the_volume(following: int):
    image = sample(16)
    first = first_cluster(image, entry(image, b"TOP        "))
    client = Lab.of(link(image, first, following)).up()
    fd = client.open("top", O_RDONLY)
    fails(abi.EUCLEAN, client.read, fd, 9000)
    assert client.pread(fd, 10, 0) == b"toptoptopt"


def test_a_directory_whose_chain_is_a_loop():
    image = sample(16)
    first = first_cluster(image, entry(image, b"DIRECT~1   "))
    lab = Lab.of(link(image, first, first))
    client = lab.up()
    fails(abi.EUCLEAN, client.names, "directory")
    fails(abi.EUCLEAN, client.open, "directory/new", O_WRONLY | O_CREAT)
    lab.down(client)
    lab.check(repair=True)
    assert lab.check() == (True, [])


def test_a_directory_that_is_in_itself():
    image = sample(16)
    above = entry(image, b"DIRECT~1   ")
    below = entry(image, b"BELOWI~1   ")
    image = poke(image, below + 26, image[above + 26 : above + 28])
    lab = Lab.of(image)
    client = lab.up()
    fails(abi.EUCLEAN, client.names, "directory/below it")
    lab.down(client)
    _, found = lab.check(repair=True)
    assert any("same file" in finding.text for finding in found)
    assert lab.check() == (True, [])


def test_directories_that_share_their_clusters_are_no_tree_of_exponential_size():
    image = sample(16)
    # Each of 20 directories in the same cluster as the others: 2 ** 20 paths, if they were followed.
    lab = Lab.of(image)
    client = lab.up()
    for number in range(20):
        client.mkdir(f"D{number}")
        client.mkdir(f"D{number}/A")
        client.mkdir(f"D{number}/B")
    lab.down(client)
    data = bytearray(lab.image())
    geometry = Geometry(bytes(data[:512]), len(data))
    firsts = [
        first_cluster(bytes(data), entry(bytes(data), b"D%d" % number + b" " * (11 - len(b"D%d" % number))))
        for number in range(20)
    ]
    for number in range(19):
        at = geometry.address(firsts[number])
        for slot in (2, 3):
            struct.pack_into("<H", data, at + slot * 32 + 26, firsts[number + 1])
    lab = Lab.of(bytes(data))
    client = lab.up(read_only=True)
    walk(client)


def test_a_name_that_would_leave_the_directory():
    image = sample(16)
    at = entry(image, b"TOP        ")
    for name in (b"..         ", b"A/B        ", b"/          "):
        client = Lab.of(poke(image, at, name)).up(read_only=True)
        for shown in client.names("."):
            assert shown not in (".", "..", "") and "/" not in shown
            client.stat(shown)


def test_a_directory_with_more_entries_than_there_can_be():
    lab = Lab(RamDisk(8 << 20))
    lab.format(bits=32, cluster_size=512, volume_id=1)
    image = bytearray(lab.image())
    geometry = Geometry(bytes(image[:512]), len(image))
    # The chain of the root directory goes through all clusters there are: too many for a directory.
    for cluster in range(2, geometry.end - 1):
        struct.pack_into("<I", image, geometry.fat_offset + cluster * 4, cluster + 1)
    fails(abi.EUCLEAN, lambda: Lab.of(bytes(image)).up(read_only=True).names("."))


def test_an_entry_that_two_directories_have():
    lab = Lab(RamDisk(5000 << 10))
    lab.format(bits=16, cluster_size=1024, volume_id=3)
    client = lab.up()
    for name in ("one", "two"):
        client.mkdir(name)
        for number in range(70):
            client.put(f"{name}/{number}")
    lab.down(client)
    image = lab.image()
    firsts = [first_cluster(image, entry(image, name)) for name in (b"ONE        ", b"TWO        ")]
    geometry = Geometry(image[:512], len(image))
    following = struct.unpack_from("<H", image, geometry.fat_offset + 2 * firsts[0])[0]
    following = struct.unpack_from("<H", image, geometry.fat_offset + 2 * following)[0]
    lab = Lab.of(link(image, firsts[1], following))
    client = lab.up()
    assert client.stat("one/65").st_size == 0
    fails(abi.EUCLEAN, client.stat, "two/65")
    fails(abi.EUCLEAN, client.unlink, "two/65")
    client.unlink("two/3")
    lab.down(client)
    lab.check(repair=True)
    assert lab.check() == (True, [])
