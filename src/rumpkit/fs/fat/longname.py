"""Long names: how they lie in front of the 8.3 entry they belong to, what is allowed in them, and how they compare."""

import struct
from typing import Final

from ...kern.abi.errno import EINVAL, ENAMETOOLONG, error
from .layout import ENTRY_SIZE, LAST_LONG, LONG, LONG_UNITS, MAX_LONG

_PART: Final = struct.Struct("<B10sBBB12sH4s")
"""Order, 5 units, attributes, type, checksum, 6 units, cluster (0), 2 units."""
_FORBIDDEN: Final = frozenset('"*/:<>?\\|' + "".join(map(chr, range(0x20))))


def fold(name: str) -> str:
    """What two names that differ by case alone have in common."""
    if name.isascii():
        return name.upper()
    upper = name.upper()
    if len(upper) == len(name):
        return upper
    # Some letters have two in upper case (the sharp s): they stand for themselves.
    return "".join([larger if len(larger := letter.upper()) == 1 else letter for letter in name])


def from_bytes(name: bytes) -> str | None:
    """A name as vfs has it, as text; None if it is no UTF-8, and so no name in here.  Trailing dots don't count."""
    try:
        text = name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return text.rstrip(".")


def check(name: bytes) -> str:
    """The name of a new file.  Raises EINVAL for what FAT has no names for, ENAMETOOLONG."""
    text = from_bytes(name)
    if text is None:
        raise OSError(EINVAL, "FAT has no names that are not UTF-8")
    if not text or text[-1] == " " or not _FORBIDDEN.isdisjoint(text):
        raise OSError(EINVAL, "FAT has no such names")
    if len(text) > MAX_LONG or len(text.encode("utf-16-le", "surrogatepass")) > 2 * MAX_LONG:
        raise error(ENAMETOOLONG)
    return text


def entries(name: str, checksum: int) -> bytes:
    """The directory entries of a long name, last part first, as they lie before their 8.3 entry."""
    units = name.encode("utf-16-le", "surrogatepass")
    count = (len(units) // 2 + LONG_UNITS - 1) // LONG_UNITS
    room = count * LONG_UNITS * 2
    if len(units) < room:
        units = (units + b"\0\0").ljust(room, b"\xff")
    parts = []
    for order in range(count, 0, -1):
        part = units[(order - 1) * 26 : order * 26]
        mark = order | LAST_LONG if order == count else order
        parts.append(_PART.pack(mark, part[:10], LONG, 0, checksum, part[10:22], 0, part[22:]))
    return b"".join(parts)


def read(data: bytes | bytearray, first: int, count: int) -> str:
    """The text of the `count` entries from byte `first` on, which lie last part first."""
    parts = []
    at = first + count * ENTRY_SIZE
    for _ in range(count):
        at -= ENTRY_SIZE
        parts.append(data[at + 1 : at + 11])
        parts.append(data[at + 14 : at + 26])
        parts.append(data[at + 28 : at + 32])
    return b"".join(parts).decode("utf-16-le", "surrogatepass").partition("\0")[0]


def is_shown(name: str) -> bool:
    """Whether a name found on disk can be one in a tree: it has no slash and no NUL, and means neither this nor another
    directory."""
    return bool(name) and name not in (".", "..") and "/" not in name and "\0" not in name
