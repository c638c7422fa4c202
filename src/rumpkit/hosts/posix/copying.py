"""Bytes from one host file to the same places of another: in the host's kernel where it can, which shares blocks instead where the file
system does."""

import errno
import os
from collections.abc import Sequence
from typing import Final

from .allocate import start_writing
from .block import write_all

PIECE: Final = 4 << 20
"""Bytes that are copied at once where the host's kernel doesn't do it."""
WRITE_BEHIND: Final = 32 << 20
"""Bytes after which the host is told to begin writing: who waits for the disk at the end waits less then."""

_CANNOT_COPY: Final = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)
"""Of copy_file_range: the host can't between these two."""


def copy_extents(source: int, target: int, extents: Sequence[tuple[int, int]]) -> None:
    """Copy bytes `start` to `end` of each extent.  Raises EIO where the source ends before, ENOSPC and what else the host says."""
    in_kernel = hasattr(os, "copy_file_range")
    for start, end in extents:
        at = start
        while at < end:
            count = 0
            if in_kernel:
                try:
                    count = os.copy_file_range(source, target, min(end - at, WRITE_BEHIND), at, at)
                except OSError as problem:
                    if problem.errno not in _CANNOT_COPY:
                        raise
                in_kernel = count > 0
            if not count:
                data = os.pread(source, min(PIECE, end - at), at)
                if not data:
                    raise OSError(errno.EIO, "the file that is copied is shorter than it was said to be")
                write_all(target, data, at)
                count = len(data)
            at += count
            if count == WRITE_BEHIND:
                start_writing(target, at - count, count)
