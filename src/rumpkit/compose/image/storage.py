"""Where an image's bytes are: a host file, read-only, in place, or with all changes set aside until they are committed."""

from typing import TYPE_CHECKING, final

from ...hyper.block import BlockBackend

if TYPE_CHECKING:
    from ...hyper.calls import Hypercalls


@final
class Storage:
    """One image's storage."""

    def __init__(self, backend: BlockBackend) -> None:
        self.backend: BlockBackend = backend
        """What the kernel's disk is made of; the disk closes it."""

    def commit(self) -> None:
        """Make all that was written the image's, in one step that a crash can't split.  After the file systems were unmounted."""

    def discard(self) -> None:
        """Forget all that was written."""


def open_storage(hyper: "Hypercalls", path: str, write: bool, in_place: bool) -> Storage:
    """Open an image.  Off the schedule.  Raises OSError, which names it."""
    from ...hosts.posix.block import FileBackend

    return Storage(FileBackend(hyper, path, read_only=not write))
