"""The few calls that Python 3.11 has no name for, through ctypes.

ctypes is loaded at the first call and not at import, so that looking at this package costs nothing.  The starter process
uses this file too: it imports nothing of rumpkit but `abi` and the same of the POSIX host, and no `typing`.
"""

from __future__ import annotations

import os
import sys

from ...hosts.posix.libc import failed as failed
from ...hosts.posix.libc import library as library
from ...hosts.posix.libc import mount as mount
from ...hosts.posix.libc import unmount as unmount
from . import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_numbers: dict[str, int] = {}
_getfd: tuple[Any, Any, Any] | None = None


def machine() -> str:
    """The architecture as uname gives it: a key of `abi.SYSCALLS`.  Raises OSError (ENOSYS) for any other."""
    name = os.uname().machine
    if name not in abi.SYSCALLS:
        raise OSError(38, f"no system call table for {name}")
    return name


def number(name: str) -> int:
    """The number of a system call on this machine."""
    if not _numbers:
        _numbers.update(abi.SYSCALLS[machine()])
    return _numbers[name]


def syscall(name: str, *arguments: int | bytes | None) -> int:
    """Make a system call; integers go as longs, bytes as pointers.  Raises OSError."""
    import ctypes

    longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = library().syscall(ctypes.c_long(number(name)), *longs)
    if result == -1:
        raise failed(name)
    return result


def load_no_more() -> None:
    """Have this process import nothing that it hasn't got yet: from now on files may be the program's, or another one's."""
    sys.meta_path.clear()


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument.  Raises OSError."""
    import ctypes

    zero = ctypes.c_ulong(0)
    if library().prctl(option, ctypes.c_ulong(value), zero, zero, zero) == -1:
        raise failed("prctl")


def pidfd_open(pid: int, flags: int = 0) -> int:
    """A descriptor for a process, or with `abi.PIDFD_THREAD` for a thread.  Raises ESRCH, EINVAL (flag unknown)."""
    return syscall("pidfd_open", pid, flags)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A copy of that process's descriptor.  Raises EBADF, EPERM (no permission to trace it), ESRCH."""
    global _getfd
    if _getfd is None:
        _getfd = _prepared_getfd()
    quick, thorough, call = _getfd
    copy: int = quick(call, pidfd, fd, 0)
    if copy == -1:
        copy = thorough(call, pidfd, fd, 0)  # once more, to hear why
        if copy == -1:
            raise failed("pidfd_getfd")
    return copy


def _prepared_getfd() -> tuple[Any, Any, Any]:
    """syscall(2) twice, and the call's number.  Without errno kept, and without declared types (small numbers go as int), it takes half of
    the time."""
    import ctypes

    quick, thorough = ctypes.CFUNCTYPE(ctypes.c_long), ctypes.CFUNCTYPE(ctypes.c_long, use_errno=True)
    place = ("syscall", library())
    return quick(place), thorough(place), ctypes.c_long(number("pidfd_getfd"))


def install_filter(program: bytes, listen: bool = True) -> int:
    """Put the calling thread behind a BPF program for good; returns the notification descriptor (not inherited over
    exec), or 0 where it is not to listen.  Without CAP_SYS_ADMIN the thread must have set no_new_privs.  Raises EBUSY, EACCES, EINVAL."""
    import ctypes

    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(16)
    ctypes.c_ushort.from_buffer(header, 0).value = len(program) // 8
    ctypes.c_void_p.from_buffer(header, 8).value = ctypes.addressof(code)
    result: int = library().syscall(
        ctypes.c_long(number("seccomp")),
        ctypes.c_long(abi.SECCOMP_SET_MODE_FILTER),
        ctypes.c_long(abi.SECCOMP_FILTER_FLAG_NEW_LISTENER if listen else 0),
        header,
    )
    if result == -1:
        raise failed("seccomp")
    return result
