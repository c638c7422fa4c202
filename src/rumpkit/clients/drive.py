"""Who drives a posix host while an asyncio program waits: the program's own loop, without a further thread.

Between asyncio above and the host's loop below.  While somebody holds a `Drive`, the asyncio loop watches the host's
epoll descriptor and its next deadline, and calls `poll_once` for either.  Awaited calls hold it while they wait;
`async with Kernel(...)` holds it all the time, so that its kernel answers while the program waits for other things.
Where the host has a thread of its own, or another loop, there is nothing to do.
"""

import asyncio
from threading import get_ident
from time import monotonic_ns

from ..hosts.posix.host import PosixHost
from ..hyper.calls import Hypercalls
from ..hyper.time import FOREVER

_drives: list["Drive"] = []
"""Those in use.  A program has one for each pair of host and loop, so there are few."""


class Drive:
    """Drives one host from one asyncio loop for as long as it is held."""

    def __init__(self, host: PosixHost, loop: asyncio.AbstractEventLoop) -> None:
        self.host = host
        self.loop = loop
        self._holders = 0
        self._driving = False
        self._timer: asyncio.TimerHandle | None = None
        self._fd = host.fileno()
        self._owner = get_ident()
        self.stopped = False
        """It is forgotten; whoever wants to wait needs another one."""

    def usable(self) -> bool:
        """Whether this is the drive for who runs now: its loop does, in this thread, and it is not forgotten.  (To ask
        asyncio which loop runs costs a system call.)"""
        return not self.stopped and self._owner == get_ident() and self.loop.is_running()

    def hold(self) -> None:
        """Drive from now on, until as many have let go."""
        self._holders += 1
        if not self._driving and not self.host.claimed():
            self.host.claim()
            self._driving = True
            self.loop.add_reader(self._fd, self._turn)
            self._turn()

    def drop(self) -> None:
        """Let go.  The last one's hold lasts until the loop's next round, as the next call is often made before that."""
        self._holders -= 1
        if self._holders == 0:
            self.loop.call_soon(self._rest)

    def finish(self) -> None:
        """Let go, and if this was the last hold, drive no more at once: the host may be closed next."""
        self._holders -= 1
        self._rest()

    def _turn(self) -> None:
        """Do what there is to do, and ask to be called for what is next."""
        deadline = self.host.poll_once()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline < FOREVER:
            self._timer = self.loop.call_later(max(0, deadline - monotonic_ns()) / 1e9, self._turn)

    def _rest(self) -> None:
        if self._holders == 0:
            self.stop()

    def stop(self) -> None:
        """Drive no more; parked callers do from now on."""
        self.stopped = True
        if self in _drives:
            _drives.remove(self)
        if self._driving:
            self._driving = False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not self.loop.is_closed():
                self.loop.remove_reader(self._fd)
            self.host.unclaim()


def drive(host: Hypercalls, loop: asyncio.AbstractEventLoop) -> Drive:
    """The drive of this host and loop.  Raises RuntimeError for hosts that asyncio can't drive."""
    if not isinstance(host, PosixHost):
        raise RuntimeError(f"asyncio can't drive a {type(host).__name__}: in a simulation, run coroutines as SimTask")
    for known in list(_drives):
        if known.loop.is_closed():
            known.stop()
        elif known.host is host and known.loop is loop:
            return known
    made = Drive(host, loop)
    _drives.append(made)
    return made
