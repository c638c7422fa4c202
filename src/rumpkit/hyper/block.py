"""Block I/O: the only hypercall that may take time below the file system calls."""

from abc import ABC, abstractmethod

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class BlockBackend(ABC):
    """Storage addressed by byte offset.

    Every call may block, so the kernel calls it off its schedule (`Hypercalls.unschedule`), one at a time but for `shares_flush`.
    Raises OSError (EIO, ENOSPC, EROFS, EINVAL) as the host reports it.
    """

    def __init__(self, size: int, read_only: bool = False) -> None:
        self.size: int = size
        """Bytes."""
        self.read_only: bool = read_only
        self.shares_flush: bool = False
        """Other calls may be made while `flush` or `write_durable` is under way; what they write it need not make durable."""

    @abstractmethod
    def read(self, offset: int, size: int) -> bytes:
        """Read exactly `size` bytes at `offset`."""

    @abstractmethod
    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`; durable only after `flush`."""

    @abstractmethod
    def flush(self) -> None:
        """Return once everything written before is durable."""

    def write_durable(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`, and return once that is durable (FUA); what was written before need not be."""
        self.write(offset, data)
        self.flush()

    def window(self) -> "tuple[BlockBackend, int, int]":
        """The storage that these bytes are a part of, the first of them there, and the one after the last."""
        return self, 0, self.size

    def beneath(self) -> "BlockBackend | None":
        """Storage that shows through where this one has nothing of its own, each byte at its place, and that this one never changes."""
        return None

    def discard(self, offset: int, size: int) -> bool:
        """Give back what holds these bytes, which read as zeros then.  False where the storage can't: nothing has changed."""
        return False

    def close(self) -> None:
        """Let go of the storage."""
        return None
