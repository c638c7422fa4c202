"""The program's private network namespace, seen from inside: run by the starter, before the program.

What stands behind the filter is a namespace with `lo` alone, and on it only what lets `carrier` move datagrams:

- 240.0.0.0/8 is local.  Each UDP socket that is made here is bound to an address of its own out of it, its *mark*.
- All other IPv4 destinations are *broadcast* on lo.  A datagram to them is delivered to the raw capture socket, with
  the mark as its source, and then dropped: Linux answers no broadcast with ICMP, so connected sockets see no false
  ECONNREFUSED.  SO_BROADCAST on the sockets makes Linux accept such destinations.
- A datagram for a socket is written to the raw inject socket, addressed to its mark, with its true source.
- Ping sockets (ICMP echo) go the same way; Linux does not answer pings to a broadcast address itself.
- There is no IPv6 route, so real IPv6 destinations fail with ENETUNREACH.

The kernel's own address is shown on lo without being routed there: getaddrinfo's AI_ADDRCONFIG looks for one.
"""

from __future__ import annotations

import _socket
import os
from struct import Struct

from . import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MARKS: Final = b"\xf0"
"""First byte of all marks."""
MARK_BITS: Final = 24

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
_KINDS: Final = {
    DATAGRAM: (_socket.AF_INET, _socket.IPPROTO_UDP, ""),
    DATAGRAM6: (_socket.AF_INET6, _socket.IPPROTO_UDP, "::ffff:"),
    PING: (_socket.AF_INET, _socket.IPPROTO_ICMP, ""),
}

_EADDRINUSE: Final = 98
_ATTRIBUTE: Final = Struct("<HH")
_WORD: Final = Struct("<I")
_SO_ATTACH_FILTER: Final = 26
_CAPTURE_BUFFER: Final = 8 << 20

# Classic BPF over an IPv4 packet: keep it if its source is a mark, so that what we inject is not captured.
_FROM_A_MARK: Final = (
    (0x30, 0, 0, 12),  # load the first byte of the source address
    (0x15, 0, 1, MARKS[0]),
    (0x06, 0, 0, 0x40000),
    (0x06, 0, 0, 0),
)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value


def _route(kind: int, scope: int, address: bytes, bits: int, protocol: int = abi.RTPROT_STATIC) -> bytes:
    header = abi.ROUTE_MESSAGE.pack(_socket.AF_INET, bits, 0, 0, abi.RT_TABLE_LOCAL, protocol, scope, kind, 0)
    destination = _attribute(abi.RTA_DST, address) if bits else b""
    return header + destination + _attribute(abi.RTA_OIF, _WORD.pack(abi.LOOPBACK_INDEX))


def _address(family: int, address: bytes, bits: int) -> bytes:
    header = abi.ADDRESS_MESSAGE.pack(family, bits, 0, 0, abi.LOOPBACK_INDEX)
    return header + _attribute(abi.IFA_LOCAL, address) + _attribute(abi.IFA_ADDRESS, address)


def _request(channel: _socket.socket, kind: int, flags: int, body: bytes, must: bool = True) -> None:
    flags |= abi.NLM_F_REQUEST | abi.NLM_F_ACK
    channel.send(abi.NLMSG_HEADER.pack(abi.NLMSG_HEADER.size + len(body), kind, flags, 1, 0) + body)
    code = int.from_bytes(channel.recv(8192)[16:20], "little", signed=True)
    if code and must:
        raise OSError(-code, f"routing message {kind} refused")


def prepare(shown: bytes | None) -> None:
    """Set the namespace up; `shown` is the IPv4 address that interface listings shall have.  Raises OSError."""
    channel = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, abi.NETLINK_ROUTE)
    try:
        up = abi.INTERFACE_MESSAGE.pack(_socket.AF_UNSPEC, 0, abi.LOOPBACK_INDEX, abi.IFF_UP, abi.IFF_UP)
        _request(channel, abi.RTM_NEWLINK, 0, up)
        # What Linux puts on lo by itself would catch datagrams to 127.0.0.1 and ::1, which are the rump kernel's.
        _request(channel, abi.RTM_DELADDR, 0, _address(_socket.AF_INET, b"\x7f\0\0\1", 8))
        _request(channel, abi.RTM_DELADDR, 0, _address(_socket.AF_INET6, bytes(15) + b"\1", 128), must=False)
        if shown is not None:
            _request(channel, abi.RTM_NEWADDR, abi.NLM_F_CREATE, _address(_socket.AF_INET, shown, 32))
            route = _route(abi.RTN_LOCAL, abi.RT_SCOPE_HOST, shown, 32, protocol=0)
            _request(channel, abi.RTM_DELROUTE, 0, route)
        marks = _route(abi.RTN_LOCAL, abi.RT_SCOPE_HOST, MARKS + bytes(3), 32 - MARK_BITS)
        _request(channel, abi.RTM_NEWROUTE, abi.NLM_F_CREATE, marks)
        _request(channel, abi.RTM_NEWROUTE, abi.NLM_F_CREATE, _route(abi.RTN_BROADCAST, abi.RT_SCOPE_LINK, b"", 0))
    finally:
        channel.close()


def allow_ping(group: int) -> None:
    """Let the makers of sockets, which run as `group`, make ping sockets.  Where it is not to be had, nobody can ping."""
    try:
        fd = os.open("/proc/sys/net/ipv4/ping_group_range", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(fd, b"%d %d" % (group, group))
    except OSError:
        pass
    finally:
        os.close(fd)


def capture_socket(protocol: int) -> _socket.socket:
    """The raw socket that gets a copy of everything the program sends over UDP or ICMP, IPv4 header first."""
    import ctypes

    capture = _socket.socket(_socket.AF_INET, _socket.SOCK_RAW, protocol)
    instructions = Struct("<HBBI")
    code = ctypes.create_string_buffer(b"".join(instructions.pack(*i) for i in _FROM_A_MARK))
    program = bytearray(16)
    program[0] = len(_FROM_A_MARK)
    program[8:] = ctypes.addressof(code).to_bytes(8, "little")
    capture.setsockopt(_socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    capture.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _CAPTURE_BUFFER)  # as much of it as the host allows
    capture.setblocking(False)
    return capture


def inject_socket() -> _socket.socket:
    """The raw socket that sends whole IPv4 packets to marks."""
    inject = _socket.socket(_socket.AF_INET, _socket.SOCK_RAW, _socket.IPPROTO_RAW)
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
