"""Epoll sets (Linux epoll(7)) as open files, over the readiness of other open files.

A watch observes its file's queue.  An event that matters puts it on the set's ready list, and a wait looks at that list
only: the cost is in what is ready, not in what is watched.  Level-triggered watches stay on the list, at its end, until a
wait finds them no longer ready; edge-triggered ones leave it when reported; one-shot ones sleep then until modified.
A file that closes takes its watches with it.  Watches belong to (number, open file), as on Linux: a duplicate keeps the file open.
"""

from collections import deque
from typing import Final, final

from ..hyper.time import Instant
from .abi.errno import EEXIST, EINVAL, ELOOP, ENOENT, ENOSPC, EPERM, error
from .abi.fcntl import O_RDWR
from .abi.poll import EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, POLL_ALWAYS, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM
from .file import OpenFile
from .wait import ExclusiveObserver

MAX_NESTING: Final = 5
"""Sets that watch sets that watch sets ...: Linux refuses a sixth in the chain."""
_EXCLUSIVE_OK: Final = POLLIN | POLLOUT | POLLERR | POLLHUP | EPOLLET | EPOLLEXCLUSIVE


@final
class Watch(ExclusiveObserver):
    """One watched file: which events matter, and what a wait says about it."""

    def __init__(self, owner: "EpollFile", fd: int, file: OpenFile, events: int, data: int) -> None:
        self.owner: EpollFile = owner
        self.fd: int = fd
        self.file: OpenFile = file
        self.events: int = events
        self.data: int = data
        self.listed: bool = False
        """On the ready list."""
        self.armed: bool = True
        """False for a one-shot watch that has fired, and for one that was removed."""

    def ready(self) -> int:
        """Which of the events it asks for hold now."""
        return self.file.poll() & (self.events | POLL_ALWAYS)

    def notify(self) -> None:
        """The file's readiness may have changed."""
        self.offer()

    def offer(self) -> bool:
        """As `notify`; whether a caller that waits on the set was told."""
        if self.file.closed():
            self.owner.forget(self)
            return False
        hint = self.file.queue.hint
        if self.listed or not self.armed or (hint and not hint & self.events) or self.ready() == 0:
            return False
        return self.owner.add_ready(self)


@final
class EpollFile(OpenFile):
    """One epoll set."""

    def __init__(self, limit: int) -> None:
        super().__init__(O_RDWR)
        self.limit: int = limit
        self._watches: dict[tuple[int, OpenFile], Watch] = {}
        self._ready: deque[Watch] = deque()
        self.children: list[EpollFile] = []
        """Sets that this one watches, once for each watch."""
        self.parents: list[EpollFile] = []

    def add(self, fd: int, file: OpenFile, events: int, data: int) -> None:
        """EPOLL_CTL_ADD.  Raises EEXIST, EPERM, EINVAL, ELOOP, ENOSPC."""
        if not file.pollable():
            raise error(EPERM)
        if file is self:
            raise error(EINVAL)
        if events & EPOLLEXCLUSIVE and (events & ~_EXCLUSIVE_OK or isinstance(file, EpollFile)):
            raise error(EINVAL)
        if (fd, file) in self._watches:
            raise error(EEXIST)
        if isinstance(file, EpollFile) and file.depth(self) + self.height() > MAX_NESTING:
            raise error(ELOOP)
        if len(self._watches) >= self.limit:
            raise error(ENOSPC)
        watch = Watch(self, fd, file, events, data)
        self._watches[(fd, file)] = watch
        if isinstance(file, EpollFile):
            self.children.append(file)
            file.parents.append(self)
        if events & EPOLLEXCLUSIVE:
            file.queue.subscribe_exclusive(watch)
        else:
            file.queue.subscribe(watch)
        watch.offer()

    def modify(self, fd: int, file: OpenFile, events: int, data: int) -> None:
        """EPOLL_CTL_MOD; arms one-shot watches again.  Raises ENOENT, EINVAL."""
        watch = self._find(fd, file)
        if (events | watch.events) & EPOLLEXCLUSIVE:
            raise error(EINVAL)
        watch.events = events
        watch.data = data
        watch.armed = True
        watch.offer()

    def remove(self, fd: int, file: OpenFile) -> None:
        """EPOLL_CTL_DEL.  Raises ENOENT."""
        self.forget(self._find(fd, file))

    def collect(self, limit: int) -> list[tuple[int, int]]:
        """Up to `limit` (data, events) of watches that are ready, fairly: who was reported goes to the end."""
        found: list[tuple[int, int]] = []
        ready = self._ready
        for _ in range(len(ready)):
            if len(found) >= limit:
                break
            watch = ready.popleft()
            watch.listed = False
            bits = watch.ready() if watch.armed else 0
            if bits == 0:
                continue
            found.append((watch.data, bits))
            if watch.events & EPOLLONESHOT:
                watch.armed = False
            elif not watch.events & EPOLLET:
                watch.listed = True
                ready.append(watch)
        if ready and self.queue.waited_on():
            self.queue.wake_one()
        return found

    def poll(self) -> int:
        """POLLIN while something in the set is ready."""
        ready = self._ready
        while ready:
            watch = ready[0]
            if watch.armed and watch.ready():
                return POLLIN | POLLRDNORM
            watch.listed = False
            ready.popleft()
        return 0

    def close(self, now: Instant) -> None:
        for watch in list(self._watches.values()):
            self.forget(watch)

    def describe(self) -> str:
        return f"epoll set of {len(self._watches)}"

    # Between watches and sets ----------------------------------------------------------------------------

    def add_ready(self, watch: Watch) -> bool:
        """Put a watch on the ready list; whether a caller was waiting for it."""
        watch.listed = True
        self._ready.append(watch)
        waited_on = self.queue.waited_on()
        self.queue.wake_one()
        return waited_on

    def forget(self, watch: Watch) -> None:
        """Remove a watch.  If it's on the ready list, it is found disarmed there."""
        watch.armed = False
        watch.file.queue.unsubscribe(watch)
        self._watches.pop((watch.fd, watch.file), None)
        if isinstance(watch.file, EpollFile) and watch.file in self.children:
            self.children.remove(watch.file)
            watch.file.parents.remove(self)
        if len(self._ready) > 2 * len(self._watches) + 64:
            self._ready = deque([listed for listed in self._ready if listed.armed])

    def depth(self, forbidden: "EpollFile") -> int:
        """Sets in the longest chain from this one down; more than any chain may have if `forbidden` is in one."""
        if self is forbidden:
            return MAX_NESTING + 1
        return 1 + max([child.depth(forbidden) for child in self.children], default=0)

    def height(self) -> int:
        """Sets in the longest chain from this one up."""
        return 1 + max([parent.height() for parent in self.parents], default=0)

    # -----------------------------------------------------------------------------------------------------

    def _find(self, fd: int, file: OpenFile) -> Watch:
        watch = self._watches.get((fd, file))
        if watch is None:
            raise error(ENOENT)
        return watch
