"""File objects over a descriptor of a local process: `io.RawIOBase`, so that `io`'s buffers and text layers stack on them."""

from io import RawIOBase
from typing import TYPE_CHECKING, Final

from ..kern.abi.fcntl import O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .local import LocalProcess

MODES: Final[dict[str, int]] = {
    "r": O_RDONLY,
    "w": O_WRONLY | O_CREAT | O_TRUNC,
    "a": O_WRONLY | O_CREAT | O_APPEND,
    "x": O_WRONLY | O_CREAT | O_EXCL,
    "r+": O_RDWR,
    "w+": O_RDWR | O_CREAT | O_TRUNC,
    "a+": O_RDWR | O_CREAT | O_APPEND,
    "x+": O_RDWR | O_CREAT | O_EXCL,
}


class FileLike(RawIOBase):
    """One open file of a process, unbuffered and binary.  Usable as a context manager, which closes it."""

    def __init__(self, process: "LocalProcess", path: str, mode: str = "r") -> None:
        flags = MODES.get(mode.replace("b", ""))
        if flags is None:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        self._process = process
        self._access = flags & (O_WRONLY | O_RDWR)
        self._fd = process.open(path, flags, 0o666)
        self.name = path
        self.mode = mode

    def fileno(self) -> int:
        """The number in the kernel's process."""
        return self._fd

    def readable(self) -> bool:
        return self._access != O_WRONLY

    def writable(self) -> bool:
        return self._access != O_RDONLY

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        data = self._process.read(self._fd, len(view))
        view[: len(data)] = data
        return len(data)

    def write(self, data: "ReadableBuffer") -> int:
        return self._process.write(self._fd, data if isinstance(data, bytes) else bytes(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._process.lseek(self._fd, offset, whence)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        self._process.ftruncate(self._fd, size)
        return size

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._process.close(self._fd)
