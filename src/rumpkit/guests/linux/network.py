"""The program's private network namespace, seen from inside: run by the starter, before the program.

What stands behind the filter is a namespace with `lo` alone, and on it only what lets `carrier` move datagrams:

- 240.0.0.0/8 is local.  Each IPv4 UDP or ping socket that is made here is bound to an address of its own out of it, its *mark*.
- All other IPv4 destinations are *broadcast* on lo, which Linux answers with no ICMP error, so connected sockets see no false
  ECONNREFUSED.  SO_BROADCAST on the sockets makes Linux accept such destinations.
- IPv6 has no broadcast.  There all other destinations leave by a route whose packets come in again on lo as somebody else's:
  this is no router, so Linux drops them in silence.
- On their way all packets pass the capture sockets (packet(7)), which the supervisor reads.
- An AF_INET6 socket speaks IPv4 too, so no address can be its mark: it is bound to :: and known by its port.
- A datagram for a socket is written to an inject socket, with its true source.  What is injected carries a firewall
  mark (SO_MARK), by which the capture sockets leave it out; and sockets that are bound to :: take nothing else.

Where the kernel has no IPv6, IPv6 has no route here either: AF_INET6 sockets are bound to a v4-mapped mark, and real IPv6
destinations fail with ENETUNREACH.

The kernel's own addresses are shown on lo without being routed there: getaddrinfo's AI_ADDRCONFIG looks for them.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import time
from struct import Struct

from . import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MARKS: Final = b"\xf0"
"""First byte of all marks."""
MARK_BITS: Final = 24
UNMARKED: Final = MARKS + b"\xff\xff\xff"
"""The IPv4 source of sockets that are known by their port."""
UNMARKED6: Final = b"\1" + bytes(14) + b"\1"
"""Their IPv6 source: of the prefix that is discarded everywhere else (RFC 6666)."""
INJECTED: Final = 0x72756D70
"""The firewall mark of injected packets."""
LARGEST: Final = 65575
"""The largest packet, of IPv6, which lo takes as it is."""

STREAM: Final = 1
"""An unconnected unix stream socket."""
PAIR: Final = 2
"""Two connected unix stream sockets."""
DATAGRAM: Final = 3
"""An AF_INET UDP socket, bound to its mark."""
DATAGRAM6: Final = 4
"""The same for AF_INET6, bound to the v4-mapped mark."""
PING: Final = 5
"""A socket for ICMP echo (icmp(7)), bound to its mark."""
DUAL: Final = 6
"""An AF_INET6 UDP socket for IPv4 and IPv6, known by its port."""
PING6: Final = 7
"""A socket for ICMPv6 echo, known by its identifier."""
_KINDS: Final = {
    DATAGRAM: (_socket.AF_INET, _socket.IPPROTO_UDP, ""),
    DATAGRAM6: (_socket.AF_INET6, _socket.IPPROTO_UDP, "::ffff:"),
    PING: (_socket.AF_INET, _socket.IPPROTO_ICMP, ""),
}

_BY_PORT: Final = {DUAL: _socket.IPPROTO_UDP, PING6: _socket.IPPROTO_ICMPV6}

_EADDRINUSE: Final = 98
_EAFNOSUPPORT: Final = 97
_ESRCH: Final = 3
_EACCES: Final = 13
_FORWARDING6: Final = "/proc/sys/net/ipv6/conf/all/forwarding"
_PATIENCE: Final = 10.0
_PAUSE: Final = 0.001
"""Seconds to wait for Linux, at most and at a time."""
_ATTRIBUTE: Final = Struct("<HH")
_WORD: Final = Struct("<I")
_CACHEINFO: Final = Struct("<4I")
_FOR_EVER: Final = 0xFFFFFFFF
_SO_ATTACH_FILTER: Final = 26
_SO_MARK: Final = 36
_UDP_NO_CHECK6_RX: Final = 102
_IPV6_FREEBIND: Final = 78
_CAPTURE_BUFFER: Final = 8 << 20
_ETHERTYPES: Final = {_socket.AF_INET: 0x0800, _socket.AF_INET6: 0x86DD}
_HEADERS: Final = {
    _socket.AF_INET: (9, _socket.IPPROTO_ICMP, 8, (0xB1, 0, 0, 0)),
    _socket.AF_INET6: (6, _socket.IPPROTO_ICMPV6, 128, (0x01, 0, 0, 40)),
}
"""Where the protocol stands, what echo has for one and its requests for a type, and how BPF puts the header's size into X."""
_PACKET_MARK: Final = 0xFFFFF000 + 20
"""Where classic BPF has a packet's firewall mark (SKF_AD_OFF + SKF_AD_MARK)."""

_SIOCADDRT: Final = 0x890B
_IN6_RTMSG: Final = Struct("@16s16s16sIHHI4xQIi")
"""struct in6_rtmsg: destination, source, gateway, type, prefix lengths, metric, info, flags, interface."""
_RTF_UP: Final = 1
_RTF_LOCAL: Final = 0x80000000


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value


def _route(
    kind: int, scope: int, address: bytes, bits: int, more: bytes = b"", protocol: int = abi.RTPROT_STATIC
) -> bytes:
    header = abi.ROUTE_MESSAGE.pack(_socket.AF_INET, bits, 0, 0, abi.RT_TABLE_LOCAL, protocol, scope, kind, 0)
    destination = _attribute(abi.RTA_DST, address) if bits else b""
    return header + destination + _attribute(abi.RTA_OIF, _WORD.pack(abi.LOOPBACK_INDEX)) + more


def _address(family: int, address: bytes, bits: int, more: bytes = b"") -> bytes:
    header = abi.ADDRESS_MESSAGE.pack(family, bits, 0, 0, abi.LOOPBACK_INDEX)
    return header + _attribute(abi.IFA_LOCAL, address) + _attribute(abi.IFA_ADDRESS, address) + more


def _request(channel: _socket.socket, kind: int, flags: int, body: bytes, must: bool = True) -> None:
    flags |= abi.NLM_F_REQUEST | abi.NLM_F_ACK
    channel.send(abi.NLMSG_HEADER.pack(abi.NLMSG_HEADER.size + len(body), kind, flags, 1, 0) + body)
    code = int.from_bytes(channel.recv(8192)[16:20], "little", signed=True)
    if code and must:
        raise OSError(-code, f"routing message {kind} refused")


def prepare(shown: bytes | None, shown6: bytes | None) -> bool:
    """Set the namespace up.  `shown` and `shown6` are the addresses that interface listings shall have; `shown6` is b"" where
    the kernel has IPv6 and no address yet, None where it has no IPv6.  Whether there is IPv6 in the namespace, too: where Linux
    has none, or it is switched off for good, AF_INET6 sockets for TCP go all the same, and others don't.  Raises OSError."""
    channel = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, abi.NETLINK_ROUTE)
    try:
        up = abi.INTERFACE_MESSAGE.pack(_socket.AF_UNSPEC, 0, abi.LOOPBACK_INDEX, abi.IFF_UP, abi.IFF_UP)
        _request(channel, abi.RTM_NEWLINK, 0, up + _attribute(abi.IFLA_MTU, _WORD.pack(LARGEST)))
        # What Linux puts on lo by itself would catch datagrams to 127.0.0.1 and ::1, which are the rump kernel's.
        _request(channel, abi.RTM_DELADDR, 0, _address(_socket.AF_INET, b"\x7f\0\0\1", 8))
        _request(channel, abi.RTM_DELADDR, 0, _address(_socket.AF_INET6, bytes(15) + b"\1", 128), must=False)
        if shown is not None:
            _request(channel, abi.RTM_NEWADDR, abi.NLM_F_CREATE, _address(_socket.AF_INET, shown, 32))
            route = _route(abi.RTN_LOCAL, abi.RT_SCOPE_HOST, shown, 32, protocol=0)
            _request(channel, abi.RTM_DELROUTE, 0, route)
        marks = _route(abi.RTN_LOCAL, abi.RT_SCOPE_HOST, MARKS + bytes(3), 32 - MARK_BITS)
        _request(channel, abi.RTM_NEWROUTE, abi.NLM_F_CREATE, marks)
        source = _attribute(abi.RTA_PREFSRC, UNMARKED)
        out = _route(abi.RTN_BROADCAST, abi.RT_SCOPE_LINK, b"", 0, source)
        _request(channel, abi.RTM_NEWROUTE, abi.NLM_F_CREATE, out)
        return shown6 is not None and _prepare6(channel, shown6)
    finally:
        channel.close()


def _prepare6(channel: _socket.socket, shown: bytes) -> bool:
    try:
        socket = _socket.socket(_socket.AF_INET6, _socket.SOCK_DGRAM)
    except OSError as problem:
        if problem.errno == _EAFNOSUPPORT:
            return False
        raise
    try:
        _write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", b"0")
        # A host may hand its forwarding on to new namespaces: then each packet would go round until its hop limit ends.
        _write(_FORWARDING6, b"0")
        if _read(_FORWARDING6).strip() != b"0":
            return False
        flags = _attribute(abi.IFA_FLAGS, _WORD.pack(abi.IFA_F_NODAD | abi.IFA_F_NOPREFIXROUTE))
        try:
            _request(channel, abi.RTM_NEWADDR, abi.NLM_F_CREATE, _address(_socket.AF_INET6, UNMARKED6, 128, flags))
        except OSError as problem:
            if problem.errno == _EACCES:
                return False
            raise
        # That Linux makes itself, but a moment later.
        _request(channel, abi.RTM_NEWROUTE, abi.NLM_F_CREATE, _local6(UNMARKED6, 64))
        if shown:
            # Deprecated, so that Linux takes it for a source only where the program says so.
            flags += _attribute(abi.IFA_CACHEINFO, _CACHEINFO.pack(0, _FOR_EVER, 0, 0))
            _request(channel, abi.RTM_NEWADDR, abi.NLM_F_CREATE, _address(_socket.AF_INET6, shown, 128, flags))
            _forget(channel, shown)
        # Linux makes a route that leads to lo one that refuses, unless it is flagged as local.  Its type, which says what
        # becomes of the packets when they come in, can be another only by this call.
        out = _IN6_RTMSG.pack(
            bytes(16), bytes(16), bytes(16), abi.RTN_UNICAST, 0, 0, 1, 0, _RTF_UP | _RTF_LOCAL, abi.LOOPBACK_INDEX
        )
        fcntl.ioctl(socket.fileno(), _SIOCADDRT, out)
        return True
    finally:
        socket.close()


def _local6(address: bytes, bits: int) -> bytes:
    header = abi.ROUTE_MESSAGE.pack(_socket.AF_INET6, bits, 0, 0, abi.RT_TABLE_LOCAL, 0, 0, abi.RTN_LOCAL, 0)
    oif = _attribute(abi.RTA_OIF, _WORD.pack(abi.LOOPBACK_INDEX))
    return header + _attribute(abi.RTA_DST, address) + oif


def _forget(channel: _socket.socket, address: bytes) -> None:
    """Take away the route to an address of ours, which Linux makes a moment after the address."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            _request(channel, abi.RTM_DELROUTE, 0, _local6(address, 128))
            return
        except OSError as problem:
            if problem.errno != _ESRCH or time.monotonic() > end:
                raise
        time.sleep(_PAUSE)


def _read(path: str) -> bytes:
    """A sysctl of the namespace; b"0" where there is none to be had."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return b"0"
    try:
        return os.read(fd, 16)
    finally:
        os.close(fd)


def _write(path: str, text: bytes) -> None:
    """Set a sysctl of the namespace, where it is to be had."""
    try:
        fd = os.open(path, os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(fd, text)
    except OSError:
        pass
    finally:
        os.close(fd)


def allow_ping(group: int) -> None:
    """Let the makers of sockets, which run as `group`, make ping sockets.  Where it is not to be had, nobody can ping."""
    _write("/proc/sys/net/ipv4/ping_group_range", b"%d %d" % (group, group))


def _filter(socket: _socket.socket, instructions: tuple[tuple[int, int, int, int], ...]) -> None:
    """Let a socket take only what a classic BPF program accepts."""
    import ctypes

    layout = Struct("<HBBI")
    code = ctypes.create_string_buffer(b"".join(layout.pack(*i) for i in instructions))
    program = bytearray(16)
    program[0] = len(instructions)
    program[8:] = ctypes.addressof(code).to_bytes(8, "little")
    socket.setsockopt(_socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


_IF_INJECTED: Final = ((0x20, 0, 0, _PACKET_MARK), (0x15, 0, 1, INJECTED), (0x06, 0, 0, 0x40000), (0x06, 0, 0, 0))


def capture_socket(family: int) -> _socket.socket:
    """The packet socket that gets all that the program sends over UDP or ICMP of one version of IP, header first."""
    protocol, echo, request, body = _HEADERS[family]
    filtered = (
        (0x20, 0, 0, _PACKET_MARK),
        (0x15, 7, 0, INJECTED),
        (0x30, 0, 0, protocol),
        (0x15, 4, 0, _socket.IPPROTO_UDP),
        (0x15, 0, 4, echo),
        body,
        (0x50, 0, 0, 0),
        (0x15, 0, 1, request),
        (0x06, 0, 0, 0x40000),
        (0x06, 0, 0, 0),
    )
    capture = _socket.socket(_socket.AF_PACKET, _socket.SOCK_DGRAM, 0)
    _filter(capture, filtered)
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

    def make(self, kind: int) -> list[_socket.socket]:
        """One socket, or two for PAIR.  Raises OSError (EMFILE)."""
        if kind == PAIR:
            return list(_socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM))
        if kind == STREAM:
            return [_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)]
        if kind in _BY_PORT:
            return [self._by_port(_BY_PORT[kind])]
        family, protocol, prefix = _KINDS[kind]
        made = _socket.socket(family, _socket.SOCK_DGRAM, protocol)
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_BROADCAST, 1)
        while True:
            self._last_mark = self._last_mark % ((1 << MARK_BITS) - 2) + 1
            try:
                made.bind((prefix + _socket.inet_ntoa(MARKS + self._last_mark.to_bytes(3, "big")), 0))
                return [made]
            except OSError as problem:
                if problem.errno != _EADDRINUSE:
                    raise

    def _by_port(self, protocol: int) -> _socket.socket:
        made = _socket.socket(_socket.AF_INET6, _socket.SOCK_DGRAM, protocol)
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_BROADCAST, 1)
        made.setsockopt(_socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)  # for sources that control messages name
        if protocol == _socket.IPPROTO_UDP:
            made.setsockopt(_socket.IPPROTO_UDP, _UDP_NO_CHECK6_RX, 1)
            _filter(made, _IF_INJECTED)
        made.bind(("::", 0))
        return made
