"""Our fsck finds each fault that is made by hand, says where it is, and mends it; without `repair` it writes nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from rumpkit.fs.fat.geometry import Geometry
from rumpkit.kern.abi import errno as abi
from tests.fs.fat.fatlab import Lab, tree
from tests.fs.fat.test_hostile import entry, first_cluster, link, poke, sample
from tests.vfs.helpers import fails

Fault = Callable[[bytes], bytes]
TOP = b"TOP        "


def at_entry(name: bytes, offset: int, data: bytes) -> Fault:
    return lambda image: poke(image, entry(image, name) + offset, data)


def in_fat(copy: int, cluster: int, value: int) -> Fault:
    def damage(image: bytes) -> bytes:
        geometry = Geometry(image[:512], len(image))
        at = geometry.fat_offset + copy * geometry.fat_bytes + 2 * cluster
        return poke(image, at, struct.pack("<H", value))

    return damage


def behind(name: bytes, steps: int, value: int) -> Fault:
    """Another value in the FAT for one of a file's clusters, which are neighbours."""
    return lambda image: link(image, first_cluster(image, entry(image, name)) + steps, value)


def looped(image: bytes) -> bytes:
    first = first_cluster(image, entry(image, TOP))
    return link(image, first + 2, first)


def same_start(name: bytes, other: bytes) -> Fault:
    def damage(image: bytes) -> bytes:
        at = entry(image, other) + 26
        return poke(image, entry(image, name) + 26, image[at : at + 2])

    return damage


FAULTS: dict[str, tuple[Fault, str, str]] = {
    "dirty": (lambda image: poke(image, 37, b"\1"), "the volume was not unmounted", "boot sector"),
    "dirty in the FAT": (lambda image: in_fat(1, 1, 0x7FFF)(in_fat(0, 1, 0x7FFF)(image)), "the volume was not", "boot"),
    "a copy of the FAT": (in_fat(1, 400, 0xFFFF), "FAT 2 is not like FAT 1", "FAT"),
    "the first FAT": (in_fat(0, 0, 0x1234), "the first FAT is damaged", "FAT"),
    "a lost cluster": (lambda image: link(image, 400, 0xFFFF), "1 clusters are in use", "FAT"),
    "a chain that is too short": (behind(TOP, 2, 0xFFFF), "9000 bytes, but the chain ends after 3", "/top"),
    "a chain that is too long": (at_entry(TOP, 28, struct.pack("<I", 1)), "the chain goes on", "/top"),
    "a chain into the free": (behind(TOP, 2, 400), "comes to cluster 400, which is free", "/top"),
    "a chain out of the volume": (behind(TOP, 2, 0x8000), "goes on at cluster 32768", "/top"),
    "a chain with a loop": (looped, "which is in use already", "/top"),
    "a cluster of no volume": (at_entry(TOP, 26, b"\xff\xff"), "goes on at cluster 65535", "/top"),
    "no clusters": (at_entry(TOP, 26, b"\0\0"), "9000 bytes, but no clusters", "/top"),
    "no bytes": (at_entry(TOP, 28, bytes(4)), "no bytes, but clusters", "/top"),
    "two names for a file": (same_start(b"SHORT   TXT", TOP), "it is the same file as /top", "SHORT.TXT"),
    "a directory with a size": (at_entry(b"BELOWI~1   ", 28, b"\1"), "a size of 1 bytes", "/directory/below it"),
    "a wrong dot": (at_entry(b".          ", 26, b"\x99\1"), '"." leads to cluster 409', "/directory"),
    "a missing dot": (at_entry(b".          ", 0, b"X"), '"." is missing', "/directory"),
    "a dot that is a label": (at_entry(b".          ", 11, b"\x1f"), '"." is missing', "/directory"),
    "a wrong parent": (at_entry(b"..         ", 26, b"\x99\1"), '".." leads to cluster 409', "/directory"),
    "a bad 8.3 name": (at_entry(TOP, 0, b"T*P"), "is no 8.3 name", "/t*p"),
    "two of one 8.3 name": (
        at_entry(b"ALONGN~2   ", 0, b"ALONGN~1   "),
        "another file has the 8.3 name",
        "/directory/",
    ),
    "a part of a long name": (at_entry(b"ALONGN~3   ", -32 + 13, b"\0"), "parts of long names", "/directory"),
    "two of one name": (
        at_entry(b"SHORT   TXT", 32, TOP + b"\x20" + bytes(20) + b"SHORT   TXT"),
        "another file",
        "below it",
    ),
    "a second label": (
        at_entry(TOP, 32, b"SECOND     \x08" + bytes(20)),
        "a volume label that can't be one",
        "/SECOND",
    ),
    "another label in the boot sector": (lambda image: poke(image, 43, b"OTHER      "), "its label is", "boot sector"),
    "something behind the end": (at_entry(TOP, 96, b"GHOST      \x20" + bytes(20)), "behind the end", "/"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_mended(fault: str):
    damage, text, where = FAULTS[fault]
    image = damage(sample(16))
    lab = Lab.of(image)
    clean, found = lab.check()
    assert not clean and lab.image() == image
    assert any(text in finding.text and where in finding.where and not finding.fixed for finding in found), found
    clean, found = lab.check(repair=True)
    assert clean and any(text in finding.text and finding.fixed for finding in found)
    assert lab.check() == (True, [])
    client = lab.up()
    assert tree(client)["directory/a long name 9"] == bytes([9]) * 700
    lab.down(client)


def test_a_sound_volume_is_left_alone():
    for bits in (12, 16, 32):
        image = sample(bits)
        lab = Lab.of(image)
        assert lab.check() == (True, [])
        assert lab.check(repair=True) == (True, [])
        assert lab.image() == image


def test_fat32_has_a_backup_and_counts():
    image = sample(32)
    damaged = poke(image, 11, b"\0\0")
    lab = Lab.of(damaged)
    fails(abi.EUCLEAN, lab.up)
    assert not lab.check()[0] and lab.image() == damaged
    _, found = lab.check(repair=True)
    assert "its backup is good" in found[0].text
    assert lab.image() == image
    for text, offset in (("the backup of the boot sector differs", 6 * 512 + 3), ("FSInfo says", 512 + 488)):
        lab = Lab.of(poke(image, offset, b"\x55"))
        assert text in lab.check()[1][0].text
        lab.check(repair=True)
        assert lab.check() == (True, []) and (offset > 1024 or lab.image() == image)
    lab = Lab.of(poke(image, 512, b"\0"))
    assert "FSInfo has no signatures" in lab.check(repair=True)[1][0].text
    assert lab.check() == (True, [])


def test_what_is_no_volume_can_not_be_checked():
    fails(abi.EINVAL, Lab.of(bytes(1 << 20)).check)
    fails(abi.EUCLEAN, Lab.of(poke(sample(12), 11, b"\0\0")).check)
