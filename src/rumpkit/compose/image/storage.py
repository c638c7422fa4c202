"""An image file as storage: read, changed all at once or not at all, or changed in place.

Between the host's file (hosts/posix/block.py, redo.py) and the disk of a kernel that is booted over it.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from ...hosts.posix.block import BackendError, FileBackend
from ...hyper.block import BlockBackend
from ...hyper.calls import Hypercalls

if TYPE_CHECKING:
    from ...dev.snapshot import SnapshotBackend
    from ...hosts.posix.redo import RedoLog

READ: Final = "read"
TRANSACTION: Final = "transaction"
IN_PLACE: Final = "in place"
_QCOW2: Final = b"QFI\xfb"
MODES: Final = (READ, TRANSACTION, IN_PLACE)


class Storage:
    """One opened image; `backend` is what a disk is made of, until `commit` or `discard` ends it.  Closing `backend` does nothing, so that
    its kernel can go away before.  Off the schedule, all of it."""

    def __init__(self, hyper: Hypercalls, path: str | os.PathLike[str], mode: str = READ) -> None:
        """Open `path` in one of MODES.  Raises BackendError: as the host says; EBUSY where somebody has it.

        READ shows a transaction that was interrupted after its commit as it will be, and writes nothing.
        """
        name = os.fspath(path)
        if mode not in MODES:
            raise ValueError(f"{mode!r} is none of {', '.join(MODES)}")
        self.path: str = name
        self.mode: str = mode
        self._file: FileBackend = FileBackend(hyper, name, mode == READ)
        self._log: RedoLog | None = None
        self._snapshot: SnapshotBackend | None = None
        self.backend: BlockBackend = lend(self._file)
        try:
            if self._file.size >= 104 and self._file.read(0, 4) == _QCOW2:
                self._open_qcow2(name)
            elif mode == READ:
                self._show_log(name)
            elif mode == TRANSACTION:
                self._begin(hyper)
        except BaseException:
            self._file.close()
            raise

    def commit(self) -> None:
        """Make all changes durable, and close.  Raises ENOSPC, EIO: a transaction's image is then as it was, or it is finished at the next
        opening."""
        try:
            if self._log is not None and self._snapshot is not None:
                self._log.commit(self._snapshot.changed())
            elif self.mode == IN_PLACE:
                self._file.flush()
        finally:
            self.discard()

    def discard(self) -> None:
        """Close.  A transaction's changes are forgotten; those in place stay.  A second call does nothing."""
        if self._snapshot is not None:
            self._snapshot.close()
        self._file.close()

    def changed(self) -> int:
        """Bytes that a transaction has changed so far."""
        return sum(end - start for start, end in self._snapshot.changed()) if self._snapshot is not None else 0

    def __enter__(self) -> Storage:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def _begin(self, hyper: Hypercalls) -> None:
        from ...dev.snapshot import SnapshotBackend
        from ...hosts.posix.redo import RedoLog

        self._log = RedoLog(hyper, self._file)
        self._snapshot = SnapshotBackend(self._file, self._log)
        self.backend = lend(self._snapshot)

    def _show_log(self, name: str) -> None:
        from ...hosts.posix.redo import LOG_SUFFIX

        if not os.path.lexists(os.path.realpath(name) + LOG_SUFFIX):
            return
        from ...dev.snapshot import SnapshotBackend
        from ...hosts.posix.redo import LogView, committed

        log = committed(self._file.fileno(), name)
        if log is not None:
            self._snapshot = SnapshotBackend(self._file, LogView(log, self._file.size))
            self._snapshot.restore(log.extents)
            self.backend = lend(self._snapshot)

    def _open_qcow2(self, name: str) -> None:
        if self.mode != READ:
            raise BackendError(errno.EROFS, "a qcow2 image can only be read", name)
        from ...dev.qcow2 import Qcow2Backend

        try:
            self.backend = lend(Qcow2Backend(self._file))
        except OSError as problem:
            raise BackendError(problem.errno or errno.EIO, problem.strerror or "", name) from None


class ImageTransaction(Storage):
    """An image whose changes are committed together at the end of a `with`, or discarded where an exception ends it."""

    def __init__(self, hyper: Hypercalls, path: str | os.PathLike[str]) -> None:
        """Raises as `Storage`."""
        super().__init__(hyper, path, TRANSACTION)


def open_storage(hyper: Hypercalls, path: str, write: bool, in_place: bool) -> Storage:
    """Open an image to be read or, with `write`, changed, in a transaction unless `in_place`.  Raises as `Storage`."""
    return Storage(hyper, path, (IN_PLACE if in_place else TRANSACTION) if write else READ)


def lend(backend: BlockBackend) -> BlockBackend:
    """The same storage, for a disk that closes what it is made of."""
    from ...dev.partition import PartitionBackend

    return PartitionBackend(backend, 0, backend.size)
