"""Which host address a kernel's destination stands for: the gateway is the host's loopback, the name server a real one."""

from typing import final

from ...net.wire.address import format_ipv4
from .plan import Plan

DNS_PORT = 53
RESOLV_CONF = "/etc/resolv.conf"
MAX_RESOLV_CONF = 65536
LOOPBACK = "127.0.0.1"


def host_name_servers(path: str = RESOLV_CONF) -> list[tuple[str, int]]:
    """The IPv4 name servers that the host asks; none if it has no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_RESOLV_CONF)
    except OSError:
        return []
    words = [line.split() for line in text.splitlines()]
    return [(one[1], DNS_PORT) for one in words if len(one) > 1 and one[0] == "nameserver" and ":" not in one[1]]


@final
class World:
    """The map from destinations on the link to sockets' addresses on the host."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._servers = list(plan.name_servers) or host_name_servers()
        self._server = 0

    def name_server(self) -> tuple[str, int] | None:
        """The name server to ask now; None if the host has none."""
        return self._servers[self._server % len(self._servers)] if self._servers else None

    def next_name_server(self) -> None:
        """The present one did not answer: ask the next."""
        self._server += 1

    def target(self, address: bytes, port: int) -> tuple[str, int] | None:
        """Where what goes to (address, port) on the link goes on the host; None: nowhere."""
        return self._target(address, port)

    def _target(self, address: bytes, port: int) -> tuple[str, int] | None:
        plan = self._plan
        if address == plan.name_server:
            return self.name_server() if port == DNS_PORT else None
        if address == plan.gateway:
            return (LOOPBACK, port) if plan.host_loopback else None
        if address[0] in (0, 127) or address[0] >= 224 or self._on_link(address):
            return None
        return format_ipv4(address), port

    def _on_link(self, address: bytes) -> bool:
        shift = 32 - self._plan.prefix_length
        here = int.from_bytes(self._plan.gateway, "big") >> shift
        return int.from_bytes(address, "big") >> shift == here
