"""The tree that archives make: members put into directories, one archive over the other.  Between the members and the vnodes.

Paths are followed within the tree, symbolic links too: there is no outside.  With whiteouts (OCI's image layers) a name takes away what the
archives below have: `.wh.NAME` that file, `.wh..wh..opq` all that is in the directory.
"""

from typing import Final, final

from ...kern.abi.errno import EFBIG
from ...kern.abi.fcntl import NAME_MAX, S_IFDIR, S_IFLNK, S_IFREG, SYMLOOP_MAX
from .header import corrupt
from .member import Archive, Member, Piece

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
RESERVED: Final = b".wh..wh."
DEEPEST: Final = 4096
"""Directories that lie in each other."""
FILE_BYTES: Final = 600
"""What a file takes in memory, beside its names, extended attributes and pieces, about."""
PIECE_BYTES: Final = 150
XATTR_BYTES: Final = 200
MOST_STEPS: Final = 4096
"""Names that are followed for one member, those in symbolic links too."""


@final
class Item:
    """One file of the tree."""

    __slots__ = (
        "above",
        "archive",
        "depth",
        "device",
        "gid",
        "kind",
        "layer",
        "links",
        "mode",
        "mtime",
        "names",
        "number",
        "order",
        "pieces",
        "position",
        "pruned",
        "size",
        "target",
        "uid",
        "xattrs",
    )

    def __init__(self, number: int, kind: int, layer: int) -> None:
        self.number: int = number
        self.kind: int = kind
        self.layer: int = layer
        """The archive that last said something of it, or of what is in it."""
        self.mode: int = 0o755
        self.uid: int = 0
        self.gid: int = 0
        self.mtime: int = 0
        self.links: int = 1
        self.size: int = 0
        self.device: int = 0
        self.archive: int = layer
        """The archive that its data is in."""
        self.position: int = 0
        self.target: bytes = b""
        self.pieces: list[Piece] | None = None
        self.xattrs: dict[bytes, bytes] | None = None
        self.names: dict[bytes, Item] | None = {} if kind == S_IFDIR else None
        """What is in a directory."""
        self.order: list[bytes] | None = None
        """Its names, once somebody has listed them."""
        self.above: Item | None = None
        self.depth: int = 0
        self.pruned: int = -1
        """The archive that last took away what those below it have in this directory."""

    def take(self, member: Member) -> None:
        """Have the attributes of a member."""
        self.mode = member.mode
        self.uid = member.uid
        self.gid = member.gid
        self.mtime = member.mtime
        self.device = member.device
        self.size = member.size
        self.position = member.position
        self.pieces = member.pieces
        self.xattrs = member.xattrs
        self.target = member.target if self.kind == S_IFLNK else b""
        if self.kind == S_IFLNK:
            self.mode, self.size = 0o777, len(self.target)


@final
class Tree:
    """All files of some archives."""

    def __init__(self, limit: int, whiteouts: bool) -> None:
        """The tree may take about `limit` bytes of memory."""
        self.root: Item = Item(1, S_IFDIR, 0)
        self.root.links = 2
        self.files: int = 1
        """That were ever made: the next one's number less 1."""
        self.bytes: int = 0
        """Of all data."""
        self._whiteouts: bool = whiteouts
        self._limit: int = limit
        self._taken: int = 0

    def add(self, archive: Archive, layer: int) -> None:
        """Put an archive over what is there.  Raises EUCLEAN, EIO; EFBIG where the tree gets too large for its limit."""
        for member in archive.members():
            names = _names(member.name)
            if not names:
                if member.kind == S_IFDIR:
                    self._take(self.root, member)
                continue
            directory = self._directory(names[:-1], layer, member.name)
            name = names[-1]
            if self._whiteouts and name.startswith(WHITEOUT):
                self._white_out(directory, name, layer)
            else:
                self._put(directory, name, member, layer)

    def _put(self, directory: Item, name: bytes, member: Member, layer: int) -> None:
        assert directory.names is not None
        old = directory.names.get(name)
        if member.link:
            found = self._find(_names(member.target), member)
            if found is old:
                return
            self._charge(len(name) + 100)
            if old is not None:
                self._remove(directory, name, old)
            found.links += 1
            found.layer = layer
            directory.names[name] = found
            return
        if old is not None:
            if old.kind == member.kind == S_IFDIR:
                self._take(old, member)
                old.layer = layer
                return
            self._remove(directory, name, old)
        item = self._make(directory, name, member.kind, layer)
        self._take(item, member)
        self.bytes += member.size if member.kind == S_IFREG else 0

    def _take(self, item: Item, member: Member) -> None:
        item.take(member)
        self._charge(len(item.target) + PIECE_BYTES * len(item.pieces or ()))
        self._charge(sum([XATTR_BYTES + len(key) + len(value) for key, value in (item.xattrs or {}).items()]))

    def _make(self, directory: Item, name: bytes, kind: int, layer: int) -> Item:
        """A new file called `name`, which is free."""
        assert directory.names is not None
        if len(name) > NAME_MAX:
            raise corrupt(f"a name of {len(name)} bytes: {name[:40]!r}...")
        self._charge(FILE_BYTES + len(name))
        self.files += 1
        item = Item(self.files, kind, layer)
        directory.names[name] = item
        if kind == S_IFDIR:
            item.above = directory
            item.depth = directory.depth + 1
            item.links = 2
            directory.links += 1
            if item.depth > DEEPEST:
                raise corrupt(f"more than {DEEPEST} directories in each other")
        return item

    def _remove(self, directory: Item, name: bytes, old: Item) -> None:
        assert directory.names is not None
        del directory.names[name]
        old.links -= 1
        if old.kind == S_IFDIR:
            directory.links -= 1

    def _charge(self, size: int) -> None:
        self._taken += size
        if self._taken > self._limit:
            raise OSError(EFBIG, f"tar: its {self.files} files take more memory than the option index_bytes allows")

    def _directory(self, names: list[bytes], layer: int, where: bytes) -> Item:
        """The directory of a path, made where it is missing.  Raises EUCLEAN."""
        pending = names[::-1]
        at = self.root
        links = steps = 0
        while pending:
            name = pending.pop()
            steps += 1
            if steps > MOST_STEPS:
                raise corrupt(f"{where!r}: more than {MOST_STEPS} names on its way")
            if name == b"..":
                at = at.above or at
                continue
            assert at.names is not None
            found = at.names.get(name)
            if found is None:
                found = self._make(at, name, S_IFDIR, layer)
            elif found.kind == S_IFLNK:
                links += 1
                if links > SYMLOOP_MAX:
                    raise corrupt(f"{where!r}: too many symbolic links on its way")
                if found.target.startswith(b"/"):
                    at = self.root
                pending += _parts(found.target)[::-1]
                continue
            elif found.kind != S_IFDIR:
                # As unpacking it would do: what is in the way goes.
                self._remove(at, name, found)
                found = self._make(at, name, S_IFDIR, layer)
            found.layer = layer
            at = found
        return at

    def _find(self, names: list[bytes], member: Member) -> Item:
        """The file that a further name is for.  Raises EUCLEAN."""
        at: Item | None = self.root
        pending = names[::-1]
        links = steps = 0
        while pending and at is not None:
            name = pending.pop()
            steps += 1
            if steps > MOST_STEPS:
                raise corrupt(f"{member.name!r}: more than {MOST_STEPS} names to what it is a further name of")
            if name == b"..":
                at = at.above or at
                continue
            found = at.names.get(name) if at.names is not None else None
            if found is not None and found.kind == S_IFLNK and pending and links < SYMLOOP_MAX:
                links += 1
                if found.target.startswith(b"/"):
                    at = self.root
                pending += _parts(found.target)[::-1]
                continue
            at = found
        if at is None or at.kind == S_IFDIR:
            raise corrupt(f"{member.name!r} is a further name of {member.target!r}, which is not there")
        return at

    def _white_out(self, directory: Item, name: bytes, layer: int) -> None:
        """Take away what archives below this one have."""
        if name == OPAQUE:
            self._prune(directory, layer)
        elif not name.startswith(RESERVED):
            assert directory.names is not None
            name = name[len(WHITEOUT) :]
            old = directory.names.get(name)
            if old is None:
                return
            if old.layer < layer:
                self._remove(directory, name, old)
            elif old.kind == S_IFDIR:
                self._prune(old, layer)

    def _prune(self, top: Item, layer: int) -> None:
        """Take away all below `top` that this archive has said nothing of."""
        pending = [top]
        while pending:
            directory = pending.pop()
            assert directory.names is not None
            if directory.pruned == layer:
                continue  # what came since is this archive's own
            directory.pruned = layer
            for name, item in list(directory.names.items()):
                if item.layer < layer:
                    self._remove(directory, name, item)
                elif item.kind == S_IFDIR:
                    pending.append(item)


def _parts(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name not in (b"", b".")]


def _names(path: bytes) -> list[bytes]:
    """A member's name, as names below each other.  Raises EUCLEAN for one with ".."."""
    names = _parts(path)
    if b".." in names:
        raise corrupt(f'{path!r}: a name with ".." leads out of the archive')
    return names
