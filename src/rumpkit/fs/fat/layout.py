"""What lies where in a FAT file system: the structures of Microsoft's FAT specification, as numbers.  Used by the whole package."""

import struct
from typing import Final

# The boot sector ---------------------------------------------------------------------------------------------------------

BPB: Final = struct.Struct("<3s8sHBHBHHBHHHII")
"""Jump, OEM name, bytes a sector, sectors a cluster, reserved sectors, FATs, root entries, sectors (16 bits), media,
sectors a FAT (16 bits), sectors a track, heads, hidden sectors, sectors (32 bits)."""
BPB16: Final = struct.Struct("<BBBI11s8s")
"""Behind BPB on FAT12 and FAT16: drive, state, 0x29 if what follows is there, volume id, label, type."""
BPB16_OFFSET: Final = 36
BPB32: Final = struct.Struct("<IHHIHH12sBBBI11s8s")
"""Behind BPB on FAT32: sectors a FAT, flags, version, root cluster, FSInfo sector, backup boot sector, reserved, then as BPB16."""
BPB32_OFFSET: Final = 36
STATE16: Final = 37
STATE32: Final = 65
"""Where the state byte is; Windows and Linux set its lowest bit while the volume is in use."""
STATE_DIRTY: Final = 1
LABEL16: Final = 43
LABEL32: Final = 71
NO_NAME: Final = b"NO NAME    "
"""What the boot sector of a volume without a label has there."""
EXTENDED: Final = 0x29
SIGNATURE: Final = b"\x55\xaa"
SIGNATURE_OFFSET: Final = 510
BOOT_BYTES: Final = 512

# FSInfo (FAT32) ----------------------------------------------------------------------------------------------------------

FSINFO: Final = struct.Struct("<I480sIII12sI")
FSINFO_LEAD: Final = 0x41615252
FSINFO_STRUCTURE: Final = 0x61417272
FSINFO_TRAIL: Final = 0xAA550000
FSINFO_UNKNOWN: Final = 0xFFFFFFFF

# The FAT -----------------------------------------------------------------------------------------------------------------

FIRST_CLUSTER: Final = 2
MAX_CLUSTERS: Final = {12: 4084, 16: 65524, 32: 0x0FFFFFF5 - FIRST_CLUSTER}
"""The largest count of clusters for each width: a volume with more has a wider FAT."""
MIN_CLUSTERS_32: Final = 65525

# Directories -------------------------------------------------------------------------------------------------------------

ENTRY: Final = struct.Struct("<11sBBBHHHHHHHI")
"""Name, attributes, case flags, created (10 ms, time, date), accessed (date), cluster (high), written (time, date), cluster
(low), size."""
ENTRY_SIZE: Final = 32
MAX_SLOTS: Final = 65536
"""Entries that a directory has at most: 2 MiB."""
FREE: Final = 0xE5
"""First byte of a free entry; a name that really begins so has 0x05 there."""
KANJI: Final = 0x05

READ_ONLY: Final = 0x01
HIDDEN: Final = 0x02
SYSTEM: Final = 0x04
VOLUME: Final = 0x08
DIRECTORY: Final = 0x10
ARCHIVE: Final = 0x20
LONG: Final = READ_ONLY | HIDDEN | SYSTEM | VOLUME
LONG_MASK: Final = LONG | DIRECTORY | ARCHIVE

LOWER_BASE: Final = 0x08
LOWER_EXTENSION: Final = 0x10
"""Windows NT's flags: the 8.3 name is shown in lower case."""

LAST_LONG: Final = 0x40
LONG_UNITS: Final = 13
"""UTF-16 units in one entry of a long name."""
MAX_LONG: Final = 255
"""UTF-16 units of a long name."""
MAX_LONG_ENTRIES: Final = 20

MAX_FILE: Final = 0xFFFFFFFF
DOT_NAME: Final = b".          "
DOT_DOT_NAME: Final = b"..         "
