"""Headers of tar archives (POSIX pax and ustar, GNU's, and older ones): 512 bytes each, and the records of pax."""

from struct import Struct
from typing import Final, final

from ...kern.abi.errno import EUCLEAN
from ...kern.abi.fcntl import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK

BLOCK: Final = 512
FIELDS: Final = Struct("100s8s8s8s12s12s8ss100s6s2s32s32s8s8s155s12x")
"""name, mode, uid, gid, size, mtime, checksum, type, link's target, magic, version, user, group, major, minor, prefix."""
CHECKSUM: Final = slice(148, 156)
POSIX: Final = b"ustar\0"
GNU: Final = b"ustar "

LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"1", b"2", b"3", b"4", b"5", b"6"
PAX, PAX_GLOBAL, GNU_NAME, GNU_TARGET, GNU_SPARSE, SOLARIS = b"x", b"g", b"L", b"K", b"S", b"X"
PASSED_OVER: Final = (b"V", b"M", b"N")
"""A volume's label, the rest of a file from another volume, a list of names: no files of their own."""
KINDS: Final[dict[bytes, int]] = {
    SYMLINK: S_IFLNK,
    CHARACTER: S_IFCHR,
    BLOCK_DEVICE: S_IFBLK,
    DIRECTORY: S_IFDIR,
    FIFO: S_IFIFO,
}
"""S_IFMT bits by type; what is not here is a regular file, as POSIX wants."""

XATTR: Final = b"SCHILY.xattr."
"""In front of an extended attribute's name in a pax header, as GNU tar and star have it."""
SECOND: Final = 1_000_000_000
MOST_SIZE: Final = 1 << 62
MOST_TIME: Final = 1 << 70
"""Nanoseconds before and after 1970."""
MOST_MAJOR: Final = (1 << 12) - 1
MOST_MINOR: Final = (1 << 20) - 1
"""Of a device, as Linux has them."""
MOST_DIGITS: Final = 40
"""Of a time."""
GENERAL: Final = (b"path", b"linkpath", b"size", b"mtime", b"uid", b"gid")
"""What a pax header for all members that follow may say: little, as each of them has it."""
OLD_SPARSE: Final = Struct("12s12s")
"""A piece of a sparse file, as GNU's own headers have it: offset, size."""


def corrupt(text: str) -> OSError:
    """An error to raise for what can't be in a sound archive (EUCLEAN), with what and where."""
    return OSError(EUCLEAN, f"tar: {text}")


def number(field: bytes) -> int:
    """A number: octal digits, or where its first bit is set 256 to the base (GNU).  Raises ValueError."""
    if field and field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        return value - (1 << bits) if field[0] & 0x40 else value & (1 << bits - 1) - 1
    text = field.partition(b"\0")[0].strip(b" ")
    return int(text, 8) if text else 0


def is_header(data: bytes) -> bool:
    """Whether the checksum of 512 bytes is that of a header."""
    if len(data) != BLOCK:
        return False
    try:
        wanted = number(data[CHECKSUM])
    except ValueError:
        return False
    plain = sum(data) - sum(data[CHECKSUM]) + 8 * 32
    if wanted == plain:
        return wanted != 8 * 32
    # Old ones counted bytes with a sign.
    return wanted == plain - 256 * sum([byte > 127 for byte in data[:148] + data[156:]])


@final
class Header:
    """One header, checked.  Raises EUCLEAN."""

    def __init__(self, data: bytes, at: int) -> None:
        if not is_header(data):
            raise corrupt(f"there is no header at byte {at}")
        fields = FIELDS.unpack(data)
        try:
            self.mode: int = number(fields[1])
            self.uid: int = number(fields[2]) & 0xFFFFFFFF
            self.gid: int = number(fields[3]) & 0xFFFFFFFF
            self.size: int = number(fields[4])
            self.mtime: int = number(fields[5]) * SECOND
            magic = fields[9]
            new = magic in (POSIX, GNU)
            self.major: int = number(fields[13]) if new else 0
            self.minor: int = number(fields[14]) if new else 0
        except ValueError:
            raise corrupt(f"the header at byte {at} has something in the place of a number") from None
        self.type: bytes = fields[7]
        self.gnu: bool = magic == GNU
        self.name: bytes = cut(fields[0])
        if magic == POSIX and self.type != GNU_SPARSE:
            prefix = cut(fields[15])
            if prefix:
                self.name = prefix + b"/" + self.name
        self.target: bytes = cut(fields[8])
        self.raw: bytes = data
        if not 0 <= self.size <= MOST_SIZE:
            raise corrupt(f"the header at byte {at} is of a member of {self.size} bytes")
        if abs(self.mtime) > MOST_TIME:
            raise corrupt(f"the header at byte {at} has a time that there is not")
        if self.type in (CHARACTER, BLOCK_DEVICE) and not (
            0 <= self.major <= MOST_MAJOR and 0 <= self.minor <= MOST_MINOR
        ):
            raise corrupt(f"the header at byte {at} is of device {self.major}, {self.minor}, which there is not")


def cut(field: bytes) -> bytes:
    """A text up to its NUL."""
    return field.partition(b"\0")[0]


def pairs(data: bytes, at: int) -> list[tuple[bytes, bytes]]:
    """The records of a pax header whose data is at byte `at` of the archive, in their order, also those that come again.  Raises
    EUCLEAN."""
    found: list[tuple[bytes, bytes]] = []
    place = 0
    while place < len(data) and data[place]:
        digits = data[place : place + 20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 20 else 0
        record = data[place + len(digits) + 1 : place + length]
        key, equals, value = record.partition(b"=")
        if length > len(data) - place or not equals or not value.endswith(b"\n"):
            raise corrupt(f"the pax header at byte {at} has a record that makes no sense at {place}")
        found.append((key, value[:-1]))
        place += length
    return found


def nanoseconds(text: bytes) -> int:
    """A time of a pax header.  Raises ValueError."""
    if len(text) > MOST_DIGITS:
        raise ValueError
    whole, _, rest = text.partition(b".")
    negative = whole.startswith(b"-")
    value = abs(int(whole)) * SECOND + (int((rest + b"000000000")[:9]) if rest else 0)
    return -value if negative else value


def decimal(text: bytes) -> int:
    """A number of a pax header that is not negative.  Raises ValueError."""
    if not text.isdigit() or len(text) > 20:
        raise ValueError
    return int(text)
