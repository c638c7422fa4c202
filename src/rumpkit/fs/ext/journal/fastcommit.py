"""Fast commits: what Linux appends behind the log for one file's sync, in place of a whole transaction.

Format: "Fast commits" in the kernel's ext4 data structures and algorithms.  All numbers are little-endian.  Each fast commit is a
list of tags that ends in a TAIL with a checksum; the first one of a transaction starts with a HEAD.  They count only as long as the
transaction whose number they have is not in the log.
"""

from struct import Struct
from typing import Final, NamedTuple

from ..crc import crc32c
from ..geometry import corrupt
from .format import JournalSuperblock
from .space import LogSpace

ADD_RANGE: Final = 1
DEL_RANGE: Final = 2
CREAT: Final = 3
LINK: Final = 4
UNLINK: Final = 5
INODE: Final = 6
PAD: Final = 7
TAIL: Final = 8
HEAD: Final = 9
MAX_TAGS: Final = 1 << 18
"""Tags of all kinds that are read: five times what fits into Linux's usual area of 1 MiB."""
MAX_BYTES: Final = 64 << 20
"""Their data that is kept."""
_TAG: Final = Struct("<HH")
_TWO: Final = Struct("<II")
_TAIL: Final = 8
"""Bytes of a tail: the transaction's number, and the checksum."""


class Tag(NamedTuple):
    """One change."""

    kind: int
    data: bytes


def read(space: LogSpace, journal: JournalSuperblock, sequence: int, most: int = MAX_TAGS) -> list[Tag]:
    """The tags of all whole fast commits of the transaction `sequence`, which is not in the log; PAD and TAIL are left out.

    Raises EUCLEAN where there are more than `most`, EIO.
    """
    found: list[Tag] = []
    commit: list[Tag] = []
    checksum = 0
    count = 0
    kept = 0
    for at in range(journal.end + 1, journal.blocks):
        data = space.read(at)
        offset = 0
        while offset + _TAG.size <= len(data):
            kind, size = _TAG.unpack_from(data, offset)
            start = offset + _TAG.size
            end = start + size
            if end > len(data) or not ADD_RANGE <= kind <= HEAD:
                return found
            if not count and kind != HEAD:
                return found
            if kind == HEAD and (size < 8 or _TWO.unpack_from(data, start)[1] != sequence):
                return found
            count += 1
            if count > most:
                raise corrupt(f"journal: the fast commits have more than {most} tags")
            if kind == TAIL:
                if size < _TAIL:
                    return found
                number, expected = _TWO.unpack_from(data, start)
                if number != sequence or crc32c(checksum, data[offset : start + 4]) != expected:
                    return found
                found += commit
                commit = []
                checksum = 0
            else:
                checksum = crc32c(checksum, data[offset:end])
                if kind != PAD:
                    kept += size
                    if kept > MAX_BYTES:
                        raise corrupt(f"journal: the fast commits have more than {MAX_BYTES} bytes")
                    commit.append(Tag(kind, data[start:end]))
            offset = end
    return found
