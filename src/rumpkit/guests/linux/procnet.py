"""The program's /proc/net: Linux's own files, but for those that only the kernel can answer truly, such as tcp and udp.

Above `record`, beside `mirror`, which sees to what is Linux's there.  A small FUSE server, whose tree is `proctree`: most programs never
look, so that is loaded when one does.  `mounts.mount_proc_net` shows it, and answers what FUSE asks unasked.

The server has a thread of its own, as those of mounts do: the loop's thread reads the program's memory, where such a file may be mapped.
"""

import os
import select
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, final

from ...hosts.posix.host import PosixHost
from ...kern.abi.errno import EINTR, EINVAL, EIO, ENODEV, ENOENT
from ...kern.kernel import RumpKernel
from .mounts import REPLY, UNIQUE

if TYPE_CHECKING:
    from ...net.proc.view import Owner
    from .context import Collection
    from .proctree import ProcTree

    Owners = Callable[[], Mapping[object, Owner]]
    Collect = Callable[[], Collection]

_REQUEST: Final = 1 << 16


@final
class ProcNet:
    """The server of one program's."""

    def __init__(self, kernel: RumpKernel, host: PosixHost) -> None:
        self._kernel = kernel
        self._host = host
        self._fd = -1
        self.owners: Owners = dict
        """Whose the kernel's sockets are.  Called on the schedule."""
        self.collect: Collect | None = None
        """Has the sockets come to us that are made for the program.  Called on the schedule."""
        self.init = 0
        """The process whose unix sockets are the program's."""
        self._tree: ProcTree | None = None
        self._wake = -1
        self._thread: threading.Thread | None = None

    def serve(self, fd: int) -> None:
        """Serve from now on.  Takes over `fd`, an open /dev/fuse that is mounted."""
        os.set_inheritable(fd, False)
        self._fd = fd
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="rumpkit proc", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no longer.  Off the schedule; a second call does nothing."""
        if self._thread is not None:
            self.collect = None  # nobody would
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            os.close(self._wake)
            os.close(self._fd)
            self._thread = None

    def kept(self) -> int:
        """Bytes of texts that are kept."""
        return 0 if self._tree is None else self._tree.kept()

    def _run(self) -> None:
        poll = select.poll()
        for fd in (self._fd, self._wake):
            poll.register(fd, select.POLLIN)
        while not any(fd == self._wake for fd, _ in poll.poll()):
            try:
                request = os.read(self._fd, _REQUEST)
            except OSError as problem:
                if problem.errno == ENODEV:
                    return  # the mount has gone
                if problem.errno in (ENOENT, EINTR):
                    continue  # whoever asked has gone
                raise
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if self._tree is None:
            try:
                from .proctree import ProcTree
            except OSError as problem:  # no descriptors to load it by: the next who asks may have more luck
                self._refuse(request, problem.errno or EIO)
                return
            self._tree = ProcTree(self._kernel, self._host, self)
        self._tree.answer(self._fd, request)

    def _refuse(self, request: bytes, error: int) -> None:
        """Answer with an error, without `clients.fuse.wire`."""
        try:
            os.write(self._fd, REPLY.pack(REPLY.size, -error, int.from_bytes(request[UNIQUE : UNIQUE + 8], "little")))
        except OSError as problem:
            if problem.errno not in (ENOENT, ENODEV, EINVAL):  # who asked has gone, or wants no answer
                raise
