"""Writing a transaction into the log: revoke blocks, descriptors with the blocks that they name, and the commit block.

Between `journalled`, which decides what belongs into a transaction and when, and the log's place on the device.
"""

from typing import Final, final

from ....vfs.buffer import Buffer
from .format import (
    COMPAT_CHECKSUM,
    ESCAPED,
    MAGIC_BYTES,
    JournalSuperblock,
    Tag,
    encode_commit,
    encode_descriptor,
    encode_revokes,
    old_checksum,
    revokes_per_block,
    tag_checksum,
    tags_per_block,
)
from .space import LogSpace

LARGEST_WRITE: Final = 1 << 20
"""Bytes that go to the log in one write."""


@final
class LogWriter:
    """The end of a log that transactions are added to."""

    def __init__(self, space: LogSpace, journal: JournalSuperblock) -> None:
        self.at: int = journal.first
        """The block of the log that is written next."""
        self._space: LogSpace = space
        self._journal: JournalSuperblock = journal
        self._seed: int = journal.seed
        self._per_descriptor: int = tags_per_block(journal)
        self._per_revoke: int = revokes_per_block(journal)
        self._old: bool = journal.compat & COMPAT_CHECKSUM != 0
        self._sum: int = 0
        self._parts: list[bytes] = []
        self._parts_at: int = self.at
        self._most: int = max(LARGEST_WRITE // space.block_size, 1)

    def needed(self, blocks: int, revokes: int) -> int:
        """Blocks of the log that a transaction takes."""
        return blocks + -(-blocks // self._per_descriptor) + -(-revokes // self._per_revoke) + 1

    def write(self, sequence: int, held: dict[int, Buffer], revokes: list[int]) -> dict[int, int]:
        """Write a transaction but for its commit block.  Returns where in the log each block lies; negative if escaped.

        Raises EIO.
        """
        journal = self._journal
        self._parts_at = self.at
        self._sum = 0xFFFFFFFF
        for at in range(0, len(revokes), self._per_revoke):
            self._put(encode_revokes(journal, sequence, revokes[at : at + self._per_revoke], self._seed))
        blocks = sorted(held)
        places: dict[int, int] = {}
        for at in range(0, len(blocks), self._per_descriptor):
            self._descriptor(sequence, blocks[at : at + self._per_descriptor], held, places)
        self._flush()
        return places

    def commit(self, sequence: int, wall: int) -> None:
        """Write the commit block of the transaction that was written last, durably; its time is `wall`.  Raises EIO."""
        data = encode_commit(self._journal, sequence, wall, self._sum if self._old else 0, self._seed)
        self._space.write_durable(self.at, data)
        self.at = self._parts_at = self._next(self.at)

    def _descriptor(self, sequence: int, blocks: list[int], held: dict[int, Buffer], places: dict[int, int]) -> None:
        journal = self._journal
        tags = []
        contents = []
        at = self._next(self.at)
        for block in blocks:
            data = bytes(held[block].data)
            flags = 0
            if data.startswith(MAGIC_BYTES):
                flags = ESCAPED
                data = bytes(4) + data[4:]
            tags.append(Tag(block, flags, tag_checksum(journal, sequence, data, self._seed)))
            contents.append(data)
            places[block] = -at if flags else at
            at = self._next(at)
        head = encode_descriptor(journal, sequence, tags, self._seed)
        for data in (head, *contents):
            if self._old:
                self._sum = old_checksum(data, self._sum)
            self._put(data)

    def _put(self, data: bytes) -> None:
        self._parts.append(data)
        self.at = self._next(self.at)
        if self.at == self._journal.first or len(self._parts) >= self._most:
            self._flush()

    def _flush(self) -> None:
        if self._parts:
            self._space.write(self._parts_at, b"".join(self._parts))
            self._parts = []
        self._parts_at = self.at

    def _next(self, at: int) -> int:
        at += 1
        return self._journal.first if at == self._journal.end else at
