"""Where names are looked up: the name servers and search domains that a kernel knows of, whoever told it.

The kernel itself looks nothing up; programs on it do, by the resolv.conf that this makes.
"""

from typing import Final, final

from ...hyper.named import NamedTuple
from ...kern.wait import WaitQueue
from ..wire.address import format_address, is_link_local

CONFIG: Final = 0
DHCP: Final = 1
ROUTER: Final = 2
"""Ranks of those who may tell, the most trusted first: the config, DHCP, router advertisements."""

MAX_SERVERS: Final = 3
MAX_SEARCH: Final = 6
"""As many as resolvers read (resolv.conf(5))."""
MAX_KEPT: Final = 16
"""Of each from one origin."""


class _Told(NamedTuple):
    rank: int
    servers: tuple[bytes, ...]
    search: tuple[str, ...]
    zone: str


@final
class NameSettings:
    """One kernel's, by origin: such as "vif0 dhcp"."""

    def __init__(self) -> None:
        self.changes: WaitQueue = WaitQueue()
        """Woken when something has changed."""
        self._told: dict[str, _Told] = {}

    def tell(self, origin: str, rank: int, servers: list[bytes], search: list[str], zone: str = "") -> None:
        """What `origin` says now, instead of what it said before; nothing at all, too.  Servers are 4 or 16 bytes, those of
        link-local IPv6 addresses on the interface `zone`."""
        told = _Told(rank, tuple(servers[:MAX_KEPT]), tuple(search[:MAX_KEPT]), zone)
        if told == self._told.get(origin) or (origin not in self._told and not servers and not search):
            return
        if servers or search:
            self._told[origin] = told
        else:
            del self._told[origin]
        self.changes.wake_all()

    def servers(self) -> list[bytes]:
        """The name servers to ask, the best first, each once."""
        return list(dict.fromkeys(server for told in self._ranked() for server in told.servers))

    def search(self) -> list[str]:
        """The domains to try for short names, the best first, each once."""
        return list(dict.fromkeys(name for told in self._ranked() for name in told.search))

    def resolv_conf(self) -> str:
        """The text of a resolv.conf(5); "" where nothing is known."""
        lines: dict[str, None] = {}
        for told in self._ranked():
            for server in told.servers:
                zone = f"%{told.zone}" if told.zone and len(server) == 16 and is_link_local(server) else ""
                lines[f"nameserver {format_address(server)}{zone}"] = None
        search = self.search()[:MAX_SEARCH]
        return "".join(
            [f"{line}\n" for line in list(lines)[:MAX_SERVERS]] + ([f"search {' '.join(search)}\n"] if search else [])
        )

    def _ranked(self) -> list[_Told]:
        return sorted(self._told.values(), key=lambda told: told.rank)
