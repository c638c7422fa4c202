"""Making a FAT file system (mkfs.fat): the boot sector, FSInfo, empty FATs, the root directory and its label.

Everything comes from the options, the host's wall clock and, for a volume id that isn't given, its random bytes; so that a host with
a fixed clock and seed makes the same bytes again.
"""

from collections.abc import Mapping
from typing import Final

from ...hyper.calls import Hypercalls
from ...kern.abi.errno import EINVAL, EIO, error
from ...kern.device import Device
from ...vfs.types import Option, OptionValue
from . import times
from .layout import (
    BPB,
    BPB16,
    BPB16_OFFSET,
    BPB32,
    BPB32_OFFSET,
    ENTRY_SIZE,
    EXTENDED,
    FIRST_CLUSTER,
    FSINFO,
    FSINFO_LEAD,
    FSINFO_STRUCTURE,
    FSINFO_TRAIL,
    NO_NAME,
    SIGNATURE,
    SIGNATURE_OFFSET,
    VOLUME,
)
from .plan import Plan
from .record import Record, pack
from .shortname import CODE_PAGE, is_label

OPTIONS: Final = (
    Option("bits", 0, 0, 32, "12, 16 or 32; 0: by size"),
    Option("cluster_size", 0, 0, 128 * 4096, "bytes of a cluster; 0: by size"),
    Option("sector_size", 512, 512, 4096, "bytes of a sector"),
    Option("label", "", 0, 0, "volume label, up to 11 characters"),
    Option("volume_id", 0, 0, 0xFFFFFFFF, "serial number; 0: at random"),
    Option("reserved", 0, 0, 65535, "reserved sectors; 0: as it is usual"),
    Option("fats", 2, 1, 255, "copies of the FAT"),
    Option("root_entries", 0, 0, 65535, "entries of the root directory of FAT12 and FAT16; 0: as it is usual"),
    Option("align", True, 0, 1, "let clusters begin at multiples of their size"),
    Option("hidden", 0, 0, 0xFFFFFFFF, "sectors before the volume, where it is a partition"),
)

_ZEROS: Final = bytes(1 << 20)
_IDLE: Final = b"\xcd\x18\xf4\xeb\xfd"
"""Boot code: ask the BIOS for another disk, else halt."""
BACKUP: Final = 6
"""Where FAT32 keeps a copy of its boot sector and FSInfo."""


def format_volume(hyper: Hypercalls, device: Device, options: Mapping[str, OptionValue]) -> Plan:
    """Make an empty volume on the whole device.  Raises ENOSPC, EFBIG, EINVAL, EROFS, EIO."""
    label = encode_label(str(options["label"]))
    plan = Plan(device.size(), options)
    number = int(options["volume_id"]) or int.from_bytes(hyper.random(4), "little") or 1
    size = plan.sector_size
    root = plan.reserved + plan.fats * plan.fat_sectors
    head = root * size + (plan.per_cluster * size if plan.bits == 32 else plan.root_entries * ENTRY_SIZE)
    # What was there before can't be taken for this volume when the plug is pulled half way: the boot sector comes last.
    _put(device, 0, bytes(size))
    _zero(device, size, head)
    media = 0x0FFFFF00 | plan.media
    first = {
        12: (0xFFF000 | 0xF00 | plan.media).to_bytes(3, "little"),
        16: (0xFFFF0000 | 0xFF00 | plan.media).to_bytes(4, "little"),
        32: media.to_bytes(4, "little") + b"\xff\xff\xff\x0f" + b"\xf8\xff\xff\x0f",
    }[plan.bits]
    for copy in range(plan.fats):
        _put(device, (plan.reserved + copy * plan.fat_sectors) * size, first)
    if label:
        _put(device, root * size, pack(_label_entry(label, hyper.wall())))
    boot = _boot_sector(plan, label, number, int(options["hidden"]))
    if plan.bits == 32:
        fsinfo = FSINFO.pack(
            FSINFO_LEAD, bytes(480), FSINFO_STRUCTURE, plan.clusters - 1, FIRST_CLUSTER, bytes(12), FSINFO_TRAIL
        )
        _put(device, size, fsinfo)
        if plan.reserved > BACKUP + 1:
            _put(device, BACKUP * size, boot)
            _put(device, (BACKUP + 1) * size, fsinfo)
    device.flush()
    _put(device, 0, boot)
    device.flush()
    return plan


def encode_label(text: str) -> bytes:
    """A label's 11 bytes, b"" for none.  Raises EINVAL."""
    if not text.strip(" "):
        return b""
    try:
        label = text.upper().encode(CODE_PAGE)
    except UnicodeEncodeError:
        raise OSError(EINVAL, f"the label {text!r} has characters that are not in code page 437") from None
    if len(label) > 11 or not is_label(label):
        raise OSError(EINVAL, f"{text!r} can't be a label: 11 characters at most, and none of \"*+,./:;<=>?[\\]|")
    return label.ljust(11)


def _label_entry(label: bytes, now: int) -> Record:
    date, time, _ = times.encode(now)
    return Record(label, VOLUME, 0, (date, time, 0), date, (date, time), 0, 0)


def _boot_sector(plan: Plan, label: bytes, number: int, hidden: int) -> bytes:
    wide = plan.bits == 32
    short = plan.total if plan.total < 0x10000 and not wide else 0
    boot = bytearray(plan.sector_size)
    BPB.pack_into(
        boot,
        0,
        b"\xeb\x58\x90" if wide else b"\xeb\x3c\x90",
        b"RUMPKIT ",
        plan.sector_size,
        plan.per_cluster,
        plan.reserved,
        plan.fats,
        plan.root_entries,
        short,
        plan.media,
        0 if wide else plan.fat_sectors,
        18 if plan.media == 0xF0 else 63,
        2 if plan.media == 0xF0 else 255,
        hidden,
        0 if short else plan.total,
    )
    identity = (
        0x00 if plan.media == 0xF0 else 0x80,
        0,
        EXTENDED,
        number,
        label or NO_NAME,
        b"FAT%-5d" % plan.bits,
    )
    if wide:
        backup = BACKUP if plan.reserved > BACKUP + 1 else 0
        BPB32.pack_into(boot, BPB32_OFFSET, plan.fat_sectors, 0, 0, FIRST_CLUSTER, 1, backup, bytes(12), *identity)
        boot[90 : 90 + len(_IDLE)] = _IDLE
    else:
        BPB16.pack_into(boot, BPB16_OFFSET, *identity)
        boot[62 : 62 + len(_IDLE)] = _IDLE
    boot[SIGNATURE_OFFSET : SIGNATURE_OFFSET + 2] = SIGNATURE
    return bytes(boot)


def _zero(device: Device, start: int, end: int) -> None:
    """Make bytes of the device zeros; what is so already is not written, and stays a hole where it is one."""
    while start < end:
        count = min(end - start, len(_ZEROS))
        zeros = _ZEROS[:count]
        if device.read(start, count) != zeros:
            _put(device, start, zeros)
        start += count


def _put(device: Device, offset: int, data: bytes) -> None:
    if device.write(offset, data) != len(data):
        raise error(EIO)
