"""zlib's format (RFC 1950), unpacked within a limit."""

import zlib


def decompress(data: bytes, limit: int) -> bytes:
    """Unpack.  Raises ValueError."""
    work = zlib.decompressobj()
    try:
        found = work.decompress(data, limit + 1)
    except zlib.error as problem:
        raise ValueError(str(problem)) from None
    if not work.eof or len(found) > limit:
        raise ValueError(f"it is cut off, or has more than {limit} bytes")
    return found
