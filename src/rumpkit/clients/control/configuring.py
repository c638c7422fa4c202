"""Answers about what can be changed, and the changes: routes, neighbours, sysctls.  On the schedule."""

from difflib import get_close_matches
from errno import EINVAL, ENETUNREACH, ENOENT, ESRCH
from typing import TYPE_CHECKING, Any, cast

from ...hyper.time import Instant
from ...kern.sysctl import canonical
from ...net.ip.service import Ip
from ...net.link import snapshot as link_snapshot
from ...net.link.ethernet import EthernetInterface
from ...net.link.interface import Interface
from ...net.wire.address import parse_address
from .protocol import ControlError

if TYPE_CHECKING:
    from .server import ControlServer

Parameters = dict[str, Any]


def _ip(server: "ControlServer") -> Ip:
    service = server.kernel.service("Ip")
    if service is None:
        raise ControlError(ENOENT, "this kernel has no network")
    return cast(Ip, service)


# Routes ------------------------------------------------------------------------------------------------------------


def routes(server: "ControlServer", parameters: Parameters) -> Any:
    """Rows of routes, longest prefix first."""
    return [row._asdict() for row in _ip(server).route_rows()]


def route_add(server: "ControlServer", parameters: Parameters) -> Any:
    """Add one."""
    ip = _ip(server)
    metric = max(parameters["metric"], 0)
    if not parameters["gateway"] and not parameters["interface"]:
        raise ControlError(EINVAL, "a route needs a gateway or an interface")
    try:
        ip.add_route(
            parameters["prefix"],
            parameters["gateway"] or None,
            parameters["interface"] or None,
            metric,
            parameters["source"] or None,
        )
    except ValueError as problem:
        raise ControlError(EINVAL, str(problem)) from None
    except OSError as problem:
        if problem.errno != ENETUNREACH:
            raise
        text = f"the gateway {parameters['gateway']} is in no network of an interface"
        raise ControlError(ENETUNREACH, text) from None
    return {}


def route_delete(server: "ControlServer", parameters: Parameters) -> Any:
    """Take one away."""
    metric = parameters["metric"]
    try:
        _ip(server).remove_route(
            parameters["prefix"],
            parameters["gateway"] or None,
            parameters["interface"] or None,
            None if metric < 0 else metric,
        )
    except ValueError as problem:
        raise ControlError(EINVAL, str(problem)) from None
    except OSError as problem:
        if problem.errno != ESRCH:
            raise
        text = f"no such route to {parameters['prefix']} was added (those of kind connected follow from addresses)"
        raise ControlError(ESRCH, text) from None
    return {}


# Neighbours --------------------------------------------------------------------------------------------------------


def neighbours(server: "ControlServer", parameters: Parameters) -> Any:
    """Rows of neighbours."""
    ip = _ip(server)
    rows = link_snapshot.neighbours(ip.interfaces, server.host.now)
    if ip.ip6 is not None:
        from ...net.ip6 import snapshot as ip6_snapshot  # a kernel without IPv6 does without its modules, too

        rows += ip6_snapshot.neighbours(ip.ip6, ip.interfaces, server.host.now)
    return rows


def neighbour_delete(server: "ControlServer", parameters: Parameters) -> Any:
    """Forget one."""
    try:
        address = parse_address(parameters["address"])
    except ValueError as problem:
        raise ControlError(EINVAL, str(problem)) from None
    name = parameters["interface"]
    ip = _ip(server)
    forgotten = [
        one.name for one in ip.interfaces.all() if name in ("", one.name) and _forget(ip, one, address, server.host.now)
    ]
    if not forgotten:
        raise ControlError(ENOENT, f"no neighbour {parameters['address']} is known{f' on {name}' if name else ''}")
    return {"interfaces": forgotten}


def _forget(ip: Ip, interface: Interface, address: bytes, now: Instant) -> bool:
    """Have one interface forget a neighbour; whether it knew it."""
    if len(address) == 4:
        return isinstance(interface, EthernetInterface) and interface.neighbours.forget(address, now)
    table = None if ip.ip6 is None else ip.ip6.neighbours(interface)
    return table is not None and table.forget(address, now)


# Sysctls -----------------------------------------------------------------------------------------------------------


def sysctls(server: "ControlServer", parameters: Parameters) -> Any:
    """Rows of sysctls, with what they were when the kernel was built."""
    name = parameters["name"]
    rows = server.kernel.sysctl.under(name)
    if not rows:
        raise ControlError(ENOENT, f"there is no sysctl {name!r}, nor any below it{_near(server, name)}")
    return [row._asdict() for row in rows]


def sysctl_set(server: "ControlServer", parameters: Parameters) -> Any:
    """Change one; what it was and what it is."""
    registry = server.kernel.sysctl
    name = parameters["name"]
    try:
        before = registry.get(name)
    except OSError:
        raise ControlError(ENOENT, f"there is no sysctl {name!r}{_near(server, name)}") from None
    registry.set(name, parameters["value"])
    return {"before": before, "value": registry.get(name)}


def _near(server: "ControlServer", name: str) -> str:
    """A hint: what may have been meant."""
    known: dict[str, None] = {}
    for row in server.kernel.sysctl:
        known[row.name] = None
        known[row.name.rpartition(".")[0]] = None
    close = get_close_matches(canonical(name), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
