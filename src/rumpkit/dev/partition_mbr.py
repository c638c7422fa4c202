"""MBR partition tables, with logical partitions: reading and writing.

There is no standard; what is here is what every PC does: four entries in the first sector, one of which may be an extended partition, in
which each logical partition has a sector like the first one (an EBR) that leads to the next.
"""

import struct
from typing import Final

from ..hyper.block import BlockBackend
from ..kern.abi.errno import EINVAL, EUCLEAN
from .partition import ALIGNMENT, SECTOR, Partition, PartitionTable, check_layout

EXTENDED: Final = (0x05, 0x0F, 0x85)
PROTECTIVE: Final = 0xEE
MAX_LOGICAL: Final = 128
"""Logical partitions that are followed; the chain of more is refused."""
HEADS: Final = 255
TRACK: Final = 63
"""Sectors of a track, and heads of a cylinder, in the geometry that BIOSes make up."""

_ENTRY: Final = struct.Struct("<B3sB3sII")
"""Status, CHS of the first sector, type, CHS of the last one, first sector, number of sectors."""
_TABLE: Final = 446
_END: Final = b"\x55\xaa"

Entry = tuple[int, int, int, int]
"""Status, type, first sector, number of sectors."""


def read_mbr(backend: BlockBackend) -> PartitionTable | None:
    """The disk's MBR partition table; None where there is none (a boot sector of a file system looks much like one).

    Raises EUCLEAN for one that can't be: partitions outside the disk or on each other, an endless chain of logical ones.
    """
    if backend.size < SECTOR:
        return None
    sector = backend.read(0, SECTOR)
    entries = _entries(sector)
    if entries is None or not any(entry[1] and entry[3] for entry in entries):
        return None
    sectors = backend.size // SECTOR
    inside = all(not entry[1] or (entry[2] > 0 and entry[2] + entry[3] <= sectors) for entry in entries)
    if not inside and _is_boot_sector(sector):
        return None
    signature = int.from_bytes(sector[440:444], "little")
    found: list[Partition] = []
    logical: list[Partition] = []
    containers: list[Partition] = []
    for number, entry in enumerate(entries, 1):
        if not entry[1] or not entry[3]:
            continue
        partition = _partition(number, entry, 0, signature)
        found.append(partition)
        if entry[1] in EXTENDED:
            containers.append(partition)
    check_layout(found, SECTOR, backend.size, "MBR")
    if len(containers) > 1:
        raise OSError(EUCLEAN, "MBR: there are two extended partitions")
    for container in containers:
        logical = _logical(backend, container, signature)
        check_layout(logical, container.start, container.end, "MBR")
    return PartitionTable("dos", f"0x{signature:08x}", (*found, *logical))


def is_protective(backend: BlockBackend) -> bool:
    """Whether the MBR says that there is a GPT (protective, or hybrid: with other entries beside)."""
    entries = _entries(backend.read(0, SECTOR)) if backend.size >= SECTOR else None
    return entries is not None and any(entry[1] == PROTECTIVE for entry in entries)


def _entries(sector: bytes) -> list[Entry] | None:
    """The four entries, or None if the sector is no MBR."""
    if sector[510:] != _END:
        return None
    entries: list[Entry] = []
    for index in range(4):
        status, _, kind, _, start, count = _ENTRY.unpack_from(sector, _TABLE + index * 16)
        if status & 0x7F:
            return None
        entries.append((status, kind, start, count))
    return entries


def _is_boot_sector(sector: bytes) -> bool:
    """Whether this looks like the first sector of FAT, exFAT or NTFS rather than an MBR."""
    jump = sector[0] == 0xE9 or (sector[0] == 0xEB and sector[2] == 0x90)
    return jump and (
        sector[3:11] in (b"EXFAT   ", b"NTFS    ") or sector[11:13] in (b"\0\2", b"\0\4", b"\0\x08", b"\0\x10")
    )


def _partition(number: int, entry: Entry, base: int, signature: int) -> Partition:
    status, kind, start, count = entry
    uuid = f"{signature:08X}-{number:02X}"
    return Partition(number, (base + start) * SECTOR, count * SECTOR, f"{kind:02x}", "", uuid, status == 0x80)


def _logical(backend: BlockBackend, container: Partition, signature: int) -> list[Partition]:
    """The logical partitions of an extended one: an EBR's entry is relative to itself, the way to the next to the first."""
    base = container.start // SECTOR
    at = base
    seen: set[int] = set()
    found: list[Partition] = []
    while True:
        if at in seen or len(seen) >= MAX_LOGICAL:
            raise OSError(EUCLEAN, f"MBR: the chain of logical partitions is endless or longer than {MAX_LOGICAL}")
        seen.add(at)
        if not container.start <= at * SECTOR < container.end:
            raise OSError(EUCLEAN, f"MBR: sector {at}, of a logical partition's entry, is outside the extended one")
        entries = _entries(backend.read(at * SECTOR, SECTOR))
        if entries is None:
            raise OSError(EUCLEAN, f"MBR: sector {at} should have a logical partition's entry, and has none")
        if entries[0][1] and entries[0][3]:
            found.append(_partition(5 + len(found), entries[0], at, signature))
        if not entries[1][1] or not entries[1][3]:
            return found
        at = base + entries[1][2]


def write_mbr(backend: BlockBackend, table: PartitionTable) -> None:
    """Write `table`, keeping the boot code: partitions 1 to 4, and logical ones from 5 on in that which is extended.

    The entry of a logical partition goes ALIGNMENT before it.  Raises EINVAL for what no MBR can say, EUCLEAN for overlaps.
    """
    primary = [partition for partition in table.partitions if partition.number <= 4]
    logical = [partition for partition in table.partitions if partition.number > 4]
    signature = int(table.identifier, 16)
    container = next((one for one in primary if int(one.type, 16) in EXTENDED), None)
    for partition in table.partitions:
        if partition.start % SECTOR or partition.size % SECTOR or partition.end > SECTOR << 32:
            raise OSError(
                EINVAL, f"partition {partition.number} is not in whole sectors, or beyond what an MBR can say"
            )
    check_layout(primary, SECTOR, backend.size, "MBR")
    if logical and container is None:
        raise OSError(EINVAL, "logical partitions need an extended one")
    if container is not None:
        _write_logical(backend, container, logical)
    old = backend.read(0, SECTOR)
    entries = [_pack(0, None)] * 4
    for partition in primary:
        entries[partition.number - 1] = _pack(0, partition)
    backend.write(0, old[:440] + signature.to_bytes(4, "little") + bytes(2) + b"".join(entries) + _END)
    backend.flush()


def _write_logical(backend: BlockBackend, container: Partition, logical: list[Partition]) -> None:
    """The chain of EBRs; the first is the extended partition's first sector."""
    places = [container.start] + [partition.start - ALIGNMENT for partition in logical[1:]]
    gapped = [one._replace(start=place, size=one.end - place) for one, place in zip(logical, places, strict=False)]
    check_layout(gapped, container.start, container.end, "MBR")
    if logical != sorted(logical):
        raise OSError(EINVAL, "logical partitions are numbered in the order they lie in")
    if logical and logical[0].start <= container.start:
        raise OSError(EINVAL, f"partition {logical[0].number} leaves no room for its entry")
    for index, place in enumerate(places):
        own = _pack(place, logical[index]) if logical else _pack(0, None)
        after = gapped[index + 1]._replace(type="05", bootable=False) if index + 1 < len(gapped) else None
        table = own + _pack(container.start, after) + bytes(32)
        backend.write(place, bytes(_TABLE) + table + _END)


def _pack(base: int, partition: Partition | None) -> bytes:
    """An entry whose sectors count from byte `base`."""
    if partition is None:
        return bytes(16)
    start, count = (partition.start - base) // SECTOR, partition.size // SECTOR
    first, last = partition.start // SECTOR, partition.end // SECTOR - 1
    status = 0x80 if partition.bootable else 0
    return _ENTRY.pack(status, _chs(first), int(partition.type, 16), _chs(last), start, count)


def _chs(sector: int) -> bytes:
    """Cylinder, head and sector; the greatest where it is beyond them."""
    cylinder, rest = divmod(sector, HEADS * TRACK)
    head, place = divmod(rest, TRACK)
    if cylinder > 1023:
        cylinder, head, place = 1023, HEADS - 1, TRACK - 1
    return bytes([head, place + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF])
