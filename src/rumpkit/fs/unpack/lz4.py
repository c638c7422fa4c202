"""LZ4 blocks (lz4_Block_format), unpacked within a limit."""


def decompress(data: bytes, limit: int) -> bytes:
    """Unpack one block.  Raises ValueError."""
    try:
        found = _unpack(data, limit)
    except IndexError:
        raise ValueError("it is cut off") from None
    return bytes(found)


def _unpack(data: bytes, limit: int) -> bytearray:
    found = bytearray()
    at, end = 0, len(data)
    while True:
        token = data[at]
        at += 1
        count = token >> 4
        if count == 15:
            while True:
                more = data[at]
                at += 1
                count += more
                if more != 255:
                    break
        if count:
            if at + count > end:
                raise ValueError("its literals are cut off")
            found += data[at : at + count]
            at += count
        if len(found) > limit:
            raise ValueError(f"it has more than {limit} bytes")
        if at >= end:
            return found
        back = data[at] | data[at + 1] << 8
        at += 2
        count = (token & 15) + 4
        if count == 19:
            while True:
                more = data[at]
                at += 1
                count += more
                if more != 255:
                    break
        copy_back(found, back, count, limit)


def copy_back(found: bytearray, back: int, count: int, limit: int) -> None:
    """Put `count` bytes behind what was found that were there `back` bytes before; they may reach into themselves.  Raises ValueError."""
    start = len(found) - back
    if back <= 0 or start < 0:
        raise ValueError(f"it goes {back} bytes back, where there are {len(found)}")
    if len(found) + count > limit:
        raise ValueError(f"it has more than {limit} bytes")
    if count <= back:
        found += found[start : start + count]
        return
    piece = bytes(found[start:])
    whole, rest = divmod(count, back)
    found += piece * whole + piece[:rest]
