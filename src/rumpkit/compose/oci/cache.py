"""The cache of unpacked archives: `$XDG_CACHE_HOME/rumpkit/unpacked`, a directory that is closed to others.

A file is there under its name or not at all: it is written beside it, checked, and renamed.  What was not used the longest goes when all
together are more than the limit.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Final

from ...kern.abi.errno import EFBIG, EINVAL, EPERM, EUCLEAN
from .unpack import Source, pieces

LIMIT_VARIABLE: Final = "RUMPKIT_CACHE_BYTES"
DEFAULT_LIMIT: Final = 16 << 30
"""Bytes that the cache may have, and one unpacked archive."""
ALGORITHMS: Final = {"sha256": 64, "sha512": 128}
"""Of digests, with how many hex digits they have."""


def limit() -> int:
    """The limit that is in force.  Raises EINVAL for one that is none."""
    text = os.environ.get(LIMIT_VARIABLE, "")
    if not text:
        return DEFAULT_LIMIT
    from ..values import parse_size

    try:
        return parse_size(text)
    except ValueError as problem:
        raise OSError(EINVAL, str(problem), LIMIT_VARIABLE) from None


def directory() -> str:
    """The cache's directory, made where it is missing.  Raises EPERM where it is somebody else's, or open to others."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    path = os.path.join(base, "rumpkit", "unpacked")
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as problem:
        text = f"the cache {path} can't be made: {problem.strerror} (XDG_CACHE_HOME says where caches are)"
        raise OSError(problem.errno, text) from None
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise OSError(EPERM, "the cache is not a directory of yours that is closed to others (chmod 700)", path)
    return path


def unpacked(source: Source, kind: str, name: str, digest: str = "", contents: str = "") -> str:
    """The path of the cached file `name`; where it is not there yet, it is what `source` unpacks to (`kind` "": its own bytes).

    `digest` is that of the bytes of `source`, `contents` that of what comes out.  Raises EUCLEAN where they are others, EFBIG beyond the
    limit, and as `pieces`.
    """
    folder = directory()
    path = os.path.join(folder, name)
    if os.path.exists(path):
        with suppress(OSError):
            os.utime(path)
        return path
    most = limit()
    fd, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
    try:
        with open(fd, "wb") as target:
            _copy(source, kind, target, digest, contents, most)
            target.flush()
            os.fchmod(target.fileno(), 0o400)
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _prune(folder, most, name)
    return path


def _copy(source: Source, kind: str, target: IO[bytes], digest: str, contents: str, most: int) -> None:
    read = Hashed(source, digest)
    out = hasher(contents)
    size = 0
    for piece in pieces(read, kind) if kind else iter(lambda: read.read(1 << 20), b""):
        size += len(piece)
        if size > most:
            raise OSError(
                EFBIG, f"it unpacks to more than {most} bytes (the variable {LIMIT_VARIABLE} says how many it may)"
            )
        if out is not None:
            out.update(piece)
        target.write(piece)
    read.check()
    if out is not None and out.hexdigest() != contents.partition(":")[2]:
        raise OSError(EUCLEAN, f"what it unpacks to has not the digest {contents}")


class Hashed:
    """A file whose bytes are digested as they are read."""

    def __init__(self, source: Source, digest: str) -> None:
        self._source = source
        self._digest = digest
        self._hash = hasher(digest)

    def read(self, size: int = -1) -> bytes:
        """As the file does."""
        data = self._source.read(size)
        if self._hash is not None:
            self._hash.update(data)
        return data

    def check(self) -> None:
        """Read what is left.  Raises EUCLEAN where the bytes are not those of the digest."""
        while self.read(1 << 20):
            pass
        if self._hash is not None and self._hash.hexdigest() != self._digest.partition(":")[2]:
            raise OSError(EUCLEAN, f"its bytes have not the digest {self._digest}")


def hasher(digest: str) -> "hashlib._Hash | None":
    """What computes such a digest; None for "".  Raises EINVAL for an algorithm that is not known, or digits that are none."""
    if not digest:
        return None
    algorithm, _, digits = digest.partition(":")
    if ALGORITHMS.get(algorithm) != len(digits) or set(digits) - set("0123456789abcdef"):
        raise OSError(EINVAL, f"{digest[:80]!r} is no digest (known: {', '.join(ALGORITHMS)})")
    return hashlib.new(algorithm)


def _prune(folder: str, most: int, kept: str) -> None:
    """Remove what was not used the longest, until the rest fits."""
    found = []
    for entry in _entries(folder):
        with suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            found.append((entry.name != kept, -status.st_mtime_ns, status.st_size, entry.path))
    total = 0
    for other, _, size, path in sorted(found):
        total += size
        if other and total > most:
            with suppress(OSError):
                os.unlink(path)


def _entries(folder: str) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        yield from entries
