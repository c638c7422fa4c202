"""The socket options that the differential test sets and reads, with values in and out of their ranges."""

from __future__ import annotations

import socket
from typing import NamedTuple

from hypothesis import strategies as st


def number(value: int) -> bytes:
    """An int's C layout."""
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


def numbers(*some: int) -> st.SearchStrategy[bytes]:
    """Some of these, of any other sign and size now and then, or cut short."""
    return st.one_of(
        st.sampled_from([number(one) for one in some]),
        st.sampled_from([number(one) for one in (-1, 0, 1, 2, 1 << 30)]),
        st.sampled_from([b"", b"\1", b"\1\0", b"\0\0\0"]),
    )


class Option(NamedTuple):
    """One option."""

    level: int
    name: int
    values: st.SearchStrategy[bytes]
    size: int = 4
    streams: bool = True
    """Whether what a stream socket reads can be compared."""
    datagrams: bool = True

    def comparable(self, kind: int) -> bool:
        """Whether reading it says the same on both sides."""
        return self.streams if kind == socket.SOCK_STREAM else self.datagrams


SOCKET = socket.SOL_SOCKET
IP = socket.IPPROTO_IP
TCP = socket.IPPROTO_TCP
FLAG = numbers(0, 1, 7)
LINGER = st.sampled_from([number(1) + number(0), number(0) + number(5), number(1) + number(3), b"\1\0\0\0"])
TIMES = st.sampled_from([bytes(16), number(5) + bytes(12), number(1) + bytes(4) + number(10**6) + bytes(4), bytes(8)])
DEVICES = st.sampled_from([b"lo", b"lo\0", b"", b"\0", b"none"])

OPTIONS = [
    Option(SOCKET, socket.SO_REUSEADDR, FLAG),
    Option(SOCKET, socket.SO_REUSEADDR, FLAG),
    Option(SOCKET, socket.SO_REUSEPORT, FLAG),
    Option(SOCKET, socket.SO_KEEPALIVE, FLAG),
    Option(SOCKET, socket.SO_OOBINLINE, FLAG),
    Option(SOCKET, socket.SO_BROADCAST, FLAG),
    Option(SOCKET, socket.SO_DONTROUTE, FLAG),
    Option(SOCKET, socket.SO_DEBUG, FLAG),
    Option(SOCKET, 11, FLAG),  # SO_NO_CHECK
    Option(SOCKET, socket.SO_PRIORITY, numbers(3, 6, 7)),
    Option(SOCKET, socket.SO_LINGER, LINGER, 8),
    Option(SOCKET, socket.SO_ERROR, FLAG),
    Option(SOCKET, socket.SO_TYPE, FLAG),
    Option(SOCKET, socket.SO_DOMAIN, FLAG),
    Option(SOCKET, socket.SO_PROTOCOL, FLAG),
    Option(SOCKET, socket.SO_ACCEPTCONN, FLAG),
    Option(SOCKET, socket.SO_RCVLOWAT, st.sampled_from([number(0), number(1), number(5), b"", b"\0\0\0"])),
    Option(SOCKET, socket.SO_SNDLOWAT, FLAG),
    Option(SOCKET, socket.SO_RCVTIMEO, TIMES, 16),
    Option(SOCKET, socket.SO_SNDTIMEO, TIMES, 16),
    Option(SOCKET, 29, FLAG),  # SO_TIMESTAMP
    Option(SOCKET, 35, FLAG),  # SO_TIMESTAMPNS
    Option(SOCKET, socket.SO_MARK, numbers(7)),
    Option(SOCKET, 40, FLAG),  # SO_RXQ_OVFL
    Option(SOCKET, 46, numbers(0, 50)),  # SO_BUSY_POLL
    Option(SOCKET, socket.SO_INCOMING_CPU, st.sampled_from([b"", b"\0"]), 4, False, False),
    Option(SOCKET, 60, numbers(0, 1, 2)),  # SO_ZEROCOPY
    Option(SOCKET, socket.SO_BINDTODEVICE, DEVICES, 16),
    Option(SOCKET, socket.SO_SNDBUF, numbers(1, 5000, 20000), streams=False, datagrams=False),
    Option(SOCKET, socket.SO_RCVBUF, numbers(1, 5000, 20000), streams=False, datagrams=False),
    Option(TCP, socket.TCP_NODELAY, FLAG),
    Option(TCP, socket.TCP_NODELAY, FLAG),
    Option(TCP, socket.TCP_CORK, FLAG),
    Option(TCP, socket.TCP_QUICKACK, FLAG, streams=False),
    Option(TCP, socket.TCP_MAXSEG, numbers(0, 87, 88, 1000, 32767, 32768), streams=False),
    Option(TCP, socket.TCP_KEEPIDLE, numbers(1, 60, 32767, 32768)),
    Option(TCP, socket.TCP_KEEPINTVL, numbers(1, 60, 32767, 32768)),
    Option(TCP, socket.TCP_KEEPCNT, numbers(1, 127, 128)),
    Option(TCP, socket.TCP_SYNCNT, numbers(1, 127, 128), streams=False),
    Option(TCP, socket.TCP_LINGER2, numbers(0, 1, 120, 121)),
    Option(TCP, socket.TCP_DEFER_ACCEPT, numbers(0, 1, 2, 10)),
    Option(TCP, socket.TCP_WINDOW_CLAMP, numbers(0, 1), streams=False),
    Option(TCP, socket.TCP_USER_TIMEOUT, numbers(0, 1000)),
    Option(TCP, socket.TCP_CONGESTION, st.sampled_from([b"reno", b"reno\0", b"nothing", b""]), 16, streams=False),
    Option(TCP, 25, st.sampled_from([number(100), number(1 << 20), b"\1"])),  # TCP_NOTSENT_LOWAT
    Option(TCP, 36, FLAG),  # TCP_INQ
    Option(IP, socket.IP_TTL, numbers(1, 64, 255, 256)),
    Option(IP, socket.IP_TOS, numbers(0, 0x10, 0xFF, 0x100)),
    Option(IP, 8, FLAG),  # IP_PKTINFO
    Option(IP, 10, numbers(1, 2, 3, 4, 5, 6)),  # IP_MTU_DISCOVER
    Option(IP, 11, FLAG),  # IP_RECVERR
    Option(IP, 12, FLAG),  # IP_RECVTTL
    Option(IP, 13, FLAG),  # IP_RECVTOS
    Option(IP, 14, FLAG, streams=False, datagrams=False),  # IP_MTU
    Option(IP, 15, FLAG),  # IP_FREEBIND
    Option(IP, 20, FLAG),  # IP_RECVORIGDSTADDR
    Option(IP, 21, numbers(5, 255, 256)),  # IP_MINTTL
    Option(IP, 24, FLAG),  # IP_BIND_ADDRESS_NO_PORT
    Option(IP, socket.IP_MULTICAST_TTL, numbers(5, 255, 256), streams=False),
    Option(IP, socket.IP_MULTICAST_LOOP, FLAG),
    Option(IP, 49, FLAG),  # IP_MULTICAST_ALL
    Option(17, 1, FLAG),  # UDP_CORK
    Option(99, 1, FLAG),
    Option(SOCKET, 9999, FLAG),
    Option(IP, 9999, FLAG),
    Option(TCP, 9999, FLAG),
]

IP6 = socket.IPPROTO_IPV6
OPTIONS6 = [
    Option(IP6, socket.IPV6_V6ONLY, FLAG),
    Option(IP6, socket.IPV6_V6ONLY, FLAG),
    Option(IP6, socket.IPV6_UNICAST_HOPS, numbers(-1, 1, 255, 256)),
    Option(IP6, socket.IPV6_MULTICAST_HOPS, numbers(-1, 1, 255, 256), streams=False),
    Option(IP6, socket.IPV6_MULTICAST_LOOP, numbers(0, 1, 2)),
    Option(IP6, socket.IPV6_TCLASS, numbers(-1, 0x20, 255, 256)),
    Option(IP6, socket.IPV6_RECVPKTINFO, FLAG, streams=False),
    Option(IP6, socket.IPV6_RECVHOPLIMIT, FLAG, streams=False),
    Option(IP6, socket.IPV6_RECVTCLASS, FLAG, streams=False),
    Option(IP6, 23, numbers(0, 1, 2, 3, 5, 6)),  # IPV6_MTU_DISCOVER
    Option(IP6, 25, FLAG),  # IPV6_RECVERR
    Option(IP6, 62, FLAG),  # IPV6_DONTFRAG
    Option(IP6, 9999, FLAG),
]
