"""getsockopt and setsockopt.

Options fall in classes, by table: those that the program's own (native) socket has for itself, such as timeouts; those that both
must hear of; those that mean nothing here and are only remembered; and all others, which are the kernel's.
"""

import os
import socket as host_socket
from collections.abc import Callable
from typing import Final

from ...kern.abi.errno import EINVAL, ENOENT, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP, error
from ...kern.abi.socket import (
    AF_INET6,
    IP_ADD_MEMBERSHIP,
    IP_DROP_MEMBERSHIP,
    IP_FREEBIND,
    IP_MTU_DISCOVER,
    IP_MULTICAST_ALL,
    IP_MULTICAST_IF,
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TOS,
    IP_TRANSPARENT,
    IP_TTL,
    IPPROTO_ICMPV6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    IPV6_CHECKSUM,
    IPV6_DONTFRAG,
    IPV6_HDRINCL,
    IPV6_JOIN_GROUP,
    IPV6_LEAVE_GROUP,
    IPV6_MTU,
    IPV6_MTU_DISCOVER,
    IPV6_MULTICAST_IF,
    IPV6_RECVERR,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    SO_ACCEPTCONN,
    SO_BROADCAST,
    SO_DEBUG,
    SO_DOMAIN,
    SO_ERROR,
    SO_LINGER,
    SO_MARK,
    SO_OOBINLINE,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_RCVBUFFORCE,
    SO_RCVTIMEO,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_SNDBUFFORCE,
    SO_SNDTIMEO,
    SO_TYPE,
    SO_ZEROCOPY,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_FASTOPEN_CONNECT,
    TCP_INFO,
    UDP_SEGMENT,
)
from . import ends, network
from .carrier import Datagram
from .context import Context
from .listener import Notification
from .record import Record
from .sockaddr import NATIVE_ZONE, encode
from .stream import CONNECTED, FRESH, LISTENING, Stream

_INT: Final = 0xFFFFFFFF
MCAST_JOIN_GROUP: Final = 42
MCAST_LEAVE_SOURCE_GROUP: Final = 47
_VALUE_LIMIT: Final = 512
_SO_PEERCRED: Final = 17
_SO_PEERNAME: Final = 28
_SO_MEMINFO: Final = 55
_SO_COOKIE: Final = 57
_SO_RCVTIMEO_NEW: Final = 66
_SO_SNDTIMEO_NEW: Final = 67

_IP_HDRINCL: Final = 3
_SOL_RAW: Final = 255
_ICMP6_FILTER: Final = 1
_SO_ATTACH_FILTER: Final = 26
_SO_DETACH_FILTER: Final = 27
_MOST_INSTRUCTIONS: Final = 4096
_IPV6_FREEBIND: Final = 78
_UDP_NO_CHECK6_RX: Final = 102


def cuts_datagrams(release: str) -> bool:
    """Whether a packet socket of Linux `release` tells of datagrams that are to be cut into several (6.2)."""
    # Without a pattern: to compile one is felt at each start.
    digits = "".join([one if one.isdecimal() else " " for one in release])
    return tuple([int(part) for part in digits.split()[:2]]) >= (6, 2)


_MULTICAST: Final = (*range(IP_MULTICAST_IF, 48), IP_MULTICAST_ALL)
"""IP_MULTICAST_IF to MCAST_LEAVE_SOURCE_GROUP, and IP_MULTICAST_ALL."""
_SIX: Final = (
    IPV6_UNICAST_HOPS,
    *range(IPV6_MULTICAST_IF, IPV6_LEAVE_GROUP + 1),
    IPV6_MTU_DISCOVER,
    IPV6_MTU,
    IPV6_V6ONLY,
    *range(MCAST_JOIN_GROUP, MCAST_LEAVE_SOURCE_GROUP + 1),
    IPV6_DONTFRAG,
    IPV6_TCLASS,
)
_INDEX_AT: Final[dict[tuple[int, int], int]] = {
    (IPPROTO_IP, IP_MULTICAST_IF): 8,
    (IPPROTO_IP, IP_ADD_MEMBERSHIP): 8,
    (IPPROTO_IP, IP_DROP_MEMBERSHIP): 8,
    (IPPROTO_IPV6, IPV6_MULTICAST_IF): 0,
    (IPPROTO_IPV6, IPV6_JOIN_GROUP): 16,
    (IPPROTO_IPV6, IPV6_LEAVE_GROUP): 16,
    **{
        (level, name): 0
        for level in (IPPROTO_IP, IPPROTO_IPV6)
        for name in range(MCAST_JOIN_GROUP, MCAST_LEAVE_SOURCE_GROUP + 1)
    },
}
"""Where an option's structure has the index of an interface, if it is that long."""

INHERITED: Final = frozenset(
    (SOL_SOCKET, name) for name in (SO_RCVTIMEO, SO_SNDTIMEO, _SO_RCVTIMEO_NEW, _SO_SNDTIMEO_NEW, SO_OOBINLINE)
)
"""Options of a listener's unix socket that those of its connections must have, too."""
STREAM_NATIVE: Final = frozenset(
    (SOL_SOCKET, name)
    for name in (SO_RCVTIMEO, SO_SNDTIMEO, _SO_RCVTIMEO_NEW, _SO_SNDTIMEO_NEW, _SO_MEMINFO, _SO_COOKIE)
)
"""Options of a TCP socket that its unix socket takes care of."""
STREAM_REFUSED: Final = frozenset({(SOL_SOCKET, SO_ZEROCOPY)})
"""What a TCP socket would take and a unix socket never tells the end of."""
_NOBODY: Final = bytes(4) + b"\xff" * 8
"""struct ucred of a peer that is no process of this machine."""
DATAGRAM_OURS: Final = frozenset(
    [(SOL_SOCKET, name) for name in (SO_DEBUG, SO_REUSEADDR, SO_REUSEPORT, SO_BROADCAST)]
    + [(IPPROTO_IP, name) for name in (IP_TTL, IP_TOS, IP_MTU_DISCOVER, *_MULTICAST)]
    + [(IPPROTO_IPV6, name) for name in _SIX]
)
"""Options of a UDP socket that only the kernel must hear of: natively they would disturb the carrying."""
DATAGRAM_BOTH: Final = frozenset(
    [(SOL_SOCKET, SO_RCVBUF), (SOL_SOCKET, SO_SNDBUF)]
    + [(IPPROTO_IP, name) for name in (IP_PKTINFO, IP_RECVERR, IP_RECVTTL, IP_RECVTOS)]
    + [(IPPROTO_IPV6, name) for name in (IPV6_RECVERR, IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS)]
    + [(level, name) for level in (IPPROTO_IPV6, _SOL_RAW) for name in (IPV6_CHECKSUM, IPV6_HDRINCL)]
    + [(IPPROTO_ICMPV6, _ICMP6_FILTER)]
)
"""Those that the native one must hear of, too: it makes the control messages, out of what is injected."""
DATAGRAM_REFUSED: Final = frozenset(() if cuts_datagrams(os.uname().release) else {(IPPROTO_UDP, UDP_SEGMENT)})
"""What the program's own socket would take and the way out of its namespace can't carry: programs that ask do without."""
DATAGRAM_OTHERWISE: Final = frozenset(
    {(SOL_SOCKET, SO_MARK), (IPPROTO_IP, IP_TRANSPARENT), (IPPROTO_IP, IP_FREEBIND), (IPPROTO_IPV6, _IPV6_FREEBIND)}
    | {(IPPROTO_UDP, _UDP_NO_CHECK6_RX)}
)
"""What is set of the native socket for the sake of carrying, and is only remembered for the program."""
_SWITCHES: Final = frozenset({(IPPROTO_TCP, TCP_FASTOPEN_CONNECT)})
"""Numbers 0 and 1 that are only remembered: a connection without data in its handshake does as well."""
_HINTS: Final = 128
"""Options of IPPROTO_IPV6 below are remembered where the kernel does not know them; where there is no IPv6, all are."""
ALIASES: Final = {(SOL_SOCKET, SO_RCVBUFFORCE): SO_RCVBUF, (SOL_SOCKET, SO_SNDBUFFORCE): SO_SNDBUF}


_FACTS: Final[dict[tuple[int, int], Callable[[Stream], int]]] = {
    (SOL_SOCKET, SO_TYPE): lambda record: SOCK_STREAM,
    (SOL_SOCKET, SO_DOMAIN): lambda record: record.family,
    (SOL_SOCKET, SO_PROTOCOL): lambda record: IPPROTO_TCP,
    (SOL_SOCKET, SO_ACCEPTCONN): lambda record: int(record.state == LISTENING),
}


def call_setsockopt(context: Context, call: Notification) -> int | None:
    """setsockopt(2)."""
    record = context.find(call)
    level, name, where, size = call.arguments[1] & _INT, call.arguments[2] & _INT, call.arguments[3], call.arguments[4]
    option = (level, ALIASES.get((level, name), name))
    if isinstance(record, Datagram) and option in DATAGRAM_REFUSED:
        raise error(ENOPROTOOPT)
    if record is None:
        context.listener.proceed(call.id)
        return None
    if isinstance(record, Datagram) and record.by_port and level == SOL_SOCKET:
        if name == _SO_ATTACH_FILTER:
            return _attach_filter(context, call, record, where, size & _INT)
        if name == _SO_DETACH_FILTER:
            return _detach_filter(context, call, record)
    if _is_native(record, option):
        if isinstance(record, Stream) and option in INHERITED and size & _INT == 16:
            record.inherited[option] = context.memory.read(call.thread, where, 16)
        context.listener.proceed(call.id)
        return None
    if size & _INT >= 1 << 31:
        raise error(EINVAL)
    value = context.memory.read(call.thread, where, min(size & _INT, _VALUE_LIMIT))
    if record.family == AF_INET6 and level == IPPROTO_IPV6 and not record.six:
        return _set_ipv6(record, name, value)
    if isinstance(record, Datagram) and record.raw and option == (IPPROTO_IP, _IP_HDRINCL):
        raise error(ENOPROTOOPT)
    if isinstance(record, Datagram) and option in DATAGRAM_OTHERWISE:
        if len(value) < 4 and (level != IPPROTO_IP or not value):
            raise error(EINVAL)
        given = value[:4] if len(value) >= 4 else value[:1] + bytes(3)
        flag = option != (SOL_SOCKET, SO_MARK)
        record.remembered[option] = (b"\1\0\0\0" if any(given) else bytes(4)) if flag else given
        return 0
    if isinstance(record, Stream) and option in STREAM_REFUSED:
        raise error(EOPNOTSUPP)
    if isinstance(record, Stream) and option in _SWITCHES:
        if len(value) < 4 or value[:4] not in (bytes(4), b"\1\0\0\0"):
            raise error(EINVAL)
        record.remembered[option] = value[:4]
        return 0
    try:
        context.run(record.socket.set_option, option[0], option[1], _anywhere(option, value))
    except OSError as problem:
        native = isinstance(record, Datagram) and record.raw and option in DATAGRAM_BOTH
        if problem.errno != ENOPROTOOPT or not (native or _is_hint(record, level, name)):
            raise
        record.remembered[option] = value
    if option == (IPPROTO_IPV6, IPV6_MULTICAST_IF):
        # lo stands for any interface, and is shown all the same.
        record.remembered[option] = value[:4]
    if isinstance(record, Stream) and option == (SOL_SOCKET, SO_LINGER):
        record.resets_on_close = len(value) >= 8 and any(value[:4]) and not any(value[4:8])
    if isinstance(record, Stream) and option == (SOL_SOCKET, SO_OOBINLINE):
        record.inherited[option] = value
        with ends.stream(context.copy(call)) as copy:
            copy.setsockopt(*option, value)
    if isinstance(record, Datagram) and option in ((IPPROTO_IP, IP_RECVERR), (IPPROTO_IPV6, IPV6_RECVERR)):
        record.in_full = any(value[:4])
    if isinstance(record, Datagram) and option in DATAGRAM_BOTH:
        with host_socket.socket(record.family, SOCK_DGRAM, record.protocol, context.copy(call)) as copy:
            copy.setsockopt(*option, value)
        if option in ((IPPROTO_IPV6, IPV6_HDRINCL), (_SOL_RAW, IPV6_HDRINCL)):
            context.carrier.drain()
            record.included = any(value[:4])
    return 0


def _attach_filter(context: Context, call: Notification, record: Datagram, where: int, size: int) -> int:
    """SO_ATTACH_FILTER (struct sock_fprog): a program of the program's, behind ours."""
    if size != 16:
        raise error(EINVAL)
    given = context.memory.read(call.thread, where, 16)
    count = int.from_bytes(given[:2], "little")
    if not 0 < count <= _MOST_INSTRUCTIONS:
        raise error(EINVAL)
    code = context.memory.read(call.thread, int.from_bytes(given[8:], "little"), count * network.INSTRUCTION.size)
    _filter(context, call, record, network.START + code)
    record.filtered = True
    return 0


def _detach_filter(context: Context, call: Notification, record: Datagram) -> int:
    if not record.filtered:
        raise error(ENOENT)
    _filter(context, call, record, network.ACCEPT)
    record.filtered = False
    return 0


def _filter(context: Context, call: Notification, record: Datagram, code: bytes) -> None:
    needed = network.only_injected(record.number) if record.number or record.protocol == IPPROTO_UDP else b""
    with host_socket.socket(record.family, SOCK_DGRAM, record.protocol, context.copy(call)) as copy:
        network.attach(copy, needed + code)


def _is_hint(record: Record, level: int, name: int) -> bool:
    return level == IPPROTO_IPV6 and record.family == AF_INET6 and name not in _SIX and name < _HINTS


def _anywhere(option: tuple[int, int], value: bytes) -> bytes:
    """An option's value in which lo, the one interface that the program sees, is whichever suits."""
    at = _INDEX_AT.get(option, -1)
    if 0 <= at <= len(value) - 4 and int.from_bytes(value[at : at + 4], "little") == NATIVE_ZONE:
        return value[:at] + bytes(4) + value[at + 4 :]
    return value


def _is_native(record: Record, option: tuple[int, int]) -> bool:
    """Whether the program's own socket takes care of the option."""
    if isinstance(record, Stream):
        return option in STREAM_NATIVE
    if isinstance(record, Datagram) and record.raw and option == (IPPROTO_IP, _IP_HDRINCL):
        return False
    return not (option in DATAGRAM_OURS or option in DATAGRAM_BOTH or option in DATAGRAM_OTHERWISE)


def _set_ipv6(record: Record, name: int, value: bytes) -> int:
    if name == IPV6_V6ONLY:
        if len(value) < 4:
            raise error(EINVAL)
        if isinstance(record, Stream) and record.state != FRESH:
            raise error(EINVAL)
        record.v6only = any(value[:4])
    record.remembered[IPPROTO_IPV6, name] = value
    return 0


# getsockopt ------------------------------------------------------------------------------------------------------


def call_getsockopt(context: Context, call: Notification) -> int | None:
    """getsockopt(2)."""
    record = context.find(call)
    level, name, where, length = (
        call.arguments[1] & _INT,
        call.arguments[2] & _INT,
        call.arguments[3],
        call.arguments[4],
    )
    option = (level, name)
    if isinstance(record, Datagram) and option in DATAGRAM_REFUSED:
        raise error(ENOPROTOOPT)
    if record is None or (_is_native(record, option) and option not in DATAGRAM_OURS):
        context.listener.proceed(call.id)
        return None
    room = context.memory.read_word(call.thread, length)
    if room >= 1 << 31:
        raise error(EINVAL)
    value = _get(context, call, record, option)[: min(room, _VALUE_LIMIT)]
    context.memory.write_sized(call.thread, where, value, length, len(value))
    return 0


def _get(context: Context, call: Notification, record: Record, option: tuple[int, int]) -> bytes:
    if isinstance(record, Stream):
        if option == (SOL_SOCKET, SO_ERROR):
            return _take_error(context, call, record).to_bytes(4, "little")
        if option in _FACTS:
            return _FACTS[option](record).to_bytes(4, "little")
        if option == (SOL_SOCKET, _SO_PEERCRED):
            return _NOBODY
        if option == (SOL_SOCKET, _SO_PEERNAME):
            if record.state != CONNECTED:
                raise error(ENOTCONN)
            return encode(context.run(record.socket.peer_address), record.family)
        if option == (IPPROTO_TCP, TCP_INFO) and record.state == FRESH:
            return b"\x07" + bytes(103)  # TCP_CLOSE
    if option in record.remembered:
        return record.remembered[option]
    if isinstance(record, Datagram) and option in DATAGRAM_OTHERWISE:
        return bytes(4)
    if option in _SWITCHES or (record.family == AF_INET6 and option[0] == IPPROTO_IPV6 and not record.six):
        return bytes(4)
    try:
        return context.run(record.socket.get_option, *option)
    except OSError as problem:
        if problem.errno == ENOPROTOOPT and _is_hint(record, *option):
            return bytes(4)
        raise


def _take_error(context: Context, call: Notification, record: Stream) -> int:
    """The pending error.  Whether there is one, the native socket knows, for a failed read or write takes it, too; which
    one it is, we may know better."""
    number, record.error = record.error, 0
    with ends.stream(context.copy(call)) as copy:
        native = copy.getsockopt(SOL_SOCKET, SO_ERROR)
    return number if native and number else native
