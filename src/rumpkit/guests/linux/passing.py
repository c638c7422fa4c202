"""Descriptors in messages of unix sockets (unix(7)), for the starter: without `socket`, and with few bytes beside them.

Used by `ready`, `starter` and `first`.
"""

from __future__ import annotations

import _socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MOST: Final = 8
"""Descriptors in a message to us."""
_WORD: Final = 4


def rights(fds: tuple[int, ...]) -> list[tuple[int, int, bytes]]:
    """The ancillary data that passes `fds`."""
    if not fds:
        return []
    return [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, b"".join(fd.to_bytes(_WORD, sys.byteorder) for fd in fds))]


def receive(socket: _socket.socket) -> tuple[bytes, list[int]]:
    """A message of one byte, and the descriptors that come with it; nothing when the other side has closed its end."""
    try:
        note, ancillary, _, _ = socket.recvmsg(1, _socket.CMSG_SPACE(MOST * _WORD), _socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return b"", []
    data = ancillary[0][2] if ancillary else b""
    return note, [int.from_bytes(data[at : at + _WORD], sys.byteorder) for at in range(0, len(data), _WORD)]
