"""Socket addresses as Linux lays them out in memory, to and from the kernel's `(address, port)` pairs.

Where the kernel has IPv6, the addresses of an AF_INET6 socket are the kernel's own: 16 bytes, v4-mapped ones included, and
4 more for the zone of those that need one.  Where it has none, such a socket lives the life of a dual-stack socket on a host
whose IPv6 is disabled: `::` stands for every IPv4 address, v4-mapped addresses for themselves, and there are no others.
"""

from struct import Struct
from typing import Final

from ...kern.abi.errno import EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL, error
from ...kern.abi.socket import AF_INET, AF_INET6, AF_UNSPEC
from ...kern.socket import SocketAddress
from ...net.wire.address import is_link_local

_FAMILY: Final = Struct("<H")
_INET: Final = Struct("!H4s8x")
_INET6: Final = Struct("!HI16s4s")
INET_SIZE: Final = 16
INET6_SIZE: Final = 28
INET6_SIZE_LEAST: Final = 24
"""sin6_scope_id came later (RFC 2133)."""

ANY: Final = bytes(4)
_ANY6: Final = bytes(16)
_LOOPBACK6: Final = bytes(15) + b"\1"
_MAPPED: Final = bytes(10) + b"\xff\xff"
NATIVE_ZONE: Final = 1
"""The number of lo: as a zone it stands for whichever interface suits."""


def family_of(data: bytes) -> int:
    """The family of a sockaddr.  Raises EINVAL if it is too short to have one."""
    if len(data) < 2:
        raise error(EINVAL)
    family: int = _FAMILY.unpack_from(data)[0]
    return family


def decode(data: bytes, family: int, six: bool = False) -> SocketAddress:
    """The address and port in a sockaddr that was given to a socket of `family`: of IPv6 if the kernel's socket behind it is
    (`six`), else of IPv4.

    Raises EINVAL (too short), EAFNOSUPPORT (of another family), EADDRNOTAVAIL (a real IPv6 address, where that is not)."""
    given = family_of(data)
    if given == AF_UNSPEC and family == AF_INET and len(data) >= INET_SIZE and data[4:8] == ANY:
        given = AF_INET  # bind(2) of old programs, which Linux accepts
    if given != family:
        raise error(EINVAL if family == AF_INET6 and len(data) < INET6_SIZE_LEAST else EAFNOSUPPORT)
    if given == AF_INET:
        if len(data) < INET_SIZE:
            raise error(EINVAL)
        port, address = _INET.unpack_from(data, 2)
        return (_MAPPED + address if six else address), port
    if len(data) < INET6_SIZE_LEAST:
        raise error(EINVAL)
    port, _, address, zone = _INET6.unpack_from(data.ljust(INET6_SIZE, b"\0"), 2)
    if six:
        number = int.from_bytes(zone, "little")
        return (address + number.to_bytes(4, "big") if number > NATIVE_ZONE else address), port
    if address[:12] == _MAPPED:
        return address[12:], port
    if address == _ANY6:
        return ANY, port
    raise error(EADDRNOTAVAIL)


def is_loopback6(data: bytes) -> bool:
    """Whether a sockaddr is that of ::1."""
    return len(data) >= INET6_SIZE_LEAST and family_of(data) == AF_INET6 and data[8:24] == _LOOPBACK6


def encode(name: SocketAddress, family: int) -> bytes:
    """The sockaddr that a socket of `family` shows for an address and port of the kernel's."""
    address, port = name
    if family == AF_INET:
        return _FAMILY.pack(AF_INET) + _INET.pack(port, address)
    zone = bytes(4)
    if len(address) == 4:
        address = _ANY6 if address == ANY else _MAPPED + address
    elif len(address) > 16:
        address, zone = address[:16], address[:15:-1]
    elif is_link_local(address):
        zone = NATIVE_ZONE.to_bytes(4, "little")
    return _FAMILY.pack(AF_INET6) + _INET6.pack(port, 0, address, zone)
