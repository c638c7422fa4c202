"""A new image file: made without a name beside its place, and put there when it is whole."""

import os
import stat
from contextlib import suppress
from typing import final

from ...hosts.posix.filelock import is_at, lock
from ...kern.abi.errno import EBUSY, EEXIST, EINVAL, ELOOP, EPERM, EUCLEAN
from .address import Address
from .node import failure
from .replace import Nameless, alone, inherit, sync_folder
from .session import Session


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
        self._shown: str = path
        self._file: Nameless | None = None
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
        files = (self._old, self._file.fd if self._file is not None else -1)
        found = [os.fstat(descriptor) for descriptor in files if descriptor >= 0]
        return frozenset((status.st_dev, status.st_ino) for status in found)

    def create(self, size: int) -> Address:
        """Make the file, of `size` bytes, anew; its address."""
        self._drop()
        self._file = Nameless(self.path)
        os.ftruncate(self._file.fd, size)
        return Address(self._file.place, self._file.place, "", "/")

    def finish(self) -> None:
        """Make it durable, and put it in its place.  Raises EBUSY where somebody else was faster.

        A transaction that waits there is the old image's, and is brought to its end before: whoever is killed meanwhile leaves the old
        image whole, or the new one without a log that isn't its own.
        """
        assert self._file is not None
        inherit(self._file.fd, os.fstat(self._old) if self._old >= 0 else None)
        os.fsync(self._file.fd)
        with alone(self.path):
            self._check_place()
            self._settle()
            self._file.put()
        self._drop()

    def _check_place(self) -> None:
        """Raise EBUSY where somebody else has put a file there meanwhile: who comes first has it."""
        there = os.path.lexists(self.path)
        if there if self._old < 0 else not is_at(self._old, self.path):
            what = "replaced" if there else "removed"
            raise failure(EBUSY, f"it was {what if self._old >= 0 else 'made'} by somebody else meanwhile", self._shown)

    def _settle(self) -> None:
        """Finish the transaction of what is replaced; one that can't be finished by anybody goes."""
        from ...hosts.posix.block import BackendError
        from ...hosts.posix.redo import LOG_SUFFIX, recover

        if not os.path.lexists(self.path + LOG_SUFFIX):
            return
        if self._old >= 0:
            image = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                recover(image, self.path)
            except BackendError as problem:
                if problem.errno not in (EUCLEAN, EPERM, ELOOP):
                    raise
            except FileNotFoundError:
                pass  # somebody else has just finished it
            finally:
                os.close(image)
        with suppress(FileNotFoundError):
            os.unlink(self.path + LOG_SUFFIX)
            sync_folder(self.path)

    def _drop(self) -> None:
        """Let go of the file; if it has its name by now, it stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "FreshImage":
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, *rest: object) -> None:
        if isinstance(problem, OSError) and self._file is not None and problem.filename == self._file.place:
            problem.filename = self._shown
        self._drop()
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
