"""Which operation answers which request."""

from collections.abc import Callable
from typing import Final

from . import wire
from .operations import Operations, Request

Operation = Callable[[Request], bytes]

SLOW: Final = frozenset({wire.FSYNC, wire.FSYNCDIR, wire.SYNCFS})
"""What may take as long as a disk does, where there is one: another thread does it, so that nobody else waits."""


def table(operations: Operations, writeback: bool = False) -> list[Operation]:
    """By a request's number, the method that answers it.  With `writeback` holes are not looked for: what Linux has not written yet
    would look like one."""
    rows: list[Operation] = [operations.unknown] * wire.OPERATIONS
    for number, operation in (
        (wire.LOOKUP, operations.lookup),
        (wire.GETATTR, operations.getattr),
        (wire.SETATTR, operations.setattr),
        (wire.READLINK, operations.readlink),
        (wire.SYMLINK, operations.symlink),
        (wire.MKNOD, operations.mknod),
        (wire.MKDIR, operations.mkdir),
        (wire.TMPFILE, operations.tmpfile),
        (wire.UNLINK, operations.unlink),
        (wire.RMDIR, operations.rmdir),
        (wire.RENAME, operations.rename),
        (wire.RENAME2, operations.rename2),
        (wire.LINK, operations.link),
        (wire.READ, operations.read),
        (wire.WRITE, operations.write),
        (wire.STATFS, operations.statfs),
        (wire.FSYNC, operations.fsync),
        (wire.FSYNCDIR, operations.fsync),
        (wire.SYNCFS, operations.syncfs),
        (wire.SETXATTR, operations.setxattr),
        (wire.GETXATTR, operations.getxattr),
        (wire.LISTXATTR, operations.listxattr),
        (wire.REMOVEXATTR, operations.removexattr),
        (wire.READDIR, operations.readdir),
        (wire.READDIRPLUS, operations.readdirplus),
        (wire.ACCESS, operations.access),
        (wire.IOCTL, operations.ioctl),
        (wire.LSEEK, operations.lseek),
        (wire.FALLOCATE, operations.fallocate),
        (wire.COPY_FILE_RANGE, operations.copy),
        (wire.RELEASE, operations.nothing),
        (wire.RELEASEDIR, operations.nothing),
        (wire.DESTROY, operations.nothing),
    ):
        rows[number] = operation
    if writeback:
        rows[wire.LSEEK] = operations.unknown
    return rows
