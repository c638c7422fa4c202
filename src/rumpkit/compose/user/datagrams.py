"""UDP between the kernel and the world: every flow gets a host socket of its own, which times out.

Outward, a flow is (program's address and port, destination and port); its host socket is connected, so that only that
destination can answer, and the host's ICMP errors come back as errors of the program.  Inward, a forwarded host port gives
every client a port of the gateway, from which the program sees its datagrams come.
"""

import errno
import socket
from select import EPOLLIN
from typing import final

from ...hosts.posix.host import PosixHost
from ...hosts.posix.loop import Source
from ...hyper.time import FOREVER, SECOND, Duration, Instant
from ...kern.kernel import RumpKernel
from ...kern.timer import Timer
from ...net.transport.udp import StrayHandler, Udp
from ...net.wire.checksum import pseudo_sum
from ...net.wire.icmp import PORT_UNREACHABLE
from ...net.wire.ipv4 import PROTOCOL_UDP, emit_ipv4_header
from ...net.wire.udp import emit_datagram
from ..values import Forward
from .inbound import bound_socket
from .outbound import UNREACHABLE
from .plan import Plan
from .world import DNS_PORT, World

IDLE: Duration = 60 * SECOND
"""A flow without datagrams for so long is forgotten (RFC 4787 asks for two minutes of NATs that are not at the edge of
one program; a flow here comes back with its next datagram)."""
DNS_IDLE: Duration = 10 * SECOND
DNS_PATIENCE: Duration = 2 * SECOND
"""A question that is asked again after so long goes to the next name server."""
MAX_FLOWS = 1024
MAX_DATAGRAM = 65535
BURST = 64
"""Datagrams taken from a host socket in one go."""

FlowKey = tuple[bytes, int, bytes, int]


@final
class Datagrams(StrayHandler):
    """Takes every datagram that leaves the kernel for the gateway, and brings the answers back."""

    def __init__(self, host: PosixHost, kernel: RumpKernel, udp: Udp, plan: Plan, world: World) -> None:
        super().__init__()
        self.host = host
        self.kernel = kernel
        self.udp = udp
        self.plan = plan
        self.refused = 0
        """Datagrams dropped because there were too many flows."""
        self.idle: Duration = IDLE
        self.dns_idle: Duration = DNS_IDLE
        self._world = world
        self._flows: dict[FlowKey, Flow] = {}
        self._forwards: list[ForwardedPort] = []

    def forward(self, forward: Forward) -> Forward:
        """Listen on a host port; the forward with the port that the host chose.  Raises OSError."""
        port = ForwardedPort(self, forward)
        self._forwards.append(port)
        return port.forward

    def stray(self, source: bytes, sport: int, destination: bytes, dport: int, payload: bytes, now: Instant) -> bool:
        """Send a datagram of the program on; False answers it with "port unreachable"."""
        for port in self._forwards:
            if destination == self.plan.gateway and sport == port.forward.port and port.reply(dport, payload, now):
                return True
        key = (source, sport, destination, dport)
        flow = self._flows.get(key)
        if flow is not None and flow.overdue(now):
            flow.close()
            flow = None
        if flow is None:
            target = self._world.target(destination, dport)
            if target is None:
                return False
            flow = self._open(key, target, now)
        if flow is not None:
            flow.send(payload, now)
        return True

    def unreachable(self, key: FlowKey, number: int, now: Instant) -> None:
        """Tell the program what the host's socket was told about a datagram."""
        code = PORT_UNREACHABLE if number == errno.ECONNREFUSED else UNREACHABLE.get(number, -1)
        if code < 0:
            return
        source, sport, destination, dport = key
        pseudo = pseudo_sum(source, destination, PROTOCOL_UDP, 0)
        frame = emit_datagram(sport, dport, pseudo, b"", 0, 0)
        frame.push(emit_ipv4_header(source, destination, PROTOCOL_UDP, len(frame)))
        self.udp.network.unreachable(frame, 0, code, now)

    def sent(self, source: bytes, sport: int, destination: bytes, dport: int) -> bool:
        """ICMP about what we brought back is believed if the flow exists."""
        return (destination, dport, source, sport) in self._flows

    def _open(self, key: FlowKey, target: tuple[str, int], now: Instant) -> "Flow | None":
        if len(self._flows) >= MAX_FLOWS:
            self.refused += 1
            return None
        try:
            host_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            self.refused += 1
            return None
        code = host_socket.connect_ex(target)
        if code:
            host_socket.close()
            self.unreachable(key, code, now)
            return None
        flow = self._flows[key] = Flow(self, key, host_socket)
        return flow

    def forget(self, flow: "Flow", answered: bool) -> None:
        """A flow is over; a name server that never answered is not asked next."""
        self._flows.pop(flow.key, None)
        if flow.dns and not answered:
            self._world.next_name_server()

    def __len__(self) -> int:
        return len(self._flows) + sum(len(port) for port in self._forwards)

    def close(self) -> None:
        """Close all host sockets.  On the schedule."""
        for flow in list(self._flows.values()):
            flow.close()
        for port in self._forwards:
            port.close()


@final
class Idle(Timer):
    """Ends a flow that nobody uses."""

    def __init__(self, flow: "Flow") -> None:
        super().__init__()
        self._flow = flow

    def expire(self, now: Instant) -> None:
        """The flow was idle for too long."""
        self._flow.close()


@final
class Flow(Source):
    """One outward flow and its host socket."""

    def __init__(self, datagrams: Datagrams, key: FlowKey, host_socket: socket.socket) -> None:
        super().__init__(host_socket.fileno())
        self.key = key
        self.dns = key[2] == datagrams.plan.name_server and key[3] == DNS_PORT
        self._datagrams = datagrams
        self._socket = host_socket
        self._answered = False
        self._asked_at: Instant = FOREVER
        """When the oldest unanswered question was asked."""
        self._idle = Idle(self)
        datagrams.host.loop.register(self, EPOLLIN)
        self._touch(datagrams.host.now)

    def overdue(self, now: Instant) -> bool:
        """Whether this is a name server's flow that should have been answered by now."""
        return self.dns and now - self._asked_at >= DNS_PATIENCE

    def send(self, payload: bytes, now: Instant) -> None:
        """Send on the host."""
        self._touch(now)
        self._asked_at = min(self._asked_at, now)
        try:
            self._socket.send(payload)
        except OSError as problem:
            self._failed(problem.errno or 0, now)

    def on_events(self, events: int, now: Instant) -> None:
        """Answers have come, or ICMP has."""
        source, sport, destination, dport = self.key
        udp = self._datagrams.udp
        for _ in range(BURST):
            try:
                data = self._socket.recv(MAX_DATAGRAM)
            except OSError as problem:
                self._failed(problem.errno or 0, now)
                return
            self._answered = True
            self._asked_at = FOREVER
            self._touch(now)
            try:
                udp.send_as(destination, dport, source, sport, data, now)
            except OSError:
                return

    def _failed(self, number: int, now: Instant) -> None:
        if number == errno.EAGAIN:
            return
        self._datagrams.unreachable(self.key, number, now)
        if self.dns:
            self.close()

    def _touch(self, now: Instant) -> None:
        datagrams = self._datagrams
        datagrams.kernel.timers.set(self._idle, now + (datagrams.dns_idle if self.dns else datagrams.idle))

    def close(self) -> None:
        """The flow is over."""
        self._datagrams.kernel.timers.set(self._idle, FOREVER)
        self._datagrams.host.loop.unregister(self)
        self._socket.close()
        self._datagrams.forget(self, self._answered)


@final
class ForwardedPort(Source):
    """One forwarded UDP port of the host: a port of the gateway for each client."""

    def __init__(self, datagrams: Datagrams, forward: Forward) -> None:
        self._socket = bound_socket(forward, socket.SOCK_DGRAM)
        super().__init__(self._socket.fileno())
        self.forward = forward._replace(host_port=self._socket.getsockname()[1])
        self._datagrams = datagrams
        self._ports: dict[tuple[str, int], int] = {}
        self._clients: dict[int, tuple[str, int]] = {}
        self._last_used: dict[int, Instant] = {}
        datagrams.host.loop.register(self, EPOLLIN)

    def __len__(self) -> int:
        return len(self._clients)

    def on_events(self, events: int, now: Instant) -> None:
        """Clients have sent something."""
        plan = self._datagrams.plan
        for _ in range(BURST):
            try:
                data, client = self._socket.recvfrom(MAX_DATAGRAM)
            except OSError:
                return
            port = self._port_of(client, now)
            if port:
                try:
                    self._datagrams.udp.send_as(plan.gateway, port, plan.address, self.forward.port, data, now)
                except OSError:
                    self._datagrams.refused += 1

    def reply(self, port: int, payload: bytes, now: Instant) -> bool:
        """Send the program's answer to the client that `port` stands for; False if it stands for none."""
        client = self._clients.get(port)
        if client is None:
            return False
        self._last_used[port] = now
        try:
            self._socket.sendto(payload, client)
        except OSError:
            return True
        return True

    def _port_of(self, client: tuple[str, int], now: Instant) -> int:
        """The gateway's port for a client; 0 if there are too many clients."""
        port = self._ports.get(client, 0)
        if not port:
            self._forget_idle(now)
            if len(self._clients) >= MAX_FLOWS:
                self._datagrams.refused += 1
                return 0
            port = self._datagrams.udp.ports.choose(self._clients.__contains__)
            self._ports[client] = port
            self._clients[port] = client
        self._last_used[port] = now
        return port

    def _forget_idle(self, now: Instant) -> None:
        for port in [port for port, last in self._last_used.items() if now - last > self._datagrams.idle]:
            del self._last_used[port]
            del self._ports[self._clients.pop(port)]

    def close(self) -> None:
        """Stop listening."""
        self._datagrams.host.loop.unregister(self)
        self._socket.close()
