"""Reading a traced program's memory, as much of it as there is.

Above `memory`, whose reads are all or nothing; a tracer would rather have the beginning of a string than none.
"""

from typing import Final, final

from ..memory import LIMIT, Memory

PAGE: Final = 4096
_STRING_PIECE: Final = 256


def _unguarded(what: str) -> None:
    """The tracer's thread never holds the schedule."""


@final
class Peek:
    """For one thread of ours."""

    def __init__(self) -> None:
        self._memory = Memory(_unguarded)

    def read(self, thread: int, address: int, size: int) -> bytes:
        """Up to `size` bytes, fewer where memory ends.  Raises EFAULT where not even the first can be read."""
        parts = []
        while size > 0:
            piece = min(size, PAGE - address % PAGE, LIMIT)
            try:
                parts.append(self._memory.read(thread, address, piece))
            except OSError:
                if not parts:
                    raise
                break
            address += piece
            size -= piece
        return b"".join(parts)

    def string(self, thread: int, address: int, limit: int) -> tuple[bytes, bool]:
        """A string that ends with NUL, at most `limit` bytes of it, and whether that is all.  Raises EFAULT."""
        found = b""
        while len(found) <= limit:
            piece = self.read(thread, address + len(found), min(_STRING_PIECE, limit + 1 - len(found)))
            end = piece.find(b"\0")
            if end >= 0:
                return found + piece[:end], True
            found += piece
            if not piece:
                break
        return found[:limit], False
