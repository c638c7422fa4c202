"""Routing netlink (rtnetlink(7)): requests of a network namespace, many sent at once.

Above `abi`; used by `network` inside the starter, and by `mirror` in the supervisor through a channel that was opened in the
namespace.  This file must load fast, without `typing`.
"""

from __future__ import annotations

import _socket
from struct import Struct

from . import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeAlias

    Request: TypeAlias = tuple[int, int, bytes]
    """Type, flags besides those that all have, body."""

BATCH: Final = 64
"""Requests that are sent at once, at most."""
_ROOM: Final = 1 << 16
_ATTRIBUTE: Final = Struct("<HH")
_WORD: Final = Struct("<I")
_ERROR: Final = Struct("<i")


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def word(kind: int, value: int) -> bytes:
    """An attribute of 32 bits."""
    return _ATTRIBUTE.pack(8, kind) + _WORD.pack(value)


class Channel:
    """A netlink socket.  Not thread-safe."""

    def __init__(self, fd: int = -1) -> None:
        """Of the caller's network namespace; or takes `fd` over, a socket that was made in another."""
        if fd < 0:
            self.socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, abi.NETLINK_ROUTE)
        else:
            self.socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, abi.NETLINK_ROUTE, fd)
        self._sequence = 0

    def send(self, requests: list[Request]) -> list[int]:
        """Make requests, in order; the error of each, 0 for none.  Raises OSError where the channel itself fails."""
        errors: list[int] = []
        for start in range(0, len(requests), BATCH):
            errors += self._batch(requests[start : start + BATCH])
        return errors

    def must(self, requests: list[Request]) -> None:
        """Make requests that must not fail.  Raises OSError for the first that did."""
        for request, code in zip(requests, self.send(requests)):  # noqa: B905 (of the same length)
            if code:
                raise OSError(code, f"routing message {request[0]} refused")

    def _batch(self, requests: list[Request]) -> list[int]:
        data = bytearray()
        first = self._sequence + 1
        for kind, flags, body in requests:
            self._sequence += 1
            flags |= abi.NLM_F_REQUEST
            if len(requests) == self._sequence - first + 1:
                flags |= abi.NLM_F_ACK  # errors are told of anyhow
            data += abi.NLMSG_HEADER.pack(abi.NLMSG_HEADER.size + len(body), kind, flags, self._sequence, 0) + body
            data += bytes(-len(body) % 4)
        self.socket.send(data)
        errors = [0] * len(requests)
        while True:
            answer = self.socket.recv(_ROOM)
            at = 0
            while at < len(answer):
                length, _, _, sequence, _ = abi.NLMSG_HEADER.unpack_from(answer, at)
                errors[sequence - first] = -_ERROR.unpack_from(answer, at + abi.NLMSG_HEADER.size)[0]
                if sequence == self._sequence:
                    return errors
                at += length + -length % 4

    def close(self) -> None:
        """Let go of it."""
        self.socket.close()
