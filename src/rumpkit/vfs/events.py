"""Who wants to know what happens to files (Linux inotify(7)): watches on vnodes, and the open files that events are read from.

The system calls tell; nothing is told, and next to nothing spent, while nobody watches.  An open file knows the name that it was opened by
only if somebody had an inotify instance then: what is done through one opened before shows at watches of the file, not of its directory.
"""

import struct
from typing import Final, final

from ..hyper.time import Instant
from ..kern.abi.errno import EEXIST, EINVAL, ENOSPC, ENOTTY, error
from ..kern.abi.fcntl import S_IFDIR
from ..kern.abi.inotify import (
    IN_ALL_EVENTS,
    IN_ATTRIB,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_EXCL_UNLINK,
    IN_IGNORED,
    IN_ISDIR,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONESHOT,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
)
from ..kern.abi.ioctl import FIONREAD
from ..kern.abi.poll import POLLIN, POLLRDNORM
from ..kern.file import OpenFile
from ..kern.sysctl import Sysctl
from ..kern.wait import Blocked
from .vnode import Mount, Vnode, let_go
from .watch import WatchList

_EVENT: Final = struct.Struct("<iIII")
_OWN: Final = IN_DELETE_SELF | IN_MOVE_SELF
"""Events that a directory has of itself and that don't say it is one."""


@final
class EventSettings:
    """Limits of inotify."""

    def __init__(self) -> None:
        self.max_instances: int = 128
        self.max_watches: int = 65536
        self.max_queued_events: int = 16384


EVENT_SYSCTLS: Final = (
    Sysctl("max_instances", 0, 1 << 20, "inotify instances that there may be at once (EMFILE)"),
    Sysctl("max_watches", 0, 1 << 30, "files that all of them may watch (ENOSPC)"),
    Sysctl("max_queued_events", 1, 1 << 30, "events that wait to be read; further ones are one of overflow"),
)


@final
class Watch:
    """One instance's interest in one file."""

    def __init__(self, instance: "InotifyFile", number: int, mask: int, vnode: Vnode) -> None:
        self.instance: InotifyFile = instance
        self.number: int = number
        self.mask: int = mask
        self.vnode: Vnode = vnode


@final
class Events(WatchList):
    """The watches of a kernel, and its watchers: who is to be told that names and files change."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: EventSettings = EventSettings()
        self.instances: int = 0
        self.watches: int = 0
        self._cookie: int = 0
        """What joins the two events of a move."""

    def tell(
        self,
        vnode: Vnode,
        mask: int,
        directory: Vnode | None = None,
        name: bytes = b"",
        own: bool = True,
        cookie: int = 0,
    ) -> None:
        """Something happened to `vnode`, which is called `name` in `directory`; with `own` it concerns the file itself, too."""
        if not self.watches:
            return
        vnode = vnode.underlying()
        kind = IN_ISDIR if vnode.kind == S_IFDIR else 0
        if directory is not None:
            for watch in directory.underlying().watches or ():
                if watch.mask & mask and not (watch.mask & IN_EXCL_UNLINK and own and vnode.links == 0):
                    self._report(watch, mask | kind, cookie, name)
        if own:
            for watch in vnode.watches or ():
                if watch.mask & mask:
                    self._report(watch, mask if mask & _OWN else mask | kind, cookie, b"")

    # Names come, go and move: told to all -----------------------------------------------------------------

    def made(self, vnode: Vnode, directory: Vnode, name: bytes) -> None:
        """A file was made."""
        if self.watchers:
            self.named(directory, name)
        if self.watches:
            self.tell(vnode, IN_CREATE, directory, name, own=False)

    def linked(self, vnode: Vnode, directory: Vnode, name: bytes) -> None:
        """A file has got a further name."""
        if self.watchers:
            self.changed(vnode, False)
        if self.watches:
            self.tell(vnode, IN_ATTRIB)
        self.made(vnode, directory, name)

    def gone(self, vnode: Vnode, directory: Vnode, name: bytes) -> None:
        """A name of a file was taken away, or an empty directory.  Called under its mount's lock."""
        is_directory = vnode.kind == S_IFDIR
        if self.watchers:
            self.named(directory, name)
            if not is_directory:
                self.changed(vnode, False)
        if self.watches:
            self.unlinked(vnode, not is_directory)
            self.tell(vnode, IN_DELETE, directory, name, own=False)

    def moved(
        self,
        vnode: Vnode,
        source: Vnode,
        name: bytes,
        target: Vnode,
        new_name: bytes,
        replaced: Vnode | None,
        exchange: bool,
    ) -> None:
        """A name has moved, over `replaced`, or in `exchange` for it.  Called under the mount's lock."""
        self.named(source, name)
        self.named(target, new_name)
        if self.watches:
            self._tell_move(vnode, source, name, target, new_name)
            if replaced is not None:
                if exchange:
                    self._tell_move(replaced, target, new_name, source, name)
                else:
                    self.unlinked(replaced)

    def _tell_move(self, vnode: Vnode, source: Vnode, name: bytes, target: Vnode, new_name: bytes) -> None:
        self._cookie = self._cookie % 0xFFFFFFFF + 1
        self.tell(vnode, IN_MOVED_FROM, source, name, own=False, cookie=self._cookie)
        self.tell(vnode, IN_MOVED_TO, target, new_name, own=False, cookie=self._cookie)
        self.tell(vnode, IN_MOVE_SELF)

    # Watches -----------------------------------------------------------------------------------------------

    def unlinked(self, vnode: Vnode, attributes: bool = True) -> None:
        """A name of `vnode` has gone.  Called under its mount's lock."""
        if not self.watches:
            return
        vnode = vnode.underlying()
        if attributes:
            self.tell(vnode, IN_ATTRIB)
        if self._is_gone(vnode):
            self._deleted(vnode, locked=True)

    def closed(self, vnode: Vnode) -> None:
        """An open file has let go of `vnode`."""
        if self.watches:
            vnode = vnode.underlying()
            if self._is_gone(vnode):
                self._deleted(vnode, locked=False)

    def unmounting(self, mount: Mount) -> None:
        """The mount leaves the tree."""
        for watch in list(mount.watches or ()):
            watch.instance.put(watch.number, IN_UNMOUNT, 0, b"")
            self.remove(watch, locked=False)

    def add(self, instance: "InotifyFile", vnode: Vnode, mask: int) -> int:
        """Watch a file, or change what an instance wants to know of it; the watch's number.  Raises ENOSPC, EEXIST."""
        vnode = vnode.underlying()
        watches = vnode.watches or []
        for watch in watches:
            if watch.instance is instance:
                if mask & IN_MASK_CREATE:
                    raise error(EEXIST)
                kept = watch.mask & IN_ALL_EVENTS if mask & IN_MASK_ADD else 0
                watch.mask = mask | kept
                return watch.number
        if self.watches >= self.settings.max_watches:
            raise error(ENOSPC)
        made = instance.watch(vnode, mask)
        vnode.hold()
        mount = vnode.mount
        vnode.watches = [*watches, made]
        if mount.watches is None:
            mount.watches = []
        mount.watches.append(made)
        self.watches += 1
        return made.number

    def remove(self, watch: Watch, locked: bool) -> None:
        """End a watch, which says so as its last event.  `locked`: under the lock of the file's mount."""
        vnode = watch.vnode
        mount = vnode.mount
        vnode.watches = [other for other in vnode.watches or () if other is not watch] or None
        if mount.watches is not None:
            mount.watches.remove(watch)
        self.watches -= 1
        watch.instance.forget(watch)
        watch.instance.put(watch.number, IN_IGNORED, 0, b"")
        if locked:
            vnode.release()
        else:
            let_go(vnode)

    def _report(self, watch: Watch, mask: int, cookie: int, name: bytes) -> None:
        watch.instance.put(watch.number, mask, cookie, name)
        if watch.mask & IN_ONESHOT:
            # The file is somebody's who holds it or its mount's lock: the hold can go.
            watch.mask = 0
            watch.instance.spent.append(watch)

    def _is_gone(self, vnode: Vnode) -> bool:
        """Whether the file has no name, and nobody but watches holds it."""
        watches = vnode.watches
        return watches is not None and vnode.links == 0 and vnode.references == len(watches)

    def _deleted(self, vnode: Vnode, locked: bool) -> None:
        for watch in list(vnode.watches or ()):
            if watch.mask & IN_DELETE_SELF:
                watch.instance.put(watch.number, IN_DELETE_SELF, 0, b"")
            self.remove(watch, locked)


@final
class InotifyFile(OpenFile):
    """One inotify instance: reading it gives events as Linux's struct inotify_event."""

    def __init__(self, events: Events, flags: int) -> None:
        super().__init__(flags)
        self._events: Events = events
        self._watches: dict[int, Watch] = {}
        self.spent: list[Watch] = []
        """Watches for one event that have had it."""
        self._queue: list[tuple[int, int, int, bytes]] = []
        self._last: int = 0
        events.instances += 1

    def watch(self, vnode: Vnode, mask: int) -> Watch:
        """A new watch with the next number."""
        self._last += 1
        made = Watch(self, self._last, mask, vnode)
        self._watches[self._last] = made
        return made

    def find(self, number: int) -> Watch:
        """The watch with this number.  Raises EINVAL."""
        watch = self._watches.get(number)
        if watch is None:
            raise error(EINVAL)
        return watch

    def forget(self, watch: Watch) -> None:
        """The watch has ended."""
        self._watches.pop(watch.number, None)

    def put(self, number: int, mask: int, cookie: int, name: bytes) -> None:
        """Queue an event, unless it is the same as the last.  Where the queue is full, the last event is one of overflow."""
        queue = self._queue
        event = (number, mask, cookie, name)
        limit = self._events.settings.max_queued_events
        if len(queue) >= limit:
            event = (-1, IN_Q_OVERFLOW, 0, b"")
            if len(queue) > limit:
                return
        elif queue and queue[-1] == event:
            return
        queue.append(event)
        self.queue.wake_all()

    def sweep(self) -> None:
        """End the watches that have had their one event."""
        while self.spent:
            watch = self.spent.pop()
            if watch.number in self._watches:
                self._events.remove(watch, locked=False)

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        """As many events as fit into `size` bytes.  Raises EINVAL where not even one does."""
        self.sweep()
        if not self._queue:
            return Blocked(self.queue)
        taken = 0
        parts: list[bytes] = []
        for event in self._queue:
            packed = _pack(*event)
            size -= len(packed)
            if size < 0:
                break
            parts.append(packed)
            taken += 1
        if not parts:
            raise error(EINVAL)
        del self._queue[:taken]
        return b"".join(parts)

    def poll(self) -> int:
        """Readable while there are events."""
        return POLLIN | POLLRDNORM if self._queue else 0

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """FIONREAD: bytes that all events take."""
        if request != FIONREAD:
            raise error(ENOTTY)
        return sum(len(_pack(*event)) for event in self._queue).to_bytes(4, "little")

    def close(self, now: Instant) -> None:
        """End all watches."""
        for watch in list(self._watches.values()):
            self._events.remove(watch, locked=False)
        self._events.instances -= 1

    def describe(self) -> str:
        return "inotify"


def _pack(number: int, mask: int, cookie: int, name: bytes) -> bytes:
    """An event as its reader gets it: the name with NUL bytes up to a multiple of 16."""
    padded = name + bytes(16 - len(name) % 16) if name else b""
    return _EVENT.pack(number, mask, cookie, len(padded)) + padded
