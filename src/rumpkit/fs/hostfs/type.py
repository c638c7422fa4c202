"""hostfs as a type that can be mounted: which directories there are, which whoever composes the kernel says."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from ...hyper.hostdir import HostDirectory
from ...kern.abi.errno import ENOENT, EROFS, error
from ...vfs.types import FileSystemType, Option, OptionValue
from ...vfs.vnode import Mount
from .mount import HostMount

if TYPE_CHECKING:
    from ...vfs.vfs import Vfs

OPTIONS: Final = (
    Option("uid", -1, -1, 1 << 32, "owner that all files have in the kernel; -1: as on the host"),
    Option("gid", -1, -1, 1 << 32, "group that all files have in the kernel; -1: as on the host"),
    Option("max_names", 1 << 20, 1, 1 << 30, "names that one directory may have (EOVERFLOW)"),
)


@final
class Hostfs(FileSystemType):
    """The type "hostfs".  A kernel's processes can mount attached directories only, and name none of the host's."""

    def __init__(self) -> None:
        super().__init__("hostfs", OPTIONS)
        self._directories: dict[str, HostDirectory] = {}

    def attach(self, name: str, directory: HostDirectory) -> bool:
        """Let mounts have `directory` for the source `name`; False where there is such a directory already."""
        if name in self._directories:
            return False
        self._directories[name] = directory
        return True

    def close(self) -> None:
        """Let go of all directories, off the schedule: the kernel goes away."""
        while self._directories:
            self._directories.popitem()[1].close()

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """A mount of the attached directory `source`.  Raises ENOENT, EROFS where it was attached read-only and the mount is not,
        and what the host says."""
        directory = self._directories.get(source)
        if directory is None:
            raise error(ENOENT, source)
        if directory.read_only and not options["read_only"]:
            raise error(EROFS, source)
        uid, gid, max_names = (int(options[option.name]) for option in self.options)
        return HostMount(vfs.hyper, source, directory, uid, gid, max_names)
