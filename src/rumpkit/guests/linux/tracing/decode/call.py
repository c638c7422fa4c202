"""One system call that is being decoded: its arguments, the memory they point to, what came of it.  Between `peek` and the kinds."""

from struct import Struct
from typing import Final, final

from ..peek import Peek

MASK: Final = 0xFFFFFFFF
_ESCAPES: Final = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
STRING_SIZE: Final = 32
"""Bytes of a string that are shown, as strace has it."""
LIST_SIZE: Final = 32
"""Elements of a list."""


@final
class Call:
    """A call, from its entry on.  `result` is what it returned once it has; -1 with `failed`."""

    def __init__(
        self, peek: Peek, thread: int, name: str, arguments: tuple[int, ...], strings: int = STRING_SIZE
    ) -> None:
        self.peek = peek
        self.thread = thread
        self.name = name
        self.arguments = arguments
        self.strings = strings
        self.result = 0
        self.failed = False
        self.room = -1
        """For the name in a message header, before the call."""
        self.shown: list[str | None] = []
        """The arguments that are written already; None: what the call writes itself."""

    def signed(self, index: int) -> int:
        """An argument as a C int."""
        value = self.arguments[index] & MASK
        return value - (1 << 32) if value >> 31 else value

    def word(self, index: int) -> int:
        """An argument as an unsigned int."""
        return self.arguments[index] & MASK

    def read(self, address: int, size: int) -> bytes:
        """Up to `size` bytes.  Raises EFAULT."""
        return self.peek.read(self.thread, address, size)

    def unpack(self, form: Struct, address: int) -> tuple[int, ...]:
        """A structure.  Raises EFAULT."""
        data = self.read(address, form.size)
        if len(data) < form.size:
            raise OSError(14, "Bad address")
        return form.unpack(data)

    def buffer(self, address: int, size: int) -> str:
        """A quoted piece of memory.  Raises EFAULT."""
        if not address:
            return "NULL"
        return quoted(self.read(address, min(size, self.strings + 1)), self.strings, size)


def quoted(data: bytes, limit: int, size: int) -> str:
    """Bytes as a string in C; with dots where there are more than are shown."""
    shown = data[:limit]
    parts = []
    for place, byte in enumerate(shown):
        if byte in _ESCAPES:
            parts.append(_ESCAPES[byte])
        elif 32 <= byte < 127:
            parts.append(chr(byte))
        else:
            digit = place + 1 < len(shown) and 48 <= shown[place + 1] < 56
            parts.append(f"\\{byte:03o}" if digit else f"\\{byte:o}")
    return f'"{"".join(parts)}"{"..." if size > len(shown) else ""}'
