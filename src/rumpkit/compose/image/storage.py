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
MODES: Final = (READ, TRANSACTION, IN_PLACE)

_QCOW2: Final = b"QFI\xfb"


class Storage:
    """One opened image; `backend` is what a disk is made of, until `commit` or `discard` ends it.  Closing `backend` does nothing, so that
    its kernel can go away before.  Off the schedule, all of it."""

    def __init__(self, hyper: Hypercalls, path: str | os.PathLike[str], mode: str = READ) -> None:
        """Open `path` in one of MODES.  Raises BackendError: as the host says; EBUSY where somebody has it; for qcow2 as `open_disk`.

        READ shows a transaction that was interrupted after its commit as it will be, and writes nothing.
        """
        name = os.fspath(path)
        if mode not in MODES:
            raise ValueError(f"{mode!r} is none of {', '.join(MODES)}")
        self.path: str = name
        self.mode: str = mode
        self._log: RedoLog | None = None
        self._snapshot: SnapshotBackend | None = None
        self._whole: BlockBackend = open_disk(hyper, name, mode == READ)
        """What is closed at the end."""
        try:
            if mode == TRANSACTION:
                self._begin(hyper)
        except BaseException:
            self._whole.close()
            raise
        self.backend: BlockBackend = lend(self._whole)

    def commit(self) -> None:
        """Make all changes durable, and close.  Raises ENOSPC, EIO: a transaction's image is then as it was, or it is finished at the next
        opening."""
        try:
            if self._log is not None and self._snapshot is not None:
                self._log.commit(self._snapshot.changed())
            elif self.mode == IN_PLACE:
                self._whole.flush()
        finally:
            self.discard()

    def discard(self) -> None:
        """Close.  A transaction's changes are forgotten; those in place stay.  A second call does nothing."""
        self._whole.close()

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

        file = self._whole
        assert isinstance(file, FileBackend)
        self._log = RedoLog(hyper, file)
        self._whole = self._snapshot = SnapshotBackend(file, self._log, owner=True)


def open_storage(hyper: Hypercalls, path: str, write: bool, in_place: bool) -> Storage:
    """Open an image to be read or, with `write`, changed, in a transaction unless `in_place`.  Raises as `Storage`."""
    return Storage(hyper, path, (IN_PLACE if in_place else TRANSACTION) if write else READ)


def open_disk(hyper: Hypercalls, path: str, read_only: bool, snapshot: bool = False) -> BlockBackend:
    """A host file, device or qcow2 image as a disk's storage, which closes what it opened; with `snapshot` the file is only read, and
    changes are kept in memory.  Off the schedule.

    Raises BackendError: as the host says; EBUSY; for a qcow2 image EROFS where it shall be written, EUCLEAN, ENOTSUP.
    """
    file = FileBackend(hyper, path, read_only or snapshot)
    try:
        disk = _whole_disk(file, path)
    except BaseException:
        file.close()
        raise
    if not snapshot:
        return disk
    from ...dev.ramdisk import RamDisk
    from ...dev.snapshot import SnapshotBackend

    return SnapshotBackend(disk, RamDisk(disk.size), owner=True)


def lend(backend: BlockBackend) -> BlockBackend:
    """The same storage, for a disk that closes what it is made of."""
    from ...dev.partition import PartitionBackend

    return PartitionBackend(backend, 0, backend.size)


def _whole_disk(file: FileBackend, path: str) -> BlockBackend:
    """What the file holds: itself, the disk of a qcow2 image, or itself as a committed log says that it will be."""
    if file.size >= len(_QCOW2) and file.read(0, len(_QCOW2)) == _QCOW2:
        return _qcow2(file, path)
    if not file.read_only:
        return file
    from ...hosts.posix.redo import LOG_SUFFIX

    if not os.path.lexists(os.path.realpath(path) + LOG_SUFFIX):
        return file
    from ...dev.snapshot import SnapshotBackend
    from ...hosts.posix.redo import LogView, committed

    log = committed(file.fileno(), path)
    if log is None:
        return file
    shown = SnapshotBackend(file, LogView(log, file.size), owner=True)
    shown.restore(log.extents)
    return shown


def _qcow2(file: FileBackend, path: str) -> BlockBackend:
    if not file.read_only:
        raise BackendError(errno.EROFS, "a qcow2 image can only be read", path)
    from ...dev.qcow2 import Qcow2Backend

    try:
        return Qcow2Backend(file)
    except OSError as problem:
        raise BackendError(problem.errno or errno.EIO, problem.strerror or "", path) from None
