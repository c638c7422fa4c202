"""ICMPv6 errors on their way out (RFC 4443 section 2.4): whether to send one, to whom, and no more than so many a
second."""

from typing import TYPE_CHECKING, Final, final

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.counters import kind_names
from ...kern.sysctl import Sysctl
from ..ip.bucket import TokenBucket
from ..ip.report import MESSAGES, MessageCounters, as_on_a_wire
from ..wire.address import ANY_MAC, is_link_local, is_multicast, is_unspecified
from ..wire.ethernet import ETHERTYPE_IPV6, emit_ethernet
from ..wire.icmpv6 import (
    FIRST_INFORMATIONAL,
    PACKET_TOO_BIG,
    PARAMETER_PROBLEM,
    REDIRECT,
    UNKNOWN_OPTION,
    error_about,
)
from ..wire.ipv6 import PROTOCOL_ICMPV6, parse_ipv6_header
from .link import Link6
from .upper import find_upper

if TYPE_CHECKING:
    from .ipv6 import Ipv6

_LINK_HEADER: Final = emit_ethernet(ANY_MAC, ANY_MAC, ETHERTYPE_IPV6)


@final
class Icmp6Settings:
    """Limits and switches of one kernel's ICMPv6."""

    def __init__(self) -> None:
        self.errors_per_second: int = 1000
        self.error_burst: int = 50
        self.echo_ignore_all: int = 0
        self.echo_ignore_multicast: int = 0


ICMP6_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("errors_per_second", 0, 1_000_000, "ICMPv6 errors sent, in the long run (RFC 4443 2.4 (f))"),
    Sysctl("error_burst", 1, 1_000_000, "ICMPv6 errors sent at once after a pause"),
    Sysctl("echo_ignore_all", 0, 1, "don't answer pings"),
    Sysctl("echo_ignore_multicast", 0, 1, "don't answer pings to multicast addresses"),
)


_COUNTERS: Final = (
    *MESSAGES,
    *kind_names(
        (1, 2, 3, 4, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 143),
        (1, 2, 3, 4, 128, 129, 131, 132, 133, 135, 136, 143),
    ),
)


@final
class Icmp6Counters(MessageCounters):
    """Those of ICMPv6."""

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


@final
class ErrorReporter6:
    """Sends ICMPv6 errors for one kernel, within a token bucket."""

    def __init__(self, ipv6: "Ipv6", settings: Icmp6Settings, counters: Icmp6Counters) -> None:
        self._ipv6: Ipv6 = ipv6
        self._settings: Icmp6Settings = settings
        self._counters: Icmp6Counters = counters
        self._bucket: TokenBucket = TokenBucket(settings.error_burst)

    def count(self, kind: int) -> None:
        """A message of that type has been sent by others."""
        self._counters.sent[kind] += 1

    def report(
        self, kind: int, code: int, rest: int, frame: Frame, offset: int, arrival: Link6 | None, now: Instant
    ) -> None:
        """Tell the sender of the packet at `frame.head[offset]`, which came in on `arrival`."""
        header = parse_ipv6_header(frame.head, offset, len(frame) - offset)
        if header is None or is_unspecified(header.source) or is_multicast(header.source):
            return
        # Multicast is answered only to find path MTUs and unknown options (RFC 4443 section 2.4 (e.3)).
        to_many = is_multicast(header.destination) or (offset > 0 and frame.head[0] & 1 == 1)
        if to_many and kind != PACKET_TOO_BIG and not (kind == PARAMETER_PROBLEM and code == UNKNOWN_OPTION):
            return
        if _is_error(frame, offset):
            return
        settings = self._settings
        if not self._bucket.take(settings.errors_per_second, settings.error_burst, now):
            self._counters.errors_limited += 1
            return
        ipv6 = self._ipv6
        sender = header.source
        source = header.destination if ipv6.is_local(header.destination) else None
        zone = arrival.interface.index if arrival is not None and is_link_local(sender) else 0
        try:
            route = ipv6.route(sender, source, zone)
            own = source or route.source
            message = error_about(kind, code, as_on_a_wire(frame, offset, _LINK_HEADER), offset, rest)
            data = Frame(message.emit(own, sender))
            ipv6.output(data, route, own, sender, PROTOCOL_ICMPV6, now, dont_fragment=False)
        except OSError:
            return  # no way back to the sender
        self._counters.errors_out += 1
        self._counters.sent[kind] += 1


def _is_error(frame: Frame, offset: int) -> bool:
    """Whether the packet is an ICMPv6 error or a redirect, which are not answered (RFC 4443 section 2.4 (e.1, e.2)), or
    a fragment that can't tell."""
    head = frame.head
    upper = find_upper(head, offset)
    if upper is None:
        return False
    if upper.protocol != PROTOCOL_ICMPV6 or upper.offset >= len(head):
        return False
    return head[upper.offset] < FIRST_INFORMATIONAL or head[upper.offset] == REDIRECT
