"""Comparing two trees, of images or of the host."""

from collections.abc import Iterator
from typing import Final, NamedTuple, final

from ...kern.abi.errno import EFBIG
from ...kern.abi.fcntl import S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG
from ...vfs.stat import Stat
from .copying import CopyWatcher
from .node import DEPTH_LIMIT, PIECE, Named, Node, failure
from .trees import Complaint, join, throw

NAMES_LIMIT: Final = 4_000_000
"""Names of one directory: both are sorted in memory."""


class Difference(NamedTuple):
    """One file that is not the same on both sides."""

    path: bytes
    sign: str
    """ "-": only in the first, "+": only in the second, "~": in both. """
    what: tuple[str, ...]
    """What differs: ("mode 0644 -> 0755", "content")."""


@final
class Comparison:
    """A comparison: iterate over it for the differences, in the order of names."""

    def __init__(
        self,
        content_only: bool = False,
        times: bool = True,
        complain: Complaint = throw,
        max_depth: int = DEPTH_LIMIT,
        watcher: CopyWatcher | None = None,
    ) -> None:
        self._watcher: CopyWatcher = watcher or CopyWatcher()
        self._content_only: bool = content_only
        self._times: bool = times and not content_only
        self._complain: Complaint = complain
        self._max_depth: int = max_depth
        self._links: dict[tuple[int, int], tuple[int, int]] = {}
        """Of files with several names: which one on the right is which on the left."""

    def compare(self, one: Node, other: Node, path: bytes = b".", depth: int = 0) -> Iterator[Difference]:
        """How `other` differs from `one`."""
        try:
            what = self._differences(one, other, path)
        except OSError as problem:
            self._complain(path, problem)
            return
        if what:
            yield Difference(path, "~", tuple(what))
        if one.kind != S_IFDIR or other.kind != S_IFDIR:
            return
        if depth >= self._max_depth:
            self._complain(path, failure(EFBIG, "directories are too deep"))
            return
        stack = [(one, other, path, self._pairs(one, other, path))]
        while stack:
            left, right, path, pairs = stack[-1]
            pair = next(pairs, None)
            if pair is None:
                stack.pop()
                if stack:
                    left.close()
                    right.close()
                continue
            name, sign = pair
            below = join(path, name)
            if sign:
                yield Difference(below, sign, ())
                continue
            try:
                a, b = left.get(name), right.get(name)
                what = self._differences(a, b, below)
            except OSError as problem:
                self._complain(below, problem)
                continue
            if what:
                yield Difference(below, "~", tuple(what))
            if a.kind == S_IFDIR and b.kind == S_IFDIR and len(stack) <= self._max_depth:
                stack.append((a, b, below, self._pairs(a, b, below)))
            else:
                a.close()
                b.close()

    def _pairs(self, one: Node, other: Node, path: bytes) -> Iterator[tuple[bytes, str]]:
        """The names of two directories, each with where it is ("": in both)."""
        try:
            left, right = _sorted(one.entries()), _sorted(other.entries())
        except OSError as problem:
            self._complain(path, problem)
            return
        i = j = 0
        while i < len(left) or j < len(right):
            if j == len(right) or (i < len(left) and left[i] < right[j]):
                yield left[i], "-"
                i += 1
            elif i == len(left) or right[j] < left[i]:
                yield right[j], "+"
                j += 1
            else:
                yield left[i], ""
                i += 1
                j += 1

    def _differences(self, one: Node, other: Node, path: bytes) -> list[str]:
        """What differs between two files of the same name."""
        self._watcher.copied(path, 0)
        if one.kind != other.kind:
            from .manifest import LETTERS

            return [f"type {LETTERS.get(one.kind, '?')} -> {LETTERS.get(other.kind, '?')}"]
        a, b = one.stat(), other.stat()
        found: list[str] = []
        if not self._content_only:
            found += _attributes(a, b)
            if one.xattrs() != other.xattrs():
                found.append("xattrs")
            if one.kind != S_IFDIR and not self._same_links(a, b):
                found.append("hard links")
        if self._times and one.kind != S_IFDIR and a.st_mtime_ns != b.st_mtime_ns:
            found.append("mtime")
        if one.kind == S_IFREG:
            if a.st_size != b.st_size:
                found.append(f"size {a.st_size} -> {b.st_size}")
            elif not same_content(one, other, a.st_size, path, self._watcher):
                found.append("content")
        elif one.kind == S_IFLNK and one.readlink() != other.readlink():
            found.append(f"target {_text(one.readlink())} -> {_text(other.readlink())}")
        elif one.kind in (S_IFCHR, S_IFBLK) and a.st_rdev != b.st_rdev:
            found.append("device")
        return found

    def _same_links(self, a: Stat, b: Stat) -> bool:
        """Whether both are further names of the same file, or neither is."""
        if a.st_nlink == 1 and b.st_nlink == 1:
            return True
        left, right = (a.st_dev, a.st_ino), (b.st_dev, b.st_ino)
        return self._links.setdefault(left, right) == right


def _attributes(a: Stat, b: Stat) -> list[str]:
    found = []
    if (a.st_mode ^ b.st_mode) & 0o7777:
        found.append(f"mode {a.st_mode & 0o7777:04o} -> {b.st_mode & 0o7777:04o}")
    if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid):
        found.append(f"owner {a.st_uid}:{a.st_gid} -> {b.st_uid}:{b.st_gid}")
    return found


def same_content(one: Node, other: Node, size: int, path: bytes = b"", watcher: CopyWatcher | None = None) -> bool:
    """Whether two files of `size` bytes have the same bytes; what is a hole in both is not read."""
    offset = 0
    while offset < size:
        start = min(_data_from(one, offset, size), _data_from(other, offset, size))
        if start >= size:
            return True
        if one.read(start, PIECE) != other.read(start, PIECE):
            return False
        offset = start + PIECE
        if watcher is not None:
            watcher.copied(path, PIECE)
    return True


def _data_from(node: Node, offset: int, size: int) -> int:
    found = node.next_data(offset)
    return size if found < 0 else found


def _sorted(names: Iterator[Named]) -> list[bytes]:
    found = [one.name for one in names]
    if len(found) > NAMES_LIMIT:
        raise failure(EFBIG, f"the directory has more than {NAMES_LIMIT} names")
    found.sort()
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
