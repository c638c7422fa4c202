"""Socket options of TCP sockets, as a table: level, name, how to read it, how to set it (socket(7), tcp(7), ip(7)).

What holds for sockets of every kind (SO_TYPE, SO_ERROR, time-outs) the socket calls answer themselves.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from ...kern.abi.errno import EINVAL, ENOENT, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP, error
from ...kern.abi.poll import POLLOUT, POLLWRNORM
from ...kern.abi.socket import (
    AF_INET6,
    IP_MTU,
    IP_MULTICAST_IF,
    IP_MULTICAST_TTL,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_MTU,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_IF,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_MAX_PACING_RATE,
    SO_OOBINLINE,
    SO_RCVBUF,
    SO_RCVBUFFORCE,
    SO_RCVLOWAT,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_SNDBUFFORCE,
    SOL_SOCKET,
    TCP_CONGESTION,
    TCP_CORK,
    TCP_DEFER_ACCEPT,
    TCP_FASTOPEN,
    TCP_FASTOPEN_CONNECT,
    TCP_INFO,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_LINGER2,
    TCP_MAXSEG,
    TCP_NODELAY,
    TCP_NOTSENT_LOWAT,
    TCP_QUICKACK,
    TCP_SYNCNT,
    TCP_USER_TIMEOUT,
    TCP_WINDOW_CLAMP,
)
from ..transport.tcp.congestion import available
from ..transport.tcp.core import headers_size
from ..transport.tcp.states import CLOSED
from ..wire.address import ANY_V4, ANY_V6
from .common_options import REMEMBERED, get_common, recall_or, remember, set_common
from .options import int_option, option_byte, option_int
from .tcp_info import tcp_info

if TYPE_CHECKING:
    from .stream import TcpSocket

_MIN_SEND_BUFFER: Final = 4608
_MIN_RECEIVE_BUFFER: Final = 2304
"""What Linux gives a socket at least."""
_NO_RATE: Final = 0xFFFFFFFF
_MAX_SECONDS: Final = 32767
_MAX_COUNT: Final = 127
_MAX_RETRIES: Final = 255
_MAX_LINGER2: Final = 120
_MAX_RTO: Final = 120


class Row(NamedTuple):
    """One option."""

    get: "Callable[[TcpSocket], bytes]"
    set: "Callable[[TcpSocket, bytes], None] | None"


def get_stream_option(socket: "TcpSocket", level: int, name: int) -> bytes:
    """An option's value in its C layout.  Raises ENOPROTOOPT, EOPNOTSUPP (a level that TCP sockets have not)."""
    row = _OPTIONS.get((level, name))
    return get_common(socket, level, name) if row is None else row.get(socket)


def set_stream_option(socket: "TcpSocket", level: int, name: int, value: bytes) -> None:
    """Set an option, with effect on a live connection.  Raises ENOPROTOOPT, EINVAL."""
    row = _OPTIONS.get((level, name))
    if level == IPPROTO_IPV6 and socket.family != AF_INET6:
        raise error(ENOPROTOOPT)
    if row is None:
        if (level, name) in _REFUSED:
            raise error(EINVAL if level == IPPROTO_IP else ENOPROTOOPT)
        set_common(socket, level, name, value)
        return
    if level != IPPROTO_IP and len(value) < 4 and (level, name) != (IPPROTO_TCP, TCP_CONGESTION):
        raise error(EINVAL)
    if row.set is None:
        raise error(ENOPROTOOPT)
    socket.own_options()
    row.set(socket, value)
    socket.options_changed()


# Kinds of rows -----------------------------------------------------------------------------------------------------------


def _flag(attribute: str) -> Row:
    """An on/off option kept in TcpOptions."""

    def read(socket: "TcpSocket") -> bytes:
        return int_option(1 if getattr(socket.options, attribute) else 0)

    def write(socket: "TcpSocket", value: bytes) -> None:
        setattr(socket.options, attribute, option_int(value) != 0)

    return Row(read, write)


def _number(attribute: str, low: int, high: int, default: "Callable[[TcpSocket], int]", unit: int = 1) -> Row:
    """A number from `low` to `high`, kept in TcpOptions in units of 1/`unit`; 0 there means the default."""

    def read(socket: "TcpSocket") -> bytes:
        kept: int = getattr(socket.options, attribute)
        return int_option(kept // unit if kept else default(socket))

    def write(socket: "TcpSocket", value: bytes) -> None:
        number = option_int(value)
        if not low <= number <= high:
            raise error(EINVAL)
        setattr(socket.options, attribute, number * unit)

    return Row(read, write)


def _zero(socket: "TcpSocket") -> int:
    return 0


def _get_nothing(socket: "TcpSocket") -> bytes:
    raise error(ENOPROTOOPT)


# Options with a shape of their own ---------------------------------------------------------------------------------------


def _take_any_error(socket: "TcpSocket") -> bytes:
    """The error that ended the connection, or else the last ICMP said about it, which did not (as on Linux)."""
    number = socket.take_error()
    channel = socket.channel
    if number == 0 and channel is not None:
        block = channel.connection.block
        number = block.soft_error
        block.soft_error = 0
    return int_option(number)


def _get_send_buffer(socket: "TcpSocket") -> bytes:
    channel = socket.channel
    if channel is not None:
        return int_option(int(channel.connection.block.send_buffer))
    return int_option(socket.options.send_buffer or socket.tcp.environment.settings.send_buffer)


def _set_send_buffer(socket: "TcpSocket", value: bytes) -> None:
    # Linux doubles what is asked for, to have room for its own book-keeping, and programs expect to read that back.
    limit = socket.tcp.environment.settings.send_buffer_max
    socket.options.send_buffer = max(min(option_int(value) & 0xFFFFFFFF, limit) * 2, _MIN_SEND_BUFFER)
    socket.queue.tell(POLLOUT | POLLWRNORM)  # as Linux does whether there is more room or not


def _get_receive_buffer(socket: "TcpSocket") -> bytes:
    channel = socket.channel
    if channel is not None:
        return int_option(int(channel.connection.block.receive_buffer))
    return int_option(socket.options.receive_buffer or socket.tcp.environment.settings.receive_buffer)


def _set_receive_buffer(socket: "TcpSocket", value: bytes) -> None:
    limit = socket.tcp.environment.settings.receive_buffer_max
    socket.options.receive_buffer = max(min(option_int(value) & 0xFFFFFFFF, limit) * 2, _MIN_RECEIVE_BUFFER)


def _get_linger(socket: "TcpSocket") -> bytes:
    linger = socket.options.linger
    return int_option(1 if linger >= 0 else 0) + int_option(max(linger, 0))


def _set_linger(socket: "TcpSocket", value: bytes) -> None:
    if len(value) < 8:
        raise error(EINVAL)
    socket.options.linger = max(option_int(value[4:]), 0) if option_int(value) else -1


def _get_low_water(socket: "TcpSocket") -> bytes:
    return int_option(socket.options.receive_low_water)


def _set_low_water(socket: "TcpSocket", value: bytes) -> None:
    wanted = option_int(value)
    socket.options.receive_low_water = wanted if wanted > 0 else 1 if wanted == 0 else 0x7FFFFFFF


def _get_pacing_rate(socket: "TcpSocket") -> bytes:
    rate = socket.options.max_pacing_rate
    return min(rate or _NO_RATE, _NO_RATE).to_bytes(4, "little")


def _set_pacing_rate(socket: "TcpSocket", value: bytes) -> None:
    # Four bytes or eight; all ones mean no limit (socket(7)).
    size = 8 if len(value) >= 8 else 4
    if len(value) < size:
        raise error(EINVAL)
    rate = int.from_bytes(value[:size], "little")
    socket.options.max_pacing_rate = 0 if rate in (_NO_RATE, _NO_RATE << 32 | _NO_RATE) else min(rate, 1 << 50)


def _get_max_segment(socket: "TcpSocket") -> bytes:
    channel = socket.channel
    if channel is not None and channel.connection.block.state != CLOSED:
        return int_option(int(channel.connection.block.snd_mss))
    return int_option(socket.options.max_segment or 536)


def _set_max_segment(socket: "TcpSocket", value: bytes) -> None:
    wanted = option_int(value)
    if wanted and not 88 <= wanted <= 32767:
        raise error(EINVAL)
    socket.options.max_segment = wanted


def _get_congestion(socket: "TcpSocket") -> bytes:
    return socket.options.congestion_name(socket.tcp.environment.settings).encode().ljust(16, b"\0")


def _set_congestion(socket: "TcpSocket", value: bytes) -> None:
    if not value:
        raise error(EINVAL)
    name = value.split(b"\0", 1)[0].decode("ascii", "replace")
    if name not in available():
        raise error(ENOENT)
    socket.options.congestion = name


def _get_info(socket: "TcpSocket") -> bytes:
    channel = socket.channel
    if channel is None:
        return bytes([10 if socket.listener is not None else 7]) + bytes(231)
    return tcp_info(channel.connection.block, socket.tcp.now(), headers_size(channel.key))


def _get_quickack(socket: "TcpSocket") -> bytes:
    # What Linux shows: on, unless turned off.
    return int_option(1 if socket.options.quickack else recall_or(socket, IPPROTO_TCP, TCP_QUICKACK, 1))


def _set_quickack(socket: "TcpSocket", value: bytes) -> None:
    number = option_int(value)
    socket.options.quickack = number != 0
    remember(socket, IPPROTO_TCP, TCP_QUICKACK, number & 1)


def _get_linger2(socket: "TcpSocket") -> bytes:
    kept = socket.options.fin_timeout
    return int_option(-1 if kept < 0 else (kept or socket.tcp.environment.settings.fin_timeout) // 1000)


def _set_linger2(socket: "TcpSocket", value: bytes) -> None:
    seconds = option_int(value)
    socket.options.fin_timeout = -1 if seconds < 0 else min(seconds, _MAX_LINGER2) * 1000


def _get_defer_accept(socket: "TcpSocket") -> bytes:
    options = socket.options
    return int_option(0 if options.shared and socket.channel is not None else options.defer_accept)


def _set_defer_accept(socket: "TcpSocket", value: bytes) -> None:
    """Linux counts in retransmissions of the SYN-ACK, and shows how long so many take."""
    wanted = option_int(value)
    period = 0
    timeout = 1
    count = 0
    while period < wanted and count < _MAX_RETRIES:
        period += timeout
        timeout = min(timeout * 2, _MAX_RTO)
        count += 1
    socket.options.defer_accept = period


def _get_window_clamp(socket: "TcpSocket") -> bytes:
    return int_option(socket.options.window_clamp)


def _set_window_clamp(socket: "TcpSocket", value: bytes) -> None:
    wanted = option_int(value)
    if wanted == 0:
        channel = socket.channel
        if socket.listener is not None or (channel is not None and channel.connection.block.state != CLOSED):
            raise error(EINVAL)
        socket.options.window_clamp = 0
    else:
        socket.options.window_clamp = max(wanted, _MIN_RECEIVE_BUFFER // 2)


def _get_notsent(socket: "TcpSocket") -> bytes:
    return socket.options.notsent_low_water.to_bytes(4, "little")


def _set_notsent(socket: "TcpSocket", value: bytes) -> None:
    socket.options.notsent_low_water = option_int(value) & 0xFFFFFFFF
    socket.queue.tell(POLLOUT | POLLWRNORM)


def _get_mtu(socket: "TcpSocket") -> bytes:
    channel = socket.channel
    if channel is None:
        raise error(ENOTCONN)
    return int_option(int(channel.route.mtu))


def _six(socket: "TcpSocket") -> "TcpSocket":
    """The socket, which is of IPv6.  Raises EOPNOTSUPP, as Linux does for the level."""
    if socket.family != AF_INET6:
        raise error(EOPNOTSUPP)
    return socket


def _set_only(socket: "TcpSocket", value: bytes) -> None:
    if socket.family != AF_INET6:
        raise error(ENOPROTOOPT)
    if socket.bound() or len(value) < 4:
        raise error(EINVAL)
    socket.only = option_int(value) != 0


def _get_hops(socket: "TcpSocket") -> bytes:
    hops = recall_or(_six(socket), IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1)
    return int_option(socket.tcp.layer(ANY_V6).default_ttl() if hops < 0 else hops)


def _set_hops(socket: "TcpSocket", value: bytes) -> None:
    if socket.family != AF_INET6:
        raise error(ENOPROTOOPT)
    hops = option_int(value)
    if not -1 <= hops <= 255:
        raise error(EINVAL)
    remember(socket, IPPROTO_IPV6, IPV6_UNICAST_HOPS, hops)
    socket.options.hops = hops


def _set_class(socket: "TcpSocket", value: bytes) -> None:
    if socket.family != AF_INET6:
        raise error(ENOPROTOOPT)
    wanted = option_int(value)
    if not -1 <= wanted <= 255:
        raise error(EINVAL)
    socket.options.tos = max(wanted, 0) & 0xFC


def _get_ttl(socket: "TcpSocket") -> bytes:
    ttl = socket.options.ttl
    return int_option(socket.tcp.layer(ANY_V4).default_ttl() if ttl < 0 else ttl)


def _set_ttl(socket: "TcpSocket", value: bytes) -> None:
    if not value:
        raise error(EINVAL)
    ttl = option_byte(value)
    if ttl != -1 and not 1 <= ttl <= 255:
        raise error(EINVAL)
    socket.options.ttl = ttl


def _get_tos(socket: "TcpSocket") -> bytes:
    return int_option(socket.options.tos)


def _set_tos(socket: "TcpSocket", value: bytes) -> None:
    # The ECN bits are TCP's own (ip(7)).
    socket.options.tos = (option_byte(value) if value else 0) & 0xFC


def _defaults(attribute: str, unit: int = 1) -> "Callable[[TcpSocket], int]":
    def read(socket: "TcpSocket") -> int:
        return int(getattr(socket.tcp.environment.settings, attribute)) // unit

    return read


_OPTIONS: Final[dict[tuple[int, int], Row]] = {
    (SOL_SOCKET, SO_REUSEADDR): _flag("reuse_address"),
    (SOL_SOCKET, SO_REUSEPORT): _flag("reuse_port"),
    (SOL_SOCKET, SO_KEEPALIVE): _flag("keepalive"),
    (SOL_SOCKET, SO_OOBINLINE): _flag("oob_inline"),
    (SOL_SOCKET, SO_ERROR): Row(_take_any_error, None),
    (SOL_SOCKET, SO_SNDBUF): Row(_get_send_buffer, _set_send_buffer),
    (SOL_SOCKET, SO_RCVBUF): Row(_get_receive_buffer, _set_receive_buffer),
    (SOL_SOCKET, SO_SNDBUFFORCE): Row(_get_nothing, _set_send_buffer),
    (SOL_SOCKET, SO_RCVBUFFORCE): Row(_get_nothing, _set_receive_buffer),
    (SOL_SOCKET, SO_LINGER): Row(_get_linger, _set_linger),
    (SOL_SOCKET, SO_RCVLOWAT): Row(_get_low_water, _set_low_water),
    (SOL_SOCKET, SO_MAX_PACING_RATE): Row(_get_pacing_rate, _set_pacing_rate),
    (IPPROTO_TCP, TCP_NODELAY): _flag("nodelay"),
    (IPPROTO_TCP, TCP_CORK): _flag("cork"),
    (IPPROTO_TCP, TCP_QUICKACK): Row(_get_quickack, _set_quickack),
    (IPPROTO_TCP, TCP_MAXSEG): Row(_get_max_segment, _set_max_segment),
    (IPPROTO_TCP, TCP_KEEPIDLE): _number("keepalive_time", 1, _MAX_SECONDS, _defaults("keepalive_time", 1000), 1000),
    (IPPROTO_TCP, TCP_KEEPINTVL): _number(
        "keepalive_interval", 1, _MAX_SECONDS, _defaults("keepalive_interval", 1000), 1000
    ),
    (IPPROTO_TCP, TCP_KEEPCNT): _number("keepalive_probes", 1, _MAX_COUNT, _defaults("keepalive_probes")),
    (IPPROTO_TCP, TCP_SYNCNT): _number("syn_retries", 1, _MAX_COUNT, _defaults("syn_retries")),
    (IPPROTO_TCP, TCP_FASTOPEN): _number("fast_open", 0, 65535, _zero),
    (IPPROTO_TCP, TCP_FASTOPEN_CONNECT): _flag("fast_open_connect"),
    (IPPROTO_TCP, TCP_LINGER2): Row(_get_linger2, _set_linger2),
    (IPPROTO_TCP, TCP_DEFER_ACCEPT): Row(_get_defer_accept, _set_defer_accept),
    (IPPROTO_TCP, TCP_WINDOW_CLAMP): Row(_get_window_clamp, _set_window_clamp),
    (IPPROTO_TCP, TCP_NOTSENT_LOWAT): Row(_get_notsent, _set_notsent),
    (IPPROTO_TCP, TCP_USER_TIMEOUT): _number("user_timeout", 0, 0x7FFFFFFF, _zero),
    (IPPROTO_TCP, TCP_CONGESTION): Row(_get_congestion, _set_congestion),
    (IPPROTO_TCP, TCP_INFO): Row(_get_info, None),
    (IPPROTO_IP, IP_TTL): Row(_get_ttl, _set_ttl),
    (IPPROTO_IPV6, IPV6_V6ONLY): Row(lambda socket: int_option(int(_six(socket).only)), _set_only),
    (IPPROTO_IPV6, IPV6_UNICAST_HOPS): Row(_get_hops, _set_hops),
    (IPPROTO_IPV6, IPV6_TCLASS): Row(lambda socket: _get_tos(_six(socket)), _set_class),
    (IPPROTO_IPV6, IPV6_MTU): Row(lambda socket: _get_mtu(_six(socket)), None),
    (IPPROTO_IP, IP_TOS): Row(_get_tos, _set_tos),
    (IPPROTO_IP, IP_MTU): Row(_get_mtu, None),
}
_REFUSED: Final = frozenset(
    [
        (IPPROTO_IP, IP_MULTICAST_TTL),
        (IPPROTO_IP, IP_MULTICAST_IF),
        (IPPROTO_IPV6, IPV6_MULTICAST_HOPS),
        (IPPROTO_IPV6, IPV6_MULTICAST_IF),
    ]
)
"""What streams refuse to have set."""


def option_names() -> list[tuple[int, int]]:
    """The (level, name) pairs that TCP sockets know."""
    return [*_OPTIONS, *REMEMBERED]
