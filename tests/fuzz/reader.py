"""Numbers and pieces out of a fuzzer's bytes; zeros when they are used up."""

from __future__ import annotations


class Reader:
    """Reads an input from its front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def more(self) -> bool:
        """Whether anything is left."""
        return self.at < len(self.data)

    def u8(self) -> int:
        """A byte."""
        value = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        return value

    def u16(self) -> int:
        """Two bytes."""
        return self.u8() << 8 | self.u8()

    def near(self) -> int:
        """A number around 0: small ones are the likely ones."""
        kind = self.u8()
        if kind < 128:
            return kind - 64
        return (self.u16() - 32768) << (kind & 15)

    def take(self, size: int) -> bytes:
        """So many bytes, or what is left."""
        part = self.data[self.at : self.at + size]
        self.at += size
        return part
