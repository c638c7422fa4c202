"""tmpfs as a type that can be mounted, with its options."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EINVAL, error
from ...vfs.types import FileSystemType, Option, OptionValue
from ...vfs.vnode import Mount
from .mount import TmpfsMount
from .pool import Pool

if TYPE_CHECKING:
    from ...vfs.vfs import Vfs

MEBIBYTE: Final = 1 << 20
FILE_SIZE: Final = (1 << 63) - 1

OPTIONS: Final = (
    Option("size", 512 * MEBIBYTE, 0, FILE_SIZE, "bytes that all files together may take (ENOSPC)"),
    Option(
        "inodes", 1 << 20, 1, FILE_SIZE, "files and directories that there may be, and further names of files (ENOSPC)"
    ),
    Option("file_size", FILE_SIZE, 0, FILE_SIZE, "bytes that one file may have, holes included (EFBIG)"),
    Option("links", 65000, 2, 1 << 31, "names that one file, and subdirectories that one directory, may have (EMLINK)"),
    Option("mode", 0o755, 0, 0o7777, "permission bits of the root directory"),
    Option("uid", 0, 0, 1 << 32, "owner of the root directory"),
    Option("gid", 0, 0, 1 << 32, "group of the root directory"),
)


@final
class Tmpfs(FileSystemType):
    """The type "tmpfs"."""

    def __init__(self) -> None:
        super().__init__("tmpfs", OPTIONS)

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """A new, empty tmpfs.  Raises EINVAL where a source is named: it has none."""
        if source not in ("", "tmpfs"):
            raise error(EINVAL, source)
        values = {option.name: int(options[option.name]) for option in self.options}
        pool = Pool(values["size"], values["inodes"], values["file_size"], values["links"])
        return TmpfsMount(vfs.hyper, pool, values["mode"], values["uid"], values["gid"])
