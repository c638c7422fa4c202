"""Changing fields within a copy of some bytes: the two forms' fastest ways behind one set of functions.

    copy = edit(head)
    put_u16(copy, 16, checksum)
    head = edited(copy)

Positions are within the bytes and values within the field's width; the caller has seen to both.
"""

from typing import TYPE_CHECKING

from mypy_extensions import i64, u8

from ..._form import COMPILED

if COMPILED or TYPE_CHECKING:
    from librt.strings import BytesWriter

    def edit(data: bytes) -> BytesWriter:
        """A copy of `data` to write into."""
        copy = BytesWriter()
        copy.write(data)
        return copy

    def edited(copy: BytesWriter) -> bytes:
        """The bytes again; the copy is not written to any more."""
        return copy.getvalue()

    def put_u8(copy: BytesWriter, at: i64, value: i64) -> None:
        """Write an 8-bit field."""
        copy[at] = u8(value)

    def put_u16(copy: BytesWriter, at: i64, value: i64) -> None:
        """Write a big-endian 16-bit field."""
        copy[at] = u8(value >> 8)
        copy[at + 1] = u8(value)

    def put_u32(copy: BytesWriter, at: i64, value: i64) -> None:
        """Write a big-endian 32-bit field."""
        copy[at] = u8(value >> 24)
        copy[at + 1] = u8(value >> 16)
        copy[at + 2] = u8(value >> 8)
        copy[at + 3] = u8(value)

else:
    edit = bytearray
    edited = bytes

    def put_u8(copy: bytearray, at: int, value: int) -> None:
        copy[at] = value

    def put_u16(copy: bytearray, at: int, value: int) -> None:
        copy[at] = value >> 8
        copy[at + 1] = value & 0xFF

    def put_u32(copy: bytearray, at: int, value: int) -> None:
        copy[at : at + 4] = value.to_bytes(4, "big")
