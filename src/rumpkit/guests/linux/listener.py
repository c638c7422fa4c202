"""The notification descriptor: system calls that wait for an answer, answers, injected descriptors (seccomp_unotify(2)).

Between `abi` and `context`.  One listener serves a program and everything it forks and execs.
"""

import fcntl
import os
from collections.abc import Callable
from typing import Final, Protocol, final

from ...kern.abi.errno import EINPROGRESS, EINTR, EINVAL, ENOENT
from ...kern.abi.fcntl import O_CLOEXEC
from . import abi

_EMPTY = bytes(abi.NOTIFICATION.size)
_GONE = (ENOENT, EINPROGRESS)
"""The call was interrupted; or it was answered already, by a try of ours that a signal or a debugger interrupted."""


@final
class Notification:
    """One system call that waits for its answer."""

    __slots__ = ("arguments", "id", "number", "thread")

    def __init__(self, id: int, thread: int, number: int, arguments: tuple[int, ...]) -> None:
        self.id: Final = id
        self.thread: Final = thread
        """The caller's thread id, as this process sees it."""
        self.number: Final = number
        self.arguments: Final = arguments
        """Six unsigned 64-bit words."""


class Watcher(Protocol):
    """Somebody who wants to know what becomes of calls."""

    def end(self, id: int, result: int, number: int) -> None:
        """A call has returned, or failed with an errno."""

    def drop(self, id: int) -> None:
        """A call goes on natively."""


@final
class Listener:
    """Takes notifications and answers them.  `guard` is told before each ioctl that may block or fault
    (`Hypercalls.assert_unscheduled`)."""

    def __init__(self, fd: int, guard: Callable[[str], None]) -> None:
        self.fd = fd
        self._guard = guard
        self._notification = bytearray(_EMPTY)
        self.watcher: Watcher | None = None
        self.synchronous = self._wake_synchronously()
        """Whether a notification moves the CPU straight to us and back (Linux 6.6), which saves a few microseconds."""

    def _wake_synchronously(self) -> bool:
        try:
            fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_SET_FLAGS, abi.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
        except OSError as problem:
            if problem.errno != EINVAL:
                raise
            return False
        return True

    def receive(self) -> Notification | None:
        """The next call, waiting for one if there is none; None if it was interrupted before it could be taken."""
        buffer = self._notification
        buffer[:] = _EMPTY  # the kernel insists
        try:
            fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_RECV, buffer, True)
        except OSError as problem:
            if problem.errno in (ENOENT, EINTR):
                return None
            raise
        fields = abi.NOTIFICATION.unpack(buffer)
        return Notification(fields[0], fields[1], fields[3], fields[6:])

    def valid(self, id: int) -> bool:
        """Whether the call still waits: its thread was not killed or interrupted by a signal handler."""
        try:
            fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_ID_VALID, bytearray(id.to_bytes(8, "little")))
        except OSError as problem:
            if problem.errno == ENOENT:
                return False
            raise
        return True

    def answer(self, id: int, value: int = 0) -> bool:
        """Let the call return `value`.  False if it does not wait any more: undo what was done for it."""
        if self.watcher is not None:
            self.watcher.end(id, value, 0)
        return self._send(id, value, 0, 0)

    def fail(self, id: int, error: int) -> bool:
        """Let the call fail with an errno.  False if it does not wait any more."""
        if self.watcher is not None:
            self.watcher.end(id, 0, error)
        return self._send(id, 0, -error, 0)

    def proceed(self, id: int) -> bool:
        """Let the host's kernel run the call after all.  Only right where the decision rests on register values and
        on the kind of a descriptor, never on memory, which the program can change meanwhile."""
        if self.watcher is not None:
            self.watcher.drop(id)
        return self._send(id, 0, 0, abi.SECCOMP_USER_NOTIF_FLAG_CONTINUE)

    def _send(self, id: int, value: int, error: int, flags: int) -> bool:
        # A bytearray, though nothing comes back: fcntl.ioctl asks for one that it may change first, and a no costs a microsecond.
        response = bytearray(abi.RESPONSE.pack(id, value, error, flags))
        try:
            fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_SEND, response)
        except OSError as problem:
            if problem.errno in _GONE:
                return False
            raise
        return True

    def inject(self, id: int, fd: int, close_on_exec: bool) -> int:
        """Copy our descriptor into the program, at its lowest free number; the call returns that number, and so does this.

        -1 means that the caller has to undo: the call was interrupted, or the program may not open more (then the call
        has failed with EMFILE or whatever the kernel said)."""
        self._guard("inject")
        # Only for a buffer that it may change does fcntl.ioctl return the number and not the buffer.
        request = bytearray(abi.ADDFD.pack(id, abi.SECCOMP_ADDFD_FLAG_SEND, fd, 0, O_CLOEXEC if close_on_exec else 0))
        try:
            number = int(fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_ADDFD, request, True))
        except OSError as problem:
            if problem.errno not in _GONE:
                self.fail(id, problem.errno or EINVAL)
            return -1
        if self.watcher is not None:
            self.watcher.end(id, number, 0)
        return number

    def place(self, id: int, fd: int, number: int, close_on_exec: bool) -> None:
        """Copy our descriptor into the program in place of what it has at `number`; the call goes on waiting.  Raises ENOENT
        (the call was interrupted), EMFILE."""
        self._guard("inject")
        flags = O_CLOEXEC if close_on_exec else 0
        request = abi.ADDFD.pack(id, abi.SECCOMP_ADDFD_FLAG_SETFD, fd, number, flags)
        fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_ADDFD, request)

    def close(self) -> None:
        """Stop listening; calls that wait, and later ones, fail with ENOSYS."""
        os.close(self.fd)
