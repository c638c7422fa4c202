"""What the typed faces do to arguments and results, in one place: text addresses, seconds, bytes-like objects.

Kernels take immutable `bytes` by reference, addresses as bytes and durations in nanoseconds; programs have bytearrays, text and
seconds.
"""

from collections.abc import Sequence
from typing import TypeAlias

from ..hyper.time import Duration
from ..kern.abi.errno import EINVAL, error
from ..kern.abi.socket import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_STREAM
from ..kern.socket import ControlMessage, Received, SocketAddress
from ..net.wire.address import ANY_V4, ANY_V6, format_address, parse_address

Data: TypeAlias = bytes | bytearray | memoryview
Address: TypeAlias = tuple[str | bytes, int]
"""A text address, or one as bytes, and a port: ("10.0.2.2", 80).  "" is any address."""
TextAddress: TypeAlias = tuple[str, int]
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
    host, port = address
    if not 0 <= port <= 65535:
        raise error(EINVAL)
    if isinstance(host, bytes):
        return host, port
    if not host:
        return ANY_V6 if family == AF_INET6 else ANY_V4, port
    try:
        return parse_address(host), port
    except ValueError as problem:
        raise OSError(EINVAL, str(problem)) from None


def to_text(address: SocketAddress) -> TextAddress:
    """The address as programs like it.  What is neither IPv4 nor IPv6 (an unnamed socket's) becomes ""."""
    host, port = address
    return format_address(host) if len(host) in (4, 16) else "", port


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


def triple(name: str) -> tuple[int, int, int]:
    """Family, kind and protocol of "tcp", "udp", "tcp6", "udp6".  Raises ValueError."""
    found = PROTOCOLS.get(name)
    if found is None:
        raise ValueError(f"there is no socket {name!r}: expected one of {', '.join(PROTOCOLS)}")
    return found
