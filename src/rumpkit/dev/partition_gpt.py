"""GUID partition tables: reading with checksums and the backup, and writing (UEFI specification 2.10, chapter 5)."""

import struct
import zlib
from typing import Final, NamedTuple

from ..hyper.block import BlockBackend
from ..kern.abi.errno import EINVAL, ENOSPC, EUCLEAN
from .partition import MAX_PARTITIONS, SECTOR, Partition, PartitionTable, check_layout

SIGNATURE: Final = b"EFI PART"
PROTECTIVE: Final = 0xEE
"""The MBR type of the entry that covers a GPT."""
ENTRIES: Final = 128
"""Entries of a table that is made here."""
MAX_ENTRY: Final = 4096
NAME_LENGTH: Final = 36
"""UTF-16 code units of a label."""
BOOTABLE: Final = 1 << 2
"""The attribute "legacy BIOS bootable"."""

_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
"""Signature, revision, header size, its CRC, reserved, this LBA, the other one's, first and last usable, disk GUID, entries' LBA,
number of entries, size of one, their CRC."""
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
"""Type, GUID, first LBA, last LBA, attributes, name."""
_MBR_ENTRY: Final = struct.Struct("<B3sB3sII")


class _Header(NamedTuple):
    lba: int
    other: int
    first: int
    last: int
    guid: bytes
    entries: int
    number: int
    size: int
    crc: int


def guid_text(raw: bytes) -> str:
    """A GUID as it is written: the first three fields are little-endian on disk (UEFI, appendix A)."""
    first, second, third = struct.unpack_from("<IHH", raw)
    rest = raw[8:].hex().upper()
    return f"{first:08X}-{second:04X}-{third:04X}-{rest[:4]}-{rest[4:]}"


def guid_bytes(text: str) -> bytes:
    """The inverse of `guid_text`, in either case.  Raises EINVAL."""
    parts = text.split("-")
    try:
        if [len(part) for part in parts] != [8, 4, 4, 4, 12]:
            raise ValueError(text)
        head = struct.pack("<IHH", *(int(part, 16) for part in parts[:3]))
        return head + bytes.fromhex(parts[3] + parts[4])
    except ValueError:
        raise OSError(EINVAL, f"{text!r} is no GUID") from None


def new_guid(random: bytes) -> str:
    """A GUID of version 4 out of 16 random bytes (RFC 9562)."""
    raw = bytearray(random)
    raw[7] = raw[7] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return guid_text(bytes(raw))


def read_gpt(backend: BlockBackend) -> PartitionTable | None:
    """The disk's GPT, from its backup where the primary is damaged; None where there are signs of neither.

    Raises EUCLEAN where both are damaged, or what they say can't be.
    """
    problems: list[str] = []
    for size in (SECTOR, 4096):
        if backend.size < 6 * size:
            continue
        sectors = backend.size // size
        for lba in (1, sectors - 1):
            try:
                header = _read_header(backend, size, lba, sectors)
                if header is None:
                    continue
                return _read_entries(backend, size, header, tuple(problems))
            except OSError as problem:
                if problem.errno != EUCLEAN:
                    raise
                which = "primary" if lba == 1 else "backup"
                problems.append(f"the {which} GPT is damaged: {problem.strerror}")
    if problems:
        raise OSError(EUCLEAN, "; ".join(problems))
    return None


def _read_header(backend: BlockBackend, size: int, lba: int, sectors: int) -> _Header | None:
    raw = backend.read(lba * size, size)
    if not raw.startswith(SIGNATURE):
        return None
    (_, _, length, crc, _, own, other, first, last, guid, entries, count, entry_size, entries_crc) = (
        _HEADER.unpack_from(raw)
    )
    if not _HEADER.size <= length <= size:
        raise OSError(EUCLEAN, f"its header of {length} bytes is longer than a sector or too short")
    if zlib.crc32(raw[:16] + bytes(4) + raw[20:length]) != crc:
        raise OSError(EUCLEAN, "the checksum of its header is wrong")
    if own != lba:
        raise OSError(EUCLEAN, f"its header, which is in sector {lba}, says {own}")
    if not 1 <= count <= MAX_PARTITIONS or not 128 <= entry_size <= MAX_ENTRY or entry_size & (entry_size - 1):
        raise OSError(EUCLEAN, f"it has {count} entries of {entry_size} bytes")
    table = -(-count * entry_size // size)
    if not 2 <= entries <= sectors - table:
        raise OSError(EUCLEAN, f"its entries are at sector {entries} of {sectors}")
    if not 2 <= first <= last + 1 or last >= sectors:
        raise OSError(EUCLEAN, f"its usable sectors, {first} to {last}, are not within the disk's {sectors}")
    return _Header(own, other, first, last, guid, entries, count, entry_size, entries_crc)


def _read_entries(backend: BlockBackend, size: int, header: _Header, notes: tuple[str, ...]) -> PartitionTable:
    raw = backend.read(header.entries * size, header.number * header.size)
    if zlib.crc32(raw) != header.crc:
        raise OSError(EUCLEAN, "the checksum of its entries is wrong")
    partitions = []
    for index in range(header.number):
        kind, guid, first, last, attributes, name = _ENTRY.unpack_from(raw, index * header.size)
        if kind == bytes(16):
            continue
        label = name.decode("utf-16-le", "replace").partition("\0")[0]
        bootable = bool(attributes & BOOTABLE)
        length = (last - first + 1) * size
        partitions.append(
            Partition(index + 1, first * size, length, guid_text(kind), label, guid_text(guid), bootable, attributes)
        )
    check_layout(partitions, header.first * size, (header.last + 1) * size, "GPT")
    if header.lba == 1 and header.other != backend.size // size - 1:
        notes = (*notes, "the backup GPT is not at the end of the disk")
    return PartitionTable("gpt", guid_text(header.guid), tuple(partitions), size, notes)


def usable(backend_size: int, sector_size: int = SECTOR) -> tuple[int, int]:
    """The bytes that partitions of a new GPT may take, from and to.  Raises ENOSPC for a disk with no room for any."""
    table = -(-ENTRIES * _ENTRY.size // sector_size)
    first, last = 2 + table, backend_size // sector_size - 1 - table
    if last <= first:
        raise OSError(ENOSPC, f"a disk of {backend_size} bytes is too small for a GPT")
    return first * sector_size, last * sector_size


def write_gpt(backend: BlockBackend, table: PartitionTable) -> None:
    """Write `table`, backup first, with a protective MBR that keeps the boot code.  Raises EINVAL, ENOSPC, EUCLEAN, and the backend's."""
    size = table.sector_size
    first, last = usable(backend.size, size)
    check_layout(list(table.partitions), first, last, "GPT")
    entries = bytearray(ENTRIES * _ENTRY.size)
    for partition in table.partitions:
        if not 1 <= partition.number <= ENTRIES:
            raise OSError(EINVAL, f"a GPT made here has no partition {partition.number}")
        _ENTRY.pack_into(entries, (partition.number - 1) * _ENTRY.size, *_entry(partition, size))
    sectors = backend.size // size
    lengths = -(-len(entries) // size)
    raw = bytes(entries).ljust(lengths * size, b"\0")
    fields = (first // size, last // size - 1, guid_bytes(table.identifier))
    crc = zlib.crc32(entries)
    end = sectors - 1
    backend.write((end - lengths) * size, raw)
    backend.write(end * size, _header(end, 1, fields, end - lengths, crc).ljust(size, b"\0"))
    backend.flush()
    backend.write(2 * size, raw)
    backend.write(size, _header(1, end, fields, 2, crc).ljust(size, b"\0"))
    backend.write(0, _protective(backend.read(0, SECTOR), sectors))
    backend.flush()


def _entry(partition: Partition, size: int) -> tuple[bytes, bytes, int, int, int, bytes]:
    if partition.start % size or partition.size % size:
        raise OSError(EINVAL, f"partition {partition.number} is not in whole sectors of {size} bytes")
    name = partition.name.encode("utf-16-le")
    if len(name) > 2 * NAME_LENGTH:
        raise OSError(EINVAL, f"the name of partition {partition.number} is longer than {NAME_LENGTH} characters")
    attributes = partition.attributes | (BOOTABLE if partition.bootable else 0)
    kind, guid = guid_bytes(partition.type), guid_bytes(partition.uuid)
    return kind, guid, partition.start // size, partition.end // size - 1, attributes, name


def _header(own: int, other: int, fields: tuple[int, int, bytes], entries: int, crc: int) -> bytes:
    def pack(check: int) -> bytes:
        return _HEADER.pack(
            SIGNATURE, 0x10000, _HEADER.size, check, 0, own, other, *fields, entries, ENTRIES, _ENTRY.size, crc
        )

    return pack(zlib.crc32(pack(0)))


def _protective(old: bytes, sectors: int) -> bytes:
    """The MBR that keeps tools without GPT away: one entry over the whole disk (UEFI 5.2.3)."""
    entry = _MBR_ENTRY.pack(0, b"\x00\x02\x00", PROTECTIVE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    return old[:440] + bytes(6) + entry + bytes(48) + b"\x55\xaa"
