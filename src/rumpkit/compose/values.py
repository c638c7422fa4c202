"""The small languages inside config strings: sizes, durations, links, forwards."""

import re

from ..hyper.named import NamedTuple
from ..hyper.time import Duration
from ..net.wire.address import parse_ipv4
from .errors import ConfigError, suggest

_SIZE_LETTERS = "KMGT"
_SIZE_UNITS = {"": 1, "B": 1} | {
    f"{letter}{tail}": 1 << 10 * power for power, letter in enumerate(_SIZE_LETTERS, 1) for tail in ("", "B", "IB")
}
_DURATION_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
# Compiled when there is a forward: a pattern takes longer than the import of a small module, and sizes and durations are in each start.
_FORWARD = r"^\s*(?:(?P<host>[^:\s]+):)?(?P<port>\d+)\s*->\s*(?P<to>\d+)\s*(?:/(?P<protocol>\w+))?\s*$"

LINK_KINDS = {
    "user": False,
    "tap": True,
    "tun": True,
    "switch": True,
    "vlan": True,
    "bridge": False,
}
"""The kinds of links, and whether a name follows the kind (`tap:NAME`)."""


DHCP = "dhcp"
"""What stands for an address that a DHCP server gives."""


def parse_size(text: str) -> int:
    """Bytes of "4096", "64K", "64M" or "1G" (powers of 1024).  Raises ConfigError."""
    plain = text.strip().upper()
    number = plain.rstrip(_SIZE_LETTERS + "IB").rstrip()
    unit = plain[len(number) :].strip()
    if unit not in _SIZE_UNITS or not number.isdecimal():
        raise ConfigError(f"{text!r} is not a size", hint='write bytes, or "64K", "64M", "1G"')
    return int(number) * _SIZE_UNITS[unit]


def parse_duration(text: str) -> Duration:
    """Nanoseconds of "20ms", "3s", "1.5s", "100us".  Raises ConfigError."""
    plain = text.strip()
    number = plain.rstrip("numsh")
    unit = plain[len(number) :]
    whole, dot, fraction = number.rstrip().partition(".")
    if unit not in _DURATION_UNITS or not whole.isdecimal() or (dot and not fraction.isdecimal()):
        raise ConfigError(f"{text!r} is not a duration", hint='write "20ms", "3s", "100us"')
    return round(float(number) * _DURATION_UNITS[unit])


class Link(NamedTuple):
    """A link as a config names it: its kind and, for some kinds, a name."""

    kind: str
    name: str


def parse_link(text: str) -> Link:
    """ "user", "tap:NAME", "tun:NAME", "switch:NAME", "vlan:INTERFACE.NUMBER", "bridge".  Raises ConfigError."""
    kind, colon, name = text.partition(":")
    if kind not in LINK_KINDS:
        raise ConfigError(f"there is no link {text!r}", hint=suggest(kind, LINK_KINDS))
    if LINK_KINDS[kind] and not name:
        raise ConfigError(f"link {kind!r} needs a name", hint=f'write "{kind}:NAME"')
    if kind == "vlan":
        parse_vlan(name)
    if not LINK_KINDS[kind] and colon:
        raise ConfigError(f"link {kind!r} takes no name", hint=f'write "{kind}"')
    return Link(kind, name)


def parse_vlan(name: str) -> tuple[str, int]:
    """The carrying interface and the VLAN's number of "vif0.10".  Raises ConfigError."""
    carrier, _, number = name.rpartition(".")
    if not carrier or not number.isdecimal() or not 1 <= int(number) <= 4094 or number != str(int(number)):
        raise ConfigError(f"{name!r} is no VLAN", hint='write "vlan:vif0.10", with a number from 1 to 4094')
    return carrier, int(number)


def interface_name(index: int, name: str, link: str) -> str:
    """What the interface at a place in the file is called."""
    if name:
        return name
    kind, _, rest = link.partition(":")
    return rest if kind == "vlan" else f"vif{index}"


class Forward(NamedTuple):
    """A host port whose connections or datagrams go to a port of the kernel."""

    protocol: str
    """"tcp" or "udp"."""
    host_address: str
    host_port: int
    """0 lets the host choose."""
    port: int

    def __str__(self) -> str:
        tail = "/udp" if self.protocol == "udp" else ""
        return f"{self.host_address}:{self.host_port} -> {self.port}{tail}"


def parse_forward(text: str) -> Forward:
    """ "127.0.0.1:6379 -> 6379", "8080 -> 80" (loopback), "127.0.0.1:5353 -> 53/udp".  Raises ConfigError."""
    match = re.match(_FORWARD, text)
    if match is None:
        raise ConfigError(f"{text!r} is not a forward", hint='write "127.0.0.1:8080 -> 80", "/udp" behind it for UDP')
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in ("tcp", "udp"):
        raise ConfigError(f"cannot forward protocol {protocol!r}", hint='"/tcp" or "/udp"')
    host = match["host"] or "127.0.0.1"
    try:
        parse_ipv4(host)
    except ValueError:
        raise ConfigError(f"{host!r} is not an IPv4 address of this host", hint='such as "127.0.0.1"') from None
    host_port, port = int(match["port"]), int(match["to"])
    if host_port > 65535 or not 1 <= port <= 65535:
        raise ConfigError(f"{text!r} has a port outside 1 to 65535")
    return Forward(protocol, host, host_port, port)
