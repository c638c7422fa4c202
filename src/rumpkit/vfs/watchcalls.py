"""System calls of inotify: an instance, and what it watches."""

from typing import Final

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import EINVAL, EMFILE, ENOTDIR, error
from ..kern.abi.fcntl import AT_FDCWD, O_RDONLY, R_OK, S_IFDIR
from ..kern.abi.inotify import (
    IN_ALL_EVENTS,
    IN_CLOEXEC,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_NONBLOCK,
    IN_ONESHOT,
    IN_ONLYDIR,
)
from ..kern.process import Process
from .access import check_access
from .callbase import Path
from .events import InotifyFile
from .lockcalls import LockCalls
from .namei import FOLLOW, NO_FOLLOW
from .vfs import encode

_FLAGS: Final = IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ONESHOT


@mypyc_attr(allow_interpreted_subclasses=True)
class WatchCalls(LockCalls):
    """What happens to files."""

    def inotify_init1(self, process: Process, flags: int = 0) -> int:
        """A descriptor that events of files are read from, as Linux's struct inotify_event (Linux inotify_init1).  Flags
        IN_CLOEXEC, IN_NONBLOCK.  Raises EINVAL, EMFILE (also beyond the sysctl vfs.inotify.max_instances)."""
        events = self.vfs.events
        if flags & ~(IN_CLOEXEC | IN_NONBLOCK):
            raise error(EINVAL)
        process.files.check_room()
        if events.instances >= events.settings.max_instances:
            raise error(EMFILE)
        return process.files.install(InotifyFile(events, O_RDONLY | flags & IN_NONBLOCK), flags & IN_CLOEXEC != 0)

    def inotify_add_watch(self, process: Process, fd: int, path: Path, mask: int) -> int:
        """Watch a file or a directory and what is in it, for the IN_* events in `mask`; the watch's number (Linux
        inotify_add_watch).  A file that is watched already gets the new mask, or with IN_MASK_ADD both.  Raises EINVAL, EACCES
        where it may not be read, EEXIST (IN_MASK_CREATE), ENOTDIR (IN_ONLYDIR), ENOSPC."""
        instance = self.instance(process, fd)
        if not mask & IN_ALL_EVENTS or mask & ~(IN_ALL_EVENTS | _FLAGS) or not ~mask & (IN_MASK_ADD | IN_MASK_CREATE):
            raise error(EINVAL)
        instance.sweep()
        where = encode(path)
        walk = self.walk(process, where, AT_FDCWD)
        try:
            vnode = walk.get(where, NO_FOLLOW if mask & IN_DONT_FOLLOW else FOLLOW)
            if mask & IN_ONLYDIR and vnode.kind != S_IFDIR:
                raise error(ENOTDIR)
            check_access(vnode, process.credentials, R_OK)
            return self.vfs.events.add(instance, vnode, mask)
        finally:
            walk.done()

    def inotify_rm_watch(self, process: Process, fd: int, watch: int) -> None:
        """End a watch, whose last event is IN_IGNORED (Linux inotify_rm_watch).  Raises EINVAL."""
        instance = self.instance(process, fd)
        instance.sweep()
        self.vfs.events.remove(instance.find(watch), locked=False)

    def instance(self, process: Process, fd: int) -> InotifyFile:
        """The inotify instance `fd`.  Raises EINVAL for other files."""
        file = process.files.get(fd)
        if not isinstance(file, InotifyFile):
            raise error(EINVAL)
        return file
