"""Partition tables of both kinds: which one a disk has, and the layout of a new one."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ..hyper.block import BlockBackend
from ..kern.abi.errno import EINVAL, ENOSPC
from .partition import ALIGNMENT, SECTOR, Partition, PartitionTable
from .partition_gpt import guid_bytes, new_guid, read_gpt, usable, write_gpt
from .partition_mbr import is_protective, read_mbr, write_mbr

TYPES: Final[dict[str, tuple[str, str]]] = {
    "linux": ("0FC63DAF-8483-4772-8E79-3D69D8477DE4", "83"),
    "data": ("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "0c"),
    "efi": ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "ef"),
    "swap": ("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "82"),
    "bios": ("21686148-6449-6E6F-744E-656564454649", "da"),
    "home": ("933AC7E1-2EB4-4F13-B844-0E14E2AEF915", "83"),
    "root-x86-64": ("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "83"),
    "root-arm64": ("B921B045-1DF0-41C3-AF44-4C6F280D3FAE", "83"),
    "boot": ("BC13C2FF-59E6-4262-A352-B275FD6F7172", "ea"),
    "lvm": ("E6D6D379-F507-44C2-A23C-238F2A3DF928", "8e"),
    "raid": ("A19D880F-05FC-4D3B-A006-743F0F84911E", "fd"),
}
"""Names of partition types, and what they are in a GPT and in an MBR."""


class PartitionSpec(NamedTuple):
    """A partition to be made."""

    size: int = 0
    """Bytes, rounded up to whole ALIGNMENTs; 0: what is left, for the last one."""
    type: str = "linux"
    """A name of TYPES, a GUID (GPT) or two hex digits (MBR)."""
    name: str = ""
    uuid: str = ""
    """Default: random."""
    bootable: bool = False
    attributes: int = 0


def read_table(backend: BlockBackend) -> PartitionTable | None:
    """The partition table of a disk, or None.  Off the schedule, as all here.  Raises EUCLEAN, and the backend's errors."""
    if is_protective(backend):
        found = read_gpt(backend)
        if found is not None:
            return found
    return read_mbr(backend)


def write_table(backend: BlockBackend, table: PartitionTable) -> None:
    """Write a table of either kind.  Raises EINVAL, ENOSPC, EUCLEAN, and the backend's errors."""
    if table.kind == "gpt":
        write_gpt(backend, table)
    elif table.kind == "dos":
        write_mbr(backend, table)
    else:
        raise OSError(EINVAL, f"there is no partition table {table.kind!r}; there are gpt and dos")


def type_name(code: str) -> str:
    """The name of a type that a table gives as GUID or hex digits; itself where it has none."""
    for name, codes in TYPES.items():
        if code in codes:
            return name
    return code


def plan(
    kind: str, disk: int, wanted: Sequence[PartitionSpec], random: Callable[[int], bytes], identifier: str = ""
) -> PartitionTable:
    """A table for a disk of `disk` bytes with these partitions, one after the other, at multiples of ALIGNMENT.

    `random` gives the bytes for what has no UUID.  In an MBR with more than four, those from the fourth on are logical.  Raises EINVAL, and
    ENOSPC if they don't fit.
    """
    if kind == "gpt":
        return _plan_gpt(disk, wanted, random, identifier)
    if kind == "dos":
        return _plan_mbr(disk, wanted, random, identifier)
    raise OSError(EINVAL, f"there is no partition table {kind!r}; there are gpt and dos")


def _plan_gpt(
    disk: int, wanted: Sequence[PartitionSpec], random: Callable[[int], bytes], identifier: str
) -> PartitionTable:
    _, last = usable(disk)
    places = _places(wanted, ALIGNMENT, last, 0)
    partitions = []
    for number, (spec, (start, size)) in enumerate(zip(wanted, places, strict=True), 1):
        code = TYPES[spec.type][0] if spec.type in TYPES else spec.type.upper()
        guid_bytes(code)
        uuid = spec.uuid.upper() or new_guid(random(16))
        guid_bytes(uuid)
        partitions.append(Partition(number, start, size, code, spec.name, uuid, spec.bootable, spec.attributes))
    return PartitionTable("gpt", identifier.upper() or new_guid(random(16)), tuple(partitions))


def _plan_mbr(
    disk: int, wanted: Sequence[PartitionSpec], random: Callable[[int], bytes], identifier: str
) -> PartitionTable:
    signature = int(identifier, 16) if identifier else int.from_bytes(random(4), "little")
    last = min(disk // SECTOR, (1 << 32) - 1) * SECTOR
    split = 3 if len(wanted) > 4 else len(wanted)
    places = _places(wanted, ALIGNMENT, last, split)
    partitions = []
    for index, (spec, (start, size)) in enumerate(zip(wanted, places, strict=True)):
        code = TYPES[spec.type][1] if spec.type in TYPES else spec.type.lower()
        if len(code) != 2 or set(code) - set("0123456789abcdef") or code == "00":
            raise OSError(EINVAL, f"{spec.type!r} is no partition type of an MBR; known are {', '.join(TYPES)}")
        if spec.name or spec.uuid or spec.attributes:
            raise OSError(EINVAL, "partitions of an MBR have no name, no UUID and no attributes")
        number = index + 1 if index < split else index + 5 - split
        partitions.append(Partition(number, start, size, code, "", f"{signature:08X}-{number:02X}", spec.bootable))
    if split < len(wanted):
        start = places[split][0] - ALIGNMENT
        size = places[-1][0] + places[-1][1] - start
        partitions.insert(split, Partition(split + 1, start, size, "0f", "", f"{signature:08X}-{split + 1:02X}"))
    return PartitionTable("dos", f"0x{signature:08x}", tuple(partitions))


def _places(wanted: Sequence[PartitionSpec], first: int, last: int, gap_from: int) -> list[tuple[int, int]]:
    """Start and size of each; from the one with index `gap_from` on (if not 0), ALIGNMENT is left before each for its entry."""
    places = []
    at = first
    for index, spec in enumerate(wanted):
        if gap_from and index >= gap_from:
            at += ALIGNMENT
        size = -(-spec.size // ALIGNMENT) * ALIGNMENT
        if not size:
            if index != len(wanted) - 1:
                raise OSError(EINVAL, "only the last partition takes what is left")
            size = (last - at) // ALIGNMENT * ALIGNMENT
        if spec.size < 0 or size <= 0 or at + size > last:
            raise OSError(ENOSPC, f"partition {index + 1} does not fit: {size} bytes at {at} of {last}")
        places.append((at, size))
        at += size
    return places
