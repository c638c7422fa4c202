"""Names for addresses of a traced process: what is mapped where (/proc/PID/maps), and the function that the file's symbol tables name
(ELF-64, little-endian: elf(5)).  What can't be read, or is stripped, gets its file and offset alone."""

import os
from struct import Struct, error
from typing import Final, NamedTuple

MAX_MAPPINGS: Final = 65536
MAX_SYMBOLS: Final = 1 << 20
MAX_SECTIONS: Final = 4096
_HEADER: Final = Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = Struct("<IIQQQQIIQQ")
_SYMBOL: Final = Struct("<IBBHQQ")
_SEGMENT: Final = Struct("<IIQQQQQQ")
_TABLES: Final = (2, 11)
"""SHT_SYMTAB, SHT_DYNSYM."""
_FUNCTION: Final = 2
_LOAD: Final = 1


class Mapping(NamedTuple):
    """A line of /proc/PID/maps."""

    start: int
    end: int
    access: str
    offset: int
    name: str


def mappings(process: int) -> list[Mapping]:
    """What is mapped; nothing where the process is gone."""
    found = []
    try:
        with open(f"/proc/{process}/maps", errors="replace") as file:
            for line in file:
                words = line.rstrip("\n").split(maxsplit=5)
                start, end = (int(word, 16) for word in words[0].split("-"))
                found.append(Mapping(start, end, words[1], int(words[2], 16), words[5] if len(words) > 5 else ""))
                if len(found) >= MAX_MAPPINGS:
                    break
    except OSError:
        pass
    return found


def describe(process: int, address: int, there: list[Mapping]) -> str:
    """An address as "function+0x12 (/path/to/file+0x1234)"."""
    one = next((one for one in there if one.start <= address < one.end), None)
    if one is None:
        return "nothing is mapped there"
    place = address - one.start + one.offset
    if not one.name.startswith("/"):
        return f"{one.name or 'memory without a file'}+{address - one.start:#x}"
    name = function_at(f"/proc/{process}/root{one.name}", place)
    return f"{name} ({one.name}+{place:#x})" if name else f"{one.name}+{place:#x}"


def function_at(path: str, place: int) -> str:
    """The function at an offset within an ELF file, with the distance from its beginning; "" where that isn't known."""
    try:
        with open(path, "rb") as file:
            return _function(file.fileno(), place)
    except (OSError, error, ValueError, OverflowError):
        return ""


def _function(fd: int, place: int) -> str:
    header = _HEADER.unpack(os.pread(fd, _HEADER.size, 0))
    if header[0][:6] != b"\x7fELF\2\1":
        return ""
    segments_at, sections_at, segments, sections = header[5], header[6], header[10], header[12]
    address = None
    for index in range(min(segments, MAX_SECTIONS)):
        kind, _, offset, virtual, _, size, _, _ = _SEGMENT.unpack(
            os.pread(fd, _SEGMENT.size, segments_at + index * _SEGMENT.size)
        )
        if kind == _LOAD and offset <= place < offset + size:
            address = place - offset + virtual
    if address is None:
        return ""
    table = [
        _SECTION.unpack(os.pread(fd, _SECTION.size, sections_at + n * _SECTION.size))
        for n in range(min(sections, MAX_SECTIONS))
    ]
    for section in sorted((one for one in table if one[1] in _TABLES), key=lambda one: int(one[1])):
        offset, size, strings = section[4], section[5], section[6]
        if strings >= len(table):
            continue
        data = os.pread(fd, min(size, MAX_SYMBOLS * _SYMBOL.size), offset)
        for name, info, _, _, value, length in _SYMBOL.iter_unpack(data[: len(data) // _SYMBOL.size * _SYMBOL.size]):
            if info & 15 == _FUNCTION and value <= address < value + length:
                text = os.pread(fd, 256, table[strings][4] + name).split(b"\0", 1)[0]
                return f"{text.decode(errors='replace')}+{address - value:#x}"
    return ""
