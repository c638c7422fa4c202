"""Long names: to and from their directory entries, what is refused, what is the same name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.fat import longname, record
from rumpkit.fs.fat.shortname import checksum
from rumpkit.kern.abi import errno as abi
from tests.vfs.helpers import fails

ALIAS = b"NAME~1  TXT"
LETTERS = st.characters(exclude_characters='"*/:<>?\\|', exclude_categories=["Cs"], min_codepoint=32)
NAMES = st.text(LETTERS, min_size=1, max_size=127)


@given(NAMES)
def test_a_name_comes_back_from_its_entries(name: str):
    entries = longname.entries(name, checksum(ALIAS))
    count = len(entries) // 32
    assert longname.read(entries, 0, count) == name
    data = entries + ALIAS + bytes(21)
    assert record.first_slot(data, count) == 0
    if longname.is_shown(name):
        assert record.long_name(data, count) == name


@given(NAMES, st.data())
def test_a_name_with_a_wrong_part_does_not_count(name: str, data: st.DataObject):
    entries = bytearray(longname.entries(name, checksum(ALIAS)) + ALIAS + bytes(21))
    count = len(entries) // 32 - 1
    part = data.draw(st.integers(0, count - 1)) * 32
    offset, value = data.draw(st.sampled_from([(0, 0xE5), (0, 0x3F), (11, 0x20), (13, checksum(ALIAS) ^ 1)]))
    entries[part + offset] = value
    assert record.first_slot(entries, count) == count
    assert record.long_name(entries, count) == ""


@pytest.mark.parametrize("name", ["a/b", "a:b", "a*", "a?", 'a"', "a<", "a>", "a|", "a\\", "a\x01", "a ", "...", " "])
def test_names_that_fat_does_not_have(name: str):
    fails(abi.EINVAL, longname.check, name.encode())


def test_names_that_are_no_text_and_names_that_are_too_long():
    fails(abi.EINVAL, longname.check, b"\xff\xfe")
    assert longname.check(b"n" * 255) == "n" * 255
    fails(abi.ENAMETOOLONG, longname.check, b"n" * 256)
    fails(abi.ENAMETOOLONG, longname.check, "\U0001f600".encode() * 128)
    assert longname.from_bytes(b"\xff") is None
    assert longname.check(b"trailing dots...") == "trailing dots"


@given(st.text(max_size=8))
def test_folding_is_blind_to_case_and_to_nothing_else(name: str):
    assert len(longname.fold(name)) == len(name)
    assert longname.fold(longname.fold(name)) == longname.fold(name)


def test_names_that_are_the_same():
    assert longname.fold("Grüße.Txt") == longname.fold("GRÜßE.TXT") != longname.fold("GRÜSSE.TXT")
