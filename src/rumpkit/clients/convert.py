"""What the typed faces do to arguments and results, in one place: text addresses, seconds, bytes-like objects.

Kernels take immutable `bytes` by reference, addresses as bytes and durations in nanoseconds; programs have bytearrays, text and
seconds.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from ..hyper.time import Duration
from ..kern.abi.errno import EINVAL, error
from ..kern.abi.socket import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_STREAM
from ..kern.socket import ControlMessage, Received, SocketAddress
from ..net.wire.address import ANY_V4, ANY_V6, format_address, parse_address

Data: TypeAlias = bytes | bytearray | memoryview
Address: TypeAlias = tuple[str | bytes, int] | tuple[str | bytes, int, int] | tuple[str | bytes, int, int, int]
"""A text address, or one as bytes, and a port: ("10.0.2.2", 80).  "" is any address.  Those of IPv6 may have flow label and
zone, the number of an interface, behind: ("fe80::1", 80, 0, 2)."""
TextAddress: TypeAlias = tuple[Any, ...]
"""(text, port), or for IPv6 (text, port, flow label, zone)."""
Number: TypeAlias = int | float
ReceivedMessage: TypeAlias = tuple[bytes, list[ControlMessage], int, TextAddress | None]
"""What recvmsg gives, in the order in which Python's sockets have it: data, control messages, flags, source."""

PROTOCOLS: dict[str, tuple[int, int, int]] = {
    "tcp": (AF_INET, SOCK_STREAM, IPPROTO_TCP),
    "udp": (AF_INET, SOCK_DGRAM, IPPROTO_UDP),
    "tcp6": (AF_INET6, SOCK_STREAM, IPPROTO_TCP),
    "udp6": (AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
}
"""Family, kind and protocol of the sockets that have a name."""

NANOSECONDS: Duration = 1_000_000_000


def to_bytes(data: Data) -> bytes:
    """`data` itself if it is bytes, which the kernel keeps by reference; else a copy of it."""
    return data if isinstance(data, bytes) else bytes(data)


def to_parts(parts: Sequence[Data]) -> list[bytes]:
    """Each part as bytes."""
    return [to_bytes(part) for part in parts]


def to_address(address: Address, family: int = AF_INET) -> SocketAddress:
    """The address as kernels take it.  Raises EINVAL for text that is no numeric address (names are looked up elsewhere)
    and for ports outside 0 to 65535."""
    host = address[0]
    port = address[1]
    if not 0 <= port <= 65535:
        raise error(EINVAL)
    zone = address[3] if len(address) == 4 else 0
    if isinstance(host, str):
        if not host:
            return ANY_V6 if family == AF_INET6 else ANY_V4, port
        text, _, suffix = host.partition("%")
        try:
            host = parse_address(text)
            zone = int(suffix) if suffix else zone
        except ValueError as problem:
            raise OSError(EINVAL, str(problem)) from None
    if zone and len(host) == 16:
        host += (zone & 0xFFFFFFFF).to_bytes(4, "big")
    return host, port


def to_text(address: SocketAddress) -> TextAddress:
    """The address as programs like it.  What is neither IPv4 nor IPv6 (an unnamed socket's) becomes ""."""
    host, port = address
    if len(host) == 4:
        return format_address(host), port
    if len(host) == 16:
        return format_address(host), port, 0, 0
    if len(host) == 20:
        return format_address(host[:16]), port, 0, int.from_bytes(host[16:], "big")
    return "", port


def to_message(received: Received) -> ReceivedMessage:
    """What was received as programs like it."""
    source = None if received.source is None else to_text(received.source)
    return received.data, list(received.control), received.flags, source


def to_duration(seconds: Number | None) -> Duration:
    """Nanoseconds of a timeout in seconds; None, which waits for ever, is -1, and negative ones do not wait."""
    if seconds is None:
        return -1
    return max(0, int(seconds * NANOSECONDS))


def to_option(value: int | Data) -> bytes:
    """A socket option's value in its C layout: an int becomes 4 bytes, little-endian."""
    if isinstance(value, int):
        return (value & 0xFFFFFFFF).to_bytes(4, "little")
    return to_bytes(value)


def to_timeval(seconds: Number | None) -> bytes:
    """A struct timeval for SO_RCVTIMEO and SO_SNDTIMEO; None (no limit) is zero, and the shortest limit a microsecond."""
    microseconds = 0 if seconds is None else max(1, int(seconds * 1_000_000))
    return (microseconds // 1_000_000).to_bytes(8, "little") + (microseconds % 1_000_000).to_bytes(8, "little")


def with_family(name: str, address: Address) -> str:
    """The name of a socket that reaches an address: "tcp" is "tcp6" for one of IPv6."""
    host = address[0]
    six = ":" in host if isinstance(host, str) else len(host) != 4
    return name + "6" if six and name in ("tcp", "udp") else name


def triple(name: str) -> tuple[int, int, int]:
    """Family, kind and protocol of "tcp", "udp", "tcp6", "udp6".  Raises ValueError."""
    found = PROTOCOLS.get(name)
    if found is None:
        raise ValueError(f"there is no socket {name!r}: expected one of {', '.join(PROTOCOLS)}")
    return found
