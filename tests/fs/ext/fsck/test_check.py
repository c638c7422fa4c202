"""Checks of new file systems, of damaged ones, and of any bytes at all.  What e2fsck finds is compared in tests/system."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext import checksum as sums
from rumpkit.fs.ext.superblock import Superblock
from rumpkit.kern.abi.errno import EINVAL, EUCLEAN
from tests.fs.ext.fsck.ckhelp import check_bytes, check_disk
from tests.fs.ext.mkfs.mkhelp import new_disk

MIB = 1 << 20
KINDS = ("ext2", "ext3", "ext4")


def image(kind: str = "ext4", size: int = 2 * MIB) -> bytes:
    disk = new_disk(kind, size)
    return disk.read(0, disk.size)


def with_fields(data: bytes, **values: int) -> bytes:
    """The image with other numbers in its superblock, and its checksum right."""
    fields = Superblock(data[1024:2048])
    for name, value in values.items():
        assert hasattr(fields, name)
        setattr(fields, name, value)
    if fields.has_checksums:
        fields.checksum = sums.superblock_checksum(fields.emit())
    return data[:1024] + fields.emit() + data[2048:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [300 << 10, 10 * MIB])
def test_a_new_file_system_is_sound(kind: str, size: int) -> None:
    assert check_disk(new_disk(kind, size)) == (True, [])


def test_a_check_writes_nothing_unless_asked_to_repair() -> None:
    data = with_fields(image(), free_blocks_count=1, state=2)
    sound, found, after = check_bytes(data)
    assert not sound and len(found) == 2 and after == data
    sound, found, after = check_bytes(data, True)
    assert sound and [finding.fixed for finding in found] == [True, True]
    assert check_bytes(after)[:2] == (True, [])


def test_what_is_no_file_system_is_refused() -> None:
    for data in (bytes(MIB), b"\xff" * MIB, bytes(100)):
        with pytest.raises(OSError, match="superblock") as caught:
            check_bytes(data)
        assert caught.value.errno in (EUCLEAN, EINVAL)


def test_a_copy_of_the_superblock_is_used_where_the_first_is_gone() -> None:
    data = image("ext4", 20 * MIB)
    sound, found, after = check_bytes(data[:1024] + bytes(1024) + data[2048:], True)
    assert not sound and "that of group 1 is used" in found[0].text
    assert found[-1].text.endswith("use e2fsck") and not found[0].fixed
    assert after[1024:2048] == bytes(1024)


@pytest.mark.parametrize("size", [3 * MIB, 20 * MIB])
def test_a_torn_superblock_is_told_from_a_damaged_one(size: int) -> None:
    """The first sector is new and the second, with the checksum, old; or the other way round."""
    old = image("ext4", size)
    new = with_fields(old, mtime=12345, mnt_count=7)
    for torn in (new[:1536] + old[1536:], old[:1536] + new[1536:]):
        sound, found, after = check_bytes(torn, True)
        assert sound and found[0].text == "the superblock's checksum is wrong" and found[0].fixed
        assert check_bytes(after)[:2] == (True, [])
    damaged = old[:1144] + b"label" + old[1149:]
    sound, found, _ = check_bytes(damaged, True)
    assert sound == (size < 10 * MIB), "a copy shows that it was not torn, if there is one"


def test_copies_of_the_group_descriptors_are_used_where_the_first_are_damaged() -> None:
    data = bytearray(image("ext4", 20 * MIB))
    data[2 * 1024 : 2 * 1024 + 8] = b"\xff" * 8
    sound, found, _ = check_bytes(bytes(data))
    texts = [finding.text for finding in found]
    assert not sound and texts[-1].startswith("the group descriptors of group 1 are used"), texts


def test_findings_say_what_and_where() -> None:
    """The root's first block loses its entry for lost+found: the directory is found to be in none."""
    disk = new_disk("ext2", 2 * MIB)
    data = bytearray(disk.read(0, disk.size))
    at = data.find(b"lost+found") - 8
    data[at : at + 4] = bytes(4)
    sound, found, _ = check_bytes(bytes(data), True)
    assert not sound
    assert ("it is in no directory", "directory 11") in [(finding.text, finding.where) for finding in found]
    assert found[-1].fatal, "there is no lost+found to attach it to"


def test_an_aborted_journal_is_a_finding_that_a_repair_mends() -> None:
    data = bytearray(image("ext3", 8 * MIB))
    at = data.find(b"\xc0\x3b\x39\x98")
    data[at + 0x20 : at + 0x24] = (5).to_bytes(4, "big")
    assert "error 5" in check_bytes(bytes(data))[1][0].text
    sound, found, after = check_bytes(bytes(data), True)
    assert sound and found[0].fixed and check_bytes(after)[:2] == (True, [])


@given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from(KINDS))
def test_no_damage_makes_a_check_fail_otherwise_than_it_says(seed: int, flips: int, kind: str) -> None:
    """Random bytes anywhere in the metadata: the check ends, and raises at most what it may."""
    data = bytearray(IMAGES[kind])
    used = [at for at in range(1024, len(data), 64) if any(data[at : at + 64])]
    state = seed
    for _ in range(flips):
        state = (state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        data[used[(state >> 33) % len(used)] + (state >> 20 & 63)] = state >> 56
    try:
        check_bytes(bytes(data), seed % 2 == 1)
    except OSError as problem:
        assert problem.errno in (EUCLEAN, EINVAL)


IMAGES = {kind: image(kind, MIB) for kind in KINDS}


def test_a_disk_that_is_cut_off_is_refused() -> None:
    disk = RamDisk(MIB)
    disk.write(0, image()[:MIB])
    with pytest.raises(OSError, match="blocks, the device"):
        check_disk(disk)
