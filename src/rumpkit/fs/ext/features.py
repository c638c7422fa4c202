"""Feature bits of ext2, ext3 and ext4: their names, and which of them this implementation reads and writes.

The superblock has three words of them.  An unknown compatible feature can be ignored, an unknown read-only-compatible
one forbids writing, an unknown incompatible one forbids everything.  Names are those of mke2fs and dumpe2fs.
"""

from typing import Final

# Compatible.
DIR_PREALLOC: Final = 0x1
HAS_JOURNAL: Final = 0x4
EXT_ATTR: Final = 0x8
RESIZE_INODE: Final = 0x10
DIR_INDEX: Final = 0x20
SPARSE_SUPER2: Final = 0x200
FAST_COMMIT: Final = 0x400
STABLE_INODES: Final = 0x800
ORPHAN_FILE: Final = 0x1000

# Read-only compatible.
SPARSE_SUPER: Final = 0x1
LARGE_FILE: Final = 0x2
HUGE_FILE: Final = 0x8
GDT_CSUM: Final = 0x10
DIR_NLINK: Final = 0x20
EXTRA_ISIZE: Final = 0x40
QUOTA: Final = 0x100
BIGALLOC: Final = 0x200
METADATA_CSUM: Final = 0x400
READONLY: Final = 0x1000
PROJECT: Final = 0x2000
VERITY: Final = 0x8000
ORPHAN_PRESENT: Final = 0x10000

# Incompatible.
COMPRESSION: Final = 0x1
FILETYPE: Final = 0x2
RECOVER: Final = 0x4
JOURNAL_DEV: Final = 0x8
META_BG: Final = 0x10
EXTENTS: Final = 0x40
BIT64: Final = 0x80
MMP: Final = 0x100
FLEX_BG: Final = 0x200
EA_INODE: Final = 0x400
DIRDATA: Final = 0x1000
CSUM_SEED: Final = 0x2000
LARGEDIR: Final = 0x4000
INLINE_DATA: Final = 0x8000
ENCRYPT: Final = 0x10000
CASEFOLD: Final = 0x20000

COMPAT_NAMES: Final = {
    DIR_PREALLOC: "dir_prealloc",
    HAS_JOURNAL: "has_journal",
    EXT_ATTR: "ext_attr",
    RESIZE_INODE: "resize_inode",
    DIR_INDEX: "dir_index",
    SPARSE_SUPER2: "sparse_super2",
    FAST_COMMIT: "fast_commit",
    STABLE_INODES: "stable_inodes",
    ORPHAN_FILE: "orphan_file",
}
RO_COMPAT_NAMES: Final = {
    SPARSE_SUPER: "sparse_super",
    LARGE_FILE: "large_file",
    HUGE_FILE: "huge_file",
    GDT_CSUM: "uninit_bg",
    DIR_NLINK: "dir_nlink",
    EXTRA_ISIZE: "extra_isize",
    QUOTA: "quota",
    BIGALLOC: "bigalloc",
    METADATA_CSUM: "metadata_csum",
    READONLY: "read-only",
    PROJECT: "project",
    VERITY: "verity",
    ORPHAN_PRESENT: "orphan_present",
}
INCOMPAT_NAMES: Final = {
    COMPRESSION: "compression",
    FILETYPE: "filetype",
    RECOVER: "needs_recovery",
    JOURNAL_DEV: "journal_dev",
    META_BG: "meta_bg",
    EXTENTS: "extent",
    BIT64: "64bit",
    MMP: "mmp",
    FLEX_BG: "flex_bg",
    EA_INODE: "ea_inode",
    DIRDATA: "dirdata",
    CSUM_SEED: "metadata_csum_seed",
    LARGEDIR: "large_dir",
    INLINE_DATA: "inline_data",
    ENCRYPT: "encrypt",
    CASEFOLD: "casefold",
}

READABLE: Final = (
    FILETYPE
    | RECOVER
    | META_BG
    | EXTENTS
    | BIT64
    | FLEX_BG
    | EA_INODE
    | CSUM_SEED
    | LARGEDIR
    | INLINE_DATA
    | ENCRYPT
    | CASEFOLD
    | MMP
)
"""Incompatible features with which a file system can be read."""
READ_ONLY: Final = {
    ENCRYPT: "names and contents may be encrypted",
    CASEFOLD: "directories may ignore the case of names",
    MMP: "another host may have it mounted",
}
"""Of those, the ones with which it is not written, and why."""
WRITABLE: Final = (
    SPARSE_SUPER | LARGE_FILE | HUGE_FILE | GDT_CSUM | DIR_NLINK | EXTRA_ISIZE | METADATA_CSUM | ORPHAN_PRESENT
)
"""Read-only-compatible features with which it can be written."""


def names(compat: int, incompat: int, ro_compat: int) -> tuple[str, ...]:
    """The names of all features that are set, in dumpe2fs's order; those without a name as FEATURE_C30 and the like."""
    found: list[str] = []
    for word, table, letter in (
        (compat, COMPAT_NAMES, "C"),
        (incompat, INCOMPAT_NAMES, "I"),
        (ro_compat, RO_COMPAT_NAMES, "R"),
    ):
        for bit in range(32):
            if word >> bit & 1:
                found.append(table.get(1 << bit, f"FEATURE_{letter}{bit}"))
    return tuple(found)


def unreadable(incompat: int) -> tuple[str, ...]:
    """The names of the features that keep this implementation from reading a file system."""
    return names(0, incompat & ~READABLE, 0)


def unwritable(incompat: int, ro_compat: int) -> tuple[str, ...]:
    """The names of the features that keep this implementation from writing a file system that it can read."""
    forbidden = sum(READ_ONLY)
    return names(0, incompat & forbidden, ro_compat & ~WRITABLE)
