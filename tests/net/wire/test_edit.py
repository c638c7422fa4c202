from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.edit import edit, edited, put_u8, put_u16, put_u32
from rumpkit.net.wire.field import read_u16, read_u32


@given(st.binary(min_size=8, max_size=40), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_fields_are_big_endian_and_the_original_stays(data: bytes, at: int, value: int) -> None:
    for put, size in ((put_u8, 1), (put_u16, 2), (put_u32, 4)):
        number = value % (1 << 8 * size)
        before = bytes(data)
        copy = edit(data)
        put(copy, at, number)
        changed = edited(copy)
        assert changed == data[:at] + number.to_bytes(size, "big") + data[at + size :]
        assert data == before
        if size == 2:
            assert read_u16(changed, at) == number
        if size == 4:
            assert read_u32(changed, at) == number
