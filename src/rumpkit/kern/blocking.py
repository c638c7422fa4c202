"""Waiting for open files: between the files, which say that they can't go on, and the system calls over them.

A file's `Blocked` says what to wait for.  The call wraps it in one of these, which knows how to repeat the operation on
the *file* (its number may mean another file by then), and which ends the wait with EBADF when the file is closed
meanwhile.  (Linux leaves a thread blocked whose file another thread closes; here close wins.)
"""

from collections.abc import Callable
from typing import final

from mypy_extensions import mypyc_attr

from ..hyper.calls import Hypercalls
from ..hyper.time import FOREVER, Duration
from .abi.errno import EBADF, error
from .file import OpenFile
from .socket import Socket, SocketAddress
from .wait import Blocked


@mypyc_attr(allow_interpreted_subclasses=True)
class FileWait(Blocked):
    """A call that waits for an open file."""

    def __init__(self, hyper: Hypercalls, file: OpenFile, inner: Blocked, limit: Duration) -> None:
        deadline = inner.deadline
        if limit:
            deadline = min(deadline, hyper.now + limit)
        super().__init__(inner.queue, deadline, None, inner.progress, inner.timeout_errno)
        self.hyper: Hypercalls = hyper
        self.file: OpenFile = file
        self.inner: Blocked = inner

    def retry(self) -> object:
        """Repeat the operation; ends with EBADF (or the progress) if the file was closed."""
        if self.file.closed():
            done = self.so_far()
            if done is not None:
                return done
            raise error(EBADF)
        inner = self.inner
        result = self.repeat() if inner.action is None else inner.retry()
        return self.adopt(result) if isinstance(result, Blocked) else result

    def repeat(self) -> object:
        """Call the file's operation again."""
        raise NotImplementedError

    def adopt(self, inner: Blocked) -> Blocked:
        """Wait on for what `inner` waits for."""
        self.inner = inner
        self.queue = inner.queue
        if inner.progress is not None:
            self.progress = inner.progress
        return self

    def cancel(self) -> None:
        """Undo what the file's own wait set up."""
        self.inner.cancel()


@final
class OperationWait(FileWait):
    """Repeats an operation that is given as a function."""

    def __init__(
        self, hyper: Hypercalls, file: OpenFile, inner: Blocked, limit: Duration, operation: Callable[[], object]
    ) -> None:
        super().__init__(hyper, file, inner, limit)
        self.operation: Callable[[], object] = operation

    def repeat(self) -> object:
        """Call the operation."""
        return self.operation()


@final
class ReadWait(FileWait):
    """A read that waits for data."""

    def __init__(self, hyper: Hypercalls, file: OpenFile, inner: Blocked, size: int) -> None:
        super().__init__(hyper, file, inner, file.read_timeout())
        self.size: int = size

    def repeat(self) -> object:
        """Read again."""
        return self.file.read(self.size, self.hyper.now)


@final
class WriteWait(FileWait):
    """A write of which `progress` bytes have gone and which waits for room for the rest."""

    def __init__(self, hyper: Hypercalls, file: OpenFile, inner: Blocked, data: bytes) -> None:
        super().__init__(hyper, file, inner, file.write_timeout())
        self.data: bytes = data
        self.done: int = inner.progress if isinstance(inner.progress, int) else 0

    def repeat(self) -> object:
        """Write the rest, as far as it goes.  An error after a part is put off: the part is the result (POSIX write)."""
        file = self.file
        size = len(self.data)
        while self.done < size:
            try:
                taken = file.write_part(self.data, self.done, self.hyper.now)
            except OSError:
                if self.done:
                    return self.done
                raise
            if isinstance(taken, Blocked):
                taken.progress = self.done or None
                return taken
            self.done += taken
            self.progress = self.done
        return size


@final
class SendWait(FileWait):
    """A send on a stream socket, of which `done` bytes have gone."""

    def __init__(
        self,
        hyper: Hypercalls,
        socket: Socket,
        inner: Blocked,
        data: bytes,
        done: int,
        flags: int,
        destination: SocketAddress | None,
    ) -> None:
        super().__init__(hyper, socket, inner, socket.send_timeout)
        self.socket: Socket = socket
        self.data: bytes = data
        self.done: int = done
        self.flags: int = flags
        self.destination: SocketAddress | None = destination
        self.progress = done or None

    def repeat(self) -> object:
        """Send the rest, as far as it goes.  An error after a part is put off: the part is the result."""
        size = len(self.data)
        while True:
            try:
                taken = self.socket.send(self.data, self.done, self.flags, self.destination, self.hyper.now)
            except OSError:
                if self.done:
                    return self.done
                raise
            if isinstance(taken, Blocked):
                taken.progress = self.done or None
                return taken
            self.done += taken
            if self.done >= size:
                return self.done
            self.progress = self.done


@final
class LingerWait(Blocked):
    """A close that waits for the last bytes to be acknowledged (SO_LINGER): it succeeds whatever comes of them."""

    def __init__(self, hyper: Hypercalls, file: OpenFile, limit: Duration) -> None:
        super().__init__(file.queue, hyper.now + limit)
        self.file: OpenFile = file

    def retry(self) -> object:
        """Done, or wait on."""
        return self if self.file.lingering() else None

    def expired(self) -> object:
        """The time is over, and the kernel goes on alone."""
        return None

    def interrupted(self) -> object:
        """As when the time is over: the number is free in any case."""
        return None


@final
class SleepWait(Blocked):
    """A call that waits for nothing but its deadline (nanosleep), which is its success."""

    def retry(self) -> object:
        """Nobody wakes a sleeper."""
        return self

    def expired(self) -> object:
        """The time has come."""
        return None


def deadline_after(hyper: Hypercalls, timeout: Duration) -> int:
    """The instant `timeout` nanoseconds from now; negative timeouts never come (poll, epoll_wait)."""
    return FOREVER if timeout < 0 else hyper.now + timeout
