"""The type "union", whose source is a directory of the tree."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EINVAL, ENOTDIR, error
from ...kern.abi.fcntl import S_IFDIR
from ...vfs.types import FileSystemType, Option, OptionValue
from ...vfs.vnode import Mount
from ..tmpfs.pool import Pool
from ..tmpfs.type import FILE_SIZE, MEBIBYTE
from .mount import DEEPEST, UnionMount, depth_over, own_numbers

if TYPE_CHECKING:
    from ...vfs.vfs import Vfs

OPTIONS: Final = (
    Option("size", 512 * MEBIBYTE, 0, FILE_SIZE, "bytes that what is written may take (ENOSPC)"),
    Option(
        "inodes",
        1 << 20,
        1,
        FILE_SIZE,
        "files and directories that may be made, changed, removed or given a further name (ENOSPC)",
    ),
    Option("file_size", FILE_SIZE, 0, FILE_SIZE, "bytes that a changed file may have, holes included (EFBIG)"),
    Option("links", 65000, 2, 1 << 31, "names that one file, and subdirectories that one directory, may have (EMLINK)"),
    Option("vnodes", 32768, 64, 1 << 30, "unchanged files that stay in use though nobody has them open"),
)


@final
class Union(FileSystemType):
    """The type "union"."""

    def __init__(self) -> None:
        super().__init__("union", OPTIONS)

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """The directory `source`, an absolute path, with a layer over it.  Raises EINVAL, ENOENT, ENOTDIR."""
        if not source.startswith("/"):
            raise OSError(EINVAL, "a union's source is an absolute path in the tree")
        lower = vfs.resolve(source)
        if lower.kind != S_IFDIR:
            raise error(ENOTDIR, source)
        if lower.mount.folds_case:
            raise OSError(EINVAL, f"{source} is on a file system that doesn't tell upper from lower case")
        depth = depth_over(lower)
        if depth >= DEEPEST:
            raise OSError(EINVAL, f"more than {DEEPEST} unions over each other")
        values = {option.name: int(options[option.name]) for option in self.options}
        pool = Pool(values["size"], values["inodes"], values["file_size"], values["links"], own_numbers(depth))
        return UnionMount(vfs.hyper, lower, source, pool, values["vnodes"])
