"""Zstandard (RFC 8878), unpacked within a limit by Python's own module (3.14) or the package zstandard."""

from typing import Any, Final

from ...kern.abi.errno import ENOTSUP
from .method import Decompressor

MISSING: Final = "it is compressed by zstd, which Python knows from 3.14 on; before, install the package zstandard"


def decompressor() -> Decompressor:
    """What unpacks it here.  Raises ENOTSUP where nothing does."""
    try:
        from compression import zstd

        return _Own(zstd).decompress
    except ImportError:
        pass
    try:
        import zstandard

        return _Package(zstandard).decompress
    except ImportError:
        raise OSError(ENOTSUP, MISSING) from None


class _Own:
    """Python's."""

    def __init__(self, module: Any) -> None:
        self._module: Any = module

    def decompress(self, data: bytes, limit: int) -> bytes:
        """Unpack.  Raises ValueError."""
        work = self._module.ZstdDecompressor()
        try:
            found: bytes = work.decompress(data, limit + 1)
        except (self._module.ZstdError, EOFError) as problem:
            raise ValueError(str(problem)) from None
        if len(found) > limit or not work.eof:
            raise ValueError(f"it is cut off, or has more than {limit} bytes")
        return found


class _Package:
    """The package's."""

    def __init__(self, module: Any) -> None:
        self._module: Any = module
        self._context: Any = module.ZstdDecompressor()

    def decompress(self, data: bytes, limit: int) -> bytes:
        """Unpack.  Raises ValueError."""
        try:
            size = self._module.frame_content_size(data)
            if size > limit:
                raise ValueError(f"it says that it has {size} bytes; the limit is {limit}")
            found: bytes = self._context.decompress(data, max_output_size=limit)
        except self._module.ZstdError as problem:
            raise ValueError(str(problem)) from None
        if len(found) > limit:
            raise ValueError(f"it has more than {limit} bytes")
        return found
