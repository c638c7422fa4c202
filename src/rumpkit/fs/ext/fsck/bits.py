"""Sets of block numbers as bits, for runs of any length."""

from typing import final


@final
class Bits:
    """Numbers from 0 up to a size, an eighth of a byte each."""

    def __init__(self, size: int) -> None:
        self.data: bytearray = bytearray((size + 7) >> 3)

    def has(self, number: int) -> bool:
        """Whether `number` is in."""
        return self.data[number >> 3] >> (number & 7) & 1 != 0

    def add(self, start: int, count: int = 1) -> bool:
        """Put a run in; whether none of it was in before."""
        data = self.data
        end = start + count
        fresh = True
        while start < end and (start & 7 or end - start < 8):
            bit = 1 << (start & 7)
            if data[start >> 3] & bit:
                fresh = False
            data[start >> 3] |= bit
            start += 1
        while start < end and end & 7:
            end -= 1
            bit = 1 << (end & 7)
            if data[end >> 3] & bit:
                fresh = False
            data[end >> 3] |= bit
        if start < end:
            size = (end - start) >> 3
            if data.count(0, start >> 3, end >> 3) != size:
                fresh = False
            data[start >> 3 : end >> 3] = b"\xff" * size
        return fresh

    def take(self, start: int, count: int) -> bytes:
        """The bits of a run that starts at a multiple of 8, as a bitmap whose bits behind the end are 1."""
        size = (count + 7) >> 3
        made = bytearray(self.data[start >> 3 : (start >> 3) + size]) if not start & 7 else self._shifted(start, size)
        if count & 7:
            made[-1] |= 0xFF << (count & 7) & 0xFF
        return bytes(made)

    def _shifted(self, start: int, size: int) -> bytearray:
        first = start >> 3
        value = int.from_bytes(self.data[first : first + size + 1], "little") >> (start & 7)
        return bytearray((value & ((1 << size * 8) - 1)).to_bytes(size, "little"))
