"""The third pass: what is in each directory, block by block, and whether hash trees lead to every name."""

import struct
from typing import Final, final

from .. import checksum as sums
from ..dirent import HEAD, length_of
from ..features import FILETYPE, LARGEDIR
from ..inode import INDEXED, INLINE, ROOT, Inode
from ..namehash import KNOWN, UNSIGNED, name_hash
from ..superblock import FLAG_UNSIGNED_HASH
from .attributes import inline_rest
from .context import DIRECTORY, Check
from .inodes import ATTRIBUTE_KIND, RESERVED_KIND
from .maps import FileMap

LOST_AND_FOUND: Final = b"lost+found"
MOST_NAMES: Final = 1 << 20
"""Names of a directory up to which doubles are looked for."""
ROOT_COUNT_AT: Final = 32
NODE_COUNT_AT: Final = 8
_PAIR: Final = struct.Struct("<II")


def check_directories(check: Check) -> None:
    """Read every directory."""
    for number in list(check.parents):
        _Directory(check, number).run()


@final
class _Directory:
    """One directory under check."""

    def __init__(self, check: Check, number: int) -> None:
        self._check: Check = check
        self._number: int = number
        self._where: str = f"directory {number}"
        raw = check.raw_inode(number)
        self._raw: bytes = raw
        self._inode: Inode = Inode(raw, len(raw))
        self._seed: int = sums.inode_seed(check.seed, number, self._inode.generation)
        self._names: set[bytes] = set()
        self._leaves: dict[int, tuple[int, int]] = {}
        """Blocks of a hash tree with names: the lowest hash that may be there, and the one behind the highest."""
        self._nodes: set[int] = set()
        """Blocks of a hash tree without names."""
        self._version: int = -1
        self._physical: int = 0
        """The block of the device that is looked at; 0: the directory lies in its inode."""
        self._typed: bool = check.fields.feature_incompat & FILETYPE != 0

    def run(self) -> None:
        """Check it all."""
        inode = self._inode
        if inode.flags & INLINE:
            self._inline()
            return
        runs = FileMap(self._check, self._number, inode, False, self._seed).runs
        places = {logical + index: start + index for logical, start, count, _ in runs for index in range(count)}
        if inode.flags & INDEXED:
            self._index(places)
        size = inode.size // self._check.block_size
        last = -1
        for logical in sorted(places):
            if logical >= size:
                break
            if logical != last + 1:
                self._bad(f"it has a hole at block {last + 1}")
            last = logical
            data = bytes(self._check.cache.get(places[logical]).data)
            self._physical = places[logical]
            self._block(logical, data)
        if size and last < 0:
            self._bad("it has no blocks")

    def _bad(self, text: str, mendable: bool = False) -> None:
        self._check.find(text, self._where, mendable)

    # Entries -------------------------------------------------------------------------------------------

    def _block(self, logical: int, data: bytes) -> None:
        """A block of entries, or a node of the hash tree, which looks like one long empty entry."""
        check = self._check
        end = len(data)
        start = 0
        if logical in self._nodes:
            if logical:
                return
            end = 24
        elif check.fields.has_checksums:
            if not sums.has_tail(data):
                self._bad(f"block {logical} has no checksum")
            else:
                end -= sums.TAIL_SIZE
                if sums.directory_checksum(self._seed, data) != int.from_bytes(data[-4:], "little"):
                    self._bad(f"the checksum of block {logical} is wrong")
        low, high = self._leaves.get(logical, (0, 1 << 32))
        if not logical:
            start = self._dots(data, len(data))
            if start < 0 or 0 in self._nodes:
                return
        self._entries(logical, data, start, end, low, high)

    def _dots(self, data: bytes, end: int) -> int:
        """The entries "." and ".." at the start; where the others are, or -1."""
        check = self._check
        at = 0
        for name in (b".", b".."):
            if at + 12 > end:
                self._bad(f"the entry for {name.decode()} is missing")
                return -1
            inode, length, size, kind = HEAD.unpack_from(data, at)
            length = length_of(length, end)
            wrong = length < 12 or length & 3 or at + length > end
            if wrong or data[at + 8 : at + 8 + size] != name or (name == b"." and length != 12):
                self._bad(f"the entry for {name.decode()} is not where it should be")
                return -1
            if self._typed and kind != DIRECTORY:
                self._bad(f"the entry for {name.decode()} has the kind {kind}")
            if name == b".":
                if inode != self._number:
                    self._bad(f"the entry for . is inode {inode}")
                else:
                    check.count(inode)
            elif not 0 < inode <= check.geometry.inodes:
                self._bad(f"the entry for .. is inode {inode}")
            else:
                check.dotdots[self._number] = inode
                check.count(inode)
            at += length
        return at

    def _entries(self, logical: int, data: bytes, at: int, end: int, low: int, high: int) -> None:
        while at < end:
            if end - at < 8:
                self._bad(f"block {logical} ends in {end - at} bytes that are no entry")
                return
            inode, length, size, kind = HEAD.unpack_from(data, at)
            length = length_of(length, len(data))
            if length < 8 + (4 if inode else 0) or length & 3 or at + length > end or 8 + size > length:
                self._bad(f"block {logical}: the entry at {at} has {length} bytes and a name of {size}")
                return
            if inode:
                self._entry(inode, data[at + 8 : at + 8 + size], kind, at)
                if self._version >= 0:
                    hashed = name_hash(data[at + 8 : at + 8 + size], self._version, self._check.fields.hash_seed)[0]
                    if not low <= hashed < high:
                        self._bad(f"block {logical}: {_text(data[at + 8 : at + 8 + size])} is not where its hash leads")
            at += length

    def _entry(self, inode: int, name: bytes, kind: int, at: int) -> None:
        check = self._check
        text = _text(name)
        if not name or b"/" in name or b"\0" in name or name in (b".", b".."):
            self._bad(f"the name {text} cannot be")
        if len(self._names) < MOST_NAMES:
            if name in self._names:
                self._bad(f"the name {text} is there twice")
            self._names.add(name)
        if inode > check.geometry.inodes or (inode < check.geometry.first_inode and inode != ROOT):
            self._bad(f"{text} is inode {inode}")
            return
        found = check.kinds[inode]
        if not found or found in (ATTRIBUTE_KIND, RESERVED_KIND):
            self._mend(f"{text} is inode {inode}, which is not in use", at, 0, not found)
            return
        wanted = found if self._typed else 0
        if kind != wanted:
            self._mend(f"{text} has the kind {kind} and not {wanted}", at, wanted, self._typed)
        check.count(inode)
        if found == DIRECTORY:
            if self._number == ROOT and name == LOST_AND_FOUND:
                check.lost_and_found = inode
            if check.parents[inode]:
                self._bad(f"{text} is directory {inode}, which is in directory {check.parents[inode]}, too")
            else:
                check.parents[inode] = self._number

    def _mend(self, text: str, at: int, kind: int, mendable: bool) -> None:
        """An entry is wrong; a repair gives it this kind (0: removes it), unless it lies in an inode."""
        mendable = mendable and self._physical > 0
        self._bad(text, mendable)
        if mendable:
            self._check.bad_entries.append((self._number, self._physical, at, kind))

    def _inline(self) -> None:
        raw = self._raw
        data = self._inode.block
        tail = inline_rest(raw, self._inode)
        parent = int.from_bytes(data[:4], "little")
        check = self._check
        check.count(self._number)
        if not 0 < parent <= check.geometry.inodes:
            self._bad(f"the entry for .. is inode {parent}")
        else:
            check.dotdots[self._number] = parent
            check.count(parent)
        self._entries(0, data[:60], 4, min(60, max(self._inode.size, 4)), 0, 1 << 32)
        if tail:
            self._entries(1, tail, 0, len(tail), 0, 1 << 32)

    # Hash trees ----------------------------------------------------------------------------------------

    def _index(self, places: dict[int, int]) -> None:
        """Read the nodes of a hash tree, and note which hashes belong in which block."""
        check = self._check
        if 0 not in places:
            return
        data = bytes(check.cache.get(places[0]).data)
        zero, version, length, levels, unused = struct.unpack_from("<IBBBB", data, 24)
        deepest = 3 if check.fields.feature_incompat & LARGEDIR else 2
        self._nodes.add(0)
        if zero or unused or length != 8 or version > KNOWN or levels >= deepest + 1 - (deepest == 2):
            self._bad(f"the root of its hash tree has version {version}, length {length} and {levels} levels")
            return
        if version < UNSIGNED and check.fields.flags & FLAG_UNSIGNED_HASH:
            version += UNSIGNED
        self._version = version
        self._node(0, data, ROOT_COUNT_AT, levels, 0, 1 << 32, places)
        size = self._inode.size // check.block_size
        for logical in range(1, size):
            if logical not in self._nodes and logical not in self._leaves:
                self._bad(f"no entry of its hash tree leads to block {logical}")

    def _node(self, block: int, data: bytes, at: int, levels: int, low: int, high: int, places: dict[int, int]) -> None:
        check = self._check
        limit, count = struct.unpack_from("<HH", data, at)
        tail = 8 if check.fields.has_checksums else 0
        if limit != (len(data) - at - tail) // 8 or not 0 < count <= limit:
            self._bad(f"the node of its hash tree in block {block} has {count} of {limit} entries")
            return
        if tail:
            stored = int.from_bytes(data[at + limit * 8 + 4 : at + limit * 8 + 8], "little")
            if sums.index_checksum(self._seed, data, at) != stored:
                self._bad(f"the checksum of its hash tree's node in block {block} is wrong")
        before = low
        for index in range(count):
            hashed, child = _PAIR.unpack_from(data, at + index * 8)
            hashed = hashed if index else low
            child &= 0x0FFFFFFF
            following = _PAIR.unpack_from(data, at + index * 8 + 8)[0] if index + 1 < count else high
            if hashed < before or (index and hashed == before and not hashed & 1 and index > 1):
                self._bad(f"hashes in block {block} are out of order")
            before = hashed
            if child not in places or child in self._nodes or child in self._leaves:
                self._bad(f"the node of its hash tree in block {block} leads to block {child}")
                continue
            # An odd hash continues the block before it: names with the same hash lie in both.
            start, end = hashed & ~1, (following | 1 if following & 1 else following) + (following & 1)
            if not levels:
                self._leaves[child] = (start, end)
                continue
            self._nodes.add(child)
            inner = bytes(check.cache.get(places[child]).data)
            if HEAD.unpack_from(inner, 0)[:2] != (0, len(inner) & 0xFFFF if len(inner) < 65536 else 0xFFFF):
                if inner[:4] != bytes(4):
                    self._bad(f"the node of its hash tree in block {child} does not look empty")
            self._node(child, inner, NODE_COUNT_AT, levels - 1, start, end, places)


def _text(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))
