"""A file system of texts that a component makes when they are read: the type "procnet" shows what Linux has in /proc/net.

Between vfs and `kern.texts`, behind which the component is.  A text is made anew by each read at its beginning, and stays as it is for the
reads behind that, of that open file alone, until all of it has been read: each lookup makes a vnode.  Its size is that of a text that was
made for whoever asks.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from ..hyper.calls import Hypercalls
from ..kern.abi.errno import EFBIG, EINVAL, error
from ..kern.abi.fcntl import S_IFDIR, S_IFREG
from ..kern.texts import Texts
from ..vfs.stat import Stat
from ..vfs.types import FileSystemType, OptionValue
from ..vfs.vnode import FIRST_COOKIE, Entry, Mount, Vnode
from .readonly import ReadOnlyMount, ReadOnlyNode

if TYPE_CHECKING:
    from ..vfs.vfs import Vfs

ROOT: Final = 1
LARGEST: Final = 64 << 20
"""Bytes that a text may have."""


@final
class TextNode(ReadOnlyNode):
    """One file."""

    def __init__(self, mount: Mount, number: int, texts: Texts, name: str) -> None:
        super().__init__(mount, number, S_IFREG | 0o444, 0, 0, mount.hyper.wall())
        self._texts: Texts = texts
        self._name: str = name
        self._text: bytes = b""
        self._said: int = -1
        """The size of the text that was made last for reading; -1 before the first."""

    def refresh(self) -> None:
        """Have the size of what would be read now."""
        self._make()

    def stat(self) -> Stat:
        """With that size."""
        self._make()
        return super().stat()

    def _make(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for piece in self._texts.text(self._name):
            pieces.append(piece.encode())
            size += len(pieces[-1])
            if size > LARGEST:
                raise error(EFBIG, self._name)
        self.size = size
        self.atime = self.mtime = self.ctime = self.mount.hyper.wall()
        return b"".join(pieces)

    def read(self, offset: int, size: int) -> bytes:
        """Of the text as it is now, if it is read from its beginning."""
        if offset == 0 or self._said < 0 or (offset < self._said and not self._text):
            self._text = self._make()
            self._said = len(self._text)
        elif offset >= self._said:
            self._text = b""
        return self._text[offset : offset + size]

    def inactive(self) -> None:
        """Keep no text that nobody reads."""
        self._text = b""


@final
class TextDirectory(ReadOnlyNode):
    """The root."""

    def __init__(self, mount: Mount, texts: Texts) -> None:
        super().__init__(mount, ROOT, S_IFDIR | 0o555, 0, 0, mount.hyper.wall())
        self.links = 2
        self._texts: Texts = texts
        self._names: list[str] = sorted(texts.names())
        self._numbers: dict[bytes, int] = {name.encode(): ROOT + place for place, name in enumerate(self._names, 1)}

    def lookup(self, name: bytes) -> Vnode | None:
        """The file of that name, with its size as `refresh` has it."""
        number = self._numbers.get(name)
        if number is None:
            return None
        found = TextNode(self.mount, number, self._texts, name.decode())
        found.refresh()
        return found

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        """All names, in order."""
        first = max(cookie - FIRST_COOKIE, 0)
        return [
            Entry(name.encode(), ROOT + place + 1, S_IFREG, FIRST_COOKIE + place + 1)
            for place, name in enumerate(self._names[first : first + count], first)
        ]


@final
class TextMount(ReadOnlyMount):
    """One mount."""

    def __init__(self, hyper: Hypercalls, kind: str, texts: Texts) -> None:
        super().__init__(hyper, kind, kind)
        self.refreshes = True
        self.root = TextDirectory(self, texts)


@final
class TextFs(FileSystemType):
    """A type whose mounts show the texts of one component."""

    def __init__(self, name: str, texts: Texts) -> None:
        super().__init__(name)
        self.read_only = True
        self._texts: Texts = texts

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """A new mount.  Raises EINVAL where a source is named: it has none."""
        if source not in ("", self.name):
            raise error(EINVAL, source)
        return TextMount(vfs.hyper, self.name, self._texts)
