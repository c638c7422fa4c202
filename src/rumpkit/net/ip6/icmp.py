"""ICMPv6 (RFC 4443) on its way in: pings are answered, errors told to the transport that they are about, messages of
neighbour discovery and multicast listening handed to who registered for them.  Errors on their way out are `ip6.report`'s.
"""

from abc import ABC, abstractmethod
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import EACCES, ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, EPROTO
from ..ip.contract import Report, Transport
from ..ip.icmp import Pinger
from ..wire.address import is_link_local, is_multicast, is_unspecified
from ..wire.checksum import pseudo_sum
from ..wire.icmpv6 import (
    DESTINATION_UNREACHABLE,
    ECHO_REPLY,
    ECHO_REQUEST,
    FIRST_INFORMATIONAL,
    PACKET_TOO_BIG,
    PARAMETER_PROBLEM,
    Icmp6Message,
    echo_reply,
    parse_icmpv6,
    parse_quote,
)
from ..wire.ipv6 import HEADER_SIZE, MIN_MTU, PROTOCOL_ICMPV6
from ..wire.offload import transport_checksum_valid
from .ipv6 import Ipv6
from .link import Link6
from .report import ErrorReporter6, Icmp6Counters, Icmp6Settings
from .upper import find_upper

UNREACHABLE_ERRNOS: Final = (
    ENETUNREACH, EACCES, EHOSTUNREACH, EHOSTUNREACH, ECONNREFUSED, EACCES, EACCES,
)  # fmt: skip
"""The error number for each code of DESTINATION_UNREACHABLE, as on Linux."""


@final
class Received6:
    """A message with what its packet says of it."""

    def __init__(self, message: Icmp6Message, frame: Frame, network: int, link: Link6) -> None:
        head = frame.head
        self.message: Icmp6Message = message
        self.frame: Frame = frame
        self.network: int = network
        """Where the IPv6 header is in the frame's head."""
        self.link: Link6 = link
        """Where it came in."""
        self.source: bytes = head[network + 8 : network + 24]
        self.destination: bytes = head[network + 24 : network + 40]
        self.hop_limit: int = head[network + 7]


@mypyc_attr(allow_interpreted_subclasses=True)
class Icmp6Handler(ABC):
    """Takes messages of some types."""

    @abstractmethod
    def handle(self, received: Received6, now: Instant) -> None:
        """A message whose checksum is right."""


@final
class Icmp6(Transport):
    """One kernel's ICMPv6."""

    def __init__(self, ipv6: Ipv6) -> None:
        self.settings: Icmp6Settings = Icmp6Settings()
        self.counters: Icmp6Counters = Icmp6Counters()
        self.pingers: dict[int, Pinger] = {}
        """By identifier."""
        self.handlers: dict[int, Icmp6Handler] = {}
        """By message type, for those that are not this class's own."""
        self._ipv6: Ipv6 = ipv6
        ipv6.reporter = ErrorReporter6(ipv6, self.settings, self.counters)
        ipv6.register(PROTOCOL_ICMPV6, self)

    def input(self, frame: Frame, network: int, transport: int, end: int, now: Instant) -> None:
        counters = self.counters
        counters.messages_in += 1
        message = parse_icmpv6(frame, transport, end)
        link = self._ipv6.arrival
        if message is None or link is None:
            counters.bad_in += 1
            return
        received = Received6(message, frame, network, link)
        pseudo = int(pseudo_sum(received.source, received.destination, PROTOCOL_ICMPV6, end - transport))
        if not transport_checksum_valid(frame, transport, end, pseudo):
            counters.bad_in += 1
            return
        kind = message.kind
        counters.received[kind] += 1
        if kind == ECHO_REQUEST:
            self._echo(received, now)
        elif kind == ECHO_REPLY:
            self._reply(received, now)
        elif kind < FIRST_INFORMATIONAL:
            self._error(received, now)
        else:
            handler = self.handlers.get(kind)
            if handler is None:
                counters.others_in += 1  # unknown informational messages are dropped (RFC 4443 section 2.4 (b))
            else:
                handler.handle(received, now)

    def flush(self, now: Instant) -> None:
        return None

    def sent(self, source: bytes, destination: bytes, quoted: bytes) -> bool:
        return len(quoted) >= 6 and quoted[0] == ECHO_REQUEST and (quoted[4] << 8 | quoted[5]) in self.pingers

    def error(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        if len(quoted) >= 6 and quoted[0] == ECHO_REQUEST:
            pinger = self.pingers.get(quoted[4] << 8 | quoted[5])
            if pinger is not None:
                pinger.refused(source, destination, quoted, errno, mtu, now)

    def send(
        self,
        message: Icmp6Message,
        source: bytes | None,
        destination: bytes,
        ttl: int,
        tos: int,
        now: Instant,
        zone: int = 0,
    ) -> None:
        """Send a message; with a `ttl` of 0 it has the default.  Raises as `Network.route` and `Network.output`."""
        route = self._ipv6.route(destination, source, zone)
        own = source or route.source
        frame = Frame(message.emit(own, destination))
        self.counters.sent[message.kind] += 1
        self._ipv6.output(frame, route, own, destination, PROTOCOL_ICMPV6, now, ttl or -1, tos, dont_fragment=False)

    # Handlers ------------------------------------------------------------------------------------------

    def _echo(self, received: Received6, now: Instant) -> None:
        """Answer (RFC 4443 section 4.2): from the address that was asked, or one of the link's for a group."""
        self.counters.echo_requests_in += 1
        settings = self.settings
        to_group = is_multicast(received.destination)
        if settings.echo_ignore_all or (settings.echo_ignore_multicast and to_group) or is_unspecified(received.source):
            return
        head = received.frame.head
        tos = (head[received.network] << 4 | head[received.network + 1] >> 4) & 0xFF
        source = None if to_group else received.destination
        zone = received.link.interface.index if is_link_local(received.source) and to_group else 0
        try:
            self.send(echo_reply(received.message), source, received.source, 0, tos, now, zone)
        except OSError:
            return  # no way back
        self.counters.echo_replies_out += 1

    def _reply(self, received: Received6, now: Instant) -> None:
        self.counters.echo_replies_in += 1
        message = received.message
        pinger = self.pingers.get(message.identifier())
        if pinger is not None:
            whole = message.emit(received.source, received.destination)
            head, at = received.frame.head, received.network
            tos = (head[at] << 4 | head[at + 1] >> 4) & 0xFF
            pinger.answered(received.source, received.destination, whole, received.hop_limit, tos, now)

    def _error(self, received: Received6, now: Instant) -> None:
        """Tell the transport, if the quoted packet looks like one that we sent."""
        counters = self.counters
        counters.errors_in += 1
        message = received.message
        quote = parse_quote(message.data)
        upper = None if quote is None else find_upper(message.data, 0)
        if quote is None or upper is None or len(message.data) < upper.offset + 8:
            counters.bad_in += 1
            return
        ipv6 = self._ipv6
        transport, raw = ipv6.transports[upper.protocol], ipv6.raw
        quoted = message.data[upper.offset :]
        ours = ipv6.is_local(quote.source)
        known = transport is not None and transport.sent(quote.source, quote.destination, quoted)
        if raw is None or not raw.knows(upper.protocol):
            raw = None
        if not ours or not (known or raw is not None):
            counters.errors_ignored += 1
            return
        mtu = 0
        errno = _errno_of(message)
        if errno == EMSGSIZE:
            # An MTU below what every link carries is no honest router's (RFC 8201 section 4).
            size = HEADER_SIZE + int(quote.payload_size)
            if message.rest >= MIN_MTU:
                mtu = ipv6.path_mtus.learn(quote.destination, message.rest, size, now)
            if mtu == 0:
                counters.errors_ignored += 1
                return
        ipv6.reported = Report(message.kind, message.code, received.source)
        if message.kind == PARAMETER_PROBLEM:
            ipv6.reported.pointer = message.rest
        if raw is not None:
            raw.error(upper.protocol, quote.source, quote.destination, quoted, errno, mtu, now)
        if transport is not None and known:
            transport.error(quote.source, quote.destination, quoted, errno, mtu, now)
        ipv6.reported = None


def _errno_of(message: Icmp6Message) -> int:
    """What an error means to a caller."""
    if message.kind == PACKET_TOO_BIG:
        return EMSGSIZE
    if message.kind == DESTINATION_UNREACHABLE:
        return UNREACHABLE_ERRNOS[message.code] if message.code < len(UNREACHABLE_ERRNOS) else EHOSTUNREACH
    return EPROTO if message.kind == PARAMETER_PROBLEM else EHOSTUNREACH
