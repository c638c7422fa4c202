"""Who wants to know that files change: clients that keep what they have seen of them, as a FUSE mount's kernel does.

Beside `vnode`.  `Events` (events.py) is the list of a vfs, which its mounts share; it tells inotify's watches, too.  The calls that change
something tell it afterwards, on the schedule and under the mount's lock; it costs one look at an empty list if nobody watches.
A file that only stands for another one (a null mount's) is never told of: that one is.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from .vnode import Mount, Vnode


@mypyc_attr(allow_interpreted_subclasses=True)
class Watcher:
    """Somebody who watches.  Its methods must neither sleep nor enter the kernel."""

    def changed(self, vnode: "Vnode", data: bool) -> None:
        """A file's attributes have changed, and with `data` its contents or length."""
        raise NotImplementedError

    def named(self, directory: "Vnode", name: bytes) -> None:
        """A name in a directory has come, has gone, or means another file."""
        raise NotImplementedError

    def revoked(self, mount: "Mount", exchange: "Callable[[Vnode], Vnode]") -> None:
        """A mount is taken away from its users, under its lock: put `exchange(vnode)`, a dead file, in the place of each of its files that
        you hold; it takes over the hold."""
        return None


@mypyc_attr(allow_interpreted_subclasses=True)
class WatchList:
    """The watchers of one vfs."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []

    def changed(self, vnode: "Vnode", data: bool) -> None:
        """Tell all (`Watcher.changed`)."""
        if self.watchers:
            vnode = vnode.underlying()
            for watcher in self.watchers:
                watcher.changed(vnode, data)

    def named(self, directory: "Vnode", name: bytes) -> None:
        """Tell all (`Watcher.named`)."""
        if self.watchers:
            directory = directory.underlying()
            for watcher in self.watchers:
                watcher.named(directory, name)
