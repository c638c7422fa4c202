"""The program's own sockets, of its network namespace, as the supervisor handles copies of them; below `carrier`."""

import socket as host_socket

from ...kern.abi.socket import AF_INET, AF_INET6, AF_UNSPEC
from ...net.socket.names import unmapped
from ...net.wire.address import is_link_local, is_multicast


def address_of(text: str) -> bytes:
    """The address that a native socket's name has, IPv4 where it is a mapped one."""
    packed = host_socket.inet_pton(AF_INET6 if ":" in text else AF_INET, text.split("%")[0])
    return unmapped(packed)


def peer_of(address: bytes, port: int, family: int, zone: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """A peer as a socket of `family` in the namespace can be connected to it."""
    if family == AF_INET:
        return host_socket.inet_ntoa(address), port
    if len(address) == 4:
        return "::ffff:" + host_socket.inet_ntoa(address), port, 0, 0
    scoped = is_link_local(address) or is_multicast(address)
    return host_socket.inet_ntop(AF_INET6, address), port, 0, zone if scoped else 0


def offender(sockaddr: bytes, peer: bytes) -> bytes:
    """Who reported an error: what is behind its struct sock_extended_err, or else the peer."""
    four = sockaddr[:2] == AF_INET.to_bytes(2, "little")
    address = sockaddr[4:8] if four else sockaddr[8:24]
    return address if len(address) == len(peer) and any(address) else peer


def disconnect(copy: host_socket.socket) -> None:
    """Have no peer any more (AF_UNSPEC).  Raises OSError."""
    import ctypes

    from . import libc

    nobody = AF_UNSPEC.to_bytes(2, "little") + bytes(14)
    if libc.library().connect(copy.fileno(), ctypes.c_char_p(nobody), len(nobody)):
        raise libc.failed("disconnect")
