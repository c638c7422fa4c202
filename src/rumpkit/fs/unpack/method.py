"""Methods of compression by name.  Between a file system and the code that undoes one, which is loaded when it is first needed.

What unpacks is either ours (lz4, lzo), or a module that computes and does nothing else; where a Python lacks that, the error says which.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

Decompressor: TypeAlias = Callable[[bytes, int], bytes]
"""Unpacks one piece that was compressed by itself, whose size is given up to which it may grow.  Raises ValueError for what is damaged,
or would become larger."""


def method(name: str) -> Decompressor:
    """What unpacks `name`.  Raises ENOTSUP where this Python can't, with a text that says what to install."""
    return _LOADERS[name]()


def _gzip() -> Decompressor:
    from .deflate import decompress

    return decompress


def _xz() -> Decompressor:
    from .xz import decompress

    return decompress


def _lzma() -> Decompressor:
    from .xz import decompress_alone

    return decompress_alone


def _zstd() -> Decompressor:
    from .zstd import decompressor

    return decompressor()


def _lz4() -> Decompressor:
    from .lz4 import decompress

    return decompress


def _lzo() -> Decompressor:
    from .lzo import decompress

    return decompress


_LOADERS: Final[dict[str, Callable[[], Decompressor]]] = {
    "gzip": _gzip,
    "xz": _xz,
    "lzma": _lzma,
    "zstd": _zstd,
    "lz4": _lz4,
    "lzo": _lzo,
}
