"""Answers that are read off a kernel at once, or page by page: counters, sockets, what the kernel is.  On the schedule."""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, cast

from ...net import mib
from ...net.ip.icmp import Icmp
from ...net.link import snapshot as link_snapshot
from ...net.link.interfaces import Interfaces
from ...net.proc.statistics import gauges as gauges
from ...net.socket import snapshot as socket_snapshot
from ...net.transport import udp_snapshot
from ...net.transport.tcp import snapshot as tcp_snapshot
from ...net.transport.tcp.layer import Tcp
from ...net.transport.udp import Udp

if TYPE_CHECKING:
    from ...net.ip6.service import Ip6
    from ...net.socket.privileged import PrivilegedSockets
    from .server import ControlServer


def info(server: "ControlServer", parameters: dict[str, Any]) -> Any:
    """The kernel in a few words."""
    kernel = server.kernel
    return {
        "name": server.name,
        "hostname": kernel.hostname,
        "started": server.started,
        "processes": len(kernel.processes),
        "components": [built.component.name for built in kernel.built],
        "interfaces": interfaces(server, {}),
    }


def interfaces(server: "ControlServer", parameters: dict[str, Any]) -> Any:
    """Rows of interfaces."""
    service = server.kernel.service("Interfaces")
    if service is None:
        return []
    rows = link_snapshot.interfaces(cast(Interfaces, service))
    sixth = server.kernel.service("Ip6")
    if sixth is not None:
        from ...net.ip6 import snapshot as ip6_snapshot  # loaded already, and only then

        for row in rows:
            row["addresses"] += ip6_snapshot.addresses(cast("Ip6", sixth), row["index"], server.host.now)
    return rows


def stat(server: "ControlServer", parameters: dict[str, Any]) -> Generator[Any, None, Any]:
    """Counters, gauges (what is looked up, not counted), and MIB objects, all by name."""
    kernel = server.kernel
    found = yield from gauges(kernel)
    counters = dict(kernel.counters)
    return {"counters": counters, "gauges": found, "mib": mib.values(counters, found)}


def sockets(server: "ControlServer", parameters: dict[str, Any]) -> Generator[Any, None, Any]:
    """Pages of sockets."""
    kernel = server.kernel
    count = 0
    tcp = kernel.service("Tcp")
    if tcp is not None:
        for page in tcp_snapshot.sockets(cast(Tcp, tcp)):
            count += len(page)
            yield page
    udp = kernel.service("Udp")
    if udp is not None:
        for page in udp_snapshot.sockets(cast(Udp, udp)):
            count += len(page)
            yield page
    for page in _others(server):
        count += len(page)
        yield page
    return {"sockets": count}


def _others(server: "ControlServer") -> Iterator[list[dict[str, Any]]]:
    """Ping, raw and packet sockets."""
    service = server.kernel.service
    icmp, sixth, privileged = service("Icmp"), service("Ip6"), service("PrivilegedSockets")
    if icmp is not None:
        yield from socket_snapshot.pings("icmp", list(cast(Icmp, icmp).pingers.values()))
    if sixth is not None:
        yield from socket_snapshot.pings("icmp6", list(cast("Ip6", sixth).icmp.pingers.values()))
    if privileged is not None:
        yield from cast("PrivilegedSockets", privileged).snapshot()
