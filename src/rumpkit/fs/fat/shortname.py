"""8.3 names: what is in a directory entry, what is shown of it, and how one is made for a long name (as Windows does it).

Short names are in code page 437, as DOS and Windows have it in most of the world.
"""

from typing import Final, NamedTuple
from zlib import crc32

from .layout import FREE, KANJI, LOWER_BASE, LOWER_EXTENSION

CODE_PAGE: Final = "cp437"
_BAD_SHORT: Final = frozenset(b'"*+,./:;<=>?[\\]|abcdefghijklmnopqrstuvwxyz' + bytes(range(0x20)) + b"\x7f")
"""Bytes that no 8.3 name and no label has."""
_LEGAL: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'()-@^_`{}~")
"""Characters below 128 that a name may have without becoming another one."""
PLAIN_TAILS: Final = 4
"""NAME~1 to NAME~4; then Windows puts a hash of the long name in."""


class Short(NamedTuple):
    """How a name fits 8.3."""

    name: bytes
    """11 bytes."""
    flags: int
    """LOWER_BASE and LOWER_EXTENSION."""
    exact: bool
    """Whether name and flags say all there is, so that no long name is needed."""


def decode(name: bytes, flags: int) -> str:
    """What the 11 bytes of an 8.3 name show: "readme.txt".  May be "", or hold anything, where a volume is damaged."""
    if name[0] == KANJI:
        name = b"\xe5" + name[1:]
    base = name[:8].rstrip(b" ").decode(CODE_PAGE)
    extension = name[8:11].rstrip(b" ").decode(CODE_PAGE)
    if flags & LOWER_BASE:
        base = base.lower()
    if flags & LOWER_EXTENSION:
        extension = extension.lower()
    return f"{base}.{extension}" if extension else base


def is_valid(name: bytes) -> bool:
    """Whether 11 bytes are an 8.3 name that tools accept for a file; "." and ".." are none."""
    if name[0] in (0x20, FREE):
        return False
    if name[0] == KANJI:
        name = b"\xe5" + name[1:]
    return _BAD_SHORT.isdisjoint(name)


def is_label(name: bytes) -> bool:
    """Whether 11 bytes are a volume label that tools accept: upper case, and spaces where they like."""
    return name[0] not in (0x20, FREE) and _BAD_SHORT.isdisjoint(name)


def fit(name: str) -> Short:
    """The 8.3 name nearest to `name`; not yet unique, and without a tail where it is not exact."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem.strip(". "):
        stem, suffix = name, ""
    base, base_whole = _reduce(stem, 8)
    extension, extension_whole = _reduce(suffix, 3)
    flags = 0
    exact = base_whole and extension_whole and bool(base) and not (dot and not suffix)
    if exact:
        lower_base, mixed_base = _case(stem)
        lower_extension, mixed_extension = _case(suffix)
        exact = not (mixed_base or mixed_extension)
        if lower_base:
            flags |= LOWER_BASE
        if lower_extension:
            flags |= LOWER_EXTENSION
    return Short(pack(base or b"_", extension), flags if exact else 0, exact)


def pack(base: bytes, extension: bytes) -> bytes:
    """The 11 bytes of a base and an extension."""
    name = base.ljust(8) + extension.ljust(3)
    return bytes([KANJI]) + name[1:] if name[0] == FREE else name


def needs_tail(name: str, short: Short) -> bool:
    """Whether the 8.3 name lost more of `name` than its case, so that it gets a tail even where it is unique."""
    return decode(short.name, 0) != name.upper()


def hashed(short: bytes, name: str) -> bytes:
    """The base of an 8.3 name that has a hash of the long name in it: what is tried once BASE~1 to BASE~4 are taken."""
    return short[:8].rstrip(b" ")[:2] + b"%04X" % (crc32(name.encode("utf-16-le", "surrogatepass")) & 0xFFFF)


def tailed(base: bytes, extension: bytes, number: int) -> bytes:
    """`base` cut so far that ~number fits behind it."""
    tail = b"~%d" % number
    return (base[: 8 - len(tail)] + tail).ljust(8) + extension


def checksum(name: bytes) -> int:
    """What the entries of a long name hold of their 8.3 name (Microsoft's ChkSum)."""
    value = 0
    for byte in name:
        value = ((value >> 1) + ((value & 1) << 7) + byte) & 0xFF
    return value


def _case(text: str) -> tuple[bool, bool]:
    """Whether text is lower case throughout, and whether it is neither that nor upper case.  Only ASCII has an 8.3 lower case:
    what others are is up to the code page of who reads it."""
    if text.isascii():
        upper, lower = text.upper(), text.lower()
        if text == upper:
            return False, False
        return text == lower, text != lower
    return False, text != text.upper()


def _reduce(text: str, size: int) -> tuple[bytes, bool]:
    """`text` in upper case and code page 437, cut to `size` bytes, without what 8.3 can't say; and whether that is all of it."""
    upper = text.upper()
    if len(upper) <= size and _LEGAL.issuperset(upper):
        return upper.encode("ascii"), True
    whole = len(upper) == len(text)
    found = bytearray()
    for letter in upper:
        if letter in _LEGAL:
            found.append(ord(letter))
        elif letter in " .":
            whole = False
        else:
            byte = letter.encode(CODE_PAGE, "replace") if letter >= "\x80" else b"?"
            if byte == b"?":
                whole = False
                byte = b"_"
            found += byte
    return bytes(found[:size]), whole and len(found) <= size
