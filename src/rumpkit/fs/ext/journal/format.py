"""The blocks of a journal as they lie on the disk: superblock, descriptor, revoke and commit blocks.

Format: "Journal (jbd2)" in the kernel's ext4 data structures and algorithms.  All numbers are big-endian.  Nothing here does
I/O; `replay` reads with this, and `log` writes.  What is read is checked before it is believed.
"""

from struct import Struct
from typing import Final, NamedTuple, final
from zlib import crc32

from ....kern.abi.errno import ENOTSUP, EUCLEAN
from ..crc import crc32c

MAGIC: Final = 0xC03B3998
MAGIC_BYTES: Final = b"\xc0\x3b\x39\x98"

DESCRIPTOR: Final = 1
COMMIT: Final = 2
SUPERBLOCK_V1: Final = 3
SUPERBLOCK_V2: Final = 4
REVOKE: Final = 5

COMPAT_CHECKSUM: Final = 0x1
INCOMPAT_REVOKE: Final = 0x1
INCOMPAT_64BIT: Final = 0x2
INCOMPAT_ASYNC_COMMIT: Final = 0x4
INCOMPAT_CSUM_V2: Final = 0x8
INCOMPAT_CSUM_V3: Final = 0x10
INCOMPAT_FAST_COMMIT: Final = 0x20
INCOMPAT_KNOWN: Final = 0x3F

ESCAPED: Final = 1
"""The block began with the journal's magic number, which is zeroed in the log."""
SAME_UUID: Final = 2
DELETED: Final = 4
LAST_TAG: Final = 8

HEADER: Final = Struct(">III")
HEADER_SIZE: Final = 12
SUPERBLOCK_SIZE: Final = 1024
UUID_SIZE: Final = 16
DEFAULT_FAST_COMMIT_BLOCKS: Final = 256
MIN_BLOCKS: Final = 1024
"""A journal is at least this long, without its fast-commit area."""
CRC32C_CHECKSUM: Final = 4
CRC32_CHECKSUM: Final = 1

_SUPERBLOCK: Final = Struct(">IIIIIIIIIIII16sIIIIB3xII")
_SUPERBLOCK_CHECKSUM: Final = 0xFC
_USERS: Final = 0x100
_COMMIT: Final = Struct(">IIIBB2xI28xQI")
_COMMIT_CHECKSUM: Final = 0x10
_WORD: Final = Struct(">I")
_TAG3: Final = Struct(">IIII")
_TAG64: Final = Struct(">IHHI")
_TAG32: Final = Struct(">IHH")
_MIRROR: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@final
class Tag:
    """One block of a transaction: `block` of the device is the next block of the log.  `checksum` is 0 where there is none."""

    __slots__ = ("block", "checksum", "flags")

    def __init__(self, block: int, flags: int, checksum: int = 0) -> None:
        self.block: int = block
        self.flags: int = flags
        self.checksum: int = checksum


class Commit(NamedTuple):
    """What a commit block says."""

    checksum_type: int
    checksum_size: int
    checksum: int
    seconds: int
    nanoseconds: int


@final
class JournalSuperblock:
    """The journal's first block: where the log starts, and how its blocks are laid out."""

    def __init__(self, block_size: int, blocks: int, uuid: bytes) -> None:
        self.version: int = 2
        self.block_size: int = block_size
        self.blocks: int = blocks
        """Length of the journal in blocks, with this one."""
        self.first: int = 1
        """First block of the log."""
        self.sequence: int = 1
        """The transaction that is expected at `start`."""
        self.start: int = 0
        """Where the oldest transaction begins that may not be home yet; 0: the log is empty."""
        self.error: int = 0
        self.compat: int = 0
        self.incompat: int = 0
        self.ro_compat: int = 0
        self.uuid: bytes = uuid
        self.users: int = 1
        self.checksum_type: int = 0
        self.fast_commit_blocks: int = 0
        self.head: int = 0
        self._users: bytes = b""

    # Derived -------------------------------------------------------------------------------------------

    @property
    def has_checksums(self) -> bool:
        """Whether descriptor, revoke and commit blocks and this one have crc32c checksums (version 2 or 3)."""
        return self.incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0

    @property
    def seed(self) -> int:
        """What every checksum in the log starts from."""
        return crc32c(0xFFFFFFFF, self.uuid)

    @property
    def end(self) -> int:
        """The block behind the log's last, where it goes on at `first`; the fast-commit area follows."""
        if self.incompat & INCOMPAT_FAST_COMMIT:
            return self.blocks - (self.fast_commit_blocks or DEFAULT_FAST_COMMIT_BLOCKS)
        return self.blocks

    @property
    def tag_size(self) -> int:
        """Bytes of a tag in a descriptor block, without a UUID."""
        if self.incompat & INCOMPAT_CSUM_V3:
            return 16
        size = 12 if self.incompat & INCOMPAT_64BIT else 8
        return size + 2 if self.incompat & INCOMPAT_CSUM_V2 else size

    @property
    def tail_size(self) -> int:
        """Bytes at the end of descriptor and revoke blocks that hold their checksum."""
        return 4 if self.has_checksums else 0

    # On the disk ---------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """The 1024 bytes of the superblock, with a current checksum."""
        data = bytearray(SUPERBLOCK_SIZE)
        kind = SUPERBLOCK_V1 if self.version == 1 else SUPERBLOCK_V2
        _SUPERBLOCK.pack_into(
            data, 0, MAGIC, kind, 0, self.block_size, self.blocks, self.first, self.sequence, self.start, self.error,
            self.compat, self.incompat, self.ro_compat, self.uuid, self.users, 0, 0, 0, self.checksum_type,
            self.fast_commit_blocks, self.head,
        )  # fmt: skip
        if self._users:
            data[_USERS:] = self._users
        if self.has_checksums:
            _WORD.pack_into(data, _SUPERBLOCK_CHECKSUM, crc32c(0xFFFFFFFF, bytes(data)))
        return bytes(data)


def decode_superblock(data: bytes, block_size: int, blocks: int) -> JournalSuperblock:
    """The superblock of a journal that has `blocks` blocks of `block_size` bytes of its file system's.

    Raises EUCLEAN where it is damaged, ENOTSUP for features that are unknown.
    """
    fields = _SUPERBLOCK.unpack_from(data)
    if fields[0] != MAGIC or fields[1] not in (SUPERBLOCK_V1, SUPERBLOCK_V2):
        raise OSError(EUCLEAN, "journal: the superblock has no magic number")
    made = JournalSuperblock(fields[3], fields[4], fields[12])
    made.first, made.sequence, made.start, made.error = fields[5:9]
    if fields[1] == SUPERBLOCK_V1:
        made.version = 1
    else:
        made.compat, made.incompat, made.ro_compat = fields[9:12]
        made.users = fields[13]
        made.checksum_type, made.fast_commit_blocks, made.head = fields[17:20]
        made._users = data[_USERS:SUPERBLOCK_SIZE]
    _check_superblock(made, data, block_size, blocks)
    return made


def _check_superblock(made: JournalSuperblock, data: bytes, block_size: int, blocks: int) -> None:
    if made.incompat & ~INCOMPAT_KNOWN or made.ro_compat:
        raise OSError(ENOTSUP, f"journal: unknown features {made.incompat & ~INCOMPAT_KNOWN:#x}/{made.ro_compat:#x}")
    both = INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3
    if made.incompat & both == both or (made.has_checksums and made.compat & COMPAT_CHECKSUM):
        raise OSError(EUCLEAN, "journal: two versions of checksums at once")
    if made.has_checksums:
        if made.checksum_type != CRC32C_CHECKSUM:
            raise OSError(ENOTSUP, f"journal: unknown type of checksums {made.checksum_type}")
        bare = bytearray(data[:SUPERBLOCK_SIZE])
        bare[_SUPERBLOCK_CHECKSUM : _SUPERBLOCK_CHECKSUM + 4] = bytes(4)
        if crc32c(0xFFFFFFFF, bytes(bare)) != _WORD.unpack_from(data, _SUPERBLOCK_CHECKSUM)[0]:
            raise OSError(EUCLEAN, "journal: the superblock's checksum is wrong")
    if made.block_size != block_size:
        raise OSError(EUCLEAN, f"journal: blocks of {made.block_size} bytes in a file system of {block_size}")
    if not 1 <= made.first < made.end <= made.blocks <= blocks:
        raise OSError(
            EUCLEAN, f"journal: log from {made.first} to {made.end} of {made.blocks} in a file of {blocks} blocks"
        )
    if made.start and not made.first <= made.start < made.end:
        raise OSError(EUCLEAN, f"journal: the log starts at block {made.start}, outside of {made.first}-{made.end}")


# Blocks of the log -----------------------------------------------------------------------------------------


def block_kind(data: bytes, sequence: int) -> int:
    """DESCRIPTOR, COMMIT or REVOKE if `data` is such a block of transaction `sequence`; 0 for anything else."""
    magic, kind, found = HEADER.unpack_from(data)
    if magic != MAGIC or found != sequence:
        return 0
    return int(kind)


def tail_is_right(journal: JournalSuperblock, data: bytes, seed: int) -> bool:
    """Whether the checksum at the end of a descriptor or revoke block is right, or there is none."""
    if not journal.has_checksums:
        return True
    size = len(data) - 4
    return crc32c(seed, data[:size] + bytes(4)) == int.from_bytes(data[size:], "big")


def _finish(journal: JournalSuperblock, data: bytearray, seed: int) -> bytes:
    if journal.has_checksums:
        _WORD.pack_into(data, len(data) - 4, crc32c(seed, bytes(data)))
    return bytes(data)


def decode_tags(journal: JournalSuperblock, data: bytes) -> list[Tag]:
    """The tags of a descriptor block: up to the one that is marked as the last, or as many as there is room for."""
    tags = []
    at = HEADER_SIZE
    size = journal.tag_size
    end = journal.block_size - journal.tail_size
    wide = journal.incompat & INCOMPAT_64BIT != 0
    while at + size <= end:
        if journal.incompat & INCOMPAT_CSUM_V3:
            block, flags, high, checksum = _TAG3.unpack_from(data, at)
        elif wide:
            block, checksum, flags, high = _TAG64.unpack_from(data, at)
        else:
            block, checksum, flags = _TAG32.unpack_from(data, at)
            high = 0
        if wide:
            block |= high << 32
        tags.append(Tag(block, flags, checksum))
        at += size if flags & SAME_UUID else size + UUID_SIZE
        if flags & LAST_TAG:
            break
    return tags


def encode_descriptor(journal: JournalSuperblock, sequence: int, tags: list[Tag], seed: int) -> bytes:
    """A descriptor block for `tags`, of which there are at most `tags_per_block`."""
    data = bytearray(journal.block_size)
    HEADER.pack_into(data, 0, MAGIC, DESCRIPTOR, sequence)
    at = HEADER_SIZE
    for index, tag in enumerate(tags):
        flags = tag.flags | (SAME_UUID if index else 0) | (LAST_TAG if index == len(tags) - 1 else 0)
        high = tag.block >> 32
        if journal.incompat & INCOMPAT_CSUM_V3:
            _TAG3.pack_into(data, at, tag.block & 0xFFFFFFFF, flags, high, tag.checksum)
        elif journal.incompat & INCOMPAT_64BIT:
            _TAG64.pack_into(data, at, tag.block & 0xFFFFFFFF, tag.checksum & 0xFFFF, flags, high)
        else:
            _TAG32.pack_into(data, at, tag.block, tag.checksum & 0xFFFF, flags)
        at += journal.tag_size
        if not index:
            data[at : at + UUID_SIZE] = journal.uuid
            at += UUID_SIZE
    return _finish(journal, data, seed)


def tags_per_block(journal: JournalSuperblock) -> int:
    """Tags that one descriptor block holds."""
    return (journal.block_size - HEADER_SIZE - UUID_SIZE - journal.tail_size) // journal.tag_size


def tag_checksum(journal: JournalSuperblock, sequence: int, data: bytes, seed: int) -> int:
    """The checksum of a block of the log as its tag has it (the lower 16 bits only, in version 2); 0 if there are none."""
    if not journal.has_checksums:
        return 0
    made = crc32c(crc32c(seed, _WORD.pack(sequence)), data)
    return made & 0xFFFF if journal.incompat & INCOMPAT_CSUM_V2 else made


def decode_revokes(journal: JournalSuperblock, data: bytes) -> list[int]:
    """The blocks of a revoke block.  Raises EUCLEAN where its count can't be."""
    size = 8 if journal.incompat & INCOMPAT_64BIT else 4
    used: int = _WORD.unpack_from(data, HEADER_SIZE)[0]
    first = HEADER_SIZE + 4
    if not first <= used <= journal.block_size - journal.tail_size or (used - first) % size:
        raise OSError(EUCLEAN, f"journal: a revoke block of {used} bytes")
    return [int.from_bytes(data[at : at + size], "big") for at in range(first, used, size)]


def encode_revokes(journal: JournalSuperblock, sequence: int, blocks: list[int], seed: int) -> bytes:
    """A revoke block for `blocks`, of which there are at most `revokes_per_block`."""
    size = 8 if journal.incompat & INCOMPAT_64BIT else 4
    data = bytearray(journal.block_size)
    HEADER.pack_into(data, 0, MAGIC, REVOKE, sequence)
    at = HEADER_SIZE + 4
    for block in blocks:
        data[at : at + size] = block.to_bytes(size, "big")
        at += size
    _WORD.pack_into(data, HEADER_SIZE, at)
    return _finish(journal, data, seed)


def revokes_per_block(journal: JournalSuperblock) -> int:
    """Block numbers that one revoke block holds."""
    size = 8 if journal.incompat & INCOMPAT_64BIT else 4
    return (journal.block_size - HEADER_SIZE - 4 - journal.tail_size) // size


def decode_commit(data: bytes) -> Commit:
    """What a commit block says."""
    fields = _COMMIT.unpack_from(data)
    return Commit(*fields[3:])


def commit_is_right(journal: JournalSuperblock, data: bytes, seed: int) -> bool:
    """Whether a commit block's own checksum (versions 2 and 3) is right, or there is none."""
    if not journal.has_checksums:
        return True
    bare = data[:_COMMIT_CHECKSUM] + bytes(4) + data[_COMMIT_CHECKSUM + 4 :]
    return crc32c(seed, bare) == int.from_bytes(data[_COMMIT_CHECKSUM : _COMMIT_CHECKSUM + 4], "big")


def encode_commit(journal: JournalSuperblock, sequence: int, wall: int, checksum: int, seed: int) -> bytes:
    """The commit block of a transaction; `wall` is nanoseconds since 1970, `checksum` that of version 1."""
    data = bytearray(journal.block_size)
    kind, size = (CRC32_CHECKSUM, 4) if journal.compat & COMPAT_CHECKSUM else (0, 0)
    seconds, nanoseconds = divmod(wall, 1_000_000_000)
    _COMMIT.pack_into(data, 0, MAGIC, COMMIT, sequence, kind, size, checksum, seconds, nanoseconds)
    if journal.has_checksums:
        _WORD.pack_into(data, _COMMIT_CHECKSUM, crc32c(seed, bytes(data)))
    return bytes(data)


def old_checksum(data: bytes, seed: int) -> int:
    """The checksum of version 1 over descriptor and data blocks: crc32 with the most significant bit first, not inverted.

    It is zlib's with the bits of every byte, of the seed and of the result mirrored.
    """
    start = _mirrored(seed) ^ 0xFFFFFFFF
    return _mirrored(crc32(data.translate(_MIRROR), start) ^ 0xFFFFFFFF)


def _mirrored(word: int) -> int:
    return int.from_bytes(word.to_bytes(4, "big")[::-1].translate(_MIRROR), "big")
