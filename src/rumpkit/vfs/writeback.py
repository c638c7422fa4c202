"""Writing back what nobody asks for: what a mount has changed gets to its disk in time, also while nobody calls it.

Between `vfs`, which has one of these, and the mounts.  A mount says when it has something to write (`Mount.dirtied`) and until when
(`Mount.due`); the host's background does it then.  While nothing waits there is no timer, and nothing is written.
"""

from typing import TYPE_CHECKING, Final, final

from ..hyper.calls import AlarmTarget, Hypercalls
from ..hyper.time import FOREVER, MILLISECOND, Instant
from ..kern.sysctl import Sysctl

if TYPE_CHECKING:
    from .vnode import Mount


@final
class WriteBackSettings:
    """How long changes may wait, in milliseconds."""

    def __init__(self) -> None:
        self.commit_interval: int = 5000
        self.dirty_expire: int = 30000


WRITE_BACK_SYSCTLS: Final = (
    Sysctl(
        "commit_interval",
        1,
        86_400_000,
        "ms until changes are on a disk without a journal (with one: see the option `commit`)",
    ),
    Sysctl("dirty_expire", 1, 86_400_000, "ms for which written data waits in memory to get storage in larger pieces"),
)


@final
class WriteBack(AlarmTarget):
    """The mounts that have something to write."""

    def __init__(self, hyper: Hypercalls) -> None:
        self.settings: WriteBackSettings = WriteBackSettings()
        self._hyper: Hypercalls = hyper
        self._due: dict[Mount, Instant] = {}
        self._next: Instant = FOREVER
        """When the host will call; there may be further, later calls under way."""

    def add(self, mount: "Mount") -> None:
        """The mount may have something to write, or earlier than before."""
        self._add(mount, 0)

    def commit_interval(self) -> int:
        """The setting in nanoseconds."""
        return self.settings.commit_interval * MILLISECOND

    def dirty_expire(self) -> int:
        """The setting in nanoseconds."""
        return self.settings.dirty_expire * MILLISECOND

    def on_alarm(self, now: Instant) -> None:
        """Have written what is due.  It may sleep."""
        if now < self._next:
            return  # an earlier call has done what this one was for
        self._next = FOREVER
        for mount, when in list(self._due.items()):
            if when <= now:
                del self._due[mount]
                self._write(mount)
        if self._due:
            self._call(min(self._due.values()))

    def _add(self, mount: "Mount", earliest: Instant) -> None:
        when = mount.due()
        if when == FOREVER or mount.finished:
            return
        when = max(when, earliest)
        if when < self._due.get(mount, FOREVER):
            self._due[mount] = when
            self._call(when)

    def _call(self, when: Instant) -> None:
        if when < self._next:
            self._next = when
            self._hyper.background(self, max(when - self._hyper.now, 0))

    def _write(self, mount: "Mount") -> None:
        lock = mount.lock
        if lock is not None:
            lock.acquire()
        try:
            if not mount.finished and not mount.read_only:
                mount.write_back()
                self.add(mount)
        except OSError as problem:
            # Whoever syncs or unmounts hears of it.  What is not written is still waiting, unless the mount has been given up.
            mount.keep_problem(problem)
            self._add(mount, self._hyper.now + self.commit_interval())
        finally:
            if lock is not None:
                lock.release()
