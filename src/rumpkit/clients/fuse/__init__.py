"""FUSE: a kernel's files, seen on the host, by a server of our own behind /dev/fuse.

    with rumpkit.clients.fuse.mount(kernel.core, "/data", "/mnt/data") as mounted:
        ...

Layers, bottom up: `wire` (the protocol's numbers and structures), `nodes` (which files Linux knows of), `operations` and `table` (what each
request does), `server` (the threads), `attach` (the mount itself), `session` (all of it together).  Linux guests mount in a namespace of
their own and have what they see served by `session.serve`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import SOLE, FuseOptions, Owner

if TYPE_CHECKING:
    from ...kern.kernel import RumpKernel
    from .session import FuseMount

__all__ = ["SOLE", "FuseOptions", "Owner", "mount"]


def mount(kernel: RumpKernel, path: str, directory: str, options: FuseOptions = FuseOptions()) -> FuseMount:  # noqa: B008
    """Show the files of `kernel` from `path` on at `directory` of the host, until the result is closed.

    Other processes can use them then.  This process may, too, but not on the schedule, and never by mmap: a page fault keeps the
    interpreter's lock, without which nobody answers it.  As root it takes mount(2), else fusermount3.

    Raises `attach.FuseUnavailable` where this machine doesn't allow it, with a text that says how to; ENOENT, ENOTDIR, EACCES for
    either path; ValueError for options that make no sense.
    """
    from .session import FuseMount

    return FuseMount(kernel, path, directory, options)
