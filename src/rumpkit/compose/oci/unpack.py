"""Compressed files read as what they unpack to, piece by piece: gzip, xz, bzip2, zstd, recognised by their first bytes."""

import bz2
import importlib
import lzma
import shutil
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import IO, Any, Final, Protocol

from ...kern.abi.errno import EINVAL, ENOTSUP

PIECE: Final = 1 << 20
MOST_MEMORY: Final = 256 << 20
"""Bytes that a decompressor may take."""
MAGIC: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


class Source(Protocol):
    """What can be read from."""

    def read(self, size: int = ..., /) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        ...


def compression(head: bytes) -> str:
    """How a file is compressed that begins so; "" for not at all."""
    return next((name for magic, name in MAGIC if head.startswith(magic)), "")


def pieces(source: Source, kind: str) -> Generator[bytes, None, None]:
    """What a file unpacks to.  Raises OSError: EINVAL for what is damaged, ENOTSUP where nothing here unpacks it."""
    if kind == "zstd":
        yield from _zstd(source)
        return
    begin: Callable[[], Any] = {
        "gzip": lambda: zlib.decompressobj(31),
        "bzip2": bz2.BZ2Decompressor,
        "xz": lambda: lzma.LZMADecompressor(memlimit=MOST_MEMORY),
    }[kind]
    try:
        yield from _members(source, begin)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, MemoryError) as problem:
        if isinstance(problem, OSError) and problem.errno:
            raise
        raise OSError(EINVAL, f"it is damaged ({kind}: {problem})") from None


def _members(source: Source, begin: Callable[[], Any]) -> Iterator[bytes]:
    """One compressed stream after the other, as such files may have several.  No piece is larger than PIECE."""
    work = begin()
    data = source.read(PIECE)
    fresh = True
    while data:
        fresh = False
        if isinstance(work, (bz2.BZ2Decompressor, lzma.LZMADecompressor)):
            found = work.decompress(data, PIECE)
            while found:
                yield found
                found = work.decompress(b"", PIECE) if not work.eof and not work.needs_input else b""
        else:
            found = work.decompress(data, PIECE)
            while found:
                yield found
                found = work.decompress(work.unconsumed_tail, PIECE) if work.unconsumed_tail else b""
        rest = work.unused_data
        if work.eof:
            work, fresh = begin(), True
            data = rest.lstrip(b"\0") or source.read(PIECE).lstrip(b"\0")  # which may pad it
        else:
            data = source.read(PIECE)
    if not fresh:
        raise EOFError("it is cut off")


def _zstd(source: Source) -> Iterator[bytes]:
    """By Python's own module, the package zstandard, or the program zstd."""
    module: Any = _module("compression.zstd") or _module("zstandard")
    if module is None:
        yield from _program(source)
        return
    if hasattr(module, "ZstdFile"):
        work = module.ZstdFile(source)
    else:
        work = module.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    try:
        while piece := work.read(PIECE):
            yield piece
    except (module.ZstdError, EOFError) as said:
        raise OSError(EINVAL, f"it is damaged (zstd: {said})") from None


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _program(source: Source) -> Iterator[bytes]:
    path = shutil.which("zstd")
    if path is None:
        text = "it is compressed by zstd, for which Python before 3.14 needs the package zstandard (rumpkit[zstd]) or the program zstd"
        raise OSError(ENOTSUP, text)
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen([path, "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said) as work,
    ):
        assert work.stdin is not None and work.stdout is not None
        feeder = threading.Thread(target=_feed, args=(source, work.stdin), daemon=True)
        feeder.start()
        try:
            while piece := work.stdout.read(PIECE):
                yield piece
        except BaseException:
            work.kill()
            raise
        finally:
            feeder.join()
        if work.wait():
            said.seek(0)
            raise OSError(EINVAL, f"it is damaged ({said.read(200).decode('utf-8', 'replace').strip()})")


def _feed(source: Source, pipe: IO[bytes]) -> None:
    """Write all of `source` to a program, as long as that reads."""
    with suppress(BrokenPipeError), pipe:
        while data := source.read(PIECE):
            pipe.write(data)
