"""hostfs as a mount: host calls off the schedule, and which file of the host's is which vnode."""

from collections.abc import Callable
from typing import Final, TypeVar, final

from ...hyper.calls import Hypercalls
from ...hyper.hostdir import HostDirectory, HostStat
from ...kern.abi.errno import EROFS
from ...kern.abi.fcntl import S_IFDIR, S_IFMT
from ...vfs.stat import StatVfs
from ...vfs.vnode import Mount
from .node import HostVnode

KEPT: Final = 4096
"""How many files nobody holds a mount remembers at least: more than one path has names."""

Result = TypeVar("Result")


@final
class HostMount(Mount):
    """A directory of the host's."""

    def __init__(
        self, hyper: Hypercalls, source: str, directory: HostDirectory, uid: int, gid: int, max_names: int
    ) -> None:
        super().__init__(hyper, "hostfs", source, hyper.mutex())
        self.refreshes = True
        self.directory: HostDirectory = directory
        self.uid: int = uid
        """Whose all files seem to be; -1: as on the host."""
        self.gid: int = gid
        self.max_names: int = max_names
        """How many names one directory may have (EOVERFLOW)."""
        self._devices: dict[int, int] = {}
        self._known: dict[tuple[int, int], HostVnode] = {}
        self._forget_at: int = 2 * KEPT
        stat = self.off(lambda: directory.stat(b""))
        root = HostVnode(self, self.number_of(stat.device, stat.number), stat)
        self.root: HostVnode = root
        self._known[stat.device, stat.number] = root

    def off(self, call: Callable[[], Result]) -> Result:
        """Make a call to the host off the schedule.  Under the mount's lock, but for the first."""
        self.hyper.unschedule()
        try:
            return call()
        finally:
            self.hyper.schedule()

    def number_of(self, device: int, number: int) -> int:
        """The inode number of a file of the host's: its own, with what tells the host's file systems apart above."""
        place = self._devices.setdefault(device, len(self._devices))
        return number & (1 << 56) - 1 | place << 56

    def vnode(self, directory: HostVnode, name: bytes, stat: HostStat) -> HostVnode:
        """The vnode of what is called `name` in `directory`."""
        key = stat.device, stat.number
        known = self._known.get(key)
        if known is not None and self._still(known, directory, stat):
            if known is not self.root:
                known.directory = directory
                known.name = name
            known.take(stat)
            return known
        if len(self._known) >= self._forget_at:
            self._forget()
        made = HostVnode(self, self.number_of(*key), stat)
        made.directory = directory
        made.name = name
        self._known[key] = made
        return made

    def _still(self, known: HostVnode, directory: HostVnode, stat: HostStat) -> bool:
        """Whether what has the same number as `known` is the same file: not one that came after it, and not a directory that the
        host has moved below what was in it, whose path would have no end."""
        if known.kind != stat.mode & S_IFMT or (known.references and not known.links):
            return False
        if known.kind == S_IFDIR:
            above = directory
            while above is not known:
                if above is self.root:
                    return True
                above = above.directory
            return False
        return True

    def _forget(self) -> None:
        """Forget files that nobody holds and that no other's path goes through, the oldest first."""
        used = {vnode.directory.key for vnode in self._known.values()}
        idle = [key for key, vnode in self._known.items() if not vnode.references and key not in used]
        for key in idle[: max(len(idle) - KEPT, len(idle) // 2)]:
            del self._known[key]
        # Where most are held, the next sweep waits for as many again: a file costs the same however many there are.
        self._forget_at = max(2 * KEPT, len(self._known) * 2)

    def statvfs(self) -> StatVfs:
        """Those of the host's file system."""
        space = self.off(self.directory.space)
        return StatVfs(
            space.unit,
            space.unit,
            space.blocks,
            space.free,
            space.available,
            space.files,
            space.free_files,
            space.free_files,
            self.number,
            int(self.read_only),
            space.name_max,
        )

    def sync(self) -> None:
        """Let the host write everything back."""
        if not self.directory.read_only:
            self.off(self.directory.sync)

    def remount(self, read_only: bool) -> None:
        """A directory that was attached read-only stays so."""
        if not read_only and self.directory.read_only:
            raise OSError(EROFS, "the host directory is read-only")
        super().remount(read_only)
