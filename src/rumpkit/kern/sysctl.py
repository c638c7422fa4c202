"""Sysctls of a kernel: every limit and default has a name, bounds and a line of help.

Names are those of NetBSD without the domain: `net.tcp.send_buffer`.  NetBSD's own spelling, `net.inet.tcp.send_buffer` and
`net.inet6.tcp6.send_buffer`, and some of its and Linux's names for the same settings (`net.inet.tcp.sendspace`,
`net.ipv4.tcp_sack`), mean the same everywhere (`canonical`).

A component keeps its settings as plain attributes of one small object, which hot code reads directly; the table
beside it (`Sysctl` rows) tells this registry which of them may be changed, and within what bounds.
"""

from collections.abc import Iterator
from typing import Final, final

from ..hyper.named import NamedTuple
from .abi.errno import EINVAL, ENOENT, error


class Sysctl(NamedTuple):
    """One settable value: `attribute` of a settings object, an int from `low` to `high` inclusive."""

    attribute: str
    low: int
    high: int
    help: str


class Setting(NamedTuple):
    """A row of a listing: dotted name, present value, bounds, help, and the value it had at first."""

    name: str
    value: int
    low: int
    high: int
    help: str
    default: int


DOMAINS: Final = ("net.inet.", "net.inet6.")
"""What NetBSD has before the protocol's name."""
_PROTOCOLS: Final = {"tcp6": "tcp", "udp6": "udp"}
"""What both versions of IP share here."""
SYNONYMS: Final[dict[str, str]] = {
    "net.tcp.sendspace": "net.tcp.send_buffer",
    "net.tcp.sendbuf_max": "net.tcp.send_buffer_max",
    "net.tcp.recvspace": "net.tcp.receive_buffer",
    "net.tcp.recvbuf_max": "net.tcp.receive_buffer_max",
    "net.tcp.init_win": "net.tcp.initial_window",
    "net.tcp.keepcnt": "net.tcp.keepalive_probes",
    "net.udp.sendspace": "net.udp.send_buffer",
    "net.udp.recvspace": "net.udp.receive_buffer",
    "net.ip.anonportmin": "net.port.ephemeral_first",
    "net.ip.anonportmax": "net.port.ephemeral_last",
    "net.ipv4.ip_forward": "net.ip.forwarding",
    "net.ipv4.ip_default_ttl": "net.ip.ttl",
    "net.ipv4.icmp_echo_ignore_all": "net.icmp.echo_ignore_all",
    "net.ipv4.icmp_echo_ignore_broadcasts": "net.icmp.echo_ignore_broadcasts",
    "net.ipv4.tcp_window_scaling": "net.tcp.window_scaling",
    "net.ipv4.tcp_timestamps": "net.tcp.timestamps",
    "net.ipv4.tcp_sack": "net.tcp.sack",
    "net.ipv4.tcp_ecn": "net.tcp.ecn",
    "net.ipv4.tcp_syn_retries": "net.tcp.syn_retries",
    "net.ipv4.tcp_synack_retries": "net.tcp.synack_retries",
    "net.ipv4.tcp_retries2": "net.tcp.retries",
    "net.ipv4.tcp_orphan_retries": "net.tcp.orphan_retries",
    "net.ipv4.tcp_max_orphans": "net.tcp.max_orphans",
    "net.ipv4.tcp_max_tw_buckets": "net.tcp.max_time_wait",
    "net.ipv4.tcp_max_syn_backlog": "net.tcp.max_syn_backlog",
    "net.ipv4.tcp_keepalive_probes": "net.tcp.keepalive_probes",
    "net.core.somaxconn": "net.tcp.max_backlog",
    "kern.maxproc": "kern.max_processes",
}
"""Other names for the same setting in the same unit: NetBSD's (without the domain), and Linux's."""


def canonical(name: str) -> str:
    """The name that a listing has for what `name` means."""
    for domain in DOMAINS:
        if name.startswith(domain) or name + "." == domain:
            protocol, dot, rest = name[len(domain) :].partition(".")
            name = f"net.{_PROTOCOLS.get(protocol, protocol)}{dot}{rest}".rstrip(".")
            break
    return SYNONYMS.get(name, name)


@final
class SysctlRegistry:
    """All sysctls of a kernel, under dotted names such as `net.tcp.send_buffer`."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[object, tuple[Sysctl, ...], tuple[int, ...]]] = {}

    def register(self, prefix: str, settings: object, table: tuple[Sysctl, ...]) -> None:
        """List the rows of `table` under `prefix`, which must be new."""
        if prefix in self._groups:
            raise ValueError(f"sysctls of {prefix!r} are registered already")
        self._groups[prefix] = (settings, table, tuple([int(getattr(settings, row.attribute)) for row in table]))

    def get(self, name: str) -> int:
        """The value of `name`, in any spelling.  Raises ENOENT."""
        settings, row = self._find(name)
        return int(getattr(settings, row.attribute))

    def set(self, name: str, value: int) -> None:
        """Change `name`, at once.  Raises ENOENT, and EINVAL outside the bounds."""
        settings, row = self._find(name)
        if not row.low <= value <= row.high:
            raise OSError(EINVAL, f"{name} must be from {row.low} to {row.high}, not {value}")
        setattr(settings, row.attribute, value)

    def __iter__(self) -> Iterator[Setting]:
        for prefix, (settings, table, defaults) in self._groups.items():
            for row, default in zip(table, defaults, strict=True):
                value = int(getattr(settings, row.attribute))
                yield Setting(f"{prefix}.{row.attribute}", value, row.low, row.high, row.help, default)

    def under(self, name: str) -> list[Setting]:
        """The rows of `name` and of everything below it, in any spelling; all where it is ""."""
        plain = canonical(name)
        return [row for row in self if not plain or row.name == plain or row.name.startswith(plain + ".")]

    def _find(self, name: str) -> tuple[object, Sysctl]:
        prefix, _, attribute = canonical(name).rpartition(".")
        settings, table, _ = self._groups.get(prefix, (None, (), ()))
        for row in table:
            if row.attribute == attribute:
                return settings, row
        raise error(ENOENT, name)
