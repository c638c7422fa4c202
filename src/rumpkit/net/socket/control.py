"""Control messages of datagram sockets: what comes beside the data of recvmsg and sendmsg (ip(7), ipv6(7), socket(7), cmsg(3)).

Between datagram sockets and their letters.  A control message is (level, type, data in its C layout).
"""

from typing import Final

from ...hyper.calls import Hypercalls
from ...kern.abi.errno import EINVAL, error
from ...kern.abi.socket import (
    AF_INET,
    AF_INET6,
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVORIGDSTADDR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    SO_MARK,
    SO_PRIORITY,
    SO_RXQ_OVFL,
    SO_TIMESTAMP,
    SO_TIMESTAMPNS,
    SOL_SOCKET,
    UDP_SEGMENT,
)
from ..link.interface import Interface
from ..transport.mailbox import Complaint, Letter, Mailbox
from ..wire.address import BROADCAST_V4, is_multicast
from .options import int_option, option_int

Control = tuple[int, int, bytes]
_PKTINFO_SIZE: Final = 12
_PKTINFO6_SIZE: Final = 20

WANTED: Final[dict[tuple[int, int], int]] = {
    (SOL_SOCKET, SO_TIMESTAMP): 1,
    (SOL_SOCKET, SO_TIMESTAMPNS): 2,
    (SOL_SOCKET, SO_RXQ_OVFL): 4,
    (IPPROTO_IP, IP_PKTINFO): 8,
    (IPPROTO_IP, IP_RECVTTL): 16,
    (IPPROTO_IP, IP_RECVTOS): 32,
    (IPPROTO_IP, IP_RECVORIGDSTADDR): 64,
    (IPPROTO_IPV6, IPV6_RECVPKTINFO): 128,
    (IPPROTO_IPV6, IPV6_RECVHOPLIMIT): 256,
    (IPPROTO_IPV6, IPV6_RECVTCLASS): 512,
}
"""The options that ask for a control message with each datagram, as bits."""
_V4: Final = 8 | 16 | 32 | 64
_V6: Final = 128 | 256 | 512


def wanted_bits(extras: dict[tuple[int, int], int] | None) -> int:
    """Which control messages a socket's options ask for."""
    bits = 0
    if extras is not None:
        for option, bit in WANTED.items():
            if extras.get(option):
                bits |= bit
    return bits


def control_of(letter: Letter, wanted: int, mailbox: Mailbox, port: int, hyper: Hypercalls) -> tuple[Control, ...]:
    """The control messages that come with a datagram, in Linux's order; `port` is the one it was sent to."""
    found: list[Control] = []
    if wanted & 3:
        wall = hyper.wall() - (hyper.now - letter.arrived)
        seconds, rest = divmod(wall, 1_000_000_000)
        if wanted & 2:
            found.append((SOL_SOCKET, SO_TIMESTAMPNS, _pair(seconds, rest)))
        else:
            found.append((SOL_SOCKET, SO_TIMESTAMP, _pair(seconds, rest // 1000)))
    if wanted & 4 and mailbox.dropped:
        found.append((SOL_SOCKET, SO_RXQ_OVFL, int_option(mailbox.dropped & 0x7FFFFFFF)))
    index = 0 if letter.interface is None else letter.interface.index
    if len(letter.destination) == 4:
        if wanted & _V4:
            _add_v4(found, letter, wanted, index, port)
        if wanted & 128:
            mapped = bytes(10) + b"\xff\xff" + letter.destination
            found.append((IPPROTO_IPV6, IPV6_PKTINFO, mapped + int_option(index)))
    elif wanted & _V6:
        if wanted & 128:
            found.append((IPPROTO_IPV6, IPV6_PKTINFO, letter.destination + int_option(index)))
        if wanted & 256:
            found.append((IPPROTO_IPV6, IPV6_HOPLIMIT, int_option(letter.ttl)))
        if wanted & 512:
            found.append((IPPROTO_IPV6, IPV6_TCLASS, int_option(letter.tos)))
    return tuple(found)


def _add_v4(found: list[Control], letter: Letter, wanted: int, index: int, port: int) -> None:
    if wanted & 8:
        # The address to answer from is the one it was sent to, unless that is everybody's.
        found.append((IPPROTO_IP, IP_PKTINFO, int_option(index) + _answer_from(letter) + letter.destination))
    if wanted & 16:
        found.append((IPPROTO_IP, IP_TTL, int_option(letter.ttl)))
    if wanted & 32:
        found.append((IPPROTO_IP, IP_TOS, bytes([letter.tos])))
    if wanted & 64:
        found.append((IPPROTO_IP, IP_RECVORIGDSTADDR, sockaddr(letter.destination, port)))


def _answer_from(letter: Letter) -> bytes:
    interface = letter.interface
    if isinstance(interface, Interface) and interface.addresses:
        if is_multicast(letter.destination) or letter.destination == BROADCAST_V4:
            return interface.addresses[0].address
    return letter.destination


def _pair(seconds: int, rest: int) -> bytes:
    return seconds.to_bytes(8, "little") + rest.to_bytes(8, "little")


def sockaddr(address: bytes, port: int) -> bytes:
    """A `sockaddr_in` or `sockaddr_in6`."""
    if len(address) == 4:
        return AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + address + bytes(8)
    return AF_INET6.to_bytes(2, "little") + port.to_bytes(2, "big") + bytes(4) + address + bytes(4)


def control_of_error(complaint: Complaint) -> Control:
    """The `struct sock_extended_err` of an error, with the address of who reported it behind (IP_RECVERR)."""
    report = (
        complaint.errno.to_bytes(4, "little")
        + bytes([complaint.origin, complaint.kind, complaint.code, 0])
        + complaint.info.to_bytes(4, "little")
        + bytes(4)
    )
    if len(complaint.destination) == 4:
        offender = sockaddr(complaint.offender, 0) if complaint.offender else bytes(16)
        return (IPPROTO_IP, IP_RECVERR, report + offender)
    offender = sockaddr(complaint.offender, 0) if complaint.offender else bytes(28)
    return (IPPROTO_IPV6, IPV6_RECVERR, report + offender)


class Ancillary:
    """What sendmsg's control messages ask for one datagram; -1 and None leave it to the socket."""

    def __init__(self) -> None:
        self.ttl: int = -1
        self.tos: int = -1
        self.source: bytes | None = None
        self.interface: int = 0
        self.segment: int = 0
        """UDP_SEGMENT: the size of the datagrams that this one is cut into; 0 leaves it to the socket."""


def parse_control(control: "tuple[Control, ...] | list[Control]") -> Ancillary:
    """Read them.  Levels that are not ours are passed over, as on Linux.  Raises EINVAL."""
    found = Ancillary()
    for level, kind, data in control:
        if level == SOL_SOCKET:
            if kind not in (SO_MARK, SO_PRIORITY) or len(data) != 4:
                raise error(EINVAL)
        elif level == IPPROTO_IP:
            _parse_v4(found, kind, data)
        elif level == IPPROTO_IPV6:
            _parse_v6(found, kind, data)
        elif level == IPPROTO_UDP and kind == UDP_SEGMENT:
            if len(data) != 2:
                raise error(EINVAL)
            found.segment = int.from_bytes(data, "little")
    return found


def _parse_v4(found: Ancillary, kind: int, data: bytes) -> None:
    if kind == IP_TTL:
        found.ttl = _number(data, 1)
    elif kind == IP_TOS:
        found.tos = data[0] if len(data) == 1 else _number(data, 0)
    elif kind == IP_PKTINFO and len(data) == _PKTINFO_SIZE:
        found.interface = option_int(data)
        if any(data[4:8]):
            found.source = data[4:8]
    else:
        raise error(EINVAL)


def _parse_v6(found: Ancillary, kind: int, data: bytes) -> None:
    if kind == IPV6_HOPLIMIT:
        found.ttl = _number(data, -1)
    elif kind == IPV6_TCLASS:
        found.tos = _number(data, -1)
    elif kind == IPV6_PKTINFO and len(data) >= _PKTINFO6_SIZE:
        found.interface = option_int(data[16:])
        if any(data[:16]):
            found.source = data[:16]
    else:
        raise error(EINVAL)


def _number(data: bytes, lowest: int) -> int:
    if len(data) != 4 or not lowest <= option_int(data) <= 255:
        raise error(EINVAL)
    return option_int(data)
