"""Files of the host that take their place when they are whole: durable, with the owner and mode of what they replace."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO


def inherit(descriptor: int, old: os.stat_result | None) -> None:
    """Give a new file the owner and mode of the one that it replaces; without one, the mode that new files have."""
    if old is None:
        mask = os.umask(0o077)
        os.umask(mask)
        os.fchmod(descriptor, 0o666 & ~mask)
        return
    mode = stat.S_IMODE(old.st_mode) & 0o777
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except OSError:
            # The group is another one now, which gets no more than everybody had.
            mode = mode & 0o707 | mode & (mode & 7) << 3
    os.fchmod(descriptor, mode)


def put(name: str, path: str) -> None:
    """Give the file `name` the name `path`, in the same directory and durably."""
    os.replace(name, path)
    sync_folder(path)


def sync_folder(path: str) -> None:
    """Make names in the directory of `path` durable."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A new file to be written, which takes the place of `path` where the block ends well, and else goes.  Links are followed."""
    from tempfile import mkstemp

    path = os.path.realpath(path)
    old = os.stat(path) if os.path.exists(path) else None
    descriptor, name = mkstemp(prefix=".rump-", dir=os.path.dirname(path))
    try:
        with open(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            inherit(descriptor, old)
            os.fsync(descriptor)
        put(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
