"""The plain host: hypercalls for programs of one thread that work on files and have no network, such as `rump fs`.

Nothing but its caller drives it: what kernels post and defer happens when the caller leaves, what they set alarms for at the next
`leave` behind the deadline.  The wall clock may stand still and the random bytes may come from a seed, so that what is made of the
same input is the same, byte for byte.
"""

import os
from hashlib import sha256
from time import monotonic_ns, time_ns
from typing import Final, final

from ..hyper.calls import Parker
from ..hyper.time import FOREVER, Instant
from .agenda import SingleHost

NAP: Final = 1_000_000
"""Nanoseconds that a parked caller sleeps at most before it looks again."""


@final
class PlainParker(Parker):
    """Waits for what only an alarm can bring: nobody else runs."""

    def __init__(self, host: "PlainHost") -> None:
        self._host: PlainHost = host
        self._woken: bool = False

    def wake(self) -> None:
        self._woken = True

    def park(self, deadline: Instant) -> bool:
        host = self._host
        while not self._woken and host.now < deadline:
            if not host.sleep(deadline) and deadline >= FOREVER:
                raise RuntimeError("a caller waits for ever: nobody else is there to wake it")
        woken = self._woken
        self._woken = False
        return woken


@final
class PlainHost(SingleHost):
    """A host for one thread."""

    def __init__(self, wall: int = -1, seed: bytes = b"", console: int = 2) -> None:
        """`wall` is the time that it always is, in nanoseconds since 1970 (-1: the real one); random bytes are made of `seed`,
        unless that is empty; `console` is the descriptor that the console writes to."""
        super().__init__()
        self._wall: int = wall
        self._seed: bytes = seed
        self._drawn: int = 0
        self._console: int = console
        self.now = monotonic_ns()

    # Hypercalls ----------------------------------------------------------------------------------------

    def wall(self) -> int:
        return self._wall if self._wall >= 0 else time_ns()

    def random(self, size: int) -> bytes:
        if not self._seed:
            return os.urandom(size)
        data = b""
        while len(data) < size:
            data += sha256(self._seed + self._drawn.to_bytes(8, "little")).digest()
            self._drawn += 1
        return data[:size]

    def console_write(self, data: bytes) -> None:
        if self._console >= 0:
            os.write(self._console, data)

    def enter(self) -> None:
        self.schedule()
        self.now = monotonic_ns()

    def leave(self) -> None:
        self.check_scheduled("leave")
        try:
            self._agenda.run(self.now)
        finally:
            self._scheduled = False

    def parker(self) -> Parker:
        return PlainParker(self)

    # For its parker --------------------------------------------------------------------------------------

    def sleep(self, until: Instant) -> bool:
        """Let time pass up to the next alarm or `until`; False if there is no alarm to wait for."""
        from time import sleep

        agenda = self._agenda
        if agenda.busy():
            agenda.run(self.now)
            return True
        when = min(agenda.next_live(), until)
        if when >= FOREVER:
            return False
        self._scheduled = False
        sleep(max(min(when - monotonic_ns(), NAP), 0) / 1e9)
        self._scheduled = True
        self.now = monotonic_ns()
        agenda.run(self.now)
        return True
