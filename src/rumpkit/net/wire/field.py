"""Big-endian fields in bytes, for the parsers of this folder.  The caller has checked the length."""

from typing import TYPE_CHECKING

from mypy_extensions import i64

from ..._form import COMPILED

if COMPILED or TYPE_CHECKING:
    from librt.strings import read_i16_be, read_i32_be

    def read_u16(data: bytes, at: i64) -> i64:
        """The 16-bit field at data[at]."""
        return i64(read_i16_be(data, at)) & 0xFFFF

    def read_u32(data: bytes, at: i64) -> i64:
        """The 32-bit field at data[at]."""
        return i64(read_i32_be(data, at)) & 0xFFFFFFFF

else:

    def read_u16(data: bytes, at: int) -> int:
        return data[at] << 8 | data[at + 1]

    def read_u32(data: bytes, at: int) -> int:
        return int.from_bytes(data[at : at + 4], "big")
