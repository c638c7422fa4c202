"""Trees as tar archives, out and in: POSIX pax format, with extended attributes, nanoseconds, hard links, and holes (GNU sparse 1.0)."""

import stat as modes
import tarfile
from typing import IO, Any, Final, final

from ...kern.abi.errno import EINVAL
from ...vfs.stat import Stat
from .copying import CopyWatcher
from .node import PIECE, Node
from .trees import Complaint, Walk, throw

XATTR: Final = "SCHILY.xattr."
"""In front of an extended attribute's name in a pax header, as GNU tar and star have it."""
BLOCK: Final = 512
TYPES: Final = {
    modes.S_IFREG: tarfile.REGTYPE,
    modes.S_IFDIR: tarfile.DIRTYPE,
    modes.S_IFLNK: tarfile.SYMTYPE,
    modes.S_IFIFO: tarfile.FIFOTYPE,
    modes.S_IFCHR: tarfile.CHRTYPE,
    modes.S_IFBLK: tarfile.BLKTYPE,
}
KINDS: Final = {kind: mode for mode, kind in TYPES.items()} | {tarfile.AREGTYPE: modes.S_IFREG}


@final
class Writer:
    """Writes trees into one archive."""

    def __init__(
        self,
        stream: IO[bytes],
        complain: Complaint = throw,
        watcher: CopyWatcher | None = None,
        newest: int = -1,
        compression: str = "",
    ) -> None:
        """`newest`: later times become this one, in nanoseconds (-1: none); `compression`: "", "gz", "bz2" or "xz"."""
        open_archive: Any = tarfile.open
        self._out: _Out = _Out(stream)
        self._tar: tarfile.TarFile = open_archive(
            fileobj=self._out, mode=f"w|{compression}", format=tarfile.PAX_FORMAT, errorlevel=2
        )
        self._complain: Complaint = complain
        self._watcher: CopyWatcher = watcher or CopyWatcher()
        self._newest: int = newest
        self._seen: dict[tuple[int, int], str] = {}

    def add(self, top: Node, name: bytes) -> None:
        """Add a tree, whose top gets the name `name`.  Raises OSError where the archive can't be written."""
        for visit in Walk(top, name, self._complain):
            if visit.leaving:
                continue
            try:
                self._member(visit.path, visit.node)
            except OSError as problem:
                if self._out.broken:
                    raise
                self._complain(visit.path, problem)

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def _member(self, path: bytes, node: Node) -> None:
        self._watcher.copied(path, 0)
        status = node.stat()
        if node.kind not in TYPES:
            raise OSError(EINVAL, "a socket can't be in an archive")
        info = self._info(path, node, status)
        if info.type == tarfile.LNKTYPE or node.kind != modes.S_IFREG:
            self._tar.addfile(info)
            return
        extents = list(_extents(node, status.st_size)) if status.st_blocks * 512 < status.st_size else None
        if extents is None or extents == [(0, status.st_size)]:
            self._tar.addfile(info, _Stream(node, [(0, status.st_size)], self._watcher, path))
            return
        if not extents or sum(extents[-1]) < status.st_size:
            extents.append((status.st_size, 0))  # how GNU tar knows the size of a file that ends in a hole
        table = _sparse_map(extents)
        info.pax_headers = {
            **info.pax_headers,
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": info.name,
            "GNU.sparse.realsize": str(status.st_size),
        }
        head, _, tail = info.name.rpartition("/")
        info.name = f"{head or '.'}/GNUSparseFile.0/{tail}"
        info.size = len(table) + sum(size for _, size in extents)
        self._tar.addfile(info, _Stream(node, extents, self._watcher, path, table))

    def _info(self, path: bytes, node: Node, status: Stat) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path.decode("utf-8", "surrogateescape"))
        info.type = TYPES[node.kind]
        info.mode = status.st_mode & 0o7777
        info.uid, info.gid = status.st_uid, status.st_gid
        mtime = status.st_mtime_ns if self._newest < 0 else min(status.st_mtime_ns, self._newest)
        seconds, rest = divmod(mtime, 10**9)
        info.mtime = seconds
        headers: dict[str, str] = {}
        info.pax_headers = headers
        if rest or seconds < 0:
            headers["mtime"] = _decimal(mtime)
        identity = (status.st_dev, status.st_ino)
        if node.kind != modes.S_IFDIR and status.st_nlink > 1:
            first = self._seen.setdefault(identity, info.name)
            if first != info.name:
                info.type, info.linkname = tarfile.LNKTYPE, first
                return info
        if node.kind == modes.S_IFREG:
            info.size = status.st_size
        elif node.kind == modes.S_IFLNK:
            info.linkname = node.readlink().decode("utf-8", "surrogateescape")
        elif node.kind in (modes.S_IFCHR, modes.S_IFBLK):
            info.devmajor = status.st_rdev >> 8 & 0xFFF | status.st_rdev >> 32 & ~0xFFF
            info.devminor = status.st_rdev & 0xFF | status.st_rdev >> 12 & ~0xFF
        for name, value in node.xattrs():
            text = value.decode("utf-8", "surrogateescape")
            headers[XATTR + name.decode("utf-8", "surrogateescape")] = text
        return info


def _decimal(nanoseconds: int) -> str:
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{seconds}.{rest:09d}"


def _extents(node: Node, size: int) -> "list[tuple[int, int]]":
    """(offset, size) of what is stored of a file."""
    found = []
    offset = 0
    while offset < size:
        start = node.next_data(offset)
        if start < 0 or start >= size:
            break
        end = min(node.next_hole(start), size)
        if end <= start:
            raise OSError(EINVAL, f"data at byte {start} have no end")
        found.append((start, end - start))
        offset = end
    return found


def _sparse_map(extents: list[tuple[int, int]]) -> bytes:
    """The map of GNU sparse 1.0: the number of extents and each one's offset and size, a decimal a line, in whole blocks."""
    numbers = [len(extents), *(number for extent in extents for number in extent)]
    text = "".join(f"{number}\n" for number in numbers).encode()
    return text + bytes(-len(text) % BLOCK)


@final
class _Out:
    """Where the archive goes; knows whether writing to it has failed, which is the end of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream: IO[bytes] = stream
        self.broken: bool = False

    def write(self, data: bytes) -> int:
        """As the stream does."""
        try:
            return self._stream.write(data)
        except OSError:
            self.broken = True
            raise


@final
class _Stream:
    """A file's extents, as something to read."""

    def __init__(
        self, node: Node, extents: list[tuple[int, int]], watcher: CopyWatcher, path: bytes, head: bytes = b""
    ) -> None:
        self._node = node
        self._extents = [extent for extent in reversed(extents) if extent[1]]
        self._watcher = watcher
        self._path = path
        self._rest = head

    def read(self, size: int = -1) -> bytes:
        """`size` bytes; fewer at the end only."""
        parts = []
        while size:
            if not self._rest:
                if not self._extents:
                    break
                offset, left = self._extents.pop()
                data = self._node.read(offset, min(left, PIECE))
                if not data:
                    data = bytes(min(left, PIECE))  # it has become shorter meanwhile
                if len(data) < left:
                    self._extents.append((offset + len(data), left - len(data)))
                self._rest = data
                self._watcher.copied(self._path, len(data))
            part = self._rest[:size] if size > 0 else self._rest
            self._rest = self._rest[len(part) :]
            size -= len(part) if size > 0 else 0
            parts.append(part)
        return b"".join(parts)
