"""File systems as components: each registers its type with the vfs.  Interpreted; see kern/component.py."""

from typing import TYPE_CHECKING

from ..kern.component import component

if TYPE_CHECKING:
    from ..vfs.vfs import Vfs
    from .tmpfs.type import Tmpfs


@component("tmpfs", faction="fs")
def tmpfs(vfs: "Vfs") -> "Tmpfs":
    """A file system in memory, with limits."""
    from .tmpfs.type import Tmpfs

    kind = Tmpfs()
    vfs.types.register(kind)
    return kind
