"""Connections from the kernel to the world: a SYN is answered once the host's own connect has succeeded.

A refusal, an unreachable network, a timeout: whatever the host hears, the program on the kernel hears in the same form.
"""

import errno
import socket
from select import EPOLLOUT
from typing import final

from ...hosts.posix.host import PosixHost
from ...hosts.posix.loop import Source
from ...hyper.time import Instant
from ...net.transport.tcp.intercept import Interceptor, PendingConnection
from ...net.wire.address import format_ipv4
from .flows import Flows
from .plan import Plan
from .world import World

NETWORK_UNREACHABLE, HOST_UNREACHABLE, PROHIBITED = 0, 1, 13
"""ICMP codes (RFC 792, RFC 1812)."""

UNREACHABLE = {
    errno.ENETUNREACH: NETWORK_UNREACHABLE,
    errno.ENETDOWN: NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: HOST_UNREACHABLE,
    errno.EADDRNOTAVAIL: HOST_UNREACHABLE,
    errno.EACCES: PROHIBITED,
    errno.EPERM: PROHIBITED,
    errno.EMFILE: PROHIBITED,
    errno.ENFILE: PROHIBITED,
}
"""Errors of the host's connect that are told as ICMP; ETIMEDOUT is told by silence, anything else by a RST."""


@final
class Outbound(Interceptor):
    """Decides about the connection requests that reach the gateway."""

    def __init__(self, host: PosixHost, plan: Plan, world: World, flows: Flows) -> None:
        self._host = host
        self._plan = plan
        self._world = world
        self._flows = flows
        self._connecting: dict[PendingConnection, Connecting] = {}

    def syn(self, pending: PendingConnection) -> None:
        """Start to connect on the host."""
        target = self._world.target(*pending.local)
        if target is None:
            pending.refuse()
        elif self._flows.full():
            pending.unreachable(PROHIBITED)
        else:
            self._connect(pending, target)

    def withdrawn(self, pending: PendingConnection) -> None:
        """The program has given up: so do we."""
        connecting = self._connecting.pop(pending, None)
        if connecting is not None:
            connecting.close()

    def _connect(self, pending: PendingConnection, target: tuple[str, int]) -> None:
        try:
            host_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as problem:
            self._refuse(pending, problem.errno or 0)
            return
        code = host_socket.connect_ex(target)
        if code in (0, errno.EINPROGRESS):
            self._connecting[pending] = Connecting(self, self._host, host_socket, pending)
        else:
            host_socket.close()
            self._refuse(pending, code)

    def connected(self, connecting: "Connecting", code: int) -> None:
        """The host's connect has ended with this error number (0: it succeeded)."""
        pending = connecting.pending
        if self._connecting.pop(pending, None) is None:
            return
        if code:
            connecting.close()
            self._refuse(pending, code)
            return
        host_socket = connecting.take()
        host_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            accepted = pending.accept()
        except OSError:  # there is no way back to whom the request says it is from
            host_socket.close()
            return
        self._flows.join(host_socket, accepted)

    def _refuse(self, pending: PendingConnection, code: int) -> None:
        if code in UNREACHABLE:
            pending.unreachable(UNREACHABLE[code])
        elif code == errno.ETIMEDOUT:
            pending.drop()
        else:
            pending.refuse()

    def close(self) -> None:
        """Stop connecting.  On the schedule."""
        for connecting in self._connecting.values():
            connecting.close()
        self._connecting.clear()

    def describe(self) -> list[str]:
        """Where connections are being made to."""
        return [f"{format_ipv4(one.local[0])}:{one.local[1]}" for one in self._connecting]


@final
class Connecting(Source):
    """A host socket whose connect is under way."""

    def __init__(
        self, outbound: Outbound, host: PosixHost, host_socket: socket.socket, pending: PendingConnection
    ) -> None:
        super().__init__(host_socket.fileno())
        self.pending = pending
        self._outbound = outbound
        self._host = host
        self._socket = host_socket
        host.loop.register(self, EPOLLOUT)

    def on_events(self, events: int, now: Instant) -> None:
        """The connect has ended, well or not."""
        self._outbound.connected(self, self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def take(self) -> socket.socket:
        """The socket, which is ours no more."""
        self._host.loop.unregister(self)
        return self._socket

    def close(self) -> None:
        """Give the connect up."""
        self.take().close()
