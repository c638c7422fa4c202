"""The cache of unpacked archives: `$XDG_CACHE_HOME/rumpkit/unpacked`, a directory that is closed to others.

A file is there under its name or not at all: it is written beside it, checked, and renamed.  Who writes has it locked (flock), so that of
several who want the same file one unpacks it; who uses it shares a lock, as disks do.  What nobody uses, and was not used the longest, goes
when all together are more than the limit.

Layers go by the digest of their contents.  An image that names a digest gets that file only if its own blob unpacks to it, or it could read
another image's layers by knowing their digests: each blob is unpacked once, which the name of an empty file notes (`PROOF`), by the blob's
inode, times and size.
"""

import hashlib
import os
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Final

from ...hosts.posix.filelock import is_at, lock
from ...kern.abi.errno import EDQUOT, EFBIG, EINVAL, ENOSPC, EPERM, EUCLEAN
from .progress import UNSEEN, Unpacking
from .store import Place
from .unpack import PIECE, Source, pieces

LIMIT_VARIABLE: Final = "RUMPKIT_CACHE_BYTES"
DEFAULT_LIMIT: Final = 16 << 30
"""Bytes that the cache may have, and one unpacked archive."""
ALGORITHMS: Final = {"sha256": 64, "sha512": 128}
"""Of digests, with how many hex digits they have."""
ELSEWHERE: Final = "XDG_CACHE_HOME says where caches are"
NEW: Final = ".new-"
"""What the name of a file begins with that is being written."""
PROOF: Final = ".of-"
"""What is between a file's name and that of a blob in the name of a note that the one is in the other."""
MOST_NOTES: Final = 4096
POLL: Final = 0.05
"""Seconds between two looks at whether somebody else is done with unpacking the same."""


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
        text = f"the cache {path} can't be made: {problem.strerror} ({ELSEWHERE})"
        raise OSError(problem.errno, text) from None
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise OSError(EPERM, f"the cache {path} is not a directory of yours ({ELSEWHERE})")
    if status.st_mode & 0o077:
        raise OSError(EPERM, f"the cache {path} is open to others (chmod 700)")
    return path


def unpacked(
    source: Place,
    kind: str,
    name: str,
    digest: str = "",
    contents: str = "",
    held: ExitStack | None = None,
    work: Unpacking = UNSEEN,
) -> str:
    """The path of the cached file `name`; where it is not there yet, it is what `source` unpacks to (`kind` "": its own bytes).

    `digest` is that of the bytes of `source`, `contents` that of what comes out.  Nobody removes the file until `held` is closed, nor while
    a disk is made of it.  Raises EUCLEAN where the bytes are others, EFBIG beyond the limit, ENOSPC, and as `pieces`; what `work` raises
    leaves nothing behind.
    """
    folder = directory()
    path = os.path.join(folder, name)
    before = work.read
    note = _note(path, source, digest) if contents else ""
    with ExitStack() as own:
        while not _hold(path, own if held is None else held):
            work.read = before
            fd = _begin(folder, name, work)
            if fd >= 0:
                try:
                    _fill(fd, folder, name, source, kind, digest, contents, work)
                    _write_note(note)
                finally:
                    os.close(fd)
        if note and not os.path.exists(note):
            work.read = before
            with source.open() as file:
                _copy(file, kind, -1, digest, contents, limit(), work)
            _write_note(note)
            _prune_notes(folder)
    work.read = before + source.size
    return path


def _note(path: str, source: Place, digest: str) -> str:
    """The path of the note that a blob of this digest unpacks to a cached file.  Who changes the blob changes its time of change."""
    status = os.stat(source.path)
    words = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, *source[1:], digest)
    return f"{path}{PROOF}{hashlib.sha256(repr(words).encode()).hexdigest()[:32]}"


def _write_note(note: str) -> None:
    if note:
        os.close(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o400))


def _fill(
    fd: int, folder: str, name: str, source: Place, kind: str, digest: str, contents: str, work: Unpacking
) -> None:
    """Unpack into the new file, and give it its name.  Raises OSError; then it is gone."""
    most = limit()
    new, path = os.path.join(folder, NEW + name), os.path.join(folder, name)
    try:
        os.truncate(fd, 0)
        with source.open() as file:
            _copy(file, kind, fd, digest, contents, most, work)
        os.fsync(fd)  # or a name might outlive a power cut that its bytes don't
        os.rename(new, path)
    except BaseException as problem:
        with suppress(OSError):
            os.unlink(new)
        if isinstance(problem, OSError) and problem.errno in (ENOSPC, EDQUOT):
            text = f"there is no room for it in the cache {folder}: {os.strerror(problem.errno)} ({ELSEWHERE})"
            raise OSError(problem.errno, text) from None
        raise
    os.fchmod(fd, 0o400)
    _prune(folder, most)


def _hold(path: str, held: ExitStack) -> bool:
    """Whether the file is there: then it is until `held` is closed."""
    while True:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        with ExitStack() as failed:
            failed.callback(os.close, fd)
            while lock(fd, False):  # who has it exclusively is about to remove it, or to find that it is in use
                time.sleep(POLL)
            if is_at(fd, path):
                os.utime(fd)
                held.push(failed.pop_all())
                return True


def _begin(folder: str, name: str, work: Unpacking) -> int:
    """The new file of this name, open and locked, once nobody else has it; -1 where he has finished it.  In it may be what somebody
    has left who came to a sudden end."""
    new, path = os.path.join(folder, NEW + name), os.path.join(folder, name)
    while not os.path.exists(path):
        with ExitStack() as failed:
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            failed.callback(os.close, fd)
            while is_at(fd, new):  # else it has got its name, or was given up
                if lock(fd, True):
                    work.check()
                    time.sleep(POLL)
                elif not is_at(fd, new):
                    break
                elif os.path.exists(path):
                    os.unlink(new)  # it was made anew behind his back
                else:
                    failed.pop_all()
                    return fd
    return -1


def _copy(source: Source, kind: str, fd: int, digest: str, contents: str, most: int, work: Unpacking) -> None:
    """Unpack into `fd` (-1: into nothing, to check it)."""
    read = Hashed(source, digest, work)
    out = hasher(contents)
    size = 0
    with closing(pieces(read, kind) if kind else _plain(read)) as found:
        for piece in found:
            work.check()
            size += len(piece)
            if size > most:
                text = f"it unpacks to more than {most} bytes (the variable {LIMIT_VARIABLE} says how many it may)"
                raise OSError(EFBIG, text)
            if out is not None:
                out.update(piece)
            rest = memoryview(piece)
            while rest and fd >= 0:
                rest = rest[os.write(fd, rest) :]
    read.check()
    if out is not None and out.hexdigest() != contents.partition(":")[2]:
        raise OSError(EUCLEAN, f"what it unpacks to has not the digest {contents}")


def _plain(source: Source) -> Generator[bytes, None, None]:
    while data := source.read(PIECE):
        yield data


class Hashed:
    """A file whose bytes are digested as they are read."""

    def __init__(self, source: Source, digest: str, work: Unpacking) -> None:
        self._source = source
        self._work = work
        self._digest = digest
        self._hash = hasher(digest)

    def read(self, size: int = -1) -> bytes:
        """As the file does."""
        data = self._source.read(size)
        self._work.read += len(data)
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


def _prune(folder: str, most: int) -> None:
    """Remove what nobody uses and was not used the longest, until the rest fits; what was never finished; notes on what is not there."""
    found = []
    for entry in _entries(folder):
        if PROOF in entry.name:
            continue
        with suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            found.append((entry.name.startswith(NEW), -status.st_mtime_ns, status.st_size, entry.path))
    total = 0
    for unfinished, _, size, path in sorted(found):
        total += size
        if unfinished or total > most:
            with suppress(OSError):
                total -= size * _removed(path)
    _prune_notes(folder)


def _prune_notes(folder: str) -> None:
    """Remove notes on what is not there, and the oldest of too many: who writes an image anew each day leaves one a day."""
    notes: list[tuple[int, str]] = []
    for entry in _entries(folder):
        with suppress(OSError):
            if PROOF in entry.name and not os.path.exists(entry.path.partition(PROOF)[0]):
                os.unlink(entry.path)
            elif PROOF in entry.name:
                notes.append((-entry.stat(follow_symlinks=False).st_mtime_ns, entry.path))
    for _, path in sorted(notes)[MOST_NOTES:]:
        with suppress(OSError):
            os.unlink(path)


def _removed(path: str) -> bool:
    """Remove a file unless somebody uses it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if lock(fd, True) or not is_at(fd, path):
            return False
        os.unlink(path)
        return True
    finally:
        os.close(fd)


def _entries(folder: str) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        yield from entries
