"""Replay: what a log holds that may not have reached its place yet, and how it gets there.

`scan` reads the log from where the superblock says it starts and believes one transaction after the other, up to the first
that was not committed: a commit block is missing, or a checksum is wrong.  It gives a `Recovery`: for each block the last
copy of it in the log that no later transaction revoked.  A mount that may write puts them home (`write_home`); one that
may not reads the file system through them (`overlay`), and writes nothing.

Everything in a log is a stranger's: block numbers are checked against the device, and no block is looked at twice.
"""

from typing import Final, final

from ....kern.abi.errno import EUCLEAN
from . import fastcommit
from .format import (
    COMMIT,
    COMPAT_CHECKSUM,
    DELETED,
    DESCRIPTOR,
    ESCAPED,
    INCOMPAT_FAST_COMMIT,
    MAGIC_BYTES,
    REVOKE,
    JournalSuperblock,
    Tag,
    block_kind,
    commit_is_right,
    decode_commit,
    decode_revokes,
    decode_superblock,
    decode_tags,
    old_checksum,
    tag_checksum,
    tail_is_right,
)
from .space import LogSpace

READ_AHEAD: Final = 64
"""Blocks of the log that are read at once."""
WRITE_AT_ONCE: Final = 256
"""Blocks that go home between two looks at how many are dirty."""


@final
class Recovery:
    """What replaying a log comes to."""

    def __init__(self, journal: JournalSuperblock) -> None:
        self.journal: JournalSuperblock = journal
        self.error: int = journal.error
        """Why an earlier mount gave the journal up; 0 if none did."""
        self.blocks: dict[int, int] = {}
        """Block of the device: the block of the log that has its newest contents."""
        self.escaped: set[int] = set()
        """Blocks of the log whose first four bytes are zeroed and should be the journal's magic number."""
        self.transactions: int = 0
        """Committed transactions that were found."""
        self.revoked: int = 0
        """Copies in the log that a later transaction took back."""
        self.next_sequence: int = journal.sequence
        """The first number that no block in the log can have."""
        self.damaged: str = ""
        """Why the replay stopped before the end of what was committed; "" if it did not."""
        self.fast: list[fastcommit.Tag] = []
        """What fast commits behind the last transaction say: changes that are in no block yet."""
        self.head: int = journal.start
        """The block of the log behind the last transaction."""

    def contents(self, space: LogSpace, block: int) -> bytes:
        """What `block` of the device, one of `blocks`, holds after the replay."""
        at = self.blocks[block]
        data = space.read(at)
        return MAGIC_BYTES + data[4:] if at in self.escaped else data


def load(space: LogSpace) -> JournalSuperblock:
    """The superblock of a journal.  Raises EUCLEAN, ENOTSUP, EIO."""
    return decode_superblock(space.read(0), space.block_size, space.blocks)


def scan(space: LogSpace, journal: JournalSuperblock) -> Recovery:
    """Read a log.  Raises EUCLEAN, EIO."""
    made = Recovery(journal)
    if journal.start:
        _Scan(space, made).run()
        if not made.damaged and journal.incompat & INCOMPAT_FAST_COMMIT:
            made.fast = fastcommit.read(space, journal, made.next_sequence)
        # One number is left out: blocks of a transaction that was cut off may still lie about.
        made.next_sequence = (made.next_sequence + 1) & 0xFFFFFFFF
    return made


@final
class _Scan:
    """One way through a log."""

    def __init__(self, space: LogSpace, made: Recovery) -> None:
        self._space: LogSpace = space
        self._journal: JournalSuperblock = made.journal
        self._made: Recovery = made
        self._seed: int = made.journal.seed
        self._left: int = made.journal.end - made.journal.first
        """Blocks that have not been looked at."""
        self._at: int = made.journal.start
        self._cache: bytes = b""
        self._cache_at: int = 0
        self._sum: int = 0xFFFFFFFF
        self._tags: list[tuple[Tag, int]] = []
        """The running transaction's tags, and the blocks of the log that they name."""
        self._revokes: list[int] = []
        self._bad: str = ""
        """What is wrong with a data block of the running transaction."""
        self._newest: dict[int, int] = {}
        """Block of the device: index of the transaction that wrote it last."""
        self._revoked: dict[int, int] = {}
        """Block of the device: index of the transaction that revoked it last."""

    def run(self) -> None:
        """Go through the log to its end."""
        sequence = self._journal.sequence
        while self._left > 0:
            data = self._next()
            kind = block_kind(data, sequence)
            if kind == DESCRIPTOR:
                if not self._descriptor(data, sequence):
                    break
            elif kind == REVOKE:
                if not tail_is_right(self._journal, data, self._seed):
                    break
                self._revokes += decode_revokes(self._journal, data)
            elif kind == COMMIT and self._commit(data, sequence):
                sequence = (sequence + 1) & 0xFFFFFFFF
            else:
                break
        made = self._made
        made.next_sequence = sequence
        for block, index in self._revoked.items():
            if block in made.blocks and self._newest[block] <= index:
                made.escaped.discard(made.blocks.pop(block))
                made.revoked += 1

    def _next(self) -> bytes:
        """The next block of the log."""
        size = self._space.block_size
        offset = (self._at - self._cache_at) * size
        if not 0 <= offset < len(self._cache):
            count = min(READ_AHEAD, self._journal.end - self._at)
            self._cache = self._space.read(self._at, count)
            self._cache_at = self._at
            offset = 0
        self._left -= 1
        self._at += 1
        if self._at == self._journal.end:
            self._at = self._journal.first
        return self._cache[offset : offset + size]

    def _descriptor(self, data: bytes, sequence: int) -> bool:
        """Take the blocks that a descriptor block announces; False where the log ends in them."""
        journal = self._journal
        if not tail_is_right(journal, data, self._seed):
            return False
        old = journal.compat & COMPAT_CHECKSUM != 0
        if old:
            self._sum = old_checksum(data, self._sum)
        for tag in decode_tags(journal, data):
            if self._left <= 0:
                return False
            where = self._at
            contents = self._next()
            if old:
                self._sum = old_checksum(contents, self._sum)
            if tag.flags & DELETED:
                continue
            if not 0 <= tag.block < self._space.cache.blocks:
                raise OSError(
                    EUCLEAN, f"journal: transaction {sequence} writes block {tag.block} behind the device's end"
                )
            if not self._bad and tag_checksum(journal, sequence, contents, self._seed) != self._expected(tag):
                self._bad = f"transaction {sequence}: the checksum of block {tag.block} is wrong"
            self._tags.append((tag, where))
        return True

    def _expected(self, tag: Tag) -> int:
        return tag.checksum if self._journal.has_checksums else 0

    def _commit(self, data: bytes, sequence: int) -> bool:
        """Believe the running transaction, if its commit block can be believed."""
        journal = self._journal
        made = self._made
        if not commit_is_right(journal, data, self._seed):
            return False
        commit = decode_commit(data)
        if journal.compat & COMPAT_CHECKSUM and commit.checksum_type and commit.checksum != self._sum:
            return False
        if self._bad:
            made.damaged = self._bad
            return False
        index = made.transactions
        made.transactions += 1
        made.head = self._at
        for block in self._revokes:
            self._revoked[block] = index
        for tag, where in self._tags:
            before = made.blocks.get(tag.block)
            if before is not None:
                made.escaped.discard(before)
            made.blocks[tag.block] = where
            self._newest[tag.block] = index
            if tag.flags & ESCAPED:
                made.escaped.add(where)
        self._tags = []
        self._revokes = []
        self._sum = 0xFFFFFFFF
        return True


def write_home(space: LogSpace, made: Recovery) -> None:
    """Write every block of a recovery to its place and make the log empty.  Raises EIO."""
    cache = space.cache
    for count, block in enumerate(sorted(made.blocks)):
        buffer = cache.fresh(block)
        buffer.data[:] = made.contents(space, block)
        cache.mark(buffer)
        if count % WRITE_AT_ONCE == WRITE_AT_ONCE - 1:
            cache.sync()
    cache.sync()
    journal = made.journal
    journal.start = 0
    journal.sequence = made.next_sequence
    write_superblock(space, journal)


def write_superblock(space: LogSpace, journal: JournalSuperblock, durable: bool = True) -> None:
    """Write a journal's superblock; `durable` unless a barrier follows that will do.  Raises EIO."""
    space.write(0, journal.encode().ljust(space.block_size, b"\0"))
    if durable:
        space.cache.flush()
