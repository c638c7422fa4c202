"""Calls of the C library that Python has no name for, through ctypes, which is loaded at the first of them.

Imports nothing of rumpkit and no `typing`: the starter of Linux guests uses it too, and has to start fast.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
"""Of mallopt(3)."""
KEPT = 16 << 20
"""Bytes at the end of a heap that stay there when they are free."""
MAPPED = 4 << 20
"""From this size on a piece of memory is mapped for itself, and unmapped when it is free."""

_library: Any = None


def library() -> Any:
    """The C library, with errno kept for `failed`."""
    global _library
    if _library is None:
        import ctypes

        _library = ctypes.CDLL(None, use_errno=True)
        _library.syscall.restype = ctypes.c_long
    return _library


def keep_heap() -> None:
    """Have the C library keep up to KEPT bytes that become free.  Left alone it gives a buffer of a hundred kilobytes back to Linux each
    time, so that each read of bulk data pays for new pages: a fifth of what such a transfer takes.  Nothing happens without glibc."""
    mallopt = getattr(library(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, MAPPED)


def failed(what: str) -> OSError:
    """The OSError for the call that has just returned -1."""
    import ctypes

    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2).  Raises OSError."""
    import ctypes

    if library().mount(
        os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        None if data is None else data.encode(),
    ):
        raise failed(f"mount {target}")


def unmount(target: str, flags: int) -> None:
    """umount2(2).  Raises OSError."""
    if library().umount2(os.fsencode(target), flags):
        raise failed(f"umount {target}")
