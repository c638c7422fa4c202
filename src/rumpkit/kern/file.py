"""Open files: what descriptors point to.

As in POSIX, an open file (open file description) holds the offset and the status flags and is shared by dup, fork
and descriptor passing; it goes away with its last reference.  Factions subclass it: pipes and epoll sets here,
sockets in `net`, files and devices in `vfs`.
"""

from mypy_extensions import mypyc_attr

from ..hyper.time import Duration, Instant
from .abi.errno import EBADF, EINVAL, ENOTTY, ESPIPE, error
from .abi.fcntl import O_ACCMODE, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY
from .wait import Blocked, WaitQueue


@mypyc_attr(allow_interpreted_subclasses=True)
class OpenFile:
    """Base of everything a descriptor can point to.  All methods are called on the schedule.

    Methods that may have to wait return `Blocked`; the descriptor calls (kern/calls.py) turn that into EAGAIN for
    non-blocking files, so implementations need not look at O_NONBLOCK.
    """

    def __init__(self, flags: int = O_RDWR) -> None:
        self.flags: int = flags
        """O_* status flags and access mode."""
        self.references: int = 0
        self.queue: WaitQueue = WaitQueue()
        """Woken whenever `poll` may answer differently, and by close."""

    def nonblocking(self) -> bool:
        """Whether O_NONBLOCK is set."""
        return self.flags & O_NONBLOCK != 0

    def check_readable(self) -> None:
        """Raise EBADF unless open for reading."""
        if self.flags & O_ACCMODE not in (O_RDONLY, O_RDWR):
            raise error(EBADF)

    def check_writable(self) -> None:
        """Raise EBADF unless open for writing."""
        if self.flags & O_ACCMODE not in (O_WRONLY, O_RDWR):
            raise error(EBADF)

    def hold(self) -> None:
        """Take a reference."""
        self.references += 1

    def release(self, now: Instant) -> None:
        """Give a reference back; the last one closes the file."""
        self.references -= 1
        if self.references == 0:
            try:
                self.close(now)
            finally:
                self.queue.wake_all()

    def closed(self) -> bool:
        """Whether the last reference has gone, for those who waited on this file."""
        return self.references <= 0

    # What kinds of files override -----------------------------------------------------------------------

    def close(self, now: Instant) -> None:
        """The last reference has gone."""
        return None

    def lingering(self) -> Duration:
        """How long close(2) still waits for what `close` has started, in nanoseconds (SO_LINGER); 0 if it is done."""
        return 0

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        """Up to `size` bytes; b"" at end of file (POSIX read)."""
        raise error(EINVAL)

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        """Write `data`, returning how much was taken (POSIX write).  Blocked when a blocking caller has to wait
        for the rest: `progress` then says how much went, and `write_part` takes the rest."""
        raise error(EINVAL)

    def write_part(self, data: bytes, start: int, now: Instant) -> int | Blocked:
        """Go on with a write that blocked: take some of `data[start:]`, or Blocked if there is no room at all."""
        return self.write(data[start:], now)

    def pread(self, size: int, offset: int, now: Instant) -> bytes:
        """As read at `offset`, leaving the file's own offset alone."""
        raise error(ESPIPE)

    def pwrite(self, data: bytes, offset: int, now: Instant) -> int:
        """As write at `offset`, leaving the file's own offset alone."""
        raise error(ESPIPE)

    def seek(self, offset: int, whence: int) -> int:
        """Move the offset (POSIX lseek); returns the new one."""
        raise error(ESPIPE)

    def poll(self) -> int:
        """Which POLL* bits hold now."""
        return 0

    def pollable(self) -> bool:
        """Whether waiting for readiness means anything; epoll refuses other files (EPERM), as Linux does for
        regular files and directories."""
        return True

    def read_timeout(self) -> Duration:
        """How long a read may wait (SO_RCVTIMEO), in nanoseconds; 0 for ever."""
        return 0

    def write_timeout(self) -> Duration:
        """How long a write may wait (SO_SNDTIMEO), in nanoseconds; 0 for ever."""
        return 0

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """Device control; the meaning of request and argument is the device's."""
        raise error(ENOTTY)

    def describe(self) -> str:
        """One short phrase for traces and listings, such as "pipe" or "tcp 10.0.2.15:80"."""
        return type(self).__name__.lower()


@mypyc_attr(allow_interpreted_subclasses=True)
class FileGuard:
    """Somebody who wants to know when a process closes a descriptor: its record locks go then."""

    def closing(self, file: OpenFile) -> None:
        """A descriptor of `file` is being closed, or made to mean another file."""
        raise NotImplementedError
