"""Descriptors of the program: which socket one is, and copies of them in this process (pidfd_getfd(2)).

A socket is known by its inode, so dup, fork, exec and descriptor passing need no bookkeeping.
"""

import os
from collections.abc import Iterator
from typing import Final, final

from ...kern.abi.errno import EBADF, EINVAL, ESRCH, error
from . import abi, libc

CAP_NET_RAW: Final = 13
_KIND: Final = 0o170000
_SOCKET: Final = 0o140000
"""S_IFMT and S_IFSOCK of inode(7)."""
CACHED_PIDFDS: Final = 128
"""How many threads' pidfds are kept open."""
OFTEN: Final = 8
"""From so many calls on a thread's table of descriptors is kept open, too."""
CACHED_TABLES: Final = 32
COUNTED: Final = 1024
"""Threads whose calls are counted."""


@final
class Descriptors:
    """Looks into the descriptor tables of threads.  `thread_pidfds` False is how Linux before 6.9 behaves."""

    def __init__(self, thread_pidfds: bool = True) -> None:
        self._flags = abi.PIDFD_THREAD if thread_pidfds else 0
        self._pidfds: dict[int, int] = {}
        self._tables: dict[int, int] = {}
        self._looks: dict[int, int] = {}

    def inode_for(self, thread: int, fd: int) -> int:
        """As `socket_inode`, and quicker for threads that call often.  In the loop's thread only.

        A /proc/TID/fd that is open stays that thread's: it finds nothing once the thread is gone, whoever has its number then."""
        table = self._tables.get(thread)
        if table is None:
            self._count(thread)
            return self.socket_inode(thread, fd)
        try:
            name = os.readlink(str(fd), dir_fd=table)
        except OSError:
            self._forget_table(thread)
            return self.socket_inode(thread, fd)
        return int(name[8:-1]) if name.startswith("socket:[") else 0

    def _count(self, thread: int) -> None:
        looks = self._looks.get(thread, 0) + 1
        if looks < OFTEN:
            if len(self._looks) >= COUNTED:
                self._looks.clear()
            self._looks[thread] = looks
            return
        self._looks.pop(thread, None)
        if len(self._tables) >= CACHED_TABLES:
            self._forget_table(next(iter(self._tables)))
        try:
            self._tables[thread] = os.open(f"/proc/{thread}/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return

    def _forget_table(self, thread: int) -> None:
        os.close(self._tables.pop(thread))

    def socket_inode(self, thread: int, fd: int) -> int:
        """The inode of the socket that the thread's descriptor is, or 0 if it is none: not open, or another kind."""
        try:
            name = os.readlink(f"/proc/{thread}/fd/{fd}")
        except OSError:
            return 0
        return int(name[8:-1]) if name.startswith("socket:[") else 0

    def copied_inode(self, copy: int) -> int:
        """The inode of the socket that our own descriptor is, or 0 if it is none."""
        found = os.fstat(copy)
        return found.st_ino if found.st_mode & _KIND == _SOCKET else 0

    def search(self, root: int, inode: int) -> tuple[int, int]:
        """A process below `root` and its number for a socket.  Raises EBADF if none has it."""
        wanted = f"socket:[{inode}]"
        for process in descendants(root):
            try:
                for fd in os.listdir(f"/proc/{process}/fd"):
                    if os.readlink(f"/proc/{process}/fd/{fd}") == wanted:
                        return process, int(fd)
            except OSError:  # it has ended, or closed what was listed
                pass
        raise error(EBADF)

    def copy(self, thread: int, fd: int) -> int:
        """Our own descriptor for the thread's open file (close-on-exec).  Raises EBADF, EPERM."""
        try:
            return libc.pidfd_getfd(self._pidfd(thread), fd)
        except OSError as problem:
            if problem.errno != ESRCH:
                raise
        # The thread that had this number is gone, and another has it now.
        self._forget(thread)
        try:
            return libc.pidfd_getfd(self._pidfd(thread), fd)
        except ProcessLookupError:
            raise error(EBADF) from None

    def _pidfd(self, thread: int) -> int:
        pidfd = self._pidfds.get(thread)
        if pidfd is None:
            if len(self._pidfds) >= CACHED_PIDFDS:
                self._forget(next(iter(self._pidfds)))
            pidfd = self._pidfds[thread] = self._open(thread)
        return pidfd

    def _open(self, thread: int) -> int:
        if self._flags:
            try:
                return libc.pidfd_open(thread, self._flags)
            except OSError as problem:
                if problem.errno != EINVAL:
                    raise
            self._flags = 0
        # Before Linux 6.9 a pidfd stands for a process; its threads share one table unless they made it otherwise.
        return libc.pidfd_open(process_of(thread))

    def _forget(self, thread: int) -> None:
        pidfd = self._pidfds.pop(thread, None)
        if pidfd is not None:
            os.close(pidfd)

    def close(self) -> None:
        """Let go of everything."""
        for thread in list(self._pidfds):
            self._forget(thread)
        for thread in list(self._tables):
            self._forget_table(thread)


def process_of(thread: int) -> int:
    """The process (thread group) that a thread belongs to.  Raises EBADF if it is gone."""
    try:
        with open(f"/proc/{thread}/status", "rb") as status:
            for line in status:
                if line.startswith(b"Tgid:"):
                    return int(line[5:])
    except OSError:
        pass
    raise error(EBADF)


def has_capability(thread: int, number: int) -> bool:
    """Whether a thread has one of capabilities(7) in its user namespace."""
    try:
        with open(f"/proc/{thread}/status", "rb") as status:
            for line in status:
                if line.startswith(b"CapEff:"):
                    return bool(int(line[7:], 16) >> number & 1)
    except OSError:
        pass
    return False


def descendants(process: int) -> Iterator[int]:
    """All processes below one, those that run at least, parents first."""
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/children") as children:
                for child in map(int, children.read().split()):
                    yield child
                    yield from descendants(child)
    except OSError:
        return
