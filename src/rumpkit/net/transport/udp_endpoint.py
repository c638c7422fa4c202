"""One end of UDP, and what it makes of ICMP errors: between `udp`, which lists these, and the socket or relay that owns one."""

from typing import Final, final

from ...kern.abi.errno import EMSGSIZE
from ...kern.abi.socket import IP_PMTUDISC_DONT, IP_PMTUDISC_WANT
from ...kern.wait import WaitQueue
from ..ip.contract import Report
from ..ip.groups import Memberships
from ..wire.address import ANY_V4
from .mailbox import ORIGIN_ICMP, ORIGIN_ICMP6, Complaint, Mailbox
from .ports import PortBinding


@final
class UdpEndpoint:
    """One end of UDP: what a socket is to the transport.  `Udp` keeps its addresses; its owner sets the rest.

    Addresses of both families may be here: an endpoint of IPv6 that takes IPv4 too has those as 4 bytes.
    """

    def __init__(self, queue: WaitQueue, limit: int, wildcard: bytes = ANY_V4) -> None:
        self.mailbox: Mailbox = Mailbox(queue, limit)
        self.wildcard: bytes = wildcard
        """The family's unspecified address."""
        self.only: bool = len(wildcard) == 4
        """Whether the wildcard stands for its own family only (IPV6_V6ONLY)."""
        self.local: bytes = wildcard
        self.port: int = 0
        """In host order; 0 while unbound."""
        self.remote: bytes = b""
        """b"" while not connected."""
        self.remote_port: int = 0
        self.binding: PortBinding | None = None
        self.port_chosen: bool = False
        """The port was asked for by number: it outlives a connection."""
        self.broadcast: bool = False
        """SO_BROADCAST."""
        self.report_all: bool = False
        """IP_RECVERR: hear of every ICMP error, in full, not only of hard ones about the connected peer."""
        self.ttl: int = -1
        """IP_TTL; -1 leaves it to the network."""
        self.multicast_ttl: int = 1
        self.tos: int = 0
        self.hops: int = -1
        self.multicast_hops: int = 1
        self.traffic_class: int = 0
        """The same for IPv6."""
        self.discover: int = IP_PMTUDISC_WANT
        """IP_MTU_DISCOVER."""
        self.zone: int = 0
        """The index of the one interface to use (SO_BINDTODEVICE, the zone of a link-local peer); 0 for any."""
        self.memberships: Memberships | None = None
        """The IPv4 groups that it has joined; None while there were none."""
        self.memberships6: Memberships | None = None
        """Those of IPv6."""
        self.group_zone: int = 0
        """IP_MULTICAST_IF: the index of the interface for groups; 0 leaves it to routes."""
        self.group_source: bytes = b""
        """The address to send to groups from, where one was given."""
        self.group_zone6: int = 0
        """IPV6_MULTICAST_IF."""
        self.loops: bool = True
        """IP_MULTICAST_LOOP: members on this host get what is sent, too."""
        self.loops6: bool = True
        """IPV6_MULTICAST_LOOP."""
        self.elder: UdpEndpoint | None = None
        """One that is connected with the same addresses and ports, and hears again when this one goes."""
        self.keys: tuple[bytes, ...] = ()
        """Under which `Udp` lists the endpoint."""
        self.chosen_local: bytes = wildcard
        """The address it was bound to, for when it is disconnected again."""

    def heed(self, errno: int, connected: bool, complaint: Complaint) -> None:
        """ICMP says that a datagram of ours failed.  Soft errors (RFC 1122 section 4.1.3.3) may pass."""
        heed(self.mailbox, errno, connected, complaint, self.report_all, self.discover)


def heed(mailbox: Mailbox, errno: int, connected: bool, complaint: Complaint, report_all: bool, discover: int) -> None:
    """Let a socket's mailbox know of an error, in full if the socket wants that (IP_RECVERR), unless it is none of its own.
    Raw sockets and UDP do alike."""
    if errno == EMSGSIZE and discover == IP_PMTUDISC_DONT:
        return
    if report_all:
        mailbox.complain(complaint)
    elif not connected or not (errno == EMSGSIZE or is_hard(complaint.origin, complaint.kind, complaint.code)):
        return
    mailbox.fail(errno)


def complaint_of(
    report: Report | None, source: bytes, destination: bytes, errno: int, mtu: int, port: int, data: bytes
) -> Complaint:
    """What a call of `Transport.error` says, in full; `report` is the network's."""
    six = len(destination) != 4
    # What never got past our own neighbours is as if this host had said "host unreachable", as on Linux.
    kind = (1 if six else 3) if report is None else report.kind
    code = (3 if six else 1) if report is None else report.code
    offender = source if report is None else report.reporter
    origin = ORIGIN_ICMP6 if six else ORIGIN_ICMP
    info = mtu if report is None else mtu or report.pointer
    complaint = Complaint(errno, origin, kind, code, info, offender, destination, port)
    complaint.data = data
    return complaint


def is_hard(origin: int, kind: int, code: int) -> bool:
    """Whether an ICMP error is for good (icmp_err_convert of Linux)."""
    if origin == ORIGIN_ICMP:
        return kind == 12 or (kind == 3 and code not in _SOFT_CODES)
    return origin == ORIGIN_ICMP6 and (kind == 4 or (kind == 1 and code in _HARD_CODES6))


_SOFT_CODES: Final = (0, 1, 4, 5, 11, 12)
_HARD_CODES6: Final = (1, 4, 5, 6)
