"""Directory entries as they are found: the slots of a directory taken apart into files, with their long names checked.

Everything here reads bytes and knows no device.  A long name counts only where its parts are in order, complete, and carry the
checksum of the 8.3 entry right behind them; what does not is an orphan, and the file has its 8.3 name.
"""

from typing import Final, NamedTuple

from . import longname, shortname
from .layout import (
    DOT_DOT_NAME,
    DOT_NAME,
    ENTRY,
    ENTRY_SIZE,
    FREE,
    LAST_LONG,
    LONG,
    LONG_MASK,
    MAX_LONG,
    MAX_LONG_ENTRIES,
    VOLUME,
)

NAME_BYTES: Final = 255
"""A name longer than that in UTF-8 can't be asked for (NAME_MAX): such a file is shown by its 8.3 name."""


class Record(NamedTuple):
    """One file's entry, without its name."""

    name: bytes
    """11 bytes."""
    attributes: int
    flags: int
    created: tuple[int, int, int]
    """Date, time, hundredths."""
    accessed: int
    written: tuple[int, int]
    """Date, time."""
    cluster: int
    size: int


def unpack(data: bytes | bytearray, slot: int) -> Record:
    """The 8.3 entry in a slot."""
    name, attributes, flags, tenths, c_time, c_date, a_date, high, w_time, w_date, low, size = ENTRY.unpack_from(
        data, slot * ENTRY_SIZE
    )
    return Record(name, attributes, flags, (c_date, c_time, tenths), a_date, (w_date, w_time), high << 16 | low, size)


def pack(found: Record) -> bytes:
    """The 32 bytes of an entry."""
    date, time, tenths = found.created
    return ENTRY.pack(
        found.name,
        found.attributes,
        found.flags,
        tenths,
        time,
        date,
        found.accessed,
        found.cluster >> 16,
        found.written[1],
        found.written[0],
        found.cluster & 0xFFFF,
        found.size,
    )


def first_slot(data: bytes | bytearray, slot: int) -> int:
    """The slot where the long name of the 8.3 entry in `slot` begins, or `slot` where it has none that is right."""
    at = slot * ENTRY_SIZE
    if at == 0 or data[at - ENTRY_SIZE + 11] & LONG_MASK != LONG:
        return slot
    total = shortname.checksum(bytes(data[at : at + 11]))
    order = 0
    while at:
        at -= ENTRY_SIZE
        order += 1
        mark = data[at]
        if data[at + 11] & LONG_MASK != LONG or data[at + 13] != total or mark == FREE:
            return slot
        if mark & ~LAST_LONG != order or order > MAX_LONG_ENTRIES:
            return slot
        if mark & LAST_LONG:
            return slot - order
    return slot


def long_name(data: bytes | bytearray, slot: int) -> str:
    """The long name of the 8.3 entry in `slot`; "" where it has none that can be shown."""
    first = first_slot(data, slot)
    if first == slot:
        return ""
    text = longname.read(data, first * ENTRY_SIZE, slot - first)
    return text if len(text) <= MAX_LONG and longname.is_shown(text) else ""


def shown(data: bytes | bytearray, slot: int) -> str:
    """The name that the 8.3 entry in `slot` is shown by."""
    text = long_name(data, slot)
    if text and (len(text) * 3 <= NAME_BYTES or len(text.encode("utf-8", "surrogatepass")) <= NAME_BYTES):
        return text
    return short_shown(data, slot)


def short_shown(data: bytes | bytearray, slot: int) -> str:
    """The 8.3 name as it is shown; what can't be in a name of a tree becomes U+FFFD."""
    at = slot * ENTRY_SIZE
    text = shortname.decode(bytes(data[at : at + 11]), data[at + 12])
    if longname.is_shown(text):
        return text
    return text.replace("/", "\ufffd").replace("\0", "\ufffd").replace(".", "\ufffd") or "\ufffd"


def is_file(data: bytes | bytearray, slot: int) -> bool:
    """Whether a slot, which is below the end mark, has the 8.3 entry of a file or directory other than "." and ".."."""
    at = slot * ENTRY_SIZE
    if data[at] == FREE or data[at + 11] & VOLUME:
        return False
    return data[at] != 0x2E or bytes(data[at : at + 11]) not in (DOT_NAME, DOT_DOT_NAME)
