"""Tar archives unpacked into a directory of an image or of the host.

Names stay below the directory: what begins with a slash loses it, ".." is refused, and links in the way are replaced, not followed.
Directories get their times and modes at the end, when nothing more comes into them.
"""

import stat as modes
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final, final

from ...kern.abi.errno import EINVAL, EISDIR, ENOTDIR, ENOTSUP, EPERM
from .archive import KINDS, XATTR
from .copying import CopyWatcher
from .foreign import FOREIGN_BYTES, PACKED, packed
from .node import PIECE, Node, failure
from .trees import Complaint, throw

MOST_TEXT: Final = 4 << 20
"""Bytes of a header that describes a member, or all that follow."""
DESCRIBING: Final = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
GENERAL: Final = ("path", "linkpath", "size", "mtime", "uid", "gid", "hdrcharset")
"""What a pax header for all members that follow may say: little, as each of them has it."""
MOST_DIGITS: Final = 20
"""Of a number in a map of holes."""
UNPACKED: Final = ("gzip", "xz", "bzip2")
"""What tarfile unpacks, of `PACKED`."""
MAX_SEGMENTS: Final = 1 << 20
"""Extents of one sparse file."""


@final
class Selection:
    """Members of an archive that are wanted, by name; of directories, what is below them, too."""

    def __init__(self, names: Iterable[bytes]) -> None:
        """`./` before a name and a slash behind it mean nothing, as in the archive."""
        self._wanted: dict[tuple[bytes, ...], bytes] = {_parts(name): name for name in names}
        self._seen: set[tuple[bytes, ...]] = set()

    def has(self, path: bytes) -> bool:
        """Whether a member is wanted."""
        names = tuple(name for name in path.split(b"/") if name not in (b"", b"."))
        found = [names[:depth] for depth in range(len(names) + 1) if names[:depth] in self._wanted]
        self._seen.update(found)
        return bool(found)

    def missing(self) -> list[bytes]:
        """Those that no member had."""
        return [name for names, name in self._wanted.items() if names not in self._seen]


@final
class _Member(tarfile.TarInfo):
    """A member, with limits on what is said of it: a header of gigabytes takes no more than megabytes of a compressed archive."""

    def _proc_member(self, archive: Any) -> Any:
        """What tarfile does with a header that it has read."""
        if self.size > MOST_TEXT and self.type in DESCRIBING:
            raise tarfile.ReadError(f"a header of {self.size} bytes; the limit is {MOST_TEXT}")
        general = archive.pax_headers
        if len(general) > len(GENERAL):
            archive.pax_headers = {key: general[key] for key in GENERAL if key in general}
        plain: Any = super()
        return plain._proc_member(archive)

    def _proc_gnusparse_10(self, member: Any, headers: Any, archive: Any) -> None:
        """The map of a sparse file as text before its data: how many pieces, and each one's offset and size."""
        found: list[int] = []
        wanted, rest = -1, b""
        while wanted < 0 or len(found) < wanted:
            block = archive.fileobj.read(tarfile.BLOCKSIZE)
            *lines, rest = (rest + block).split(b"\n")
            if not block or len(rest) > tarfile.BLOCKSIZE:
                raise tarfile.ReadError("a map of holes without an end")
            for line in lines if wanted < 0 else lines[: wanted - len(found)]:
                if not line.isdigit() or len(line) > MOST_DIGITS:
                    raise tarfile.ReadError("a map of holes that makes no sense")
                if wanted < 0:
                    wanted = 2 * int(line)
                    if wanted > 2 * MAX_SEGMENTS:
                        raise tarfile.ReadError(f"a sparse file of more than {MAX_SEGMENTS} pieces")
                elif len(found) < wanted:
                    found.append(int(line))
        member.offset_data = archive.fileobj.tell()
        member.sparse = list(zip(found[::2], found[1::2], strict=True))


@final
class Reader:
    """Unpacks one archive."""

    def __init__(
        self,
        stream: IO[bytes],
        target: Node,
        complain: Complaint = throw,
        watcher: CopyWatcher | None = None,
        newest: int = -1,
        owners: bool = True,
    ) -> None:
        """Any compression that the standard library knows is recognised.  Raises OSError (EINVAL) for what is no archive."""
        open_archive: Any = tarfile.open
        head = _Head(stream)
        try:
            self._tar: Any = open_archive(fileobj=head, mode="r|*", errorlevel=2, tarinfo=_Member)
        except (tarfile.TarError, EOFError) as problem:
            raise failure(EINVAL, _refusal(head.first, problem)) from None
        self._target: Node = target
        self._complain: Complaint = complain
        self._watcher: CopyWatcher = watcher or CopyWatcher()
        self._newest: int = newest
        self._owners: bool = owners
        self._at: list[tuple[bytes, Node]] = []
        """The directories down to where the last member went, open."""
        self._directories: dict[tuple[bytes, ...], tarfile.TarInfo] = {}
        self.selection: Selection | None = None
        """The members that are wanted; None: all."""
        self.lost_xattrs: int = 0
        """Extended attributes that the target can't keep."""
        self.lost_owners: int = 0
        """Files whose mode or owner it can't keep."""

    def names(self) -> Iterator[tarfile.TarInfo]:
        """The members that are wanted, in their order.  Raises OSError for a damaged archive."""
        while True:
            try:
                info = self._tar.next()
            except (tarfile.TarError, EOFError, UnicodeError, ValueError) as problem:
                raise failure(EINVAL, f"the archive is damaged: {problem}") from None
            if info is None:
                return
            if self.selection is None or self.selection.has(info.name.encode("utf-8", "surrogateescape")):
                yield info
            self._tar.members = []  # it would remember all of them

    def unpack(self) -> int:
        """Unpack everything; how many members came."""
        count = 0
        for info in self.names():
            path = info.name.encode("utf-8", "surrogateescape")
            self._watcher.copied(path, 0)
            try:
                self._member(info, _parts(path))
            except (tarfile.TarError, EOFError) as problem:
                raise failure(EINVAL, f"the archive is damaged: {problem}") from None
            except OSError as problem:
                self._complain(path, problem)
            count += 1
        for names, info in sorted(self._directories.items(), key=lambda item: -len(item[0])):
            try:
                self._settle(self._descend(names), info)
            except OSError as problem:
                self._complain(b"/".join(names), problem)
        self._rise(0)
        return count

    def _member(self, info: tarfile.TarInfo, names: tuple[bytes, ...]) -> None:
        if not names:
            self._directories[names] = info
            return
        directory = self._descend(names[:-1])
        name = names[-1]
        old = directory.child(name)
        if info.isdir() and old is not None and old.is_directory():
            self._directories[names] = info
            return
        if old is not None:
            if old.is_directory():
                raise failure(EISDIR, "a directory is in the way")
            directory.remove(name, old)
            old.close()
        uid, gid = (info.uid, info.gid) if self._owners else (0, 0)
        if info.issym():
            made = directory.symlink(name, info.linkname.encode("utf-8", "surrogateescape"), uid, gid)
        elif info.islnk():
            self._link(directory, name, info)
            return
        else:
            kind = KINDS.get(info.type, modes.S_IFREG if info.isreg() else 0)
            if not kind:
                raise failure(EINVAL, f"a member of type {info.type!r} is not known")
            number = (info.devmajor & 0xFFF) << 8 | info.devminor & 0xFF | (info.devminor & ~0xFF) << 12
            bits = 0o7777 if self._owners or info.isdir() else 0o777
            made = directory.make(name, kind | info.mode & bits, uid, gid, number)
        if info.isdir():
            self._directories[names] = info
            made.close()
            return
        if info.isreg():
            self._data(made, info)
        self._settle(made, info)
        made.close()

    def _link(self, directory: Node, name: bytes, info: tarfile.TarInfo) -> None:
        """A further name; the walk to the first one may leave the directory that is open."""
        where = _parts(info.linkname.encode("utf-8", "surrogateescape"))
        node = self._target
        opened = []
        try:
            for part in where:
                node = node.get(part)
                opened.append(node)
            directory.link(name, node)
        finally:
            for one in opened:
                one.close()

    def _data(self, made: Node, info: tarfile.TarInfo) -> None:
        stream = self._tar.extractfile(info)
        if stream is None:
            return
        # What it buffers for: its seeks want more of a stream than streams have.
        source = stream.raw
        sparse: Any = info.sparse
        segments: list[tuple[int, int]] = [(0, info.size)] if sparse is None else sparse
        if len(segments) > MAX_SEGMENTS:
            raise failure(EINVAL, f"a sparse file of more than {MAX_SEGMENTS} pieces")
        path = info.name.encode("utf-8", "surrogateescape")
        end = written = 0
        for offset, size in segments:
            if not size:
                continue  # only says where the file ends
            if offset < end or size < 0:
                raise failure(EINVAL, "the pieces of a sparse file are not in order")
            source.seek(offset)
            end = offset
            while end < offset + size:
                data = source.read(min(PIECE, offset + size - end))
                if not data:
                    raise failure(EINVAL, "the archive ends within a file")
                made.write(end, data)
                end += len(data)
                written = end
                self._watcher.copied(path, len(data))
        if written < info.size:
            made.truncate(info.size)

    def _settle(self, node: Node, info: tarfile.TarInfo) -> None:
        if info.isdir():
            self._set_owner(node, info)
        for key, text in info.pax_headers.items():
            if key.startswith(XATTR):
                try:
                    name = key[len(XATTR) :].encode("utf-8", "surrogateescape")
                    node.set_xattr(name, text.encode("utf-8", "surrogateescape"))
                except OSError as problem:
                    if problem.errno not in (ENOTSUP, EPERM):
                        raise
                    self.lost_xattrs += 1
        mtime = _nanoseconds(info.pax_headers.get("mtime", ""), info.mtime)
        if self._newest >= 0:
            mtime = min(mtime, self._newest)
        # With owners of ours, set-user-ID bits would be ours, too.
        mode = info.mode & (0o7777 if self._owners or info.isdir() else 0o777)
        node.settle(mode, mtime, mtime)
        self.lost_owners += node.lost_mode

    def _set_owner(self, node: Node, info: tarfile.TarInfo) -> None:
        """Mode and owner of a directory, where the file system can keep them."""
        try:
            node.set_mode(info.mode)
            if self._owners:
                node.set_owner(info.uid, info.gid)
        except OSError as problem:
            if problem.errno not in (ENOTSUP, EPERM):
                raise
            self.lost_owners += 1

    def _descend(self, names: tuple[bytes, ...]) -> Node:
        """The directory `names`, made where it is not there."""
        same = 0
        while same < min(len(names), len(self._at)) and self._at[same][0] == names[same]:
            same += 1
        self._rise(same)
        node = self._at[-1][1] if self._at else self._target
        for name in names[same:]:
            below = node.child(name)
            if below is None:
                below = node.make(name, modes.S_IFDIR | 0o755, 0, 0)
            elif not below.is_directory():
                below.close()
                raise failure(ENOTDIR, "what is no directory is in the way")
            self._at.append((name, below))
            node = below
        return node

    def _rise(self, depth: int) -> None:
        while len(self._at) > depth:
            self._at.pop()[1].close()


@final
class _Head:
    """A stream that remembers what came first, to say what it is where it is no archive."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream: IO[bytes] = stream
        self.first: bytes = b""

    def read(self, size: int) -> bytes:
        """As the stream does."""
        data = self._stream.read(size)
        self.first = self.first or data[:FOREIGN_BYTES]
        return data


def _refusal(first: bytes, problem: Exception) -> str:
    """Why a file that begins so is no archive that can be read."""
    name = next((name for magic, name, _ in PACKED if first.startswith(magic)), "")
    if name in UNPACKED or (name == "zstd" and "zst" in tarfile.TarFile.OPEN_METH):
        return f"unpacked ({name}), it is no tar archive, or its first member is refused: {problem}"
    return packed(first) or f"it is no tar archive: {problem}"


def _parts(path: bytes) -> tuple[bytes, ...]:
    """A member's name, as names below each other.  Raises EINVAL for one with ".."."""
    names = tuple(name for name in path.split(b"/") if name not in (b"", b"."))
    if b".." in names:
        raise failure(EINVAL, 'a name with ".." leads out of the directory')
    return names


def _nanoseconds(text: str, fallback: float) -> int:
    """A time of a pax header, exactly."""
    whole, _, rest = text.partition(".")
    if not whole.removeprefix("-").isdigit() or (rest and not rest.isdigit()):
        return int(fallback) * 10**9
    value = abs(int(whole)) * 10**9 + int((rest + "000000000")[:9])
    return -value if whole.startswith("-") else value
