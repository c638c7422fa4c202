"""LZO1X streams, unpacked within a limit.  After Linux's description of the format (Documentation/staging/lzo)."""

from typing import final

from .lz4 import copy_back


def decompress(data: bytes, limit: int) -> bytes:
    """Unpack one stream.  Raises ValueError."""
    try:
        return bytes(_Stream(data, limit).unpack())
    except IndexError:
        raise ValueError("it is cut off") from None


@final
class _Stream:
    """A stream on its way."""

    def __init__(self, data: bytes, limit: int) -> None:
        self._data: bytes = data
        self._limit: int = limit
        self._at: int = 0
        self._found: bytearray = bytearray()

    def unpack(self) -> bytearray:
        """All of it.  `state` is how many literals the instruction before had: 4 stands for more than 3."""
        data = self._data
        state = 0
        if data[0] > 17:
            self._at = 1
            state = self._literals(data[0] - 17)
        while True:
            code = data[self._at]
            self._at += 1
            if code >= 64:
                count = (code >> 5) + 1 if code >= 128 else 3 + (code >> 5 & 1)
                back = (data[self._at] << 3) + (code >> 2 & 7) + 1
                self._at += 1
                state = code & 3
            elif code >= 16:
                wide = code < 32
                count = self._length(code & 7, 7) + 2 if wide else self._length(code & 31, 31) + 2
                low = data[self._at] | data[self._at + 1] << 8
                self._at += 2
                back = (low >> 2) + (16384 + ((code & 8) << 11) if wide else 1)
                if wide and back == 16384:
                    return self._found
                state = low & 3
            elif state == 0:
                state = self._literals(self._length(code, 15) + 3)
                continue
            else:
                count, base = (3, 2049) if state == 4 else (2, 1)
                back = (data[self._at] << 2) + (code >> 2) + base
                self._at += 1
                state = code & 3
            copy_back(self._found, back, count, self._limit)
            if state:
                self._literals(state)

    def _length(self, bits: int, most: int) -> int:
        """A length: in the instruction's bits, or where they are 0 in the bytes behind it."""
        if bits:
            return bits
        length = most
        while self._data[self._at] == 0:
            self._at += 1
            length += 255
        length += self._data[self._at]
        self._at += 1
        return length

    def _literals(self, count: int) -> int:
        """Copy so many bytes from the stream; the state after it."""
        end = self._at + count
        if end > len(self._data):
            raise ValueError("its literals are cut off")
        if len(self._found) + count > self._limit:
            raise ValueError(f"it has more than {self._limit} bytes")
        self._found += self._data[self._at : end]
        self._at = end
        return min(count, 4)
