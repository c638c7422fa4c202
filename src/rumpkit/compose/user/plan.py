"""The addresses of a `user` link: the kernel's own, the gateway's, the name server's."""

from ...hyper.named import NamedTuple
from ...net.wire.address import format_ipv4, parse_ipv4, parse_prefix
from ..errors import ConfigError
from ..spec import InterfaceSpec
from ..values import Forward, parse_forward

DEFAULT_ADDRESS = "10.0.2.15/24"
GATEWAY_HOST = 2
NAME_SERVER_HOST = 3
MAX_PREFIX_LENGTH = 28


class Plan(NamedTuple):
    """Addresses as bytes, the network's prefix length, and what is forwarded."""

    address: bytes
    gateway: bytes
    name_server: bytes
    prefix_length: int
    forwards: tuple[Forward, ...]
    host_loopback: bool
    name_servers: tuple[tuple[str, int], ...]
    """Upstream servers from the config; empty: the host's own."""

    def prefix(self) -> str:
        """The kernel's address with its prefix length, such as "10.0.2.15/24"."""
        return f"{format_ipv4(self.address)}/{self.prefix_length}"


def plan(spec: InterfaceSpec) -> Plan:
    """The plan for an interface.  Raises ConfigError where its addresses don't fit together."""
    text = spec.address[0] if spec.address else DEFAULT_ADDRESS
    address, length = parse_prefix(text)
    if len(address) != 4 or length > MAX_PREFIX_LENGTH:
        raise ConfigError(
            f'{text} leaves a "user" link no room', hint=f"IPv4, prefix length {MAX_PREFIX_LENGTH} at most"
        )
    network = int.from_bytes(address, "big") >> (32 - length) << (32 - length)
    gateway = parse_ipv4(spec.gateways[0]) if spec.gateways else (network + GATEWAY_HOST).to_bytes(4, "big")
    name_server = (network + NAME_SERVER_HOST).to_bytes(4, "big")
    if int.from_bytes(gateway, "big") >> (32 - length) != network >> (32 - length):
        raise ConfigError(f"gateway {format_ipv4(gateway)} is not in the network of {text}")
    if len({address, gateway, name_server}) < 3:
        taken = "the gateway's" if address == gateway else "the name server's"
        raise ConfigError(f"{text} is {taken} address", hint="take .15, or leave address out")
    forwards = tuple(parse_forward(one) for one in spec.forward)
    servers = tuple(parse_server(one) for one in spec.dns)
    return Plan(address, gateway, name_server, length, forwards, spec.host_loopback, servers)


def parse_server(text: str) -> tuple[str, int]:
    """ "ADDRESS" or "ADDRESS:PORT" of a name server (IPv4).  Raises ConfigError."""
    address, colon, port = text.partition(":")
    try:
        parse_ipv4(address)
    except ValueError:
        raise ConfigError(f"{text!r} is not a name server", hint='write "ADDRESS" or "ADDRESS:PORT"') from None
    if not colon:
        return address, 53
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"{text!r} has no valid port")
    return address, int(port)
