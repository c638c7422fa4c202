"""The calls poll, select and the epoll family, over the readiness that every open file tells (`OpenFile.poll`)."""

from collections.abc import Sequence
from typing import Final, final

from ..hyper.calls import Hypercalls
from ..hyper.time import Duration, Instant
from .abi.errno import EBADF, EINVAL, error
from .abi.fcntl import O_CLOEXEC
from .abi.poll import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    POLL_ALWAYS,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDNORM,
    POLLWRNORM,
)
from .blocking import FileWait, deadline_after
from .descriptors import DescriptorTable
from .epoll import EpollFile
from .file import OpenFile
from .kernel import RumpKernel
from .process import Process
from .wait import Blocked, Observer, WaitQueue

_READABLE: Final = POLLIN | POLLRDNORM | POLLHUP | POLLERR
_WRITABLE: Final = POLLOUT | POLLWRNORM | POLLERR


@final
class PollCalls:
    """poll, select and epoll of one kernel."""

    def __init__(self, kernel: RumpKernel) -> None:
        self.kernel: RumpKernel = kernel
        self.hyper: Hypercalls = kernel.hyper

    def poll(
        self, process: Process, entries: Sequence[tuple[int, int]], timeout: Duration
    ) -> list[tuple[int, int]] | Blocked:
        """The (descriptor, POLL* bits) of those of `entries` that are ready, in their order; [] at the timeout.

        Waits up to `timeout` nanoseconds, for ever if it is negative (POSIX poll).  A number that is not open gives
        POLLNVAL, a negative one is skipped.  Raises EINVAL for more entries than the process may have files.
        """
        if len(entries) > process.files.limit:
            raise error(EINVAL)
        wait = _PollWait(process.files, entries, deadline_after(self.hyper, timeout))
        found = wait.scan()
        if found or timeout == 0:
            return found
        wait.subscribe()
        return wait

    def select(
        self,
        process: Process,
        read: Sequence[int],
        write: Sequence[int],
        exceptional: Sequence[int],
        timeout: Duration,
    ) -> tuple[list[int], list[int], list[int]] | Blocked:
        """Which of the descriptors are readable, writable, exceptional (POSIX select); three empty lists at the
        timeout.  Timeouts as `poll`.  Raises EBADF."""
        wait = _SelectWait(process.files, read, write, exceptional, deadline_after(self.hyper, timeout))
        found = wait.poll.scan()
        if found or timeout == 0:
            return wait.sort(found)
        wait.poll.subscribe()
        return wait

    def epoll_create1(self, process: Process, flags: int = 0) -> int:
        """A new epoll set; flags O_CLOEXEC (Linux epoll_create1).  Raises EINVAL, EMFILE."""
        if flags & ~O_CLOEXEC:
            raise error(EINVAL)
        return process.files.install(EpollFile(self.kernel.settings.max_watches), flags & O_CLOEXEC != 0)

    def epoll_ctl(
        self, process: Process, epfd: int, operation: int, fd: int, events: int = 0, data: int | None = None
    ) -> None:
        """Add, modify or delete (EPOLL_CTL_*) the watch for `fd`; `data` (the number itself, unless given) is what a
        wait reports (Linux epoll_ctl).  Raises EBADF, EEXIST, ENOENT, EPERM, EINVAL, ELOOP, ENOSPC."""
        epoll = self._epoll(process, epfd)
        file = process.files.get(fd)
        data = fd if data is None else data
        if operation == EPOLL_CTL_ADD:
            epoll.add(fd, file, events, data)
        elif operation == EPOLL_CTL_MOD:
            epoll.modify(fd, file, events, data)
        elif operation == EPOLL_CTL_DEL:
            epoll.remove(fd, file)
        else:
            raise error(EINVAL)

    def epoll_wait(self, process: Process, epfd: int, limit: int, timeout: Duration) -> list[tuple[int, int]] | Blocked:
        """Up to `limit` (data, EPOLL* bits) of what is ready; [] at the timeout, given as for `poll` (Linux
        epoll_wait).  Raises EBADF (also when the set is closed meanwhile), EINVAL, EINTR."""
        epoll = self._epoll(process, epfd)
        if limit <= 0:
            raise error(EINVAL)
        found = epoll.collect(limit)
        if found or timeout == 0:
            return found
        return _EpollWait(self.hyper, epoll, limit, deadline_after(self.hyper, timeout))

    def _epoll(self, process: Process, epfd: int) -> EpollFile:
        file = process.files.get(epfd)
        if isinstance(file, EpollFile):
            return file
        raise error(EINVAL)


@final
class _Relay(Observer):
    """Passes the events of many files on to one queue."""

    def __init__(self, queue: WaitQueue) -> None:
        self.queue: WaitQueue = queue

    def notify(self) -> None:
        self.queue.wake_all()


@final
class _PollWait(Blocked):
    """A poll under way.  The files are those that the numbers meant at first; one that closes is POLLNVAL."""

    def __init__(self, table: DescriptorTable, entries: Sequence[tuple[int, int]], deadline: Instant) -> None:
        super().__init__(WaitQueue(), deadline)
        self._entries: list[tuple[int, int, OpenFile | None]] = [
            (fd, events | POLL_ALWAYS, table.lookup(fd)) for fd, events in entries if fd >= 0
        ]
        self._relay: _Relay | None = None

    def scan(self) -> list[tuple[int, int]]:
        """What is ready now."""
        found: list[tuple[int, int]] = []
        for fd, events, file in self._entries:
            bits = POLLNVAL if file is None or file.closed() else file.poll() & events
            if bits:
                found.append((fd, bits))
        return found

    def subscribe(self) -> None:
        """Hear of the files' events."""
        relay = _Relay(self.queue)
        self._relay = relay
        for _, _, file in self._entries:
            if file is not None:
                file.queue.subscribe(relay)

    def retry(self) -> object:
        return self.scan() or self

    def expired(self) -> object:
        return []

    def cancel(self) -> None:
        relay = self._relay
        if relay is None:
            return
        self._relay = None
        for _, _, file in self._entries:
            if file is not None:
                file.queue.unsubscribe(relay)


@final
class _SelectWait(Blocked):
    """A select under way, by way of a poll."""

    def __init__(
        self,
        table: DescriptorTable,
        read: Sequence[int],
        write: Sequence[int],
        exceptional: Sequence[int],
        deadline: Instant,
    ) -> None:
        wanted: dict[int, int] = {}
        for numbers, bits in ((read, _READABLE), (write, _WRITABLE), (exceptional, POLLPRI)):
            for fd in numbers:
                table.get(fd)
                wanted[fd] = wanted.get(fd, 0) | bits
        self.poll: _PollWait = _PollWait(table, list(wanted.items()), deadline)
        super().__init__(self.poll.queue, deadline)
        self._read: Sequence[int] = read
        self._write: Sequence[int] = write
        self._exceptional: Sequence[int] = exceptional

    def sort(self, found: list[tuple[int, int]]) -> tuple[list[int], list[int], list[int]]:
        """The three lists, in the caller's order."""
        ready = dict(found)
        for bits in ready.values():
            if bits & POLLNVAL:
                raise error(EBADF)
        return (
            [fd for fd in self._read if ready.get(fd, 0) & _READABLE],
            [fd for fd in self._write if ready.get(fd, 0) & _WRITABLE],
            [fd for fd in self._exceptional if ready.get(fd, 0) & POLLPRI],
        )

    def retry(self) -> object:
        found = self.poll.scan()
        return self.sort(found) if found else self

    def expired(self) -> object:
        return [], [], []

    def cancel(self) -> None:
        self.poll.cancel()


@final
class _EpollWait(FileWait):
    """A wait on an epoll set."""

    def __init__(self, hyper: Hypercalls, epoll: EpollFile, limit: int, deadline: Instant) -> None:
        super().__init__(hyper, epoll, Blocked(epoll.queue, deadline), 0)
        self._epoll: EpollFile = epoll
        self._limit: int = limit

    def repeat(self) -> object:
        return self._epoll.collect(self._limit) or self.inner

    def expired(self) -> object:
        return []
