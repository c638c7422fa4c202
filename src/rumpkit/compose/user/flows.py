"""Joining host TCP sockets with the gateway's connections: the list of relays, its limit, and how they begin and end.

A relay begins when the handshake on the kernel's side is over.  Until then the host's socket waits.
"""

import socket
import struct
from typing import final

from ...clients.relay import Relay, RelayPool
from ...hosts.posix.host import PosixHost
from ...hyper.time import Instant
from ...kern.abi.poll import POLLOUT
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
    """The TCP flows of one `user` link.  All methods are called on the schedule."""

    def __init__(self, host: PosixHost, limit: int = MAX_FLOWS) -> None:
        self.host = host
        self.limit = limit
        self.pool = RelayPool(host)
        self.refused = 0
        """Flows that were turned away because there were too many."""
        self._handshakes: dict[int, Handshake] = {}
        self._relays: dict[int, FlowRelay] = {}
        self._count = 0

    def full(self) -> bool:
        """Whether no flow can be added; counts the refusal."""
        if len(self) < self.limit:
            return False
        self.refused += 1
        return True

    def __len__(self) -> int:
        return len(self._handshakes) + len(self._relays)

    def join(self, host_socket: socket.socket, kernel_socket: StreamSocket) -> None:
        """Relay between the two from the moment the kernel's side is established.  Takes both over."""
        self._count += 1
        handshake = Handshake(self, self._count, host_socket, kernel_socket)
        self._handshakes[self._count] = handshake
        handshake.notify()

    def shaken(self, number: int, host_socket: socket.socket, kernel_socket: StreamSocket) -> None:
        """A handshake has succeeded: relay."""
        self._handshakes.pop(number, None)
        relay = FlowRelay(self, number, host_socket.detach(), kernel_socket)
        self._relays[number] = relay
        relay.start(self.host.now)

    def forget(self, number: int) -> None:
        """A flow is over."""
        self._handshakes.pop(number, None)
        self._relays.pop(number, None)

    def close(self) -> None:
        """Reset every flow."""
        now = self.host.now
        for handshake in list(self._handshakes.values()):
            handshake.abort(now)
        for relay in list(self._relays.values()):
            relay.abort(now)


@final
class FlowRelay(Relay):
    """The relay of one flow."""

    def __init__(self, flows: Flows, number: int, descriptor: int, kernel_socket: StreamSocket) -> None:
        super().__init__(flows.pool, descriptor, kernel_socket)
        self._flows = flows
        self._number = number

    def on_end(self, now: Instant) -> None:
        """Both directions are over."""
        self._flows.forget(self._number)


@final
class Handshake(Observer):
    """A host socket that waits for the kernel's side to be established, or to fail."""

    def __init__(self, flows: Flows, number: int, host_socket: socket.socket, kernel_socket: StreamSocket) -> None:
        self._flows = flows
        self._number = number
        self._host_socket = host_socket
        self._kernel_socket = kernel_socket
        self._over = False
        kernel_socket.hold()
        kernel_socket.queue.subscribe(self)

    def notify(self) -> None:
        """Something has happened to the kernel's side."""
        if self._over:
            return
        now = self._flows.host.now
        if self._kernel_socket.reset_by():
            self.abort(now)
        elif self._kernel_socket.poll() & POLLOUT:
            self._let_go()
            self._flows.shaken(self._number, self._host_socket, self._kernel_socket)
            self._kernel_socket.release(now)

    def abort(self, now: Instant) -> None:
        """The host's side sees a reset, and so does the kernel's if it is still there."""
        self._let_go()
        reset(self._host_socket)
        self._kernel_socket.abort(now)
        self._kernel_socket.release(now)
        self._flows.forget(self._number)

    def _let_go(self) -> None:
        self._over = True
        self._kernel_socket.queue.unsubscribe(self)
