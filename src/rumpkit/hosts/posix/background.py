"""What kernels do in the background on the POSIX host: a thread of its own for work that may wait for a disk, while there is any.

Below `host`.  Nobody else's thread would do: the loop must not wait for a disk, and while nobody calls a kernel, perhaps nobody
drives the loop.
"""

import threading
from heapq import heappop, heappush
from time import monotonic_ns
from typing import TYPE_CHECKING, final

from ...hyper.calls import AlarmTarget
from ...hyper.time import Instant

if TYPE_CHECKING:
    from .host import PosixHost


@final
class Background:
    """The background work of one host."""

    def __init__(self, host: "PosixHost") -> None:
        self._host: PosixHost = host
        self._changed = threading.Condition()
        self._work: list[tuple[Instant, int, AlarmTarget]] = []
        self._last: int = 0
        self._thread: threading.Thread | None = None
        self._closed: bool = False

    def add(self, target: AlarmTarget, when: Instant) -> None:
        """Call `target` on the schedule at `when`.  Any thread, on the schedule or off it."""
        with self._changed:
            if self._closed:
                return
            self._last += 1
            heappush(self._work, (when, self._last, target))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rumpkit background", daemon=True)
                self._thread.start()
            else:
                self._changed.notify()

    def close(self) -> None:
        """Drop what is not due, and wait for what is being done.  Off the schedule."""
        with self._changed:
            self._closed = True
            self._work.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while True:
            target = self._next()
            if target is None:
                return
            host = self._host
            host.enter()
            try:
                target.on_alarm(host.now)
            except Exception as problem:
                what = (type(problem), problem, problem.__traceback__, threading.current_thread())
                threading.excepthook(threading.ExceptHookArgs(what))
            finally:
                host.leave()

    def _next(self) -> AlarmTarget | None:
        """Sleep until something is due.  None: nothing is left, and the thread is to end."""
        with self._changed:
            while self._work:
                wait = self._work[0][0] - monotonic_ns()
                if wait <= 0:
                    return heappop(self._work)[2]
                self._changed.wait(min(wait / 1e9, threading.TIMEOUT_MAX))
            self._thread = None
            return None
