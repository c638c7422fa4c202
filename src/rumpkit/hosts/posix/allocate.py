"""Blocks of host files: taking them, giving them back, and sending them on their way, where the host can (Linux).

Python has no names for these calls, so they go through ctypes, which is loaded when the first is made.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ctypes import CDLL

KEEP_SIZE: Final = 1
PUNCH_HOLE: Final = 2
"""Modes of fallocate(2)."""
START_WRITE: Final = 2
"""sync_file_range(2): begin to write, and don't wait."""

_library: "CDLL | None" = None


def punch(fd: int, offset: int, size: int) -> bool:
    """Make these bytes of a file or block device a hole, which reads as zeros.  False where that can't be done."""
    return _call("fallocate", fd, PUNCH_HOLE | KEEP_SIZE, offset, size) == 0


def reserve(fd: int, offset: int, size: int) -> int:
    """Allocate blocks for these bytes of a file, so that writing them won't fail for want of space; what they read as stays.

    Returns 0, or the errno: ENOSPC, or one that says that it can't be done here.
    """
    return _call("fallocate", fd, KEEP_SIZE, offset, size)


def start_writing(fd: int, offset: int, size: int) -> None:
    """Have the host begin to write these bytes to the disk, and don't wait for it.  Where it can't, nothing happens."""
    _call("sync_file_range", fd, offset, size, START_WRITE)


def _call(name: str, fd: int, *arguments: int) -> int:
    """0, or the errno."""
    import ctypes
    import errno

    global _library
    if _library is None:
        _library = ctypes.CDLL(None, use_errno=True)
    function = getattr(_library, name, None)
    if function is None:
        return errno.EOPNOTSUPP
    longs = {"fallocate": (0,), "sync_file_range": (2,)}[name]
    values = [ctypes.c_int(a) if index in longs else ctypes.c_int64(a) for index, a in enumerate(arguments)]
    return 0 if function(ctypes.c_int(fd), *values) == 0 else ctypes.get_errno()
