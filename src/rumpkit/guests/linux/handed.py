"""What may be handed to a program as its standard streams: no way into the host's network.

Used by `spawn`, before the start.  Reading and writing are a program's own affair, which nobody is asked about; by a socket of the host's
that isn't a unix one it could send to wherever the host can.
"""

import os
import socket
import stat
from typing import Final

from ...kern.abi.errno import ENOTSUP

NAMES: Final = ("standard input", "standard output", "standard error")
SO_DOMAIN: Final = 39
"""socket(7); Python has no name for it."""


def require(number: int, fd: int) -> None:
    """Raise OSError (ENOTSUP) if our descriptor `fd` can't be a program's stream `number`; EBADF if it is none."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return
    with socket.socket(fileno=os.dup(fd)) as one:
        family = one.getsockopt(socket.SOL_SOCKET, SO_DOMAIN)
    if family != socket.AF_UNIX:
        text = f"{NAMES[number]} is a socket of the host's network, by which the program could leave its kernel: put a pipe between"
        raise OSError(ENOTSUP, text)
