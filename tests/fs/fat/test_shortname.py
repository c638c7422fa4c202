"""8.3 names: how they are shown, and what Windows makes of long names."""

import pytest

from rumpkit.fs.fat.layout import KANJI, LOWER_BASE, LOWER_EXTENSION
from rumpkit.fs.fat.shortname import checksum, decode, fit, hashed, is_label, is_valid, needs_tail, tailed


@pytest.mark.parametrize(
    ("name", "short", "flags"),
    [
        ("README.TXT", b"README  TXT", 0),
        ("readme.txt", b"README  TXT", LOWER_BASE | LOWER_EXTENSION),
        ("readme.TXT", b"README  TXT", LOWER_BASE),
        ("MAKEFILE", b"MAKEFILE   ", 0),
        ("a.1", b"A       1  ", LOWER_BASE),
        ("X~1.{}", b"X~1     {} ", 0),
    ],
)
def test_names_that_fit_need_no_long_one(name: str, short: bytes, flags: int):
    assert fit(name) == (short, flags, True)
    assert decode(short, flags) == name


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("TextFile.Mine.txt", b"TEXTFI~1TXT"),
        ("ver +1.2.text", b"VER_12~1TEX"),
        (".bashrc.swp", b"BASHRC~1SWP"),
        (".hidden", b"HIDDEN~1   "),
        ("a b.c", b"AB~1    C  "),
        ("[x];y", b"_X__Y~1    "),
        ("日本語.txt", b"___~1   TXT"),
        ("longextension.html", b"LONGEX~1HTM"),
        ("dot.", b"DOT~1      "),
    ],
)
def test_names_that_do_not_fit_get_a_tail(name: str, first: bytes):
    short = fit(name)
    assert not short.exact and needs_tail(name, short)
    assert tailed(short.name[:8].rstrip(b" "), short.name[8:], 1) == first


@pytest.mark.parametrize("name", ["Readme.txt", "rEADME", "é.txt"])
def test_names_that_lose_their_case_alone_get_none(name: str):
    short = fit(name)
    assert not short.exact and not needs_tail(name, short)
    assert decode(short.name, 0) == name.upper()


def test_tails_take_the_place_they_need():
    assert tailed(b"ABCDEFGH", b"TXT", 123456) == b"A~123456TXT"
    assert len(hashed(b"ABCDEFGHTXT", "one")) == 6 and hashed(b"ABCDEFGHTXT", "one") != hashed(b"ABCDEFGHTXT", "two")


def test_a_first_byte_that_means_free_is_stored_as_another():
    short = fit("σ1")
    assert short.name[0] == KANJI or short.name[0] != 0xE5
    assert decode(bytes([KANJI]) + b"A         ", 0) == b"\xe5A".decode("cp437")


def test_what_tools_accept():
    assert is_valid(b"README  TXT") and is_valid(bytes([KANJI]) + b"A         ")
    for bad in (b"readme  TXT", b"A*      TXT", b" A         ", b"A\x01         ", b".          "):
        assert not is_valid(bad)
    assert is_label(b"MY LABEL   ") and not is_label(b"my label   ") and not is_label(b"A.B        ")


def test_the_checksum_is_microsofts():
    value = 0
    for byte in b"FILENAMETXT":
        value = ((value & 1) << 7 | value >> 1) + byte & 0xFF
    assert checksum(b"FILENAMETXT") == value != checksum(b"FILENAMETXS")
