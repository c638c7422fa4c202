"""xz and the older lzma_alone, unpacked within a limit by Python's own module, where it has that."""

from typing import Final

from ...kern.abi.errno import ENOTSUP

try:
    import lzma
except ImportError:  # a Python that was built without it, or a browser's that has not loaded it
    raise OSError(ENOTSUP, "it is compressed by xz, and this Python has no module lzma") from None

MOST_MEMORY: Final = 256 << 20
"""Bytes that unpacking may take: the dictionary that a piece asks for is the stranger's choice."""


def decompress(data: bytes, limit: int) -> bytes:
    """Unpack an xz stream.  Raises ValueError."""
    return _unpack(data, limit, lzma.FORMAT_XZ)


def decompress_alone(data: bytes, limit: int) -> bytes:
    """Unpack what lzma made before there was xz.  Raises ValueError."""
    return _unpack(data, limit, lzma.FORMAT_ALONE)


def _unpack(data: bytes, limit: int, form: int) -> bytes:
    try:
        work = lzma.LZMADecompressor(form, MOST_MEMORY)
        found = work.decompress(data, limit + 1)
    except (lzma.LZMAError, MemoryError, EOFError) as problem:
        raise ValueError(str(problem)) from None
    if not work.eof or len(found) > limit:
        raise ValueError(f"it is cut off, or has more than {limit} bytes")
    return found
