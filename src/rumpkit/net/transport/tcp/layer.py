"""TCP of one kernel: finds the connection that a packet is for, and makes packets of what connections send.

Between `net.ip` below and `net.socket` above.  Packets are taken one by one; what they make connections send, and whom
they wake, is seen to once a batch (`flush`), so that sixteen segments cost one acknowledgement and one wake-up.
"""

from collections.abc import Callable
from typing import Final, final
from zlib import crc32

from ....hyper.frame import CHECKSUM_UNVERIFIED, GSO_TCPV4, Frame
from ....hyper.time import FOREVER, SECOND, Instant
from ....kern.abi.errno import EADDRINUSE, EMSGSIZE, error
from ....kern.kernel import RumpKernel
from ....kern.socket import SocketAddress, StreamSocket
from ....kern.timer import TimerQueue
from ....kern.wait import WaitQueue
from ...ip.contract import Network, Route, Transport
from ...wire.checksum import fold, pseudo_sum
from ...wire.field import read_u16, read_u32
from ...wire.ipv4 import PROTOCOL_TCP
from ...wire.offload import transport_checksum_valid
from ...wire.segment import ACK, FIN, RST, SYN, Segment
from ...wire.sequence import SEQ_MASK
from ...wire.tcp import emit_segment, parse_segment
from ..ports import PortAllocator, PortBinding
from .block import DEFAULT_MSS, ENDED, Environment, timestamp_clock
from .channel import Channel, Driver, Listener
from .connection import TcpConnection
from .cookies import SynCookies, cookie_answer, remembered_syn
from .intercept import Answers, Interceptor, PendingConnection
from .isn import SequenceNumbers
from .options import TcpOptions
from .send import reset_for
from .settings import TCP_SYSCTLS
from .states import CLOSED, SYN_RECEIVED, TIME_WAIT

_HEADERS: Final = 40
"""IP and TCP headers without options: what the MTU has beside the MSS (RFC 6691)."""
_KEY_SIZE: Final = 12
_WILDCARD: Final = bytes(4)
_REUSE_AGE: Final = SECOND
"""How old the last timestamp of a connection in TIME-WAIT must be for connect() to reuse its port."""
_ISN_GAP: Final = 65537
"""A reopened connection's ISN lies so far behind the last number of the old one."""


@final
class Tcp(Transport, Driver, Answers):
    """The TCP layer.  All methods are called on the schedule."""

    def __init__(self, kernel: RumpKernel, network: Network, ports: PortAllocator) -> None:
        self._kernel: RumpKernel = kernel
        self._timers: TimerQueue = kernel.timers
        self._network: Network = network
        self.ports: PortAllocator = ports
        self.environment: Environment = Environment()
        self.environment.challenges.secret = kernel.hyper.random(16)
        self._numbers: SequenceNumbers = SequenceNumbers(kernel.hyper.random(32))
        self._cookies: SynCookies = SynCookies(kernel.hyper.random)
        self.channels: dict[bytes, Channel] = {}
        """By the 12 bytes of addresses and ports, as in the headers of what arrives."""
        self._listeners: dict[bytes, list[Listener]] = {}
        """By address and port; those of one SO_REUSEPORT group share an entry."""
        self._busy: list[Channel] = []
        self._pending: dict[bytes, PendingConnection] = {}
        self._interceptor: Interceptor | None = None
        self.adopt: Callable[[Channel], StreamSocket] | None = None
        """Makes a socket of a connection; set by `net.socket`."""
        self.orphans: int = 0
        self.time_waits: int = 0
        kernel.counters.register("tcp", self.environment.counters)
        kernel.sysctl.register("net.tcp", self.environment.settings, TCP_SYSCTLS)
        network.register(PROTOCOL_TCP, self)

    # Packets -----------------------------------------------------------------------------------------------------------

    def input(self, frame: Frame, network: int, transport: int, end: int, now: Instant) -> None:
        counters = self.environment.counters
        counters.segments_in += 1
        head = frame.head
        if transport - network == 20:
            key = head[network + 12 : transport + 4]
        else:
            key = head[network + 12 : network + 20] + head[transport : transport + 4]
        segment = parse_segment(frame, transport, end)
        if segment is None or len(key) != _KEY_SIZE:
            counters.malformed += 1
            return
        channel = self.channels.get(key)
        if frame.checksum == CHECKSUM_UNVERIFIED:
            size = end - transport
            if channel is None:
                pseudo = pseudo_sum(key[0:4], key[4:8], PROTOCOL_TCP, size)
            else:
                pseudo = fold(channel.addresses + size)
            if not transport_checksum_valid(frame, transport, end, pseudo):
                counters.bad_checksums += 1
                return
        if channel is None:
            self._unmatched(key, segment, frame, network, now)
        elif channel.listener is not None:
            self._half_open_input(channel, channel.listener, segment, now)
        elif channel.waiting and channel.connection.reopens(segment):
            self._reopen(channel, segment, frame, network, now)
        else:
            connection = channel.connection
            connection.receive(segment, now)
            if connection.answer_now():
                self._output(channel, now)
            if not channel.busy:
                channel.busy = True
                self._busy.append(channel)

    def flush(self, now: Instant) -> None:
        busy = self._busy
        if not busy:
            return
        self._busy = []
        for channel in busy:
            channel.busy = False
            self.settle(channel, now)

    def settle(self, channel: Channel, now: Instant) -> None:
        """Something happened to a connection: send what it has to send, tell its user, see to its timer."""
        self._output(channel, now)
        block = channel.connection.block
        state = block.state
        if state == CLOSED:
            self._remove(channel)
        elif state == TIME_WAIT and not channel.waiting:
            self._start_waiting(channel, now)
        events = block.events
        if events:
            block.events = 0
            if channel.queue is not None:
                channel.queue.wake_all()
        deadline = channel.connection.next_deadline()
        if deadline != channel.deadline:
            self._timers.set(channel, deadline)

    def sent(self, source: bytes, destination: bytes, quoted: bytes) -> bool:
        channel = self.channels.get(destination + source + quoted[2:4] + quoted[0:2])
        return channel is not None and len(quoted) >= 8 and channel.connection.in_flight(read_u32(quoted, 4))

    def error(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        channel = self.channels.get(destination + source + quoted[2:4] + quoted[0:2])
        if channel is None or len(quoted) < 8:
            return
        channel.connection.icmp(read_u32(quoted, 4), errno, mtu - _HEADERS, now)
        if not channel.busy:
            channel.busy = True
            self._busy.append(channel)
        # Reports may come from our own output (an address that can't be resolved), with no batch to end.
        self._timers.set(channel, min(now, channel.deadline))

    def expired(self, channel: Channel, now: Instant) -> None:
        """The deadline of a channel has passed."""
        channel.connection.on_deadline(now)
        self.settle(channel, now)

    def _output(self, channel: Channel, now: Instant) -> None:
        """Send all that the connection has to send."""
        out: list[Segment] = []
        connection = channel.connection
        connection.transmit(out, now)
        options = connection.block.options
        for segment in out:
            if channel.generation != self._network.generation:
                self._route_again(channel)
            frame = emit_segment(
                segment,
                channel.local[1],
                channel.remote[1],
                channel.addresses,
                GSO_TCPV4,
            )
            counters = self.environment.counters
            counters.segments_out += segment.segments
            if segment.flags & RST:
                counters.resets_sent += 1
            try:
                self._network.output(
                    frame,
                    channel.route,
                    channel.local[0],
                    channel.remote[0],
                    PROTOCOL_TCP,
                    now,
                    options.ttl,
                    options.tos,
                )
            except OSError as failure:
                # Lost as in a full queue; the timer will try again.
                if failure.errno != EMSGSIZE:
                    connection.block.soft_error = failure.errno or 0

    def _route_again(self, channel: Channel) -> None:
        """Routes, addresses or path MTUs have changed."""
        channel.generation = self._network.generation
        try:
            channel.route = self._network.route(channel.remote[0], channel.local[0])
        except OSError as failure:
            channel.connection.block.soft_error = failure.errno or 0
            return
        channel.connection.path_changed(channel.route.mtu - _HEADERS)

    # Opening -----------------------------------------------------------------------------------------------------------

    def connect(
        self,
        local: SocketAddress | None,
        remote: SocketAddress,
        options: TcpOptions,
        queue: WaitQueue,
        binding: PortBinding | None,
        now: Instant,
    ) -> Channel:
        """Start a connection to `remote`, from `local` (or what route and chance choose where it's None, or partly
        zero).  Raises ENETUNREACH, EADDRNOTAVAIL, EADDRINUSE."""
        network = self._network
        wanted = local[0] if local is not None and any(local[0]) else None
        route = network.route(remote[0], wanted)
        source = wanted or route.source
        prefix = remote[0] + source + remote[1].to_bytes(2, "big")
        port = local[1] if local is not None else 0
        if port == 0:
            port = self.ports.choose(lambda some: self._taken(prefix, some, now))
        elif self._taken(prefix, port, now):
            raise error(EADDRINUSE)
        key = prefix + port.to_bytes(2, "big")
        old = self.channels.get(key)
        channel = self._make(key, (source, port), remote, options, route, now, old)
        channel.queue = queue
        if binding is not None:
            channel.binding = binding
            self.ports.hold(binding)
        channel.connection.open()
        self.settle(channel, now)
        return channel

    def _taken(self, prefix: bytes, port: int, now: Instant) -> bool:
        """Whether a connection is in the way: one in TIME-WAIT is not if its timestamps tell old from new (RFC 6191)."""
        channel = self.channels.get(prefix + port.to_bytes(2, "big"))
        if channel is None:
            return False
        block = channel.connection.block
        reusable = channel.waiting and block.timestamps and now - block.ts_recent_at > _REUSE_AGE
        return not (reusable and self.environment.settings.time_wait_reuse)

    def _make(
        self,
        key: bytes,
        local: SocketAddress,
        remote: SocketAddress,
        options: TcpOptions,
        route: Route,
        now: Instant,
        old: Channel | None,
        iss: int = -1,
    ) -> Channel:
        """A new channel in the table, in the place of `old` where that waits in TIME-WAIT."""
        if iss >= 0:
            pass
        elif old is None:
            iss = self._numbers.initial(key, now)
        else:
            iss = old.connection.block.snd_max + _ISN_GAP
            self._drop(old)
        clock = self._numbers.clock(key[0:8])
        connection = TcpConnection(self.environment, options, iss, route.mtu - _HEADERS, clock)
        addresses = pseudo_sum(local[0], remote[0], PROTOCOL_TCP, 0)
        channel = Channel(self, key, local, remote, connection, route, addresses)
        channel.generation = self._network.generation
        channel.opened_at = now
        self.channels[key] = channel
        return channel

    # Listening ---------------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Take connections for `listener` from now on."""
        self._listeners.setdefault(_name(listener.local), []).append(listener)

    def unlisten(self, listener: Listener, now: Instant) -> None:
        """No more connections: those that nobody has accepted are reset."""
        name = _name(listener.local)
        group = self._listeners[name]
        group.remove(listener)
        if not group:
            del self._listeners[name]
        for channel in list(listener.half_open.values()) + listener.ready:
            channel.listener = None
            channel.connection.abort(now)
            self.settle(channel, now)
        listener.half_open.clear()
        listener.ready.clear()

    def listeners(self) -> list[Listener]:
        """All that listen."""
        return [listener for group in self._listeners.values() for listener in group]

    def find_listener(self, key: bytes) -> Listener | None:
        """Who listens for what arrives with `key`; of a SO_REUSEPORT group, one by the peer's address and port."""
        group = self._listeners.get(key[4:8] + key[10:12])
        if group is None:
            group = self._listeners.get(_WILDCARD + key[10:12])
            if group is None:
                return None
        if len(group) == 1:
            return group[0]
        return group[crc32(key) % len(group)]

    def _half_open_input(self, channel: Channel, listener: Listener, segment: Segment, now: Instant) -> None:
        """A segment for a connection in SYN-RECEIVED that its listener has not seen yet."""
        if segment.flags & (ACK | SYN | RST) == ACK:
            if listener.full():
                self.environment.counters.listen_overflows += 1
                return
            if listener.defers(channel, segment, now):
                return
        channel.connection.receive(segment, now)
        if channel.connection.block.state != SYN_RECEIVED and channel.connection.block.state != CLOSED:
            channel.listener = None
            del listener.half_open[channel.key]
            listener.ready.append(channel)
            listener.queue.wake_all()
        if not channel.busy:
            channel.busy = True
            self._busy.append(channel)

    def _unmatched(self, key: bytes, segment: Segment, frame: Frame, network: int, now: Instant) -> None:
        """A segment for no connection: LISTEN and CLOSED of RFC 9293 section 3.10.7."""
        pending = self._pending.get(key)
        if pending is not None:
            self._absorb(pending, segment, now)
            return
        listener = self.find_listener(key)
        if listener is None:
            if self._interceptor is not None and segment.flags & (SYN | ACK | RST) == SYN:
                self._ask(self._interceptor, key, segment, frame, network, now)
                return
            self.environment.counters.no_connection += 1
            self._refuse(key, segment, now)
        elif segment.flags & RST:
            return
        elif segment.flags & ACK:
            if segment.flags & SYN or not self._redeem_cookie(listener, key, segment, now):
                self._refuse(key, segment, now)
        elif segment.flags & (SYN | FIN) == SYN:
            # SYN and FIN together open nothing for anybody (as on Linux).
            self._syn(listener, key, segment, now, None)

    def _syn(self, listener: Listener, key: bytes, segment: Segment, now: Instant, old: Channel | None) -> None:
        """A connection request for a listener (RFC 9293 3.10.7.2, third)."""
        settings = self.environment.settings
        if listener.full() or (listener.crowded(settings) and not settings.syncookies):
            self.environment.counters.listen_drops += 1
            return
        if settings.syncookies > 1 or listener.crowded(settings):
            if old is not None:
                self._drop(old)
            self._send_cookie(listener, key, segment, now)
            return
        channel = self._answer(key, segment, listener.options.copy(), now, old)
        if channel is None:
            return
        channel.listener = listener
        channel.binding = listener.binding
        self.ports.hold(listener.binding)
        listener.half_open[key] = channel
        self.settle(channel, now)

    def _send_cookie(self, listener: Listener, key: bytes, syn: Segment, now: Instant) -> None:
        """Answer a SYN and forget it."""
        try:
            route = self._network.route(key[0:4], key[4:8])
        except OSError:
            return
        mss = route.mtu - _HEADERS
        cookie = self._cookies.make(key, syn.seq, min(syn.mss or DEFAULT_MSS, mss), now)
        clock = timestamp_clock(self._numbers.clock(key[0:8]), now)
        settings = self.environment.settings
        self.environment.counters.syncookies_sent += 1
        self._send_alone(key, cookie_answer(syn, cookie, mss, clock, listener.options, settings), now)

    def _redeem_cookie(self, listener: Listener, key: bytes, segment: Segment, now: Instant) -> bool:
        """An ACK may bring a cookie back: then its connection is there, as if it had been all along.  False if not."""
        settings = self.environment.settings
        counters = self.environment.counters
        if not settings.syncookies or not self._cookies.expected(now):
            return False
        iss = (segment.ack - 1) & SEQ_MASK
        mss = self._cookies.check(key, (segment.seq - 1) & SEQ_MASK, iss, now)
        if not mss:
            counters.syncookies_failed += 1
            return False
        if listener.full():
            counters.listen_overflows += 1
            return True
        syn = remembered_syn(segment, mss, settings)
        channel = self._answer(key, syn, listener.options.copy(), now, None, iss)
        if channel is None:
            return True
        counters.syncookies_received += 1
        channel.binding = listener.binding
        self.ports.hold(listener.binding)
        channel.connection.receive(segment, now)
        if channel.connection.block.state != CLOSED:
            listener.ready.append(channel)
            listener.queue.wake_all()
        self.settle(channel, now)
        return True

    def _answer(
        self, key: bytes, segment: Segment, options: TcpOptions, now: Instant, old: Channel | None, iss: int = -1
    ) -> Channel | None:
        """A connection in SYN-RECEIVED; None where there is no way back to who asked.  `iss` is that of a SYN-ACK that was
        sent already, as a cookie."""
        remote = (key[0:4], read_u16(key, 8))
        local = (key[4:8], read_u16(key, 10))
        try:
            route = self._network.route(remote[0], local[0])
        except OSError:
            return None
        channel = self._make(key, local, remote, options, route, now, old, iss)
        if iss < 0:
            channel.connection.answer(segment, now)
        else:
            channel.connection.resume(segment, now)
        return channel

    def _reopen(self, channel: Channel, segment: Segment, frame: Frame, network: int, now: Instant) -> None:
        """A SYN that is newer than what waits in TIME-WAIT."""
        listener = self.find_listener(channel.key)
        if listener is not None:
            self._syn(listener, channel.key, segment, now, channel)
        else:
            self._drop(channel)
            self._unmatched(channel.key, segment, frame, network, now)

    def _refuse(self, key: bytes, segment: Segment, now: Instant) -> None:
        """Answer with a RST, unless it is one."""
        reset = reset_for(segment)
        if reset is not None:
            self.environment.counters.resets_sent += 1
            self._send_alone(key, reset, now)

    def _send_alone(self, key: bytes, segment: Segment, now: Instant) -> None:
        """Send a segment of no connection to whom packets with `key` come from."""
        source = key[4:8]
        destination = key[0:4]
        addresses = pseudo_sum(source, destination, PROTOCOL_TCP, 0)
        frame = emit_segment(segment, read_u16(key, 10), read_u16(key, 8), addresses)
        self.environment.counters.segments_out += 1
        try:
            route = self._network.route(destination, source)
            self._network.output(frame, route, source, destination, PROTOCOL_TCP, now)
        except OSError:
            return  # no way back: nobody to tell

    # Closing -----------------------------------------------------------------------------------------------------------

    def release(self, channel: Channel, now: Instant) -> None:
        """The socket closes (close(2)): the connection goes on by itself until it is done."""
        channel.queue = None
        channel.connection.leave(now)
        if channel.connection.block.state != CLOSED and not channel.waiting:
            channel.orphan = True
            self.orphans += 1
            if self.orphans > self.environment.settings.max_orphans:
                self.environment.counters.orphan_overflows += 1
                channel.connection.abort(now)
        self.settle(channel, now)

    def _start_waiting(self, channel: Channel, now: Instant) -> None:
        """A connection entered TIME-WAIT."""
        channel.waiting = True
        self.time_waits += 1
        if channel.orphan:
            channel.orphan = False
            self.orphans -= 1
        if self.time_waits > self.environment.settings.max_time_wait:
            self.environment.counters.time_wait_overflows += 1
            self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        """End a connection in TIME-WAIT without a word."""
        block = channel.connection.block
        block.linger_at = FOREVER
        block.events |= ENDED
        self._remove(channel)
        channel.deadline = FOREVER

    def _remove(self, channel: Channel) -> None:
        """Take a connection that is over out of all tables."""
        if self.channels.get(channel.key) is not channel:
            return
        del self.channels[channel.key]
        if channel.listener is not None:
            channel.listener.half_open.pop(channel.key, None)
            channel.listener = None
        if channel.orphan:
            channel.orphan = False
            self.orphans -= 1
        if channel.waiting:
            channel.waiting = False
            self.time_waits -= 1
        if channel.binding is not None:
            self.ports.release(channel.binding)
            channel.binding = None

    # Intercepted requests ----------------------------------------------------------------------------------------------

    def intercept(self, interceptor: Interceptor | None) -> None:
        """Let `interceptor` decide about connection requests that no listener wants."""
        self._interceptor = interceptor

    def _ask(
        self, interceptor: Interceptor, key: bytes, segment: Segment, frame: Frame, network: int, now: Instant
    ) -> None:
        settings = self.environment.settings
        if len(self._pending) >= settings.max_pending:
            self.environment.counters.pending_overflows += 1
            return
        remote = (key[0:4], read_u16(key, 8))
        local = (key[4:8], read_u16(key, 10))
        pending = PendingConnection(self, self.now, key, local, remote, segment, frame, network)
        self._pending[key] = pending
        self._timers.set(pending, now + settings.pending_timeout * 1_000_000)
        interceptor.syn(pending)

    def _absorb(self, pending: PendingConnection, segment: Segment, now: Instant) -> None:
        """A segment for a request that has no answer yet: only a RST says something new."""
        if segment.flags & RST:
            pending.expire(now)

    def pending_accepted(self, pending: PendingConnection, now: Instant) -> StreamSocket:
        self._forget(pending)
        adopt = self.adopt
        channel = self._answer(pending.key, pending.segment, TcpOptions(), now, None)
        if channel is None or adopt is None:
            raise error(EADDRINUSE)
        socket = adopt(channel)
        self.settle(channel, now)
        return socket

    def pending_refused(self, pending: PendingConnection, now: Instant) -> None:
        self._forget(pending)
        self._refuse(pending.key, pending.segment, now)

    def pending_unreachable(self, pending: PendingConnection, code: int, now: Instant) -> None:
        self._forget(pending)
        self._network.unreachable(pending.frame, pending.network, code, now)

    def pending_expired(self, pending: PendingConnection, now: Instant) -> None:
        self._forget(pending)
        if self._interceptor is not None:
            self._interceptor.withdrawn(pending)

    def _forget(self, pending: PendingConnection) -> None:
        del self._pending[pending.key]
        pending.deadline = FOREVER

    def now(self) -> Instant:
        """The time of this entry into the kernel."""
        return self._kernel.hyper.now

    # For sockets -------------------------------------------------------------------------------------------------------

    def is_local(self, address: bytes) -> bool:
        """Whether sockets may be bound to `address`."""
        return self._network.is_local(address)


def _name(local: SocketAddress) -> bytes:
    return local[0] + local[1].to_bytes(2, "big")
