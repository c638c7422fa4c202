"""The event loop: one epoll set and a table of sources by descriptor.  It stands between the kernel of the machine and
what wants to hear of descriptors: links, relays, guests.

Whoever drives the loop (a thread of its own, a blocked caller, asyncio) calls `wait` off the schedule and `dispatch` with what
came back. Sources say whether they are to be called on the schedule (links, relays) or off it (guest notifications, whose
answers make host calls that may block); `dispatch` takes and gives up the schedule as the next source wants it.
"""

import os
from select import EPOLLIN, epoll
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from ...hyper.time import FOREVER, Duration, Instant
from ..agenda import Sleeper

if TYPE_CHECKING:
    from .host import PosixHost

MAX_EVENTS: Final = 256
"""Descriptors that one wait reports at most; the others come in the next one."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Source:
    """A descriptor of the host that somebody watches.  Subclass it and override `on_events`."""

    def __init__(self, fd: int, scheduled: bool = True) -> None:
        self.fd: int = fd
        self.scheduled: bool = scheduled
        """Whether `on_events` is called on the schedule."""
        self.watched: int = -1
        """The EPOLL* bits it is registered with; -1 while it is not.  Kept by the loop."""
        self.born: int = 0
        """The round in which it was registered: events of that round are another's, whose descriptor had this number."""

    def on_events(self, events: int, now: Instant) -> None:
        """Some of the EPOLL* bits hold.  Must not block; must not raise for what the peer did."""
        raise NotImplementedError


@final
class _Wakeup(Source):
    """An eventfd that other threads write to."""

    def __init__(self) -> None:
        super().__init__(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), False)

    def on_events(self, events: int, now: Instant) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass


@final
class Loop(Sleeper):
    """One epoll set.  `register`, `modify`, `unregister` and `interrupt` may be called from any thread."""

    def __init__(self) -> None:
        self._epoll: epoll = epoll()
        self._poll = self._epoll.poll
        self._sources: list[Source | None] = []
        self._round: int = 0
        self._closed: bool = False
        self._wakeup: _Wakeup = _Wakeup()
        self.register(self._wakeup, EPOLLIN)

    def fileno(self) -> int:
        """The descriptor of the epoll set: readable when `wait` would return at once."""
        return self._epoll.fileno()

    def register(self, source: Source, events: int) -> None:
        """Watch `source` for EPOLL* bits (0: only for errors and hang-up).  Raises OSError as epoll_ctl does."""
        sources = self._sources
        while source.fd >= len(sources):
            sources.append(None)
        # Entered in the table first: another thread, which drives, may hear of it before register() has returned.
        before = sources[source.fd]
        sources[source.fd] = source
        source.watched = events
        source.born = self._round
        try:
            self._epoll.register(source.fd, events)
        except OSError:
            source.watched = -1
            sources[source.fd] = before
            raise

    def modify(self, source: Source, events: int) -> None:
        """Watch `source` for these bits from now on; costs nothing if it is watched for them already."""
        if source.watched != events and source.watched >= 0:
            self._epoll.modify(source.fd, events)
            source.watched = events

    def unregister(self, source: Source) -> None:
        """Watch `source` no more; nothing happens if it is not watched.  To be called before its descriptor is closed."""
        if source.watched >= 0:
            source.watched = -1
            self._sources[source.fd] = None
            if not self._closed:
                self._epoll.unregister(source.fd)

    def sources(self) -> list[Source]:
        """What is being watched."""
        return [source for source in self._sources if source is not None and source is not self._wakeup]

    def interrupt(self) -> None:
        """End the present or the next `wait`."""
        if not self._closed:
            os.eventfd_write(self._wakeup.fd, 1)

    def wait(self, timeout: Duration) -> list[tuple[int, int]]:
        """Sleep until a source has events or `timeout` nanoseconds have passed; (descriptor, events) of what there is."""
        seconds = -1.0 if timeout >= FOREVER else max(timeout, 0) / 1e9
        happened = self._poll(seconds, MAX_EVENTS)
        # Whoever is registered from here on, while these are dispatched, is not who they are about.
        self._round += 1
        return happened

    def dispatch(self, happened: list[tuple[int, int]], host: "PosixHost") -> None:
        """Call the sources of what `wait` returned, on the schedule or off it.  Called off the schedule.  One that raises
        keeps no other from being called."""
        sources = self._sources
        round = self._round
        entered = False
        try:
            for fd, events in happened:
                source = sources[fd]
                if source is None or source.born == round:
                    continue
                if source.scheduled != entered:
                    if entered:
                        host.leave_as_driver()
                    else:
                        host.enter()
                    entered = source.scheduled
                    if sources[fd] is not source:
                        continue  # who had the schedule before us has closed it
                try:
                    source.on_events(events, host.now)
                except Exception as error:
                    host.failed(source, error)
        finally:
            if entered:
                host.leave_as_driver()

    def close(self) -> None:
        """Close the epoll set.  The sources' descriptors are their owners' to close."""
        if not self._closed:
            self._closed = True
            for source in self._sources:
                if source is not None:
                    source.watched = -1
            self._sources.clear()
            self._epoll.close()
            os.close(self._wakeup.fd)
