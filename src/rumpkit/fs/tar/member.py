"""What an archive says of its members, one after the other, in one pass over its headers.  Between the device and the tree."""

from collections.abc import Iterator
from typing import Final, final

from ...kern.abi.errno import EIO, error
from ...kern.abi.fcntl import PATH_MAX, S_IFDIR, S_IFREG, XATTR_NAME_MAX, XATTR_SIZE_MAX
from ...kern.device import Device, device_number
from . import header as form
from .header import BLOCK, Header, corrupt

WINDOW: Final = 128 << 10
"""Bytes that are read at once: most members are small."""
MOST_TEXT: Final = 4 << 20
"""Bytes of one pax header, which may have extended attributes."""
MOST_PIECES: Final = 1 << 18
"""Of one sparse file."""
Piece = tuple[int, int, int]
"""Of a sparse file: where it begins in the file, its size, where it is in the archive."""


@final
class Member:
    """One member: a file, or a further name of one."""

    def __init__(self, header: Header, at: int) -> None:
        self.name: bytes = header.name
        self.target: bytes = header.target
        """Of a symbolic link, or a further name (`link`)."""
        self.link: bool = header.type == form.LINK
        self.kind: int = form.KINDS.get(header.type, S_IFREG)
        if self.kind == S_IFREG and not self.link and header.name.endswith(b"/"):
            self.kind = S_IFDIR  # older archives have no other sign
        self.mode: int = header.mode & 0o7777
        self.uid: int = header.uid
        self.gid: int = header.gid
        self.mtime: int = header.mtime
        self.device: int = device_number(header.major, header.minor)
        self.size: int = 0
        self.position: int = at
        """Where its data is."""
        self.pieces: list[Piece] | None = None
        """Of a sparse file."""
        self.xattrs: dict[bytes, bytes] | None = None


@final
class Archive:
    """The members of the archive on a device."""

    def __init__(self, device: Device) -> None:
        self.device: Device = device
        self.size: int = device.size()
        self._window: bytes = b""
        self._window_at: int = 0

    def read(self, at: int, size: int) -> bytes:
        """Bytes of the archive.  Raises EUCLEAN behind its end, EIO."""
        if at + size > self.size:
            raise corrupt(f"it ends within a member, at byte {self.size}")
        start = at - self._window_at
        if start < 0 or start + size > len(self._window):
            data = self.device.read(at, min(max(WINDOW, size), self.size - at))
            if not isinstance(data, bytes) or len(data) < size:
                raise error(EIO)
            self._window, self._window_at, start = data, at, 0
        return self._window[start : start + size]

    def members(self) -> Iterator[Member]:
        """All of them.  Raises EUCLEAN, EIO."""
        at = 0
        general: dict[bytes, bytes] = {}
        own: dict[bytes, bytes] = {}
        pairs: list[tuple[bytes, bytes]] = []
        while at + BLOCK <= self.size:
            data = self.read(at, BLOCK)
            if data.count(0) == BLOCK:
                return
            header = Header(data, at)
            behind = at + BLOCK
            kind = header.type
            if kind in (form.PAX, form.SOLARIS, form.PAX_GLOBAL):
                pairs = form.pairs(self._text(header, behind), behind)
                if kind == form.PAX_GLOBAL:
                    general.update([pair for pair in pairs if pair[0] in form.GENERAL])
                else:
                    own.update(pairs)
            elif kind in (form.GNU_NAME, form.GNU_TARGET):
                key = b"path" if kind == form.GNU_NAME else b"linkpath"
                own.setdefault(key, form.cut(self._text(header, behind)))
            else:
                member, behind = self._member(header, at, {**general, **own}, pairs)
                if kind not in form.PASSED_OVER:
                    yield member
                at = behind + (-behind % BLOCK)
                own, pairs = {}, []
                continue
            at = behind + header.size + (-header.size % BLOCK)

    def _text(self, header: Header, at: int) -> bytes:
        if header.size > MOST_TEXT:
            raise corrupt(f"a pax header of {header.size} bytes at {at}; the limit is {MOST_TEXT}")
        return self.read(at, header.size)

    def _member(
        self, header: Header, at: int, given: dict[bytes, bytes], pairs: list[tuple[bytes, bytes]]
    ) -> tuple[Member, int]:
        """The member of a header at byte `at` with the records that are for it, and the end of its data."""
        member = Member(header, at + BLOCK)
        size = header.size
        if given:
            try:
                size = _apply(member, given, size)
            except ValueError:
                raise corrupt(f"the pax header before byte {at} has something in the place of a number") from None
        member.name = member.name.rstrip(b"/") if member.name.strip(b"/") else b"/"
        if len(member.name) >= PATH_MAX or len(member.target) >= PATH_MAX:
            raise corrupt(f"a name of {max(len(member.name), len(member.target))} bytes at {at}")
        if b"\0" in member.name or b"\0" in member.target:
            raise corrupt(f"a name with a NUL at byte {at}")
        if member.kind != S_IFREG or member.link:
            # A further name may say how long the file is, and have no data nevertheless; so do directories.
            has_data = member.link and size and not self._header_at(member.position)
            return member, member.position + (size if has_data else 0)
        member.size = size
        end = self._sparse(member, header, given, pairs)
        if end > self.size:
            raise corrupt(f"{member.name!r} ends behind the archive")
        return member, end

    def _header_at(self, at: int) -> bool:
        """Whether a header, or the archive's end, is there."""
        if at + BLOCK > self.size:
            return True
        data = self.read(at, BLOCK)
        return data.count(0) == BLOCK or form.is_header(data)

    def _sparse(
        self, member: Member, header: Header, given: dict[bytes, bytes], pairs: list[tuple[bytes, bytes]]
    ) -> int:
        """The pieces of a sparse file, in any of GNU's four ways; where a file's data ends.  Raises EUCLEAN."""
        stored = member.size
        try:
            if header.type == form.GNU_SPARSE:
                layout, start, real = self._old_map(header, member.position)
            elif given.get(b"GNU.sparse.major") == b"1":
                layout, start = self._map_in_data(member.position, stored)
                real = form.decimal(given.get(b"GNU.sparse.realsize", b""))
                stored -= start - member.position
            elif b"GNU.sparse.map" in given:
                layout = _pairs_of([form.decimal(word) for word in given[b"GNU.sparse.map"].split(b",") if word])
                start, real = member.position, form.decimal(given.get(b"GNU.sparse.size", b""))
            elif b"GNU.sparse.numblocks" in given:
                words = [value for key, value in pairs if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
                layout = _pairs_of([form.decimal(word) for word in words])
                start, real = member.position, form.decimal(given.get(b"GNU.sparse.size", b""))
            else:
                return member.position + stored
        except ValueError:
            raise corrupt(f"{member.name!r}: its map of holes makes no sense") from None
        if not 0 <= real <= form.MOST_SIZE:
            raise corrupt(f"{member.name!r} says that it has {real} bytes")
        member.pieces = []
        position, end = start, 0
        for offset, size in layout:
            if offset < end or size < 0 or offset + size > real or position + size > start + stored:
                raise corrupt(f"{member.name!r}: its map of holes makes no sense at {offset}")
            if size:
                member.pieces.append((offset, size, position))
            position += size
            end = offset + size
        member.size = real
        return start + stored

    def _old_map(self, header: Header, at: int) -> tuple[list[tuple[int, int]], int, int]:
        """The pieces as GNU's own header has them, four in it and 21 in each block behind; where the data begins; the real size."""
        found: list[tuple[int, int]] = []
        data, place, count, more, real = header.raw, 386, 4, header.raw[482], form.number(header.raw[483:495])
        while True:
            for index in range(count):
                offset, size = form.OLD_SPARSE.unpack_from(data, place + 24 * index)
                if offset[:1] not in (b"\0", b" ") or size[:1] not in (b"\0", b" "):
                    found.append((form.number(offset), form.number(size)))
            if not more:
                return found, at, real
            if len(found) > MOST_PIECES:
                raise corrupt(f"a sparse file of more than {MOST_PIECES} pieces at {at}")
            data, place, count = self.read(at, BLOCK), 0, 21
            more = data[504]
            at += BLOCK

    def _map_in_data(self, at: int, size: int) -> tuple[list[tuple[int, int]], int]:
        """The pieces as text before the data (version 1.0), and where the data begins."""
        numbers: list[int] = []
        rest = b""
        wanted = -1
        start = at
        while wanted < 0 or len(numbers) < wanted:
            if at + BLOCK > start + size:
                raise ValueError
            lines = (rest + self.read(at, BLOCK)).split(b"\n")
            at += BLOCK
            rest = lines.pop()
            for line in lines:
                if wanted < 0:
                    wanted = 2 * form.decimal(line)
                    if wanted > 2 * MOST_PIECES:
                        raise corrupt(f"a sparse file of more than {MOST_PIECES} pieces at {start}")
                elif len(numbers) < wanted:
                    numbers.append(form.decimal(line))
            if len(rest) > 20 and len(numbers) != wanted:
                raise ValueError
        return _pairs_of(numbers), at


def _pairs_of(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2 or len(numbers) > 2 * MOST_PIECES:
        raise ValueError
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _apply(member: Member, given: dict[bytes, bytes], size: int) -> int:
    """Let a member have what pax records say of it; the size of its data.  Raises ValueError."""
    for key, value in given.items():
        if key == b"path":
            member.name = value
        elif key == b"linkpath":
            member.target = value
        elif key == b"size":
            size = form.decimal(value)
        elif key == b"mtime":
            member.mtime = form.nanoseconds(value)
        elif key == b"uid":
            member.uid = form.decimal(value) & 0xFFFFFFFF
        elif key == b"gid":
            member.gid = form.decimal(value) & 0xFFFFFFFF
        elif key.startswith(form.XATTR):
            name = key[len(form.XATTR) :]
            if 0 < len(name) <= XATTR_NAME_MAX and len(value) <= XATTR_SIZE_MAX:
                if member.xattrs is None:
                    member.xattrs = {}
                member.xattrs[name] = value
    member.name = given.get(b"GNU.sparse.name", member.name)
    if size > form.MOST_SIZE or abs(member.mtime) > form.MOST_TIME:
        raise ValueError
    return size
