"""Sending with the SYN (RFC 7413): sendto with MSG_FASTOPEN, and the first write after a connect that waited for it.

Beside `stream`, whose `send` comes here before there is a connection.
"""

from typing import TYPE_CHECKING

from ...hyper.time import Instant
from ...kern.abi.errno import EINPROGRESS, EOPNOTSUPP, error
from ...kern.abi.socket import MSG_DONTWAIT
from ...kern.socket import SocketAddress
from ...kern.wait import Blocked
from ..transport.tcp.fastopen import CLIENT

if TYPE_CHECKING:
    from .stream import TcpSocket


def send_fast(
    socket: "TcpSocket", data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
) -> int | Blocked:
    """Connect to `destination` and send data[start:], with the SYN where a cookie is known; how many bytes were taken.

    Where none is known the SYN asks for one, and the data follows the handshake: Blocked.  Raises EOPNOTSUPP where
    net.tcp.fastopen doesn't let clients, or without a destination; EINPROGRESS where that would mean to wait and the socket
    doesn't; and what connect raises.
    """
    target = destination if socket.deferred is None else socket.deferred
    if target is None or not socket.tcp.environment.settings.fastopen & CLIENT:
        raise error(EOPNOTSUPP)
    target = socket.checked(target)
    fast = socket.tcp.fast_open.attempt(target[0], now)
    if fast.with_data:
        channel = socket.open(target, fast, data[start:] if start else data, now)
        return int(channel.connection.block.send_queue.size())
    socket.open(target, fast, b"", now)
    if socket.nonblocking() or flags & MSG_DONTWAIT:
        raise error(EINPROGRESS)
    return Blocked(socket.queue)
