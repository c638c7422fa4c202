"""The connections of one kernel: their table, what they send, their timers, and how they leave.

Below `layer`, which finds the connection that a packet is for and opens new ones; above `net.ip`.
"""

from typing import Final

from ....hyper.frame import GSO_TCPV4, GSO_TCPV6
from ....hyper.time import FOREVER, MILLISECOND, Instant
from ....kern.abi.errno import EAFNOSUPPORT, ECONNREFUSED, EMSGSIZE, error
from ....kern.abi.poll import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from ....kern.kernel import RumpKernel
from ....kern.socket import SocketAddress
from ....kern.timer import TimerQueue
from ...ip.contract import Network, Route, Transport
from ...link.interfaces import Interfaces
from ...wire.address import is_link_local
from ...wire.checksum import pseudo_sum
from ...wire.field import read_u16, read_u32
from ...wire.ipv4 import PROTOCOL_TCP
from ...wire.segment import RST, Segment
from ...wire.tcp import emit_segment
from ..ports import PortAllocator
from .arrival import close
from .block import READABLE, WRITABLE, Environment
from .channel import Channel, Driver
from .connection import TcpConnection
from .fastopen import FastOpen
from .isn import SequenceNumbers
from .options import TcpOptions
from .send import reset_for
from .settings import TCP_SYSCTLS
from .states import CLOSED, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from .timewait import ISN_GAP, TimeWait, TimeWaits

HEADERS: Final = 40
HEADERS6: Final = 60
"""IP and TCP headers without options: what the MTU has beside the MSS (RFC 6691), over IPv4 and IPv6."""
KEY_SIZE: Final = 12
"""The key of a connection over IPv4: addresses and ports as in the headers of what arrives.  One over IPv6 has 36 bytes."""
_DATA: Final = POLLIN | POLLRDNORM
_ROOM: Final = POLLOUT | POLLWRNORM


class TcpCore(Transport, Driver):
    """What `layer.Tcp` is built on.  All methods are called on the schedule."""

    def __init__(self, kernel: RumpKernel, network: Network, ports: PortAllocator) -> None:
        self._kernel: RumpKernel = kernel
        self._timers: TimerQueue = kernel.timers
        self._network: Network = network
        """IPv4."""
        self.network6: Network | None = None
        self.ports: PortAllocator = ports
        self.devices: Interfaces | None = None
        """For SO_BINDTODEVICE."""
        self.environment: Environment = Environment()
        self.environment.challenges.secret = kernel.hyper.random(16)
        self._numbers: SequenceNumbers = SequenceNumbers(kernel.hyper.random(32))
        self.fast_open: FastOpen = FastOpen(kernel.hyper.random, self.environment.settings)
        self.channels: dict[bytes, Channel] = {}
        """By the 12 bytes of addresses and ports, as in the headers of what arrives."""
        self._busy: list[Channel] = []
        self.orphans: int = 0
        self.waits: TimeWaits = TimeWaits(ports, kernel.timers, self.environment)
        """Connections in TIME-WAIT without a socket; those with one are in `channels`."""
        self._waiting: int = 0
        self._last_local: SocketAddress = (b"", 0)
        self._last_remote: SocketAddress = (b"", 0)
        """Of the connection made last: a server's have one local address, a client's often one peer, and can share it."""
        kernel.counters.register("tcp", self.environment.counters)
        kernel.sysctl.register("net.tcp", self.environment.settings, TCP_SYSCTLS)
        network.register(PROTOCOL_TCP, self)

    # Packets -----------------------------------------------------------------------------------------------------------

    def flush(self, now: Instant) -> None:
        busy = self._busy
        if not busy:
            return
        self._busy = []
        done = 0
        try:
            for channel in busy:
                done += 1
                channel.busy = False
                self.settle(channel, now)
        finally:
            if done < len(busy):
                self._busy = busy[done:] + self._busy  # one of them raised: the others' turn is the next time

    def settle(self, channel: Channel, now: Instant) -> None:
        """Something happened to a connection: send what it has to send, tell its user, see to its timer."""
        self._output(channel, now)
        block = channel.connection.block
        state = block.state
        if block.fast is not None or block.early:
            self._watch_fast_open(channel, now)
        if state == CLOSED:
            self._remove(channel)
        elif state == TIME_WAIT and (channel.queue is None or not channel.waiting):
            self._start_waiting(channel)
        events = block.events
        if events:
            block.events = 0
            queue = channel.queue
            if queue is None:
                pass
            elif events == READABLE and block.rcv_fin < 0:
                queue.wake_for(_DATA)
            elif events == WRITABLE:
                queue.wake_for(_ROOM)
            else:
                queue.wake_all()
        deadline = channel.connection.next_deadline()
        if deadline != channel.deadline:
            self._timers.set(channel, deadline)

    def hasten(self, channel: Channel) -> None:
        """A deadline of a connection has moved to an earlier time."""
        self._timers.set(channel, channel.connection.next_deadline())

    def _watch_fast_open(self, channel: Channel, now: Instant) -> None:
        """The handshake of a connection that uses the option may be over: note what came of it."""
        block = channel.connection.block
        fast = block.fast
        if block.state == SYN_SENT or block.state == SYN_RECEIVED:
            return
        counters = self.environment.counters
        server = channel.remote[0]
        if fast is not None and not block.passive:
            if fast.received:
                self.fast_open.learn(server, fast.received, block.peer_mss)
            if fast.size and fast.taken > 0:
                counters.fastopen_active += 1
                self.fast_open.trust(server)
            elif fast.size:
                counters.fastopen_active_failed += 1
                if fast.lost or block.retries or (block.state == CLOSED and block.error):
                    self.fast_open.suspect(server, now)
        block.fast = None
        block.early = False
        listener = channel.early
        if listener is not None:
            listener.early -= 1
            channel.early = None
            hold = self.environment.settings.fastopen_reset_hold
            if block.state == CLOSED and block.error == ECONNREFUSED and hold:
                listener.early_resets.append(now + hold * MILLISECOND)

    def sent(self, source: bytes, destination: bytes, quoted: bytes) -> bool:
        channel = self.channels.get(destination + source + quoted[2:4] + quoted[0:2])
        return channel is not None and len(quoted) >= 8 and channel.connection.in_flight(read_u32(quoted, 4))

    def error(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        channel = self.channels.get(destination + source + quoted[2:4] + quoted[0:2])
        if channel is None or len(quoted) < 8:
            return
        channel.connection.icmp(read_u32(quoted, 4), errno, mtu - headers_size(channel.key), now)
        if not channel.busy:
            channel.busy = True
            self._busy.append(channel)
        # Reports may come from our own output (an address that can't be resolved), with no batch to end.
        self._timers.set(channel, min(now, channel.deadline))

    def expired(self, channel: Channel, now: Instant) -> None:
        """The deadline of a channel has passed."""
        block = channel.connection.block
        channel.connection.on_deadline(now)
        if block.doubtful:
            block.doubtful = False
            channel.route.interface.doubt(channel.route.next_hop, now)
        self.settle(channel, now)

    def _output(self, channel: Channel, now: Instant) -> None:
        """Send all that the connection has to send."""
        out: list[Segment] = []
        connection = channel.connection
        connection.transmit(out, now)
        options = connection.block.options
        network = self._network
        gso = GSO_TCPV4
        ttl = options.ttl
        if len(channel.key) != KEY_SIZE:
            network = self.layer(channel.key)
            gso = GSO_TCPV6
            ttl = options.hops
        for segment in out:
            if channel.generation != network.generation:
                self._route_again(channel)
            frame = emit_segment(
                segment,
                channel.local[1],
                channel.remote[1],
                channel.addresses,
                gso,
            )
            counters = self.environment.counters
            counters.segments_out += segment.segments
            if segment.flags & RST:
                counters.resets_sent += 1
            try:
                network.output(
                    frame,
                    channel.route,
                    channel.local[0],
                    channel.remote[0],
                    PROTOCOL_TCP,
                    now,
                    ttl,
                    options.tos | segment.ecn,
                )
            except OSError as failure:
                # Lost as in a full queue; the timer will try again.
                if failure.errno != EMSGSIZE:
                    connection.block.soft_error = failure.errno or 0

    def layer(self, key: bytes) -> Network:
        """The network that a connection's key, or an address, is of.  Raises EAFNOSUPPORT."""
        if len(key) == KEY_SIZE or len(key) == 4:
            return self._network
        if self.network6 is None:
            raise error(EAFNOSUPPORT)
        return self.network6

    def _route_again(self, channel: Channel) -> None:
        """Routes, addresses or path MTUs have changed."""
        network = self.layer(channel.key)
        channel.generation = network.generation
        try:
            channel.route = network.route(channel.remote[0], channel.local[0], channel.zone)
        except OSError as failure:
            channel.connection.block.soft_error = failure.errno or 0
            return
        channel.connection.path_changed(channel.route.mtu - headers_size(channel.key))

    def _refuse(self, key: bytes, segment: Segment, now: Instant) -> None:
        """Answer with a RST, unless it is one."""
        reset = reset_for(segment)
        if reset is not None:
            self.environment.counters.resets_sent += 1
            self._send_alone(key, reset, now)

    def _send_alone(self, key: bytes, segment: Segment, now: Instant) -> None:
        """Send a segment of no connection to whom packets with `key` come from."""
        size = (len(key) - 4) >> 1
        source = key[size : 2 * size]
        destination = key[:size]
        addresses = pseudo_sum(source, destination, PROTOCOL_TCP, 0)
        frame = emit_segment(segment, read_u16(key, 2 * size + 2), read_u16(key, 2 * size), addresses)
        self.environment.counters.segments_out += 1
        try:
            network = self.layer(key)
            route = network.route(destination, source, incoming_zone(network, destination))
            network.output(frame, route, source, destination, PROTOCOL_TCP, now)
        except OSError:
            return  # no way back: nobody to tell

    # The table ---------------------------------------------------------------------------------------------------------

    def _make(
        self,
        key: bytes,
        local: SocketAddress,
        remote: SocketAddress,
        options: TcpOptions,
        route: Route,
        now: Instant,
        iss: int = -1,
    ) -> Channel:
        """A new channel in the table, in the place of what waits there in TIME-WAIT.  `iss` is its initial sequence number if
        that is known already."""
        after = self._make_way(key)
        if iss < 0:
            iss = after if after >= 0 else self._numbers.initial(key, now)
        if local == self._last_local:
            local = self._last_local
        else:
            self._last_local = local
        if remote == self._last_remote:
            remote = self._last_remote
        else:
            self._last_remote = remote
        clock = self._numbers.clock(key[:-4])
        connection = TcpConnection(self.environment, options, iss, route.mtu - headers_size(key), clock)
        addresses = pseudo_sum(local[0], remote[0], PROTOCOL_TCP, 0)
        channel = Channel(self, key, local, remote, connection, route, addresses)
        channel.generation = self.layer(key).generation
        channel.opened_at = now
        self.channels[key] = channel
        return channel

    def _make_way(self, key: bytes) -> int:
        """End what waits with `key` in TIME-WAIT.  The ISN for what comes in its place; -1 if there was nothing."""
        record = self.waits.get(key)
        if record is not None:
            self.waits.remove(record)
            return record.next_isn()
        old = self.channels.get(key)
        if old is None:
            return -1
        self._drop(old)
        return old.connection.block.snd_max + ISN_GAP

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

    @property
    def time_waits(self) -> int:
        """How many connections are in TIME-WAIT."""
        return len(self.waits) + self._waiting

    def _start_waiting(self, channel: Channel) -> None:
        """A connection entered TIME-WAIT, or has lost its socket there: then a record is all that stays of it."""
        if self.channels.get(channel.key) is not channel:
            return
        if not channel.waiting:
            channel.waiting = True
            self._waiting += 1
            if channel.orphan:
                channel.orphan = False
                self.orphans -= 1
            if self.time_waits > self.environment.settings.max_time_wait:
                self.environment.counters.time_wait_overflows += 1
                self._drop(channel)
                return
        if channel.queue is None:
            block = channel.connection.block
            record = TimeWait(channel.key, block, channel.binding)
            channel.binding = None
            block.linger_at = FOREVER
            self._remove(channel)
            self.waits.add(record)

    def _drop(self, channel: Channel) -> None:
        """End a connection in TIME-WAIT without a word.  For a socket that still has it, it is over."""
        close(channel.connection.block, 0)
        self._remove(channel)

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
            self._waiting -= 1
        if channel.binding is not None:
            self.ports.release(channel.binding)
            channel.binding = None
        self._timers.cancel(channel)

    # For sockets -------------------------------------------------------------------------------------------------------

    def now(self) -> Instant:
        """The time of this entry into the kernel."""
        return self._kernel.hyper.now

    def is_local(self, address: bytes) -> bool:
        """Whether sockets may be bound to `address`."""
        return self.layer(address).is_local(address)


def headers_size(key: bytes) -> int:
    """What the MTU has beside the MSS for a connection's key."""
    return HEADERS if len(key) == KEY_SIZE else HEADERS6


def incoming_zone(network: Network, address: bytes) -> int:
    """The zone that an address of a packet just received means something in; 0 for those that mean the same anywhere."""
    incoming = network.incoming
    if incoming is None or len(address) == 4 or not is_link_local(address):
        return 0
    return incoming.index
