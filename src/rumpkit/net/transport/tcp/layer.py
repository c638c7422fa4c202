"""TCP of one kernel: finds the connection that a packet is for, and opens new ones.

Between `core`, which has the connections, and `net.socket` above.  Packets are taken one by one; what they
make connections send, and whom they wake, is seen to once a batch (`flush`), so that sixteen segments cost one
acknowledgement and one wake-up.
"""

from collections.abc import Callable
from typing import Final, final
from zlib import crc32

from ....hyper.frame import CHECKSUM_UNVERIFIED, Frame
from ....hyper.time import FOREVER, Instant
from ....kern.abi.errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, ENETUNREACH, error
from ....kern.kernel import RumpKernel
from ....kern.socket import SocketAddress, StreamSocket
from ....kern.wait import WaitQueue
from ...ip.contract import Network, Route, Transport
from ...wire.address import ANY_V6, is_multicast
from ...wire.checksum import fold, pseudo_sum
from ...wire.field import read_u16
from ...wire.ipv4 import PROTOCOL_TCP
from ...wire.offload import transport_checksum_valid
from ...wire.segment import ACK, CE, FIN, RST, SYN, Segment
from ...wire.sequence import SEQ_MASK
from ...wire.tcp import parse_segment
from ..ports import PortAllocator, PortBinding
from .arrival import may_reopen
from .block import DEFAULT_MSS, timestamp_clock
from .channel import Channel, Listener
from .cookies import SynCookies, cookie_answer, remembered_syn
from .core import KEY_SIZE, TcpCore, headers_size, incoming_zone
from .ecn import congestion_experienced
from .fastopen import SERVER, SERVER_ALL, SERVER_NO_COOKIE, Attempt
from .intercept import Answers, Interceptor, PendingConnection
from .options import TcpOptions
from .states import CLOSED, SYN_RECEIVED
from .timewait import REUSE_AGE, TimeWait

_KEY_SIZE6: Final = 36
_DEFAULT_MSS6: Final = 1220
"""What a peer takes over IPv6 that sends no MSS option (RFC 9293 section 3.7.1)."""
_WILDCARD: Final = bytes(4)


@final
class Tcp(TcpCore, Answers):
    """The TCP layer.  All methods are called on the schedule."""

    def __init__(self, kernel: RumpKernel, network: Network, ports: PortAllocator) -> None:
        super().__init__(kernel, network, ports)
        self._cookies: SynCookies = SynCookies(kernel.hyper.random)
        self._listeners: dict[bytes, list[Listener]] = {}
        """By address and port; those of one SO_REUSEPORT group share an entry."""
        self._pending: dict[bytes, PendingConnection] = {}
        self._interceptor: Interceptor | None = None
        self.adopt: Callable[[Channel], StreamSocket] | None = None
        """Makes a socket of a connection; set by `net.socket`."""

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
        if segment is None or len(key) != KEY_SIZE:
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
        self.take(channel, key, segment, frame, network, now)

    def take(
        self, channel: Channel | None, key: bytes, segment: Segment, frame: Frame, network: int, now: Instant
    ) -> None:
        """A good segment, and the connection of its key if there is one."""
        if channel is None:
            self._unmatched(key, segment, frame, network, now)
        elif channel.least_ttl and channel.least_ttl > frame.head[network + (8 if len(key) == KEY_SIZE else 7)]:
            self.environment.counters.too_far += 1
        elif channel.listener is not None:
            self._half_open_input(channel, channel.listener, segment, now)
        elif channel.waiting and channel.connection.reopens(segment):
            self._reopen(channel, segment, frame, network, now)
        else:
            connection = channel.connection
            if connection.block.ecn and congestion_experienced(frame.head, network):
                segment.flags |= CE
            connection.receive(segment, now)
            if connection.answer_now():
                self._output(channel, now)
            if not channel.busy:
                channel.busy = True
                self._busy.append(channel)

    # Opening -----------------------------------------------------------------------------------------------------------

    def connect(
        self,
        local: SocketAddress | None,
        remote: SocketAddress,
        options: TcpOptions,
        queue: WaitQueue,
        binding: PortBinding | None,
        now: Instant,
        fast: Attempt | None = None,
        first: bytes = b"",
        zone: int = 0,
    ) -> Channel:
        """Start a connection to `remote`, from `local` (or what route and chance choose where it's None, or partly
        zero).  With `fast` its SYN has the Fast Open option, and may carry the begin of `first`.
        Raises ENETUNREACH, EADDRNOTAVAIL (or in use)."""
        network = self.layer(remote[0])
        wanted = local[0] if local is not None and any(local[0]) else None
        if wanted is not None and len(wanted) != len(remote[0]):
            network.route(remote[0], None, zone)
            raise error(EAFNOSUPPORT)
        route = network.route(remote[0], wanted, zone)
        if route.broadcast or is_multicast(remote[0]):
            raise error(ENETUNREACH)  # a connection is with one host (RFC 9293 section 3.9.1.1; errno as on Linux)
        source = wanted or route.source
        prefix = remote[0] + source + remote[1].to_bytes(2, "big")
        port = local[1] if local is not None else 0
        if port == 0:
            port = self.ports.choose(lambda some: self._taken(prefix, some, now))
        elif self._taken(prefix, port, now):
            raise error(EADDRNOTAVAIL)
        key = prefix + port.to_bytes(2, "big")
        channel = self._make(key, (source, port), remote, options, route, now)
        channel.queue = queue
        channel.zone = zone
        if binding is not None:
            channel.binding = binding
            self.ports.hold(binding)
        channel.connection.open()
        if fast is not None:
            channel.connection.block.fast = fast
            if fast.cookie == b"":
                self.environment.counters.fastopen_cookies_asked += 1
            if first:
                channel.connection.write(first, 0)
        self.settle(channel, now)
        return channel

    def _taken(self, prefix: bytes, port: int, now: Instant) -> bool:
        """Whether a connection is in the way: one in TIME-WAIT is not if its timestamps tell old from new (RFC 6191)."""
        key = prefix + port.to_bytes(2, "big")
        channel = self.channels.get(key)
        if channel is not None:
            block = channel.connection.block
            reusable = channel.waiting and block.timestamps and now - block.ts_recent_at > REUSE_AGE
        else:
            record = self.waits.get(key)
            if record is None:
                return False
            reusable = record.reusable(now)
        return not (reusable and self.environment.settings.time_wait_reuse)

    # Listening ---------------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Take connections for `listener` from now on."""
        for name in _names(listener):
            self._listeners.setdefault(name, []).append(listener)

    def unlisten(self, listener: Listener, now: Instant) -> None:
        """No more connections: those that nobody has accepted are reset."""
        for name in _names(listener):
            group = self._listeners[name]
            group.remove(listener)
            if not group:
                del self._listeners[name]
        for channel in list(listener.half_open.values()) + listener.ready:
            channel.listener = None
            channel.early = None
            channel.connection.abort(now)
            channel.connection.block.let_go()
            self.settle(channel, now)
        listener.half_open.clear()
        listener.ready.clear()

    def listeners(self) -> list[Listener]:
        """All that listen."""
        return list({listener: None for group in self._listeners.values() for listener in group})

    def find_listener(self, key: bytes) -> Listener | None:
        """Who listens for what arrives with `key`; of a SO_REUSEPORT group, one by the peer's address and port."""
        size = (len(key) - 4) >> 1
        group = self._listeners.get(key[size : 2 * size] + key[-2:])
        if group is None:
            group = self._listeners.get((_WILDCARD if size == 4 else ANY_V6) + key[-2:])
            if group is None:
                return None
        listener = group[0] if len(group) == 1 else group[crc32(key) % len(group)]
        if listener.zone:
            incoming = self.layer(key).incoming
            if incoming is None or incoming.index != listener.zone:
                return None
        return listener

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
            _make_ready(listener, channel)
        if not channel.busy:
            channel.busy = True
            self._busy.append(channel)

    def _unmatched(self, key: bytes, segment: Segment, frame: Frame, network: int, now: Instant) -> None:
        """A segment for no connection: LISTEN and CLOSED of RFC 9293 section 3.10.7, and TIME-WAIT without a socket."""
        listener = self.find_listener(key)
        record = self.waits.get(key)
        if record is not None and not (
            (listener is not None or self._interceptor is not None) and self._may_reopen(record, segment)
        ):
            answer = self.waits.receive(record, segment, now)
            if answer is not None:
                self._send_alone(key, answer, now)
            return
        pending = self._pending.get(key)
        if pending is not None:
            self._absorb(pending, segment, now)
            return
        if listener is None:
            if self._interceptor is not None and len(key) == KEY_SIZE and segment.flags & (SYN | ACK | RST) == SYN:
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
            self._syn(listener, key, segment, now)

    def _may_reopen(self, record: TimeWait, segment: Segment) -> bool:
        offered = self.environment.settings.timestamps != 0
        return may_reopen(segment, record.timestamps, record.ts_recent, record.rcv_nxt, offered)

    def _syn(self, listener: Listener, key: bytes, segment: Segment, now: Instant) -> None:
        """A connection request for a listener (RFC 9293 3.10.7.2, third)."""
        settings = self.environment.settings
        if listener.full() or (listener.crowded(settings) and not settings.syncookies):
            self.environment.counters.listen_drops += 1
            return
        if settings.syncookies > 1 or listener.crowded(settings):
            self._make_way(key)
            self._send_cookie(listener, key, segment, now)
            return
        channel = self._answer(key, segment, listener.options.share(), now)
        if channel is None:
            return
        channel.binding = listener.binding
        self.ports.hold(listener.binding)
        if self._comes_early(listener, channel, segment, now):
            channel.early = listener
            listener.early += 1
            channel.connection.take_early(segment, now)
            _make_ready(listener, channel)
        else:
            channel.listener = listener
            listener.half_open[key] = channel
        self.settle(channel, now)

    def _comes_early(self, listener: Listener, channel: Channel, syn: Segment, now: Instant) -> bool:
        """Whether a SYN's sender may send before the handshake is done (RFC 7413 section 4.2.2); sees to its cookie."""
        settings = self.environment.settings
        counters = self.environment.counters
        if not settings.fastopen & SERVER or not (listener.options.fast_open or settings.fastopen & SERVER_ALL):
            return False
        addresses = channel.key[:-4]
        cookie = syn.fast_open
        if cookie is None:
            if not syn.size or not settings.fastopen & SERVER_NO_COOKIE:
                return False
        elif not self.fast_open.valid(cookie, addresses, now):
            if cookie:
                counters.fastopen_passive_failed += 1
            else:
                counters.fastopen_cookies_asked += 1
            channel.connection.block.fast = Attempt(self.fast_open.cookie(addresses, now), 0)
            return False
        if listener.early_load(now) >= (listener.options.fast_open or listener.backlog):
            counters.fastopen_overflows += 1
            return False
        counters.fastopen_passive += 1
        return True

    def _send_cookie(self, listener: Listener, key: bytes, syn: Segment, now: Instant) -> None:
        """Answer a SYN and forget it."""
        try:
            route = self._way_back(key)
        except OSError:
            return
        mss = route.mtu - headers_size(key)
        cookie = self._cookies.make(key, syn.seq, min(syn.mss or DEFAULT_MSS, mss), now)
        clock = timestamp_clock(self._numbers.clock(key[:-4]), now)
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
        channel = self._answer(key, syn, listener.options.share(), now, iss)
        if channel is None:
            return True
        counters.syncookies_received += 1
        channel.binding = listener.binding
        self.ports.hold(listener.binding)
        channel.connection.receive(segment, now)
        if channel.connection.block.state != CLOSED:
            _make_ready(listener, channel)
        self.settle(channel, now)
        return True

    def _answer(self, key: bytes, segment: Segment, options: TcpOptions, now: Instant, iss: int = -1) -> Channel | None:
        """A connection in SYN-RECEIVED; None where there is no way back to who asked.  `iss` is that of a SYN-ACK that was
        sent already, as a cookie."""
        size = (len(key) - 4) >> 1
        remote = (key[:size], read_u16(key, 2 * size))
        local = (key[size : 2 * size], read_u16(key, 2 * size + 2))
        try:
            route = self._way_back(key)
        except OSError:
            return None
        channel = self._make(key, local, remote, options, route, now, iss)
        if size != 4:
            channel.zone = incoming_zone(self.layer(key), remote[0])
        if iss < 0:
            channel.connection.answer(segment, now)
        else:
            channel.connection.resume(segment, now)
        return channel

    def _way_back(self, key: bytes) -> Route:
        """The route to whom packets with `key` come from.  Raises as `Network.route`."""
        size = (len(key) - 4) >> 1
        network = self.layer(key)
        return network.route(key[:size], key[size : 2 * size], incoming_zone(network, key[:size]))

    def _reopen(self, channel: Channel, segment: Segment, frame: Frame, network: int, now: Instant) -> None:
        """A SYN that is newer than what waits in TIME-WAIT."""
        listener = self.find_listener(channel.key)
        if listener is not None:
            self._syn(listener, channel.key, segment, now)
        else:
            self._drop(channel)
            self._unmatched(channel.key, segment, frame, network, now)

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
        channel = self._answer(pending.key, pending.segment, TcpOptions(), now)
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


def _make_ready(listener: Listener, channel: Channel) -> None:
    """Let a connection be accepted."""
    listener.ready.append(channel)
    channel.connection.block.unclaimed = True
    listener.queue.wake_all()


def _names(listener: Listener) -> list[bytes]:
    """Under which addresses and ports a listener is found."""
    address, number = listener.local
    port = number.to_bytes(2, "big")
    return [address + port, _WILDCARD + port] if listener.dual else [address + port]


@final
class TcpOver6(Transport):
    """TCP as IPv6 sees it."""

    def __init__(self, tcp: Tcp, network: Network) -> None:
        self._tcp: Tcp = tcp
        tcp.network6 = network
        network.register(PROTOCOL_TCP, self)

    def input(self, frame: Frame, network: int, transport: int, end: int, now: Instant) -> None:
        tcp = self._tcp
        counters = tcp.environment.counters
        counters.segments_in += 1
        head = frame.head
        key = head[network + 8 : network + 40] + head[transport : transport + 4]
        segment = parse_segment(frame, transport, end)
        if segment is None or len(key) != _KEY_SIZE6:
            counters.malformed += 1
            return
        channel = tcp.channels.get(key)
        if frame.checksum == CHECKSUM_UNVERIFIED:
            size = end - transport
            if channel is None:
                pseudo = pseudo_sum(key[0:16], key[16:32], PROTOCOL_TCP, size)
            else:
                pseudo = fold(channel.addresses + size)
            if not transport_checksum_valid(frame, transport, end, pseudo):
                counters.bad_checksums += 1
                return
        if segment.mss == 0 and segment.flags & SYN:
            segment.mss = _DEFAULT_MSS6
        tcp.take(channel, key, segment, frame, network, now)

    def flush(self, now: Instant) -> None:
        self._tcp.flush(now)

    def sent(self, source: bytes, destination: bytes, quoted: bytes) -> bool:
        return self._tcp.sent(source, destination, quoted)

    def error(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        self._tcp.error(source, destination, quoted, errno, mtu, now)
