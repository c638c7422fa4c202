"""The program's private network namespace, seen from inside: run by the starter, before the program.

What a program is shown there, as interfaces, addresses and routes, is a copy of the kernel's (`mirror`).  No packet goes that way.
Those of the program's sockets have a firewall mark (SO_MARK), CARRIED, by which a routing table of their own holds; it leads all to lo,
where `carrier` gets at them:

- 240.0.0.0/8 is local.  Each ping or raw socket of IPv4 that is made here is bound to an address of its own out of it, its *mark*.
- All other IPv4 destinations are *broadcast* on lo, which Linux answers with no ICMP error, so connected sockets see no false
  ECONNREFUSED.  SO_BROADCAST on the sockets makes Linux accept such destinations.
- IPv6 has no broadcast.  There all other destinations are local, and so are those of IPv4 where a sender names an interface.  A rule
  keeps Linux's ICMP errors about them from going anywhere.
- On their way all packets pass the capture sockets (packet(7)), which the supervisor reads.
- UDP sockets are told the destination of what they receive (IP_PKTINFO), and those of AF_INET6 speak both versions, so no address can
  be their mark: they are bound to the wildcard and known by their port.
- A raw socket of IPv6 sends anything, so it has a firewall mark of its own, and a capture socket that takes what bears it.  It has a
  number, which is in that mark, and in the flow label of what is injected for it: a filter lets it take nothing else.
- When a socket known by its port is connected, it is first connected to the kernel's address, in the copy: so that becomes its own.
- A datagram for a socket is written to an inject socket, with its true source.  What is injected has another firewall mark,
  INJECTED, by which the capture sockets leave it out; and sockets that are known by their port take nothing else.

Where the kernel has no IPv6, IPv6 has no route here either: AF_INET6 sockets are bound to a v4-mapped mark, and real IPv6
destinations fail with ENETUNREACH.
"""

from __future__ import annotations

import _socket
import os
from struct import Struct

from . import abi
from .netlink import Channel, attribute, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .netlink import Request

MARKS: Final = b"\xf0"
"""First byte of all marks."""
MARK_BITS: Final = 24
UNMARKED: Final = MARKS + b"\xff\xff\xff"
"""The IPv4 source of sockets that are known by their port."""
UNMARKED6: Final = bytes(15) + b"\1"
"""Their IPv6 source where the sender names no interface."""
INJECTED: Final = 0x72756D70
"""The firewall mark of injected packets."""
CARRIED: Final = 0x72756D71
"""That of what the program sends."""
NUMBERED: Final = 0x72570000
"""That of what it sends through raw sockets of IPv6, and in the lower half the socket's number."""
_NUMBER_MASK: Final = 0xFFFF0000
TABLE: Final = 200
"""The routing table for it."""
HEAD: Final = 10 + 14
"""What a capture socket gives before a packet: struct virtio_net_hdr, which says of a datagram to be cut into what (UDP_SEGMENT), and
lo's Ethernet header."""
_ETHERNET: Final = 14
LARGEST: Final = 65575
"""The largest packet, of IPv6, which lo takes as it is."""

STREAM: Final = 1
"""An unconnected unix stream socket."""
PAIR: Final = 2
"""Two connected unix stream sockets, which don't block; the second has its urgent data in line, as relays want it."""
DATAGRAM: Final = 3
"""An AF_INET UDP socket, known by its port."""
DATAGRAM6: Final = 4
"""An AF_INET6 UDP socket where the kernel has no IPv6, bound to its v4-mapped mark."""
PING: Final = 5
"""A socket for ICMP echo (icmp(7)), bound to its mark."""
DUAL: Final = 6
"""An AF_INET6 UDP socket for IPv4 and IPv6, known by its port."""
PING6: Final = 7
"""A socket for ICMPv6 echo, known by its identifier."""
RAW: Final = 8
"""A raw socket of ICMP (raw(7)), bound to its mark."""
REACH: Final = 9
"""The other end of one of init's, to ask for unix sockets to be connected by name (`reach`)."""
RAW6: Final = 10
"""A raw socket of ICMPv6 and a capture socket that gets what is sent by that one alone; they are known by a number, which is in the
socket's mark and in the flow label of what is injected for it."""
_KINDS: Final = {
    DATAGRAM6: (_socket.AF_INET6, _socket.IPPROTO_UDP, "::ffff:"),
    PING: (_socket.AF_INET, _socket.IPPROTO_ICMP, ""),
    RAW: (_socket.AF_INET, _socket.IPPROTO_ICMP, ""),
}

_BY_PORT: Final = {
    DATAGRAM: (_socket.AF_INET, _socket.IPPROTO_UDP),
    DUAL: (_socket.AF_INET6, _socket.IPPROTO_UDP),
    PING6: (_socket.AF_INET6, _socket.IPPROTO_ICMPV6),
}

_EADDRINUSE: Final = 98
_EAFNOSUPPORT: Final = 97
_EACCES: Final = 13
_QUIET: Final = (
    ("ipv4/icmp_echo_ignore_all", b"1"),
    ("ipv6/icmp/echo_ignore_all", b"1"),
    ("ipv6/conf/default/addr_gen_mode", b"1"),
    ("ipv6/conf/default/accept_ra", b"0"),
    ("ipv6/conf/lo/accept_ra", b"0"),
    ("ipv6/conf/lo/accept_redirects", b"0"),
    ("ipv6/conf/default/accept_dad", b"0"),
)
"""Sysctls below net: nothing here answers, or makes up addresses, but the kernel."""
_FIRST_RULE: Final = 1
_NO_ERRORS_RULE: Final = 2
_LOCAL_RULE: Final = 10
"""Priorities of routing rules; Linux's own local one has 0."""
_SO_ATTACH_FILTER: Final = 26
_SO_MARK: Final = 36
_UDP_NO_CHECK6_RX: Final = 102
_IP_TRANSPARENT: Final = 19
_IPV6_FREEBIND: Final = 78
_IPV6_MTU_DISCOVER: Final = 23
_NEVER_CUT: Final = 3
"""IPV6_PMTUDISC_PROBE: whatever routers are said to have said."""
_FIRST_PORT: Final = 1024
_SOL_PACKET: Final = 263
_PACKET_VNET_HDR: Final = 15
_CAPTURE_BUFFER: Final = 8 << 20
_ETHERTYPES: Final = {_socket.AF_INET: 0x0800, _socket.AF_INET6: 0x86DD}
_HEADERS: Final = {
    _socket.AF_INET: (9, _socket.IPPROTO_ICMP, 8, (0xB1, 0, 0, _ETHERNET)),
    _socket.AF_INET6: (6, _socket.IPPROTO_ICMPV6, 128, (0x01, 0, 0, 40)),
}
"""Where the protocol stands, what echo has for one and its requests for a type, and how BPF puts the header's size into X."""
_NETWORK_HEADER: Final = 0xFFF00000
"""Where it has the header of IP (SKF_NET_OFF)."""
_FLOW_LABEL: Final = 0xFFFFF
_PACKET_MARK: Final = 0xFFFFF000 + 20
"""Where classic BPF has a packet's firewall mark (SKF_AD_OFF + SKF_AD_MARK)."""


def _route(family: int, kind: int, table: int, address: bytes, bits: int, index: int, more: bytes = b"") -> Request:
    scope = abi.RT_SCOPE_LINK if kind == abi.RTN_BROADCAST else abi.RT_SCOPE_HOST
    header = abi.ROUTE_MESSAGE.pack(family, bits, 0, 0, table, abi.RTPROT_STATIC, scope, kind, 0)
    destination = attribute(abi.RTA_DST, address) if bits else b""
    body = header + destination + word(abi.RTA_OIF, index) + more
    return abi.RTM_NEWROUTE, abi.NLM_F_CREATE, body


def _rule(
    family: int, priority: int, action: int, table: int, more: bytes = b"", kind: int = abi.RTM_NEWRULE
) -> Request:
    header = abi.ROUTE_MESSAGE.pack(family, 0, 0, 0, table, 0, 0, action, 0)
    flags = abi.NLM_F_CREATE if kind == abi.RTM_NEWRULE else 0
    return kind, flags, header + word(abi.FRA_PRIORITY, priority) + more


def _rules(family: int) -> list[Request]:
    """The program's packets go by TABLE, and Linux's errors nowhere; everything else, which is questions, as usual."""
    _, protocol, _, _ = _HEADERS[family]
    errors = attribute(abi.FRA_IIFNAME, b"lo\0") + attribute(abi.FRA_IP_PROTO, bytes((protocol,)))
    numbered = word(abi.FRA_FWMARK, NUMBERED) + word(abi.FRA_FWMASK, _NUMBER_MASK)
    raw = [_rule(family, _FIRST_RULE, abi.FR_ACT_TO_TBL, TABLE, numbered)] if family == _socket.AF_INET6 else []
    return [
        *raw,
        _rule(family, _FIRST_RULE, abi.FR_ACT_TO_TBL, TABLE, word(abi.FRA_FWMARK, CARRIED)),
        _rule(family, _FIRST_RULE, abi.FR_ACT_TO_TBL, TABLE, word(abi.FRA_FWMARK, INJECTED)),
        _rule(family, _NO_ERRORS_RULE, abi.FR_ACT_BLACKHOLE, 0, errors),
        _rule(family, _LOCAL_RULE, abi.FR_ACT_TO_TBL, abi.RT_TABLE_LOCAL),
        _rule(family, 0, abi.FR_ACT_TO_TBL, abi.RT_TABLE_LOCAL, kind=abi.RTM_DELRULE),
    ]


def way_out(family: int, index: int) -> Request:
    """What makes packets of the program's that shall leave by interface `index` come to lo all the same."""
    return _route(family, abi.RTN_LOCAL, TABLE, b"", 0, index, word(abi.RTA_PRIORITY, 2000 + index))


def settings() -> int:
    """A descriptor of this namespace's /proc/sys/net, by which it can be written to even when that is read-only to others.  Raises
    OSError."""
    return os.open("/proc/sys/net", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def prepare(net: int) -> None:
    """Set the namespace up as far as it is the same for all programs, without IPv6; `net` is `settings`.  Raises OSError."""
    for name, value in (*_QUIET, ("ipv6/conf/lo/disable_ipv6", b"1"), ("ipv6/conf/default/disable_ipv6", b"1")):
        _write(net, name, value)
    up = abi.INTERFACE_MESSAGE.pack(_socket.AF_UNSPEC, 0, abi.LOOPBACK_INDEX, abi.IFF_UP, abi.IFF_UP)
    marks = MARKS + bytes(3), 32 - MARK_BITS, abi.LOOPBACK_INDEX
    four = _socket.AF_INET
    _ask(
        (abi.RTM_NEWLINK, 0, up + word(abi.IFLA_MTU, LARGEST)),
        *_rules(four),
        _route(four, abi.RTN_LOCAL, abi.RT_TABLE_LOCAL, *marks),  # where bind(2) looks
        _route(four, abi.RTN_LOCAL, TABLE, *marks),
        _route(four, abi.RTN_BROADCAST, TABLE, b"", 0, abi.LOOPBACK_INDEX, attribute(abi.RTA_PREFSRC, UNMARKED)),
    )


def complete(net: int, six: bool, sysctls: dict[str, bytes]) -> bool:
    """The rest: IPv6 if the kernel has it, sysctls (paths below net), and ping sockets for who makes sockets here.  Whether there is
    IPv6 in the namespace, too: where Linux has none, or it is switched off for good, AF_INET6 sockets for TCP go all the same, and
    others don't.  Raises OSError."""
    for name, value in sysctls.items():
        _write(net, name, value)
    group = os.getegid()
    _write(net, "ipv4/ping_group_range", b"%d %d" % (group, group))  # where it is not to be had, nobody can ping
    return six and _complete6(net)


def _complete6(net: int) -> bool:
    for name in ("lo", "default"):
        _write(net, f"ipv6/conf/{name}/disable_ipv6", b"0")
    family = _socket.AF_INET6
    source = attribute(abi.RTA_PREFSRC, UNMARKED6) + word(abi.RTA_PRIORITY, 1)
    out = _route(family, abi.RTN_LOCAL, TABLE, b"", 0, abi.LOOPBACK_INDEX, source)
    try:
        _socket.socket(family, _socket.SOCK_DGRAM).close()
        _ask(*_rules(family), out)
    except OSError as problem:
        if problem.errno in (_EAFNOSUPPORT, _EACCES):
            return False
        raise
    return True


def _ask(*requests: Request) -> None:
    """Make requests.  Raises OSError."""
    channel = Channel()
    try:
        channel.must(list(requests))
    finally:
        channel.close()


def _write(net: int, path: str, text: bytes) -> None:
    """Set a sysctl of the namespace, where it is to be had."""
    try:
        fd = os.open(path, os.O_WRONLY, dir_fd=net)
    except OSError:
        return
    try:
        os.write(fd, text)
    except OSError:
        pass
    finally:
        os.close(fd)


def open_devices(count: int, devices: int) -> list[int]:
    """Up to `count` descriptors of /dev/net/tun, for interfaces of this namespace; none where that can't be opened.  `devices` is a
    descriptor of the host's /dev."""
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(os.open("net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=devices))
    except OSError:
        pass
    return opened


INSTRUCTION: Final = Struct("<HBBI")
"""One of classic BPF's."""


def assemble(*instructions: tuple[int, int, int, int]) -> bytes:
    """A classic BPF program, or a part of one."""
    return b"".join([INSTRUCTION.pack(*one) for one in instructions])


def attach(socket: _socket.socket, code: bytes) -> None:
    """Let a socket take only what a classic BPF program accepts.  Raises OSError."""
    import ctypes

    memory = ctypes.create_string_buffer(code, len(code))
    program = bytearray(16)
    program[:2] = (len(code) // INSTRUCTION.size).to_bytes(2, "little")
    program[8:] = ctypes.addressof(memory).to_bytes(8, "little")
    socket.setsockopt(_socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def only_injected(number: int = 0) -> bytes:
    """The beginning of a BPF program which goes on only for what is injected, for the socket of that number if it isn't 0."""
    mine = ((0x20, 0, 0, _NETWORK_HEADER), (0x54, 0, 0, _FLOW_LABEL), (0x15, 1, 0, number), (0x06, 0, 0, 0))
    return assemble((0x20, 0, 0, _PACKET_MARK), (0x15, 1, 0, INJECTED), (0x06, 0, 0, 0), *(mine if number else ()))


ACCEPT: Final = assemble((0x06, 0, 0, 0x40000))
START: Final = assemble((0x00, 0, 0, 0), (0x01, 0, 0, 0))
"""What makes the registers as they are when a program begins."""


def capture_socket(family: int, number: int = 0) -> _socket.socket:
    """The packet socket that gets all that the program sends over UDP or ICMP of one version of IP, header first; or by the raw socket
    of that number."""
    protocol, echo, request, body = _HEADERS[family]
    mine = (0x20, 0, 0, _PACKET_MARK), (0x15, 0, 1, NUMBERED | number), (0x06, 0, 0, 0x40000), (0x06, 0, 0, 0)
    filtered = (
        (0x20, 0, 0, _PACKET_MARK),
        (0x15, 0, 7, CARRIED),
        (0x30, 0, 0, _ETHERNET + protocol),
        (0x15, 4, 0, _socket.IPPROTO_UDP),
        (0x15, 0, 4, echo),
        body,
        (0x50, 0, 0, _ETHERNET),
        (0x15, 0, 1, request),
        (0x06, 0, 0, 0x40000),
        (0x06, 0, 0, 0),
    )
    capture = _socket.socket(_socket.AF_PACKET, _socket.SOCK_RAW, 0)
    attach(capture, assemble(*(mine if number else filtered)))
    capture.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    capture.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _CAPTURE_BUFFER)  # as much of it as the host allows
    capture.bind(("lo", _ETHERTYPES[family]))
    capture.setblocking(False)
    return capture


def inject_socket(family: int) -> _socket.socket:
    """The raw socket that sends whole packets of one version of IP to the program's sockets."""
    inject = _socket.socket(family, _socket.SOCK_RAW, _socket.IPPROTO_RAW)
    inject.setsockopt(_socket.SOL_SOCKET, _SO_MARK, INJECTED)
    inject.setblocking(False)
    return inject


def obituary_socket() -> _socket.socket | None:
    """The netlink socket that tells of each UDP socket of the namespace that is closed for good (sock_diag(7)); None
    where this kernel was built without."""
    channel = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, abi.NETLINK_SOCK_DIAG)
    channel.bind((0, 0))  # without a name it would count as the sender and hear nothing
    try:
        for group in (abi.SKNLGRP_INET_UDP_DESTROY, abi.SKNLGRP_INET6_UDP_DESTROY):
            channel.setsockopt(abi.SOL_NETLINK, abi.NETLINK_ADD_MEMBERSHIP, group)
    except OSError:
        channel.close()
        return None
    channel.setblocking(False)
    return channel


class Maker:
    """Makes the sockets that are injected, so that they belong to the program's network namespace: an ioctl on one of
    them that asks for interfaces must see these and not the host's."""

    def __init__(self) -> None:
        self._last_mark = 0
        self._last_number = 0
        self._last_port = _FIRST_PORT

    def make(self, kind: int) -> list[_socket.socket]:
        """One socket, or two for PAIR.  Raises OSError (EMFILE)."""
        if kind == PAIR:
            pair = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
            pair[1].setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, 1)
            return list(pair)
        if kind == STREAM:
            return [_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)]
        if kind == RAW6:
            return self._raw6()
        if kind in _BY_PORT:
            return [self._by_port(*_BY_PORT[kind])]
        family, protocol, prefix = _KINDS[kind]
        made = _socket.socket(family, _socket.SOCK_RAW if kind == RAW else _socket.SOCK_DGRAM, protocol)
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_BROADCAST, 1)
        made.setsockopt(_socket.SOL_SOCKET, _SO_MARK, CARRIED)
        while True:
            self._last_mark = self._last_mark % ((1 << MARK_BITS) - 2) + 1
            try:
                made.bind((prefix + _socket.inet_ntoa(MARKS + self._last_mark.to_bytes(3, "big")), 0))
                return [made]
            except OSError as problem:
                if problem.errno != _EADDRINUSE:
                    raise

    def _by_port(self, family: int, protocol: int) -> _socket.socket:
        made = _socket.socket(family, _socket.SOCK_DGRAM, protocol)
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_BROADCAST, 1)
        made.setsockopt(_socket.SOL_SOCKET, _SO_MARK, CARRIED)
        # For sources that control messages name.
        if family == _socket.AF_INET:
            made.setsockopt(_socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
        else:
            made.setsockopt(_socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            made.setsockopt(_socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _NEVER_CUT)
        if protocol == _socket.IPPROTO_UDP:
            made.setsockopt(_socket.IPPROTO_UDP, _UDP_NO_CHECK6_RX, 1)
            attach(made, only_injected() + ACCEPT)
        while True:
            # A port that Linux has chosen goes when the socket is disconnected (AF_UNSPEC).
            self._last_port = self._last_port + 1 if self._last_port < 0xFFFF else _FIRST_PORT
            try:
                made.bind(("" if family == _socket.AF_INET else "::", self._last_port))
                return made
            except OSError as problem:
                if problem.errno != _EADDRINUSE:
                    raise

    def _raw6(self) -> list[_socket.socket]:
        """A raw socket of ICMPv6, and the capture socket that is its own."""
        self._last_number = self._last_number % 0xFFFF + 1
        family = _socket.AF_INET6
        made = _socket.socket(family, _socket.SOCK_RAW, _socket.IPPROTO_ICMPV6)
        made.setsockopt(_socket.SOL_SOCKET, _SO_MARK, NUMBERED | self._last_number)
        made.setsockopt(_socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        made.setsockopt(_socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _NEVER_CUT)
        attach(made, only_injected(self._last_number) + ACCEPT)
        return [made, capture_socket(family, self._last_number)]
