"""Directories: listings in runs of entries whose inodes are in one metadata block, sorted, with an index where they are long."""

from typing import TYPE_CHECKING, Final, final

from ...kern.abi.fcntl import NAME_MAX
from ...vfs.vnode import FIRST_COOKIE, Entry
from .format import ENTRY, INDEX, KINDS, LISTING_EXTRA, METADATA, MOST_ENTRIES, RUN, corrupt
from .metadata import Cursor

if TYPE_CHECKING:
    from .inode import Inode
    from .volume import Volume

INDEX_BITS: Final = 9
"""Of a cookie: how many entries of its run come before."""
MOST_BYTES: Final = 1 << 28
"""Of one directory's listing: some eight million names."""
Found = tuple[bytes, int, int, int]
"""A name, its inode's reference and number, its kind."""


@final
class Listing:
    """One directory's listing."""

    def __init__(self, volume: "Volume", inode: "Inode") -> None:
        self.volume: Volume = volume
        self.inode: Inode = inode
        self.size: int = inode.size - LISTING_EXTRA
        """Bytes."""
        if self.size > MOST_BYTES:
            raise corrupt(f"{inode.where}: a directory of {self.size} bytes; the limit is {MOST_BYTES}")
        self._blocks: list[int] = [volume.fields.directory_table + inode.start]
        """The metadata blocks of the listing that are known, in their order."""
        self._index: list[tuple[bytes, int, int]] | None = None

    def find(self, name: bytes) -> tuple[int, int] | None:
        """The inode of a name: reference and number.  Raises EUCLEAN, EIO."""
        at = self._indexed(name)
        last = b""
        while at < self.size:
            entries, at = self._run(at)
            if entries[0][0] <= last:
                raise self._unsorted(entries[0][0])
            last = entries[-1][0]
            if entries[-1][0] < name:
                continue
            for found, reference, number, _ in entries:
                if found == name:
                    return reference, number
                if found > name:
                    return None
        return None

    def entries(self, cookie: int, count: int) -> tuple[list[Entry], list[Found]]:
        """Up to `count` entries from a cookie on, for readdir, and what they lead to.  Raises EUCLEAN, EIO."""
        at, skip = 0, 0
        if cookie > FIRST_COOKIE:
            at, skip = cookie - FIRST_COOKIE >> INDEX_BITS, cookie - FIRST_COOKIE & (1 << INDEX_BITS) - 1
        listed: list[Entry] = []
        reached: list[Found] = []
        while at < self.size and len(listed) < count:
            run, behind = self._run(at)
            for index in range(skip, min(len(run), skip + count - len(listed))):
                one = run[index]
                done = index + 1 == len(run)
                following = (behind << INDEX_BITS if done else at << INDEX_BITS | index + 1) + FIRST_COOKIE
                listed.append(Entry(one[0], one[2], one[3], following))
                reached.append(one)
            at, skip = behind, 0
        return listed, reached

    def indexes(self) -> int:
        """Entries of the index that are in memory."""
        return 0 if self._index is None else len(self._index)

    def forget_index(self) -> None:
        """Have it read again when it is needed."""
        self._index = None

    def _cursor(self, at: int) -> Cursor:
        """Byte `at` of the listing.  Its blocks are full ones, but for the last."""
        block, offset = divmod(self.inode.offset + at, METADATA)
        blocks = self._blocks
        while len(blocks) <= block:
            blocks.append(self.volume.metadata.block(blocks[-1])[1])
        return Cursor(self.volume.metadata, blocks[block], offset)

    def _run(self, at: int) -> tuple[list[Found], int]:
        """The run of entries at byte `at`, and where the next one is.  Raises EUCLEAN, EIO."""
        where = self.inode.where
        cursor = self._cursor(at)
        count, block, base = RUN.unpack(cursor.read(RUN.size))
        if count >= MOST_ENTRIES:
            raise corrupt(f"{where}: {count + 1} entries in one run")
        at += RUN.size
        found: list[Found] = []
        for _ in range(count + 1):
            offset, difference, kind, length = ENTRY.unpack(cursor.read(ENTRY.size))
            if length >= NAME_MAX:
                raise corrupt(f"{where}: a name of {length + 1} bytes")
            if not 0 < kind < len(KINDS):
                raise corrupt(f"{where}: an entry of type {kind}")
            name = cursor.read(length + 1)
            if b"/" in name or b"\0" in name or name in (b".", b".."):
                raise corrupt(f"{where}: an entry with the name {name!r}")
            if found and name <= found[-1][0]:
                raise self._unsorted(name)
            found.append((name, block << 16 | offset, base + difference, KINDS[kind]))
            at += ENTRY.size + length + 1
        if at > self.size:
            raise corrupt(f"{where}: its entries are longer than it")
        return found, at

    def _unsorted(self, name: bytes) -> OSError:
        """Names ascend; or a small image could have a directory of one name, millions of times."""
        return corrupt(f"{self.inode.where}: the name {name!r} is behind one that is no less")

    def _indexed(self, name: bytes) -> int:
        """The byte of the listing from which on a name is, as the index says."""
        if not self.inode.indexes:
            return 0
        index = self._index
        if index is None:
            index = self._index = self._read_index()
            self.volume.indexed(self)
        low, high = 0, len(index)
        while low < high:
            middle = (low + high) // 2
            if index[middle][0] <= name:
                low = middle + 1
            else:
                high = middle
        return index[low - 1][1] if low else 0

    def _read_index(self) -> list[tuple[bytes, int, int]]:
        """All of the index: first name, position, metadata block of runs.  At most 65535, as their count has two bytes."""
        inode = self.inode
        cursor = Cursor(self.volume.metadata, *inode.after)
        found: list[tuple[bytes, int, int]] = []
        for _ in range(inode.indexes):
            at, block, length = INDEX.unpack(cursor.read(INDEX.size))
            if length >= NAME_MAX or at > self.size or (found and at < found[-1][1]):
                raise corrupt(f"{inode.where}: an index entry for byte {at}, with a name of {length + 1} bytes")
            found.append((cursor.read(length + 1), at, block))
        return found
