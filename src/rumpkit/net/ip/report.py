"""ICMP errors on their way out (RFC 792, RFC 1122 section 3.2.2, RFC 1812 section 4.3.2): whether to send one, to
whom, and no more than so many a second."""

from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.frame import GSO_NONE, Frame
from ...hyper.time import Instant
from ...kern.counters import KindCounters, kind_names
from ...kern.sysctl import Sysctl
from ..wire.address import ANY_MAC, is_multicast, is_unspecified
from ..wire.ethernet import ETHERTYPE_IPV4, emit_ethernet
from ..wire.icmp import error_about
from ..wire.ipv4 import PROTOCOL_ICMP, parse_ipv4_header
from ..wire.offload import complete_checksum, segment
from .bucket import TokenBucket
from .contract import Network

_QUERIES: Final = (0, 8, 13, 14, 15, 16, 17, 18)
"""ICMP types that are no errors, and may therefore be answered with one."""
_LINK_HEADER: Final = emit_ethernet(ANY_MAC, ANY_MAC, ETHERTYPE_IPV4)
_INTERNETWORK_CONTROL: Final = 0xC0
"""The precedence that errors are sent with (RFC 1812 section 4.3.2.5)."""


@final
class IcmpSettings:
    """Limits and switches of one kernel's ICMP."""

    def __init__(self) -> None:
        self.errors_per_second: int = 1000
        self.error_burst: int = 50
        self.echo_ignore_all: int = 0
        self.echo_ignore_broadcasts: int = 1


ICMP_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("errors_per_second", 0, 1_000_000, "ICMP errors sent, in the long run (RFC 1812 4.3.2.8)"),
    Sysctl("error_burst", 1, 1_000_000, "ICMP errors sent at once after a pause"),
    Sysctl("echo_ignore_all", 0, 1, "don't answer pings"),
    Sysctl("echo_ignore_broadcasts", 0, 1, "don't answer pings to broadcast and multicast addresses"),
)


@mypyc_attr(allow_interpreted_subclasses=True)
class MessageCounters(KindCounters):
    """Messages of ICMP, of either version, by what they were, and by their types."""

    def __init__(self) -> None:
        super().__init__()
        self.messages_in: int = 0
        self.bad_in: int = 0
        self.echo_requests_in: int = 0
        self.echo_replies_in: int = 0
        self.errors_in: int = 0
        self.errors_ignored: int = 0
        self.others_in: int = 0
        self.echo_requests_out: int = 0
        self.echo_replies_out: int = 0
        self.errors_out: int = 0
        self.errors_limited: int = 0


MESSAGES: Final = (
    "messages_in", "bad_in", "echo_requests_in", "echo_replies_in", "errors_in", "errors_ignored", "others_in",
    "echo_requests_out", "echo_replies_out", "errors_out", "errors_limited",
)  # fmt: skip
_COUNTERS: Final = (*MESSAGES, *kind_names((0, 3, 4, 5, 8, 11, 12, 13, 14), (0, 3, 8, 11, 12)))


@final
class IcmpCounters(MessageCounters):
    """Those of ICMP for IPv4."""

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


@final
class ErrorReporter:
    """Sends ICMP errors for one kernel, within a token bucket."""

    def __init__(self, network: Network, settings: IcmpSettings, counters: IcmpCounters) -> None:
        self._network: Network = network
        self._settings: IcmpSettings = settings
        self._counters: IcmpCounters = counters
        self._bucket: TokenBucket = TokenBucket(settings.error_burst)

    def report(
        self, kind: int, code: int, rest: int, frame: Frame, offset: int, source: bytes | None, now: Instant
    ) -> None:
        """Tell the sender of the packet at `frame.head[offset]`, from `source` (None: whichever address suits)."""
        header = parse_ipv4_header(frame.head, offset, len(frame) - offset)
        if header is None or header.fragment_offset() > 0 or is_multicast(header.destination):
            return
        if offset > 0 and frame.head[0] & 1:
            return  # a broadcast on the link, whatever the packet says
        sender = header.source
        if is_unspecified(sender) or sender[0] >= 224:
            return
        if header.protocol == PROTOCOL_ICMP and not _is_query(frame, int(header.transport)):
            return
        settings = self._settings
        if not self._bucket.take(settings.errors_per_second, settings.error_burst, now):
            self._counters.errors_limited += 1
            return
        try:
            route = self._network.route(sender, source)
            message = Frame(error_about(kind, code, as_on_a_wire(frame, offset, _LINK_HEADER), offset, rest).emit())
            tos = _INTERNETWORK_CONTROL
            self._network.output(
                message, route, source or route.source, sender, PROTOCOL_ICMP, now, tos=tos, dont_fragment=False
            )
        except OSError:
            return  # no way back to the sender
        self._counters.errors_out += 1
        self._counters.sent[kind] += 1


def _is_query(frame: Frame, transport: int) -> bool:
    message = frame.linear()
    return transport < len(message) and message[transport] in _QUERIES


def as_on_a_wire(frame: Frame, offset: int, link_header: bytes) -> Frame:
    """The packet with its checksum complete, or the first segment of a super-segment: what gets quoted is what the
    sender would find in a capture."""
    if frame.gso_type == GSO_NONE:
        return complete_checksum(frame)
    # Segmentation wants a link header, which packets on their way out don't have yet.
    pieces = segment(frame if offset else frame.like(link_header + frame.head))
    if not pieces:
        return frame
    return pieces[0] if offset else pieces[0].like(pieces[0].head[len(link_header) :])
