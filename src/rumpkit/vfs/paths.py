"""Where a process's paths start: root directory, working directory, and the mask of new files' modes."""

from typing import final

from ..kern.process import PathContext
from .vnode import Vnode, let_go


@final
class VfsPaths(PathContext):
    """The path context of a process in a kernel with files."""

    def __init__(self, root: Vnode, directory: Vnode, mask: int) -> None:
        root.hold()
        directory.hold()
        self.root: Vnode = root
        self.directory: Vnode = directory
        """The working directory."""
        self.mask: int = mask
        """umask: permission bits that new files don't get."""

    def fork(self) -> "VfsPaths":
        """A copy for a child."""
        return VfsPaths(self.root, self.directory, self.mask)

    def close(self) -> None:
        """The process has gone."""
        try:
            let_go(self.root)
        finally:
            let_go(self.directory)

    def change_directory(self, held: Vnode) -> None:
        """Make `held`, a directory that the caller has held, the working directory."""
        old = self.directory
        self.directory = held
        let_go(old)

    def change_root(self, held: Vnode) -> None:
        """Make `held`, a directory that the caller has held, the one that "/" means and that ".." doesn't leave."""
        old = self.root
        self.root = held
        let_go(old)
