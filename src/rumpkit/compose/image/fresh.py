"""A new image file: made beside its place under another name, and put there when it is whole."""

import os
from typing import final

from ...kern.abi.errno import EEXIST, EINVAL
from .address import Address
from .node import failure
from .session import Session

SUFFIX = ".rump-new"
"""Behind the name of an image that is being made."""


@final
class FreshImage:
    """A file of zeros, to be opened as an image; `with` removes it unless `finish` has put it in its place."""

    def __init__(self, path: str, force: bool) -> None:
        """Raises EEXIST where `path` holds something already, unless `force`; EINVAL for what is no regular file."""
        self.path: str = os.path.realpath(path)
        self.name: str = self.path + SUFFIX
        self._done: bool = False
        if os.path.lexists(self.path):
            if not os.path.isfile(self.path):
                raise failure(EINVAL, "it is there, and no regular file", path)
            if not force:
                check_unused(path)

    def create(self, size: int) -> Address:
        """Make the file, of `size` bytes, anew; its address."""
        self._remove()
        descriptor = os.open(self.name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
        return Address(self.name, self.name, "", "/")

    def finish(self) -> None:
        """Make it durable, and put it in its place."""
        descriptor = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(self.name, self.path)
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._done = True

    def _remove(self) -> None:
        if os.path.lexists(self.name):
            os.unlink(self.name)

    def __enter__(self) -> "FreshImage":
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._done:
            self._remove()


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
