"""Blocks of a journal: what is written is read again, and what is damaged is not believed."""

from collections.abc import Callable
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.ext.journal import format as fmt
from rumpkit.kern.abi.errno import ENOTSUP, EUCLEAN
from tests.fs.ext.journal.loghelp import BLOCK, KINDS, UUID, superblock


@pytest.mark.parametrize("kind", KINDS)
def test_a_superblock_is_read_as_it_was_written(kind: str) -> None:
    journal = superblock(kind)
    journal.start, journal.sequence, journal.error = 17, 0xFFFFFFFE, 5
    read = fmt.decode_superblock(journal.encode(), BLOCK, 1024)
    assert vars(read) | {"_users": b""} == vars(journal)


DAMAGE: list[tuple[Callable[[fmt.JournalSuperblock], None], int]] = [
    (lambda journal: setattr(journal, "blocks", 1025), EUCLEAN),
    (lambda journal: setattr(journal, "first", 0), EUCLEAN),
    (lambda journal: setattr(journal, "first", 1024), EUCLEAN),
    (lambda journal: setattr(journal, "start", 1024), EUCLEAN),
    (lambda journal: setattr(journal, "block_size", 4096), EUCLEAN),
    (lambda journal: setattr(journal, "incompat", 0x40), ENOTSUP),
    (lambda journal: setattr(journal, "ro_compat", 1), ENOTSUP),
    (lambda journal: setattr(journal, "incompat", 0x18), EUCLEAN),
    (lambda journal: setattr(journal, "incompat", 0x08), ENOTSUP),
    (lambda journal: vars(journal).update(fast_commit_blocks=1 << 20, incompat=0x20), EUCLEAN),
]


@pytest.mark.parametrize("case", range(len(DAMAGE)))
def test_hostile_numbers_of_a_superblock_are_refused(case: int) -> None:
    change, errno = DAMAGE[case]
    journal = superblock()
    change(journal)
    with pytest.raises(OSError, match="journal") as caught:
        fmt.decode_superblock(journal.encode(), BLOCK, 1024)
    assert caught.value.errno == errno


def test_a_superblock_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(superblock("v3").encode())
    data[0x18] ^= 1
    with pytest.raises(OSError, match="checksum is wrong"):
        fmt.decode_superblock(bytes(data), BLOCK, 1024)


@pytest.mark.parametrize(("kind", "size"), [("plain", 8), ("64bit", 12), ("v2", 10), ("v2-64bit", 14), ("v3", 16)])
def test_the_size_of_a_tag_depends_on_the_features(kind: str, size: int) -> None:
    assert superblock(kind).tag_size == size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 40])
def test_tags_are_read_as_they_were_written(kind: str, count: int) -> None:
    journal = superblock(kind)
    wide = 1 << 33 if "64bit" in kind else 0
    tags = [fmt.Tag(number * 7 + wide, number & 1, number if journal.has_checksums else 0) for number in range(count)]
    data = fmt.encode_descriptor(journal, 9, tags, journal.seed)
    assert len(data) == BLOCK and fmt.block_kind(data, 9) == fmt.DESCRIPTOR and fmt.block_kind(data, 8) == 0
    assert fmt.tail_is_right(journal, data, journal.seed)
    read = fmt.decode_tags(journal, data)
    assert [(tag.block, tag.flags & 1, tag.checksum) for tag in read] == [
        (tag.block, tag.flags, tag.checksum) for tag in tags
    ]
    if journal.has_checksums:
        assert not fmt.tail_is_right(journal, data[:20] + b"\x55" + data[21:], journal.seed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_descriptor_block_holds_as_many_tags_as_are_said_to_fit(kind: str) -> None:
    journal = superblock(kind)
    count = fmt.tags_per_block(journal)
    data = fmt.encode_descriptor(journal, 1, [fmt.Tag(number, 0) for number in range(count)], journal.seed)
    assert [tag.block for tag in fmt.decode_tags(journal, data)] == list(range(count))


def test_tags_without_a_last_one_end_with_the_block() -> None:
    journal = superblock()
    data = bytearray(fmt.encode_descriptor(journal, 1, [fmt.Tag(1, 0)], 0))
    data[12:] = bytes(BLOCK - 12)
    assert len(fmt.decode_tags(journal, bytes(data))) == (BLOCK - 12) // 24


@pytest.mark.parametrize("kind", KINDS)
def test_revokes_are_read_as_they_were_written(kind: str) -> None:
    journal = superblock(kind)
    blocks = [3, 1 << 31] + [1 << 40] * ("64bit" in kind) + list(range(fmt.revokes_per_block(journal) - 3))
    data = fmt.encode_revokes(journal, 4, blocks, journal.seed)
    assert fmt.block_kind(data, 4) == fmt.REVOKE and fmt.tail_is_right(journal, data, journal.seed)
    assert fmt.decode_revokes(journal, data) == blocks


@pytest.mark.parametrize("used", [0, 15, 18, BLOCK + 4, 0xFFFFFFFF])
def test_a_revoke_block_with_a_count_that_cannot_be_is_refused(used: int) -> None:
    journal = superblock()
    data = bytearray(fmt.encode_revokes(journal, 4, [1], 0))
    data[12:16] = used.to_bytes(4, "big")
    with pytest.raises(OSError, match="revoke"):
        fmt.decode_revokes(journal, bytes(data))


@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_is_read_as_it_was_written(kind: str) -> None:
    journal = superblock(kind)
    data = fmt.encode_commit(journal, 4, 1_700_000_000_123_456_789, 77 if kind == "v1" else 0, journal.seed)
    commit = fmt.decode_commit(data)
    assert (commit.seconds, commit.nanoseconds) == (1_700_000_000, 123_456_789)
    assert fmt.commit_is_right(journal, data, journal.seed)
    if kind == "v1":
        assert (commit.checksum_type, commit.checksum) == (1, 77)
    if journal.has_checksums:
        assert not fmt.commit_is_right(journal, data[:60] + b"\x55" + data[61:], journal.seed)


def _by_bits(data: bytes, crc: int) -> int:
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


@given(st.binary(max_size=40), st.integers(0, 0xFFFFFFFF))
def test_the_old_checksum_is_crc32_with_the_highest_bit_first(data: bytes, seed: int) -> None:
    assert fmt.old_checksum(data, seed) == _by_bits(data, seed)
    assert crc32(b"") == 0 and len(UUID) == 16


@given(st.binary(min_size=BLOCK, max_size=BLOCK), st.sampled_from(sorted(KINDS)))
def test_no_bytes_make_a_parser_fail_otherwise_than_it_says(data: bytes, kind: str) -> None:
    journal = superblock(kind)
    for parse in (
        lambda: fmt.decode_tags(journal, data),
        lambda: fmt.decode_revokes(journal, data),
        lambda: fmt.decode_commit(data),
        lambda: fmt.decode_superblock(b"\xc0\x3b\x39\x98\0\0\0\4" + data[8:], BLOCK, 1024),
    ):
        try:
            parse()
        except OSError as problem:
            assert problem.errno in (EUCLEAN, ENOTSUP)
