"""Path resolution (POSIX 4.16; BSD's namei): from a path to a vnode, or to a directory and a name in it.

A `Walk` goes from directory to directory, over mount points and symbolic links.  It is in one mount at a time and
holds that mount's lock, if it has one, until `done`, so what it found stays true for the caller's whole system call::

    walk = Walk(root, directory, credentials)
    try:
        vnode = walk.find(path, FOLLOW)
        ...
    finally:
        walk.done()
"""

from typing import Final, final

from ..kern.abi.errno import EACCES, EIO, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, error
from ..kern.abi.fcntl import NAME_MAX, PATH_MAX, S_IFDIR, S_IFLNK, SYMLOOP_MAX
from ..kern.process import Credentials
from .access import SEARCH, may_access
from .vnode import Mount, Vnode

PARENT: Final = 0
"""Stop at the directory that the last name is in and don't look the name up."""
NO_FOLLOW: Final = 1
"""A symbolic link at the end is what was asked for, unless a slash follows it."""
FOLLOW: Final = 2

NORMAL: Final = 0
DOT: Final = 1
DOT_DOT: Final = 2
ROOT: Final = 3
"""Kinds of last components: a name, ".", "..", or none at all because the path is all slashes."""


@final
class Walk:
    """One path resolution: where it is, and what it ended on (BSD's struct nameidata)."""

    def __init__(self, root: Vnode, start: Vnode, credentials: Credentials) -> None:
        self.directory: Vnode = start
        """Where the walk is; at the end, the directory of the last component."""
        self.name: bytes = b""
        """The last component, if `last` is NORMAL."""
        self.last: int = ROOT
        self.slash: bool = False
        """Whether slashes follow the last component."""
        self.creating: bool = False
        """The last component may be created as a file, so it can't have slashes behind it."""
        self._root: Vnode = root
        self._credentials: Credentials = credentials
        self._privileged: bool = credentials.uid == 0
        self._locked: Mount | None = None
        if start.mount.lock is not None:
            self._go(start)

    # Locks ---------------------------------------------------------------------------------------------

    def enter(self, mount: Mount) -> None:
        """Be in `mount` from now on, under its lock, and no longer in another."""
        if mount is self._locked:
            return
        if self._locked is not None:
            self.done()
        if mount.lock is not None:
            mount.begin_call()
            self._locked = mount

    def done(self) -> None:
        """Leave the mount that the walk is in.  What it found may change from now on."""
        locked = self._locked
        if locked is not None:
            self._locked = None
            locked.end_call()

    def drop(self, vnode: Vnode) -> None:
        """Release a vnode that was held for the walk, and leave its mount."""
        self.enter(vnode.mount)
        try:
            vnode.release()
        finally:
            self.done()

    # The walk ------------------------------------------------------------------------------------------

    def find(self, path: bytes, mode: int) -> Vnode | None:
        """Resolve `path`; returns the vnode or None if the last component does not exist or the mode is PARENT.

        Raises ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG.
        """
        if not path:
            raise error(ENOENT)
        if len(path) >= PATH_MAX:
            raise error(ENAMETOOLONG)
        if path[0] == 0x2F:
            self._go(self._root)
        names = [name for name in path.split(b"/") if name]
        self.slash = path[-1] == 0x2F
        links = 0
        place = 0
        while place < len(names):
            name = names[place]
            place += 1
            final_one = place == len(names)
            vnode = self._step(name, final_one, final_one and mode == PARENT)
            if vnode is None:
                if final_one:
                    return None
                raise error(ENOENT)
            if vnode.kind == S_IFLNK:
                if final_one and mode == NO_FOLLOW and not self.slash:
                    return vnode
                links += 1
                if links > SYMLOOP_MAX:
                    raise error(ELOOP)
                names = self._expand(vnode.readlink(), names[place:])
                place = 0
            elif final_one:
                if self.slash and vnode.kind != S_IFDIR:
                    raise error(ENOTDIR)
                return vnode
            else:
                self._go(vnode)
        self.last = ROOT
        return self.directory

    def get(self, path: bytes, mode: int) -> Vnode:
        """As `find`, of what has to exist.  Raises ENOENT."""
        vnode = self.find(path, mode)
        if vnode is None:
            raise error(ENOENT)
        return vnode

    def look(self) -> Vnode | None:
        """What the last component is itself: a symbolic link and not its target, a mount point and not what is on it.

        Raises ENAMETOOLONG.
        """
        if len(self.name) > NAME_MAX:
            raise error(ENAMETOOLONG)
        return self.directory.lookup(self.name)

    def present(self) -> Vnode:
        """As `look`, of what has to exist.  Raises ENOENT."""
        vnode = self.look()
        if vnode is None:
            raise error(ENOENT)
        return vnode

    def climb(self) -> bytes:
        """Go up from the present directory, which is not the root; returns its name in its parent.

        Raises ENOENT where it has been removed or lies outside of the root.
        """
        while self.directory is self.directory.mount.root:
            covers = self.directory.mount.covers
            if covers is None:
                raise error(ENOENT)
            self._go(covers)
        directory = self.directory
        if directory.links == 0:
            raise error(ENOENT)
        above = directory.parent()
        name = above.name_of(directory)
        self._go(above)
        return name

    def _step(self, name: bytes, final_one: bool, stop: bool) -> Vnode | None:
        """What `name` is in the present directory; None if there is nothing, or if it is not to be looked up."""
        directory = self.directory
        if directory.kind != S_IFDIR:
            raise error(ENOTDIR)
        if not self._privileged and not may_access(directory, self._credentials, SEARCH):
            raise error(EACCES)
        self.name = name
        if name == b".":
            self.last = DOT
            return None if stop else directory
        if name == b"..":
            self.last = DOT_DOT
            return None if stop else self._parent()
        self.last = NORMAL
        if stop:
            return None
        if final_one and self.creating and self.slash:
            raise error(EISDIR)
        vnode = self.look()
        if vnode is not None and vnode.mounted_here is not None:
            return self._down(vnode)
        return vnode

    def _go(self, directory: Vnode) -> None:
        """Be in `directory`.  It is held while the walk waits for its mount's lock."""
        self.directory = directory
        mount = directory.mount
        if mount is not self._locked and (mount.lock is not None or self._locked is not None):
            directory.hold()
            self.enter(mount)
            try:
                directory.release()
            except BaseException:
                self.done()
                raise
            if mount.finished:
                self.done()
                raise error(EIO)
            if mount.lock is not None:
                try:
                    directory.refresh()
                except OSError:
                    self.done()
                    raise

    def _expand(self, target: bytes, rest: list[bytes]) -> list[bytes]:
        """The names to go on with after a symbolic link."""
        if not target:
            raise error(ENOENT)
        if target[0] == 0x2F:
            self._go(self._root)
        if not rest and target[-1] == 0x2F:
            self.slash = True
        return [name for name in target.split(b"/") if name] + rest

    def _down(self, vnode: Vnode) -> Vnode:
        """From a covered directory to the root of what is mounted on it."""
        while vnode.mounted_here is not None:
            vnode = vnode.mounted_here.root
        self.enter(vnode.mount)
        if vnode.mount.lock is not None:
            try:
                vnode.refresh()
            except OSError:
                self.done()
                raise
        return vnode

    def _parent(self) -> Vnode:
        """What ".." is here: never above the process's root, and out of a mount where that begins."""
        while self.directory is not self._root:
            mount = self.directory.mount
            if self.directory is not mount.root:
                above = self.directory.parent()
                return above if above.mounted_here is None else self._down(above)
            if mount.covers is None:
                break
            self._go(mount.covers)
        return self.directory
