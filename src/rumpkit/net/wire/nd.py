"""Neighbour discovery messages (RFC 4861 section 4) and their options (also RFC 4191, RFC 8106), behind ICMPv6's type,
code and checksum.  Between `wire.icmpv6` and `ip6.discovery`.

A parse takes an `Icmp6Message`'s body (what follows the checksum) and gives None for what is too short, or has an
option of length 0 or one that runs past the end (RFC 4861 section 6.1, 7.1: such messages are dropped).
"""

from typing import Final, NamedTuple, final

from .field import read_u16, read_u32

# Options
SOURCE_LINK_ADDRESS: Final = 1
TARGET_LINK_ADDRESS: Final = 2
PREFIX_INFORMATION: Final = 3
REDIRECTED_HEADER: Final = 4
MTU: Final = 5
NONCE: Final = 14
ROUTE_INFORMATION: Final = 24
RDNSS: Final = 25
DNSSL: Final = 31

# Flags of a neighbour advertisement
ROUTER: Final = 0x80
SOLICITED: Final = 0x40
OVERRIDE: Final = 0x20

# Flags of a router advertisement, of a prefix
MANAGED: Final = 0x80
OTHER: Final = 0x40
ON_LINK: Final = 0x80
AUTONOMOUS: Final = 0x40

INFINITY: Final = 0xFFFFFFFF
"""A lifetime that never ends."""
_MAX_OPTIONS: Final = 64
"""More than any honest message has; the rest is not looked at."""


class Option(NamedTuple):
    """One option: its type and what follows its length byte."""

    kind: int
    data: bytes


class PrefixInformation(NamedTuple):
    """A prefix that a router announces (RFC 4861 section 4.6.2).  Lifetimes are in seconds, or INFINITY."""

    length: int
    flags: int
    valid: int
    preferred: int
    prefix: bytes


class RouteInformation(NamedTuple):
    """A route through the router (RFC 4191 section 2.3)."""

    length: int
    preference: int
    """1 high, 0 medium, -1 low."""
    lifetime: int
    prefix: bytes


@final
class Neighbour:
    """A neighbour solicitation or advertisement (RFC 4861 sections 4.3, 4.4)."""

    def __init__(self, flags: int, target: bytes, options: list[Option]) -> None:
        self.flags: int = flags
        """ROUTER, SOLICITED, OVERRIDE of an advertisement."""
        self.target: bytes = target
        self.options: list[Option] = options

    def emit(self) -> bytes:
        """The message's body."""
        return bytes((self.flags, 0, 0, 0)) + self.target + emit_options(self.options)


@final
class RouterAdvertisement:
    """A router advertisement (RFC 4861 section 4.2); 0 in a field says that the router leaves it open."""

    def __init__(self, hop_limit: int, flags: int, lifetime: int, reachable: int, retrans: int) -> None:
        self.hop_limit: int = hop_limit
        self.flags: int = flags
        """MANAGED, OTHER, and the preference (RFC 4191 section 2.2)."""
        self.lifetime: int = lifetime
        """Seconds for which the sender is a default router."""
        self.reachable: int = reachable
        """Milliseconds."""
        self.retrans: int = retrans
        """Milliseconds."""
        self.options: list[Option] = []

    def preference(self) -> int:
        """1 high, 0 medium, -1 low; the reserved value means medium (RFC 4191 section 2.2)."""
        return _preference(self.flags >> 3)

    def emit(self) -> bytes:
        """The message's body."""
        head = bytes((self.hop_limit, self.flags)) + self.lifetime.to_bytes(2, "big")
        return head + self.reachable.to_bytes(4, "big") + self.retrans.to_bytes(4, "big") + emit_options(self.options)


@final
class Redirect:
    """A redirect (RFC 4861 section 4.5)."""

    def __init__(self, target: bytes, destination: bytes, options: list[Option]) -> None:
        self.target: bytes = target
        self.destination: bytes = destination
        self.options: list[Option] = options

    def emit(self) -> bytes:
        """The message's body."""
        return bytes(4) + self.target + self.destination + emit_options(self.options)


def parse_neighbour(body: bytes) -> Neighbour | None:
    """A neighbour solicitation or advertisement."""
    options = parse_options(body, 20)
    return None if options is None else Neighbour(body[0], body[4:20], options)


def parse_router_solicitation(body: bytes) -> list[Option] | None:
    """The options of a router solicitation, which is all that it has."""
    return parse_options(body, 4)


def parse_router_advertisement(body: bytes) -> RouterAdvertisement | None:
    """A router advertisement."""
    options = parse_options(body, 12)
    if options is None:
        return None
    lifetime, reachable, retrans = read_u16(body, 2), read_u32(body, 4), read_u32(body, 8)
    made = RouterAdvertisement(body[0], body[1], int(lifetime), int(reachable), int(retrans))
    made.options = options
    return made


def parse_redirect(body: bytes) -> Redirect | None:
    """A redirect."""
    options = parse_options(body, 36)
    return None if options is None else Redirect(body[4:20], body[20:36], options)


def parse_options(body: bytes, at: int) -> list[Option] | None:
    """The options from body[at] on; None where one is malformed or the body ends before `at`."""
    if len(body) < at:
        return None
    found: list[Option] = []
    while at < len(body):
        if at + 2 > len(body):
            return None
        size = body[at + 1] * 8
        if size == 0 or at + size > len(body):
            return None
        if len(found) < _MAX_OPTIONS:
            found.append(Option(body[at], body[at + 2 : at + size]))
        at += size
    return found


def emit_options(options: list[Option]) -> bytes:
    """The options one behind the other, each padded to a multiple of 8 bytes."""
    out = b""
    for option in options:
        data = option.data + bytes(-(2 + len(option.data)) % 8)
        out += bytes((option.kind, (2 + len(data)) // 8)) + data
    return out


def link_address(options: list[Option], kind: int) -> bytes:
    """The 6 bytes of the first link-layer address option of that type, or b"" (RFC 2464 section 6)."""
    for option in options:
        if option.kind == kind and len(option.data) == 6:
            return option.data
    return b""


def first(options: list[Option], kind: int) -> bytes:
    """What the first option of that type holds, or b""."""
    for option in options:
        if option.kind == kind:
            return option.data
    return b""


def link_mtu(options: list[Option]) -> int:
    """The MTU option's value, or 0."""
    data = first(options, MTU)
    return int(read_u32(data, 2)) if len(data) >= 6 else 0


def prefixes(options: list[Option]) -> list[PrefixInformation]:
    """All well-formed prefix information options."""
    found = []
    for option in options:
        data = option.data
        if option.kind == PREFIX_INFORMATION and len(data) == 30 and data[0] <= 128:
            valid, preferred = int(read_u32(data, 2)), int(read_u32(data, 6))
            found.append(PrefixInformation(data[0], data[1], valid, preferred, data[14:30]))
    return found


def prefix_option(prefix: PrefixInformation) -> Option:
    """The option that announces a prefix."""
    lifetimes = prefix.valid.to_bytes(4, "big") + prefix.preferred.to_bytes(4, "big")
    return Option(PREFIX_INFORMATION, bytes((prefix.length, prefix.flags)) + lifetimes + bytes(4) + prefix.prefix)


def mtu_option(mtu: int) -> Option:
    """The option that announces the link's MTU."""
    return Option(MTU, bytes(2) + mtu.to_bytes(4, "big"))


def routes(options: list[Option]) -> list[RouteInformation]:
    """All well-formed route information options (RFC 4191 section 2.3)."""
    found = []
    for option in options:
        data = option.data
        if option.kind != ROUTE_INFORMATION or len(data) not in (6, 14, 22) or data[0] > (len(data) - 6) * 8:
            continue
        prefix = data[6:] + bytes(22 - len(data))
        if (data[1] >> 3) & 3 != 2:  # the reserved preference: the option is ignored
            found.append(RouteInformation(data[0], _preference(data[1] >> 3), int(read_u32(data, 2)), prefix))
    return found


def name_servers(options: list[Option]) -> list[tuple[bytes, int]]:
    """Recursive DNS servers and the seconds for which each may be used (RFC 8106 section 5.1)."""
    found = []
    for option in options:
        data = option.data
        if option.kind == RDNSS and len(data) >= 22 and (len(data) - 6) % 16 == 0:
            found += [(data[at : at + 16], int(read_u32(data, 2))) for at in range(6, len(data), 16)]
    return found


def search_domains(options: list[Option]) -> list[tuple[str, int]]:
    """DNS search domains and the seconds for which each may be used (RFC 8106 section 5.2)."""
    found: list[tuple[str, int]] = []
    for option in options:
        data = option.data
        if option.kind == DNSSL and len(data) >= 14:
            found += [(name, int(read_u32(data, 2))) for name in _names(data, 6)]
    return found


def _names(data: bytes, at: int) -> list[str]:
    """The domain names from data[at] on, in DNS's label form without compression; what is malformed ends them."""
    found: list[str] = []
    labels: list[str] = []
    while at < len(data):
        size = data[at]
        label = data[at + 1 : at + 1 + size]
        if size > 63 or len(label) < size:
            break
        if size:
            if not all(byte == 0x2D or byte == 0x5F or (chr(byte).isalnum() and byte < 128) for byte in label):
                break
            labels.append(label.decode())
        elif labels:
            found.append(".".join(labels))
            labels = []
        at += 1 + size
    return found


def _preference(bits: int) -> int:
    return (0, 1, 0, -1)[bits & 3]
