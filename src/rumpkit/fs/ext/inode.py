"""Inodes on disk: 128 bytes, as many more as the superblock says, and extended attributes behind what is used of those.

Times are nanoseconds since 1970-01-01 UTC here; on disk they are 32 bits of seconds and, in large inodes, 2 more bits
of seconds and the nanoseconds.
"""

import struct
from typing import Final, final

BASE: Final = 128
"""Bytes that every inode has."""
EXTRA: Final = 32
"""Bytes behind those that this implementation knows (extra_isize)."""

# Inodes with a meaning of their own.
BAD_BLOCKS: Final = 1
ROOT: Final = 2
RESIZE: Final = 7
JOURNAL: Final = 8
FIRST: Final = 11
"""The first inode of ordinary files where the superblock says nothing else."""

# Flags, with the numbers of FS_IOC_GETFLAGS.
SYNC: Final = 0x8
IMMUTABLE: Final = 0x10
APPEND: Final = 0x20
NODUMP: Final = 0x40
NOATIME: Final = 0x80
ENCRYPTED: Final = 0x800
INDEXED: Final = 0x1000
"""A directory with a hash tree."""
JOURNAL_DATA: Final = 0x4000
TOPDIR: Final = 0x20000
HUGE: Final = 0x40000
"""blocks counts file system blocks."""
EXTENTS: Final = 0x80000
VERITY: Final = 0x100000
EA_INODE: Final = 0x200000
"""The file is the value of an extended attribute."""
INLINE: Final = 0x10000000
"""The data is in the inode."""
PROJINHERIT: Final = 0x20000000
CASEFOLD: Final = 0x40000000

SETTABLE: Final = 0x000380FB
"""Flags that FS_IOC_SETFLAGS may change."""

BLOCK_AT: Final = 40
BLOCK_SIZE: Final = 60
"""Where the block map, the root of the extents, a short symbolic link or inline data lies, and its bytes."""
GENERATION_AT: Final = 100
CHECKSUM_AT: Final = 124
CHECKSUM_HIGH_AT: Final = 130
EXTRA_AT: Final = 128

_BASE: Final = struct.Struct("<HHIIIIIHHIII60sIIIIHHHHHH")
_EXTRA: Final = struct.Struct("<HHIIIIIII")
_SECOND: Final = 1_000_000_000


@final
class Inode:
    """The fields of an inode; a new one is all zeros.

    `extra_isize` is how much of the part behind 128 bytes is fields; `rest` are the bytes behind those fields that are
    known, where extended attributes lie (at `attributes_at`).
    """

    mode: int
    dtime: int
    links: int
    blocks: int
    """Storage in units of 512 bytes, or of blocks with the flag HUGE."""
    flags: int
    version: int
    block: bytes
    """The block map, the root of the extents, a short symbolic link's target, or inline data: 60 bytes."""
    generation: int
    file_acl: int
    """The block of extended attributes, or 0."""
    faddr: int
    checksum: int
    reserved: int

    def __init__(self, data: bytes = bytes(BASE), size: int = BASE) -> None:
        """Parse an inode of `size` bytes.  An extra_isize that can't be is kept and takes no field with it."""
        (
            self.mode,
            uid,
            size_low,
            atime,
            ctime,
            mtime,
            self.dtime,
            gid,
            self.links,
            self.blocks,
            self.flags,
            self.version,
            self.block,
            self.generation,
            self.file_acl,
            size_high,
            self.faddr,
            blocks_high,
            acl_high,
            uid_high,
            gid_high,
            self.checksum,
            self.reserved,
        ) = _BASE.unpack_from(data)
        self.uid: int = uid | uid_high << 16
        self.gid: int = gid | gid_high << 16
        self.size: int = size_low | size_high << 32
        self.blocks |= blocks_high << 32
        self.file_acl |= acl_high << 32
        self.extra_isize: int = 0
        self.projid: int = 0
        self.version_hi: int = 0
        self.crtime: int = 0
        self.rest: bytes = b""
        extras = _NONE
        if size > BASE:
            extra = int.from_bytes(data[EXTRA_AT : EXTRA_AT + 2], "little")
            self.extra_isize = extra
            used = extra if extra <= size - BASE else 0
            if used >= EXTRA:
                extras = _EXTRA.unpack_from(data, EXTRA_AT)
            elif used >= 4:
                extras = _EXTRA.unpack(data[EXTRA_AT : EXTRA_AT + used] + bytes(_EXTRA.size - used))
            self.rest = bytes(data[BASE + min(max(used, 4), EXTRA) : size])
            if used >= 4:
                self.checksum |= extras[1] << 16
            if used >= 24:
                self.crtime = _time(extras[5], extras[6])
            self.version_hi = extras[7]
            self.projid = extras[8]
        self.ctime: int = _time(ctime, extras[2])
        self.mtime: int = _time(mtime, extras[3])
        self.atime: int = _time(atime, extras[4])

    @property
    def attributes_at(self) -> int:
        """Where in `rest` extended attributes begin: behind fields that are not known."""
        return max(self.extra_isize - EXTRA, 0)

    def emit_into(self, data: bytearray, at: int, size: int) -> None:
        """Write the inode's `size` bytes at `at`, with `checksum` as it is here (checksum.py makes it)."""
        ctime = self.ctime // _SECOND
        mtime = self.mtime // _SECOND
        atime = self.atime // _SECOND
        _BASE.pack_into(
            data,
            at,
            self.mode,
            self.uid & 0xFFFF,
            self.size & 0xFFFFFFFF,
            atime & 0xFFFFFFFF,
            ctime & 0xFFFFFFFF,
            mtime & 0xFFFFFFFF,
            self.dtime,
            self.gid & 0xFFFF,
            self.links,
            self.blocks & 0xFFFFFFFF,
            self.flags,
            self.version,
            self.block,
            self.generation,
            self.file_acl & 0xFFFFFFFF,
            self.size >> 32,
            self.faddr,
            self.blocks >> 32,
            self.file_acl >> 32,
            self.uid >> 16,
            self.gid >> 16,
            self.checksum & 0xFFFF,
            self.reserved,
        )
        if size <= BASE:
            return
        used = self.extra_isize
        if used > size - BASE:
            used = 0
        extras = _EXTRA.pack(
            self.extra_isize,
            self.checksum >> 16,
            _extra(self.ctime, ctime),
            _extra(self.mtime, mtime),
            _extra(self.atime, atime),
            self.crtime // _SECOND & 0xFFFFFFFF,
            _extra(self.crtime, self.crtime // _SECOND),
            self.version_hi,
            self.projid,
        )
        if used < 4:
            extras = extras[:2] + b"\0\0"
        elif used < EXTRA:
            extras = extras[:used]
        start = at + BASE + len(extras)
        data[at + BASE : start] = extras
        data[start : at + size] = self.rest

    def emit(self, size: int) -> bytes:
        """The inode's `size` bytes."""
        data = bytearray(size)
        self.emit_into(data, 0, size)
        return bytes(data)


_NONE: Final = (0, 0, 0, 0, 0, 0, 0, 0, 0)


def _time(seconds: int, extra: int) -> int:
    if seconds & 0x80000000:
        seconds -= 1 << 32
    return (seconds + ((extra & 3) << 32)) * _SECOND + min(extra >> 2, _SECOND - 1)


def _extra(time: int, seconds: int) -> int:
    """The extra word of a time: the epoch's two bits, and nanoseconds."""
    signed = seconds & 0xFFFFFFFF
    if signed & 0x80000000:
        signed -= 1 << 32
    return (seconds - signed) >> 32 & 3 | (time - seconds * _SECOND) << 2
