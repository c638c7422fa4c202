"""Joining host TCP sockets with the gateway's connections: the list of relays, its limit, and how they begin and end.

A relay begins when the handshake on the kernel's side is over.  Until then the host's socket waits.
"""

import socket
import struct
from typing import final

from ...clients.relay import Relay
from ...hosts.posix.host import PosixHost
from ...hyper.time import Instant
from ...kern.abi.poll import POLLERR, POLLHUP, POLLOUT
from ...kern.socket import StreamSocket
from ...kern.wait import Observer

MAX_FLOWS = 16384
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send a RST."""


def reset(host_socket: socket.socket) -> None:
    """Close a host socket so that its peer sees a reset."""
    try:
        host_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    except OSError:
        pass
    host_socket.close()


@final
class Flows:
    """The TCP flows of one `user` link."""

    def __init__(self, host: PosixHost, limit: int = MAX_FLOWS) -> None:
        self.host = host
        self.limit = limit
        self.refused = 0
        """Flows that were turned away because there were too many."""
        self._active: dict[int, "Flow"] = {}
        self._count = 0

    def full(self) -> bool:
        """Whether no flow can be added; counts the refusal."""
        if len(self._active) < self.limit:
            return False
        self.refused += 1
        return True

    def join(self, host_socket: socket.socket, kernel_socket: StreamSocket) -> None:
        """Relay between the two from the moment the kernel's side is established.  Takes both over.  On the schedule."""
        self._count += 1
        flow = Flow(self, self._count, host_socket, kernel_socket)
        self._active[self._count] = flow
        flow.notify()

    def forget(self, number: int) -> None:
        """A flow is over."""
        self._active.pop(number, None)

    def __len__(self) -> int:
        return len(self._active)

    def close(self) -> None:
        """Reset every flow.  On the schedule."""
        for flow in list(self._active.values()):
            flow.abort()


@final
class Flow(Observer):
    """One host socket and one kernel socket, before and while they are joined."""

    def __init__(self, flows: Flows, number: int, host_socket: socket.socket, kernel_socket: StreamSocket) -> None:
        self._flows = flows
        self._number = number
        self._host_socket: socket.socket | None = host_socket
        self._kernel_socket = kernel_socket
        self._relay: Relay | None = None
        kernel_socket.hold()
        kernel_socket.queue.subscribe(self)

    def notify(self) -> None:
        """The handshake may be over: start the relay, or give up."""
        if self._relay is not None or self._host_socket is None:
            return
        ready = self._kernel_socket.poll()
        if ready & (POLLERR | POLLHUP) and self._kernel_socket.reset_by():
            self._drop_host()
            self.ended(self._flows.host.now)
        elif ready & POLLOUT:
            self._kernel_socket.queue.unsubscribe(self)
            descriptor = self._host_socket.detach()
            self._host_socket = None
            self._relay = Relay(self._flows.host, descriptor, self._kernel_socket, self.ended)
            self._relay.start()

    def ended(self, now: Instant) -> None:
        """Both directions are over."""
        self._kernel_socket.queue.unsubscribe(self)
        self._flows.forget(self._number)
        self._kernel_socket.release(now)

    def abort(self) -> None:
        """Reset both sides."""
        if self._relay is not None:
            self._relay.abort()
        else:
            self._drop_host()
            self._kernel_socket.abort(self._flows.host.now)
            self.ended(self._flows.host.now)

    def _drop_host(self) -> None:
        if self._host_socket is not None:
            reset(self._host_socket)
            self._host_socket = None
