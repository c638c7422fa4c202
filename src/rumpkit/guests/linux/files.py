"""A kernel's mounts as one program sees them: which of them appear, and the FUSE servers behind them.

Beside `guest`, which makes one for each program; `places` finds them a place, `starter` mounts them in the program's namespace, and
`rumpkit.clients.fuse` serves them, each in a thread of its own: the loop's thread reads the program's memory, and that may fault in a page
of a file that it would have to serve itself.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import ENODEV
from ...kern.kernel import RumpKernel
from . import check, ids
from .places import arrange
from .plan import ROOT, KernelMount, ShownMount
from .root import Root

if TYPE_CHECKING:
    from ...clients.fuse.server import FuseServer

SETTLE_TIMEOUT: Final = 5.0
"""Seconds that Linux has, after the program's end, to write back what it mapped."""


@final
class KernelFiles:
    """The mounts of one program."""

    def __init__(
        self,
        kernel: RumpKernel,
        shown: Sequence[ShownMount],
        user: ids.Identity | None = None,
        root: Root | None = None,
    ) -> None:
        """For a program of `user`.  Decides what can be shown.  Off the schedule; `start` does nothing yet.  Raises ENODEV where the root
        is the kernel's and can't be shown."""
        self.refused: dict[str, str] = {}
        """What the program won't see, and why."""
        self.mirrored: dict[str, list[str]] = {}
        self._kernel = kernel
        self._user = user
        self._root = root
        self._servers: list[FuseServer] = []
        self._shown = sorted(
            (mount._replace(path=os.path.normpath(mount.path)) for mount in shown), key=lambda mount: mount.path
        )
        if shown or (root is not None and root.kernel_path):
            self._arrange()

    def _arrange(self) -> None:
        from ...clients.fuse.attach import why_missing  # a program that sees no mounts starts without all that

        missing = why_missing()
        if missing and self._root is not None and self._root.kernel_path:
            raise OSError(ENODEV, missing, self._root.name)
        if missing:
            self.refused = {mount.path: missing for mount in self._shown}
            self._shown = []
        elif self._root is None:
            self.mirrored, self.refused = arrange([mount.path for mount in self._shown])
            self._shown = [mount for mount in self._shown if mount.path not in self.refused]

    def mounts(self) -> list[KernelMount]:
        """What `spawn` is to mount."""
        text = self._options() if self._shown else ""
        return [KernelMount(mount.path, text, mount.read_only) for mount in self._shown]

    def root_options(self) -> str:
        """The options of the mount that is the root, if it is the kernel's."""
        return self._options() if self._root is not None and self._root.kernel_path else ""

    def _options(self) -> str:
        from ...clients.fuse import FuseOptions

        return f"allow_other,default_permissions,max_read={FuseOptions().max_request}"

    def serve(self, place: int, fd: int) -> None:
        """A mount has been made: serve it from now on."""
        from ...clients.fuse import FuseOptions
        from ...clients.fuse.session import serve

        mount = self._shown[place] if place != ROOT else self._root_mount()
        # In a user namespace of its own there may be only one user, who is the kernel's superuser then.
        owner = None if check.privileged() else ids.plan(self._user).owner()
        options = FuseOptions(allow_other=True, owner=owner, read_only=mount.read_only)
        self._servers.append(serve(self._kernel, mount.path, fd, options))

    def keep(self) -> None:
        """All is mounted that is, and the program has not begun: what it looks at can't make any of that go."""
        for server in self._servers:
            server.keep()

    def _root_mount(self) -> ShownMount:
        assert self._root is not None
        return ShownMount(self._root.kernel_path, self._root.read_only)

    def close(self) -> None:
        """The program has ended: serve until Linux has let go of the mounts.  Off the schedule."""
        for server in self._servers:
            server.wait(SETTLE_TIMEOUT)
            server.stop()
        self._servers.clear()
