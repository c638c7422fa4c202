"""Options that sockets of every kind know and that a table can say all of: flags and numbers within a range (socket(7), ip(7)).

Below the tables of `stream_options` and `datagram_options`, which have what needs more than that, and look here last.  What
is set is kept in `Socket.extras`; a socket that must hear of it asks there.  A value that is wrong for an option is
refused in the order in which Linux looks: too short before unknown before out of range.
"""

from typing import Final

from ...hyper.named import NamedTuple
from ...kern.abi.errno import EINVAL, ENODEV, ENOPROTOOPT, EOPNOTSUPP, EPERM, error
from ...kern.abi.socket import (
    AF_INET6,
    IP_BIND_ADDRESS_NO_PORT,
    IP_FREEBIND,
    IP_MINTTL,
    IP_MTU_DISCOVER,
    IP_MULTICAST_ALL,
    IP_MULTICAST_LOOP,
    IP_MULTICAST_TTL,
    IP_OPTIONS,
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVORIGDSTADDR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TRANSPARENT,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    IPV6_DONTFRAG,
    IPV6_MTU_DISCOVER,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_IF,
    IPV6_MULTICAST_LOOP,
    IPV6_RECVERR,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    SO_BINDTODEVICE,
    SO_BINDTOIFINDEX,
    SO_BROADCAST,
    SO_BUSY_POLL,
    SO_DEBUG,
    SO_DONTROUTE,
    SO_INCOMING_CPU,
    SO_MARK,
    SO_MAX_PACING_RATE,
    SO_NO_CHECK,
    SO_PRIORITY,
    SO_RXQ_OVFL,
    SO_SNDLOWAT,
    SO_TIMESTAMP,
    SO_TIMESTAMPNS,
    SO_ZEROCOPY,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_INQ,
)
from ...kern.socket import Socket
from .options import option_byte, option_int

_LOWEST: Final = -(1 << 31)
_HIGHEST: Final = (1 << 31) - 1


class Remembered(NamedTuple):
    """An option that is a number from `low` to `high`, or (`flag`) on or off."""

    default: int = 0
    flag: bool = True
    low: int = _LOWEST
    high: int = _HIGHEST
    needs_value: bool = False
    """Whether no value at all is refused (at level IP, where it otherwise means zero)."""


FLAG: Final = Remembered()
REMEMBERED: Final[dict[tuple[int, int], Remembered]] = {
    (SOL_SOCKET, SO_DEBUG): FLAG,
    (SOL_SOCKET, SO_DONTROUTE): FLAG,
    (SOL_SOCKET, SO_BROADCAST): FLAG,
    (SOL_SOCKET, SO_NO_CHECK): FLAG,
    (SOL_SOCKET, SO_TIMESTAMP): FLAG,
    (SOL_SOCKET, SO_TIMESTAMPNS): FLAG,
    (SOL_SOCKET, SO_RXQ_OVFL): FLAG,
    (SOL_SOCKET, SO_PRIORITY): Remembered(flag=False),
    (SOL_SOCKET, SO_MARK): Remembered(flag=False),
    (SOL_SOCKET, SO_BUSY_POLL): Remembered(flag=False, low=0),
    (SOL_SOCKET, SO_INCOMING_CPU): Remembered(-1, False),
    (SOL_SOCKET, SO_ZEROCOPY): Remembered(flag=False, low=0, high=1),
    (SOL_SOCKET, SO_MAX_PACING_RATE): Remembered(-1, False),
    (IPPROTO_TCP, TCP_INQ): Remembered(0, False, 0, 1),
    (IPPROTO_IP, IP_PKTINFO): FLAG,
    (IPPROTO_IP, IP_RECVTTL): FLAG,
    (IPPROTO_IP, IP_RECVTOS): FLAG,
    (IPPROTO_IP, IP_RECVERR): FLAG,
    (IPPROTO_IP, IP_RECVORIGDSTADDR): FLAG,
    (IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT): FLAG,
    (IPPROTO_IP, IP_FREEBIND): Remembered(needs_value=True),
    (IPPROTO_IP, IP_TRANSPARENT): Remembered(needs_value=True),
    (IPPROTO_IP, IP_MULTICAST_LOOP): Remembered(1, needs_value=True),
    (IPPROTO_IP, IP_MULTICAST_ALL): Remembered(1, False, 0, 1, True),
    (IPPROTO_IP, IP_MINTTL): Remembered(0, False, 0, 255, True),
    (IPPROTO_IP, IP_MTU_DISCOVER): Remembered(1, False, 0, 5),
    (IPPROTO_IPV6, IPV6_RECVPKTINFO): FLAG,
    (IPPROTO_IPV6, IPV6_RECVHOPLIMIT): FLAG,
    (IPPROTO_IPV6, IPV6_RECVTCLASS): FLAG,
    (IPPROTO_IPV6, IPV6_RECVERR): FLAG,
    (IPPROTO_IPV6, IPV6_DONTFRAG): FLAG,
    (IPPROTO_IPV6, IPV6_MULTICAST_LOOP): Remembered(1, False, 0, 1),
    (IPPROTO_IPV6, IPV6_MTU_DISCOVER): Remembered(1, False, 0, 5),
}
"""The options by level and name."""
READ_ONLY: Final[dict[tuple[int, int], bytes]] = {
    (SOL_SOCKET, SO_SNDLOWAT): b"\1\0\0\0",
    (IPPROTO_IP, IP_MULTICAST_TTL): b"\1\0\0\0",
    (IPPROTO_IP, IP_OPTIONS): b"",
    (IPPROTO_IPV6, IPV6_MULTICAST_HOPS): b"\1\0\0\0",
    (IPPROTO_IPV6, IPV6_MULTICAST_IF): bytes(4),
}
_TIMESTAMPS: Final = (SO_TIMESTAMP, SO_TIMESTAMPNS)
_LEVELS: Final = {1: (IPPROTO_TCP,), 2: (IPPROTO_UDP,)}
"""Levels beside SOCKET and IP that a kind of socket has."""


def get_common(socket: Socket, level: int, name: int) -> bytes:
    """An option's value in its C layout.  Raises ENOPROTOOPT, and EOPNOTSUPP for a level that the socket has not."""
    option = (level, name)
    if level == IPPROTO_IPV6 and socket.family != AF_INET6:
        raise error(EOPNOTSUPP)
    known = REMEMBERED.get(option)
    if known is not None and (level != IPPROTO_TCP or socket.kind == SOCK_STREAM):
        return (recall(socket, level, name) & 0xFFFFFFFF).to_bytes(4, "little")
    if option in READ_ONLY:
        return READ_ONLY[option]
    if option == (SOL_SOCKET, SO_BINDTODEVICE):
        return socket.device.encode() + b"\0" if socket.device else b""
    if option == (SOL_SOCKET, SO_BINDTOIFINDEX):
        return socket.device_index().to_bytes(4, "little")
    known_level = level in (SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6) or level in _LEVELS.get(socket.kind, ())
    raise error(ENOPROTOOPT if known_level else EOPNOTSUPP)


def set_common(socket: Socket, level: int, name: int, value: bytes) -> None:
    """Set an option.  Raises ENOPROTOOPT, EINVAL."""
    option = (level, name)
    if option == (SOL_SOCKET, SO_BINDTODEVICE):
        bind_to_device(socket, value)
        return
    six = level == IPPROTO_IPV6 and socket.family == AF_INET6
    if not six and level not in (SOL_SOCKET, IPPROTO_IP, *_LEVELS.get(socket.kind, ())):
        raise error(ENOPROTOOPT)
    if level not in (IPPROTO_IP, IPPROTO_IPV6) and len(value) < 4:
        raise error(EINVAL)
    if option == (SOL_SOCKET, SO_BINDTOIFINDEX):
        if option_int(value) < 0:
            raise error(EINVAL)
        socket.bind_to_index(option_int(value))
        return
    known = REMEMBERED.get(option)
    if known is None:
        raise error(ENOPROTOOPT)
    if (known.needs_value and not value) or (six and len(value) < 4 and name != IPV6_DONTFRAG):
        raise error(EINVAL)
    number = option_byte(value) if len(value) >= (4 if six else 1) else 0
    if known.flag:
        number = 1 if number else 0
    elif not known.low <= number <= known.high:
        raise error(EINVAL)
    remember(socket, level, name, number)
    if level == SOL_SOCKET and name in _TIMESTAMPS and number:
        # The two exclude each other.
        remember(socket, level, SO_TIMESTAMP + SO_TIMESTAMPNS - name, 0)


def remember(socket: Socket, level: int, name: int, number: int) -> None:
    """Keep an option's number.  The old dictionary stays as it is: accepted sockets share their listener's."""
    extras = dict(socket.extras) if socket.extras else {}
    extras[level, name] = number
    socket.extras = extras


def recall(socket: Socket, level: int, name: int) -> int:
    """What an option of the table is set to, or its default."""
    return recall_or(socket, level, name, REMEMBERED[level, name].default)


def recall_or(socket: Socket, level: int, name: int, default: int) -> int:
    """The number that was kept of any option, or `default`."""
    extras = socket.extras
    return default if extras is None else extras.get((level, name), default)


def bind_to_device(socket: Socket, value: bytes) -> None:
    """SO_BINDTODEVICE: an interface's name, or nothing for any.  Raises ENODEV, EINVAL, EPERM where the socket can't."""
    name = value[:16].split(b"\0", 1)[0]
    try:
        text = name.decode("ascii")
    except UnicodeDecodeError:
        raise error(ENODEV) from None
    if not socket.bind_to_device(text):
        raise error(EPERM)
