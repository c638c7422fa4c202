"""A new image file: made beside its place under another name, and put there when it is whole."""

import os
import stat
from contextlib import suppress
from typing import final

from ...hosts.posix.filelock import is_at, lock
from ...kern.abi.errno import EBUSY, EEXIST, EINVAL
from .address import Address
from .node import failure
from .replace import inherit, sync_folder
from .session import Session

SUFFIX = ".rump-new"
"""Behind the name of an image that is being made."""


@final
class FreshImage:
    """A file of zeros, to be opened as an image; `with` removes it unless `finish` has put it in its place.

    It is nobody else's business until then: what fills it may be private.  What it replaces is locked meanwhile, as by a reader, so
    that nobody changes it.
    """

    def __init__(self, path: str, force: bool) -> None:
        """Raises EEXIST where `path` holds something already, unless `force`; EINVAL for what is no regular file; EBUSY where somebody
        writes to it."""
        self.path: str = os.path.realpath(path)
        self.name: str = self.path + SUFFIX
        self._done: bool = False
        self._old: int = -1
        """What it replaces, open."""
        if os.path.lexists(self.path):
            if not os.path.isfile(self.path):
                raise failure(EINVAL, "it is there, and no regular file", path)
            if not force:
                check_unused(path)
            self._old = _hold(self.path, path)

    def identities(self) -> frozenset[tuple[int, int]]:
        """Device and inode of what is made, and of what it replaces."""
        found = []
        if self._old >= 0:
            found.append(os.fstat(self._old))
        with suppress(FileNotFoundError):
            found.append(os.lstat(self.name))
        return frozenset((status.st_dev, status.st_ino) for status in found)

    def create(self, size: int) -> Address:
        """Make the file, of `size` bytes, anew; its address."""
        self._remove()
        descriptor = os.open(self.name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
        return Address(self.name, self.name, "", "/")

    def finish(self) -> None:
        """Make it durable, and put it in its place.  A transaction that waits there to be finished was the old image's, and goes, too."""
        from ...hosts.posix.redo import LOG_SUFFIX

        descriptor = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            inherit(descriptor, os.fstat(self._old) if self._old >= 0 else None)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(self.name, self.path)
        with suppress(FileNotFoundError):
            os.unlink(self.path + LOG_SUFFIX)
        sync_folder(self.path)
        self._done = True

    def _remove(self) -> None:
        if os.path.lexists(self.name):
            os.unlink(self.name)

    def __enter__(self) -> "FreshImage":
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._done:
            self._remove()
        if self._old >= 0:
            os.close(self._old)
            self._old = -1


def _hold(path: str, shown: str) -> int:
    """Open a file that is to be replaced, with the lock of a reader.  Raises EBUSY, EINVAL."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise failure(EINVAL, "it is no regular file", shown)
        who = lock(descriptor, False)
        if who:
            raise failure(EBUSY, f"{who} uses it", shown)
        if not is_at(descriptor, path):
            raise failure(EBUSY, "it was replaced by another file just now", shown)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_unused(path: str) -> None:
    """Raise EEXIST where a file holds a partition table or a file system."""
    from .contents import contents

    if os.path.getsize(path) == 0:
        return
    with Session() as session:
        table, volumes = contents(session, session.image(path))
        found = [one.found.kind for one in volumes if one.found is not None]
        if table is not None or found:
            what = f"a {table.kind} partition table" if table is not None else f"{found[0]}"
            raise failure(EEXIST, f"it holds {what} already (--force replaces it)", path)
