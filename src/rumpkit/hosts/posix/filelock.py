"""Locks on host files that are somebody's storage: one writer or many readers, and who it is that has one.

flock(2) locks belong to the open file, so that they also keep two kernels of one process apart.  They bind those who ask for
them: rumpkit, util-linux, systemd; not QEMU, which locks bytes of the file.
"""

import errno
import fcntl
import os
import stat
from typing import Final

NEW_SUFFIX: Final = ".rump-new"
"""Behind the name of a file that is being made, where it needs one."""


def lock(fd: int, exclusive: bool) -> str:
    """Lock an open file without waiting.  Returns "" or, where somebody has it, who: "process 123 (rump)".  Raises OSError."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder(fd) or "another process or kernel"
    except OSError as problem:
        if problem.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    return ""


def is_at(fd: int, path: str) -> bool:
    """Whether the path still leads to the file that was opened, and is locked now: else what is written would go with it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False


def remove_stale(path: str) -> bool:
    """Remove a file that somebody was making when he was killed: nobody has it locked.  False where somebody has.  Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode) and lock(fd, True):
            return False
        os.unlink(path)
    finally:
        os.close(fd)
    return True


def holder(fd: int) -> str:
    """Who has a lock on this file, as Linux lists it in /proc/locks; "" where it doesn't say."""
    status = os.fstat(fd)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as rows:
            for row in rows:
                fields = row.split()
                if "->" not in fields and len(fields) > 5 and fields[5] == place:
                    return "this process" if int(fields[4]) == os.getpid() else _process(int(fields[4]))
    except (OSError, ValueError):
        pass
    return ""


def _process(number: int) -> str:
    try:
        with open(f"/proc/{number}/comm", encoding="utf-8", errors="replace") as file:
            return f"process {number} ({file.read().strip()})"
    except OSError:
        return f"process {number}" if number > 0 else ""
