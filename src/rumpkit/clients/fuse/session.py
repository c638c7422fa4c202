"""A FUSE mount of a kernel's files on the host, from its making to its end.

The top of this package: joins `attach` (the mount) and `server` (who answers).  `rumpkit.clients.fuse.mount` is the way in.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, cast, final

from ...hosts.posix.host import PosixHost
from ...kern.abi.errno import EINVAL, ENOENT, error
from ...kern.abi.fcntl import S_IFDIR, S_IFREG
from ...vfs.nodecalls import NodeCalls
from .attach import Attachment
from .operations import Operations
from .options import FuseOptions, checked
from .server import FuseCounters, FuseServer

SETTLE_TIMEOUT: Final = 0.5
"""Seconds that Linux has to let go of a mount that somebody may still use."""

if TYPE_CHECKING:
    from ...kern.kernel import RumpKernel
    from ...vfs.vfs import Vfs


def serve(kernel: RumpKernel, path: str, fd: int, options: FuseOptions) -> FuseServer:
    """Serve the kernel's files from `path` on over an open /dev/fuse that is mounted, or about to be.  Takes over `fd`.  Off the schedule.

    Raises ENOENT, ENOTDIR, EACCES for `path`, EINVAL unless the kernel's host is the POSIX one.
    """
    host, operations = _prepare(kernel, path, options)
    server = FuseServer(host, operations, fd, options, counters_of(kernel))
    server.start()
    return server


def kind_of(kernel: RumpKernel, path: str) -> int:
    """S_IFDIR or S_IFREG of what is at `path`.  Raises ENOENT, and EINVAL for what can't be mounted."""
    host = kernel.hyper
    host.enter()
    try:
        kind = NodeCalls(_vfs(kernel)).find(path).kind
    finally:
        host.leave()
    if kind not in (S_IFDIR, S_IFREG):
        raise error(EINVAL, path)
    return kind


def _prepare(kernel: RumpKernel, path: str, options: FuseOptions) -> tuple[PosixHost, Operations]:
    host = kernel.hyper
    if not isinstance(host, PosixHost):
        raise OSError(EINVAL, "a FUSE mount needs the posix host")
    vfs = _vfs(kernel)
    host.enter()
    try:
        root = NodeCalls(vfs).find(path)
        return host, Operations(vfs, root, options)
    finally:
        host.leave()


def _vfs(kernel: RumpKernel) -> Vfs:
    vfs = kernel.service("Vfs")
    if vfs is None:
        raise OSError(ENOENT, "the kernel has no files: it was built without vfs")
    return cast("Vfs", vfs)


def counters_of(kernel: RumpKernel) -> FuseCounters:
    """What all FUSE mounts of a kernel count together."""
    host = kernel.hyper
    host.enter()
    try:
        found = kernel.counters.group("fuse")
        if found is None:
            found = FuseCounters()
            kernel.counters.register("fuse", found)
        assert isinstance(found, FuseCounters)
        return found
    finally:
        host.leave()


@final
class FuseMount:
    """A kernel's files, seen on the host.  Close it before its kernel; as a context manager it closes itself."""

    def __init__(self, kernel: RumpKernel, path: str, directory: str, options: FuseOptions) -> None:
        """See `rumpkit.clients.fuse.mount`."""
        options = checked(options)
        kind = kind_of(kernel, path)
        self.path: str = path
        self.directory: str = os.path.abspath(directory)
        self._attachment: Attachment = Attachment(directory, kind, options)
        fd, self._attachment.fd = self._attachment.fd, -1
        try:
            self.server: FuseServer = serve(kernel, path, fd, options)
        except BaseException:
            os.close(fd)
            self._attachment.unmount(True)
            self._attachment.release()
            raise

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody has unmounted it (umount, fusermount3 -u, `unmount`); False if `timeout` seconds pass first."""
        return self.server.wait(timeout)

    def unmount(self) -> None:
        """Take it away if nobody uses it.  Raises EBUSY, and it goes on then."""
        self._attachment.unmount(False)
        self.close()

    def close(self) -> None:
        """Take it away, whoever uses it: files that are open in it fail from now on (ENOTCONN).  A second call does nothing."""
        try:
            self._attachment.unmount(True)
            # Where nobody uses it any more, Linux writes back what was mapped before it lets go.
            self.server.wait(SETTLE_TIMEOUT)
        finally:
            self.server.stop()
            self._attachment.release()

    def __enter__(self) -> FuseMount:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
