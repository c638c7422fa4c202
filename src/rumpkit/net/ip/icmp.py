"""ICMP (RFC 792, RFC 1122 section 3.2.2) on its way in: pings are answered, errors told to the transport that they are
about.  Errors on their way out are `ip.report`'s.
"""

from collections.abc import Callable
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import (
    ECONNREFUSED,
    EHOSTDOWN,
    EHOSTUNREACH,
    EMSGSIZE,
    ENETUNREACH,
    ENOPROTOOPT,
    EOPNOTSUPP,
    EPROTO,
)
from ..wire.icmp import (
    DESTINATION_UNREACHABLE,
    ECHO,
    ECHO_REPLY,
    FRAGMENTATION_NEEDED,
    PARAMETER_PROBLEM,
    TIME_EXCEEDED,
    IcmpMessage,
    echo_reply,
    parse_icmp,
    parse_quote,
)
from ..wire.ipv4 import PROTOCOL_ICMP
from ..wire.offload import transport_checksum_valid
from .contract import Report, Transport
from .ipv4 import LOCAL, NOT_OURS, Ipv4
from .report import ErrorReporter, IcmpCounters, IcmpSettings

_ENONET: Final = 64
UNREACHABLE_ERRNOS: Final = (
    ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT, ECONNREFUSED, EMSGSIZE, EOPNOTSUPP, ENETUNREACH, EHOSTDOWN, _ENONET,
    ENETUNREACH, EHOSTUNREACH, ENETUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH,
)  # fmt: skip
"""The error number for each code of DESTINATION_UNREACHABLE, as in Linux's icmp(7)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Pinger:
    """Somebody who sends echo requests under an identifier of his own."""

    def reply(self, source: bytes, message: bytes, ttl: int, now: Instant) -> None:
        """An echo reply came from `source`; `message` is all of it, from the ICMP header on."""
        raise NotImplementedError

    def failed(self, destination: bytes, errno: int, now: Instant) -> None:
        """ICMP says that an echo request to `destination` failed."""
        raise NotImplementedError

    def answered(self, source: bytes, destination: bytes, message: bytes, ttl: int, tos: int, now: Instant) -> None:
        """As `reply`, for who wants to know more: the address that the reply was sent to, and its type of service."""
        self.reply(source, message, ttl, now)

    def refused(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        """As `failed`, for who wants to know more (`Transport.error`)."""
        self.failed(destination, errno, now)


@final
class Icmp(Transport):
    """One kernel's ICMP."""

    def __init__(self, ipv4: Ipv4) -> None:
        self.settings: IcmpSettings = IcmpSettings()
        self.counters: IcmpCounters = IcmpCounters()
        self.pingers: dict[int, Pinger] = {}
        """By identifier."""
        self._ipv4: Ipv4 = ipv4
        self._handlers: dict[int, Callable[[IcmpMessage, Frame, int, Instant], None]] = {
            ECHO: self._echo,
            ECHO_REPLY: self._reply,
            DESTINATION_UNREACHABLE: self._error,
            TIME_EXCEEDED: self._error,
            PARAMETER_PROBLEM: self._error,
        }
        ipv4.reporter = ErrorReporter(ipv4, self.settings, self.counters)
        ipv4.register(PROTOCOL_ICMP, self)

    def input(self, frame: Frame, network: int, transport: int, end: int, now: Instant) -> None:
        counters = self.counters
        counters.messages_in += 1
        message = parse_icmp(frame, transport, end)
        if message is None or not transport_checksum_valid(frame, transport, end, 0):
            counters.bad_in += 1
            return
        counters.received[message.kind] += 1
        handler = self._handlers.get(message.kind)
        if handler is None:
            # Source quench is obsolete (RFC 6633), redirects may be anybody's (RFC 1812 lets hosts ignore them).
            counters.others_in += 1
            return
        handler(message, frame, network, now)

    def flush(self, now: Instant) -> None:
        return None

    def sent(self, source: bytes, destination: bytes, quoted: bytes) -> bool:
        return quoted[0] == ECHO and (quoted[4] << 8 | quoted[5]) in self.pingers

    def error(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        if len(quoted) >= 6 and quoted[0] == ECHO:
            pinger = self.pingers.get(quoted[4] << 8 | quoted[5])
            if pinger is not None:
                pinger.refused(source, destination, quoted, errno, mtu, now)

    def send(self, message: Frame, source: bytes | None, destination: bytes, ttl: int, tos: int, now: Instant) -> None:
        """Send a message whose checksum is in place.  Raises as `Network.route` and `Network.output`."""
        route = self._ipv4.route(destination, source)
        self.counters.sent[message.head[0]] += 1
        self._ipv4.output(
            message, route, source or route.source, destination, PROTOCOL_ICMP, now, ttl, tos, dont_fragment=False
        )

    # Handlers ------------------------------------------------------------------------------------------

    def _echo(self, message: IcmpMessage, frame: Frame, network: int, now: Instant) -> None:
        self.counters.echo_requests_in += 1
        source = frame.head[network + 12 : network + 16]
        destination = frame.head[network + 16 : network + 20]
        settings = self.settings
        unicast = self._ipv4.is_local(destination)
        if settings.echo_ignore_all or (settings.echo_ignore_broadcasts and not unicast) or not any(source):
            return
        try:
            ttl = self._ipv4.settings.ttl
            tos = frame.head[network + 1]
            self.send(Frame(echo_reply(message).emit()), destination if unicast else None, source, ttl, tos, now)
        except OSError:
            return  # no way back
        self.counters.echo_replies_out += 1

    def _reply(self, message: IcmpMessage, frame: Frame, network: int, now: Instant) -> None:
        self.counters.echo_replies_in += 1
        pinger = self.pingers.get(message.identifier())
        if pinger is not None:
            head = frame.head
            source, destination = head[network + 12 : network + 16], head[network + 16 : network + 20]
            pinger.answered(source, destination, message.emit(), head[network + 8], head[network + 1], now)

    def _error(self, message: IcmpMessage, frame: Frame, network: int, now: Instant) -> None:
        """Tell the transport, if the quoted packet looks like one that we sent."""
        counters = self.counters
        counters.errors_in += 1
        quote = parse_quote(message.data)
        if quote is None or quote.fragment_offset() > 0:
            counters.bad_in += 1
            return
        ipv4 = self._ipv4
        upper = ipv4.transports[quote.protocol]
        quoted = message.data[quote.transport :]
        ours = ipv4.is_local(quote.source) and ipv4.kinds.get(quote.destination, NOT_OURS) != LOCAL
        loops = ipv4.kinds.get(quote.source, NOT_OURS) == LOCAL or quote.source[0] == 127
        raw = ipv4.raw
        if raw is None or not raw.knows(quote.protocol):
            raw = None
        known = upper is not None and upper.sent(quote.source, quote.destination, quoted)
        if not (ours or loops) or not (known or raw is not None):
            counters.errors_ignored += 1
            return
        mtu = 0
        errno = _errno_of(message)
        if errno == EMSGSIZE:
            size = int(quote.total_length)
            mtu = ipv4.path_mtus.learn(quote.destination, message.next_hop_mtu(), size, now)
            if mtu == 0:
                counters.errors_ignored += 1
                return
        ipv4.reported = Report(message.kind, message.code, frame.head[network + 12 : network + 16])
        if message.kind == PARAMETER_PROBLEM:
            ipv4.reported.pointer = message.rest >> 24
        if raw is not None:
            raw.error(quote.protocol, quote.source, quote.destination, quoted, errno, mtu, now)
        if upper is not None and known:
            upper.error(quote.source, quote.destination, quoted, errno, mtu, now)
        ipv4.reported = None


def _errno_of(message: IcmpMessage) -> int:
    """What an error means to a caller."""
    if message.kind == DESTINATION_UNREACHABLE:
        return UNREACHABLE_ERRNOS[message.code] if message.code < len(UNREACHABLE_ERRNOS) else EHOSTUNREACH
    return EPROTO if message.kind == PARAMETER_PROBLEM else EHOSTUNREACH


assert UNREACHABLE_ERRNOS[FRAGMENTATION_NEEDED] == EMSGSIZE
