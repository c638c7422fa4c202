"""What may be handed to a program as its standard streams: no way into the host's network, and none to its files.

Used by `spawn`, before the start.  Reading and writing are a program's own affair, which nobody is asked about; by a socket of the host's
that isn't a unix one it could send to wherever the host can.
"""

import os
import socket
import stat
from collections.abc import Sequence
from typing import Final

from ...kern.abi.errno import EISDIR, ENOTSUP

NAMES: Final = ("standard input", "standard output", "standard error")
SO_DOMAIN: Final = 39
"""socket(7); Python has no name for it."""


def require(stdio: Sequence[int]) -> None:
    """Raise OSError if one of our descriptors can't be a program's stream: ENOTSUP for such a socket, EISDIR, EBADF if it is none."""
    for name, fd in zip(NAMES, stdio, strict=True):
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(EISDIR, f"{name} is a directory of the host, by which the program could leave its root")
        if not stat.S_ISSOCK(mode):
            continue
        with socket.socket(fileno=os.dup(fd)) as one:
            family = one.getsockopt(socket.SOL_SOCKET, SO_DOMAIN)
        if family != socket.AF_UNIX:
            text = f"{name} is a socket of the host's network, by which the program could leave its kernel: put a pipe between"
            raise OSError(ENOTSUP, text)
