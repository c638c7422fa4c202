"""Boot: from a checked spec to a rump kernel with its links, addresses, mounts and sysctls; all or nothing."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from ..dev import components as _dev_components
from ..fs import components as _fs_components
from ..hyper.calls import Hypercalls
from ..hyper.time import MILLISECOND, SECOND
from ..kern.abi.errno import EADDRNOTAVAIL, EBUSY, EEXIST, ENETUNREACH, EOPNOTSUPP
from ..kern.component import UnknownComponent
from ..kern.kernel import RumpKernel
from ..kern.resolver import Unresolvable
from ..kern.sysctl import canonical
from ..net import components as _net_components
from ..net.ip.names import CONFIG
from ..net.ip.service import Ip
from ..net.wire.address import parse_address, parse_mac
from ..vfs import components as _vfs_components
from . import plugins as _plugins
from .errors import ConfigError, suggest
from .links import OpenedLink, open_link, set_switches
from .roots import images
from .spec import InterfaceSpec, Spec
from .storage import open_storage, storage_components
from .values import DHCP, interface_name, parse_link, parse_vlan

if TYPE_CHECKING:
    from ..dev.disks import Disks
    from ..fs.hostfs.type import Hostfs
    from ..net.dhcp.service import Dhcp
    from ..net.link.bridge import Bridges
    from ..net.link.interface import Interface
    from ..vfs.vfs import Vfs

FACTIONS = (_fs_components, _net_components, _vfs_components, _dev_components, _plugins)
"""Importing them registers the components that rumpkit brings along, and the way to those of other packages."""

VFS = ("vfs", "vfs_calls", "tmpfs", "devfs", "mem", "random", "console")
NET = ("ethernet", "ipv4", "loopback", "icmp", "udp", "tcp", "raw")
WITH_IPV6 = ("ethernet", "ipv4", "ipv6", *NET[2:])

DETECTION_LIMIT = 5 * SECOND
DETECTION_STEP = 20 * MILLISECOND

Result = TypeVar("Result")


class Booted:
    """A kernel and what was opened for it; `close` takes all of it down, last first."""

    def __init__(self, host: Hypercalls, kernel: RumpKernel, spec: Spec) -> None:
        self.host = host
        self.kernel = kernel
        self.spec = spec
        self.links: list[OpenedLink] = []
        self._stack = ExitStack()

    def on_close(self, call: Callable[[], object]) -> None:
        """Call this at close, off the schedule, before what was registered earlier."""
        self._stack.callback(call)

    def close(self) -> None:
        """Take everything down.  Off the schedule; a second call does nothing."""
        self._stack.close()


def component_names(spec: Spec) -> tuple[str, ...]:
    """The components that a spec asks for: files where it mounts something, or has no interface; the network where it
    has interfaces; and those it names."""
    vfs: tuple[str, ...] = VFS if spec.mount or spec.disk or spec.etfs or images(spec) or not spec.interface else ()
    vfs += storage_components(spec)
    net: tuple[str, ...] = ()
    if spec.interface or spec.route:
        net = WITH_IPV6 if wants_ipv6(spec) else NET
    if any(interface.link == "bridge" for interface in spec.interface):
        net = (*net, "bridge")
    if any(DHCP in interface.address for interface in spec.interface):
        net = (*net, "dhcp")
    return (*vfs, *net, *(name for name in spec.kernel.components if name not in (*vfs, *net)))


def wants_ipv6(spec: Spec) -> bool:
    """Whether a config says anything of IPv6: only then is there the component ipv6, which makes a first kernel's
    boot a fifth longer, and speaks to the link of its own accord."""
    texts = [text for one in spec.interface for text in (*one.address, *one.gateways)]
    texts += [text for one in spec.route for text in (one.to, one.gateway)]
    return any(":" in text for text in texts) or any(one.autoconf for one in spec.interface)


def boot(host: Hypercalls, spec: Spec) -> Booted:
    """Build and open everything that `spec` (which has been checked) names.  Called off the schedule.

    Raises ConfigError, and OSError where the host refuses; nothing stays open then.
    """
    kernel = _scheduled(host, lambda: build(host, spec))
    booted = Booted(host, kernel, spec)
    hostfs = kernel.service("Hostfs")
    if hostfs is not None:
        booted.on_close(cast("Hostfs", hostfs).close)
    booted.on_close(lambda: _scheduled(host, lambda: _close_kernel(kernel)))
    try:
        _scheduled(host, lambda: set_sysctls(kernel, spec.sysctl))
        set_switches(host, spec)
        for index, interface in enumerate(spec.interface):
            name = interface_name(index, interface.name, interface.link)
            try:
                link = open_link(host, interface)
            except ConfigError as problem:
                raise problem.under(f"interface[{index}]") from None
            booted.on_close(link.close)
            booted.links.append(link)
            try:
                _scheduled(host, partial(_attach, kernel, name, interface, link))
            except OSError as problem:
                if link.port is not None:
                    raise
                raise ConfigError(_inner_problem(interface, problem), key=f"interface[{index}]") from None
        _scheduled(host, lambda: _add_routes(kernel, spec))
        open_storage(host, kernel, spec)
        _scheduled(host, lambda: _await_addresses(host, kernel))
    except BaseException:
        booted.close()
        raise
    return booted


def _scheduled(host: Hypercalls, call: Callable[[], Result]) -> Result:
    host.enter()
    try:
        return call()
    finally:
        host.leave()


def build(host: Hypercalls, spec: Spec) -> RumpKernel:
    """The kernel with its components, and nothing opened for it yet.  On the schedule.  Raises ConfigError."""
    try:
        return RumpKernel(host, component_names(spec), spec.kernel.hostname)
    except UnknownComponent as problem:
        raise ConfigError(str(problem), key="kernel.components", hint=suggest(problem.name, problem.known)) from None
    except Unresolvable as problem:
        raise ConfigError(str(problem), key="kernel.components") from None


def _close_kernel(kernel: RumpKernel) -> None:
    kernel.close()
    vfs = kernel.service("Vfs")
    if vfs is not None:
        cast("Vfs", vfs).close()
    disks = kernel.service("Disks")
    if disks is not None:
        cast("Disks", disks).close()


def _attach(kernel: RumpKernel, name: str, spec: InterfaceSpec, link: OpenedLink) -> None:
    ip = cast(Ip, kernel.service("Ip"))
    mac = parse_mac(spec.mac) if spec.mac else b""
    if link.port is None:
        interface = _add_inner(kernel, ip, name, mac, spec)
    elif link.point_to_point:
        interface = ip.add_point_to_point(link.port, name, spec.mtu, up=False)
    else:
        interface = ip.add_interface(link.port, name, mac, spec.mtu, up=False)
    if ip.v6 is not None and spec.autoconf is False:
        ip.v6.stop_listening(interface)
    ip.set_up(name, True)
    for prefix in link.addresses:
        if prefix == DHCP:
            cast("Dhcp", kernel.service("Dhcp")).start(name, spec.metric)
        else:
            ip.add_address(name, prefix)
    for gateway in link.gateways:
        ip.add_route("default", gateway, name, spec.metric)
    servers = [link.user.plan.name_server] if link.user is not None else [parse_address(text) for text in spec.dns]
    ip.names.tell(f"{name} config", CONFIG, servers, spec.search)


def _await_addresses(host: Hypercalls, kernel: RumpKernel) -> None:
    """Programs can use the config's IPv6 addresses from the start: wait for duplicate address detection, about a second
    (`net.ip6.dad_transmits` = 0 does without)."""
    ip = cast(Ip | None, kernel.service("Ip"))
    if ip is None or ip.v6 is None:
        return
    limit = host.now + DETECTION_LIMIT
    while ip.v6.is_detecting() and host.now < limit:
        host.parker().park(min(limit, host.now + DETECTION_STEP))


def _add_inner(kernel: RumpKernel, ip: Ip, name: str, mac: bytes, spec: InterfaceSpec) -> "Interface":
    """An interface over others of the kernel."""
    link = parse_link(spec.link)
    if link.kind == "vlan":
        carrier, number = parse_vlan(link.name)
        return ip.add_vlan(name, carrier, number, spec.mtu, up=False)
    ip.add_bridge(cast("Bridges", kernel.service("Bridges")), name, spec.ports, mac, spec.mtu, up=False)
    return ip.interfaces.get(name)


def _inner_problem(spec: InterfaceSpec, problem: OSError) -> str:
    """What is wrong with a VLAN or a bridge whose config looked right."""
    if problem.errno == EOPNOTSUPP:
        return f"{problem.filename or problem.strerror} is no Ethernet interface"
    if problem.errno == EBUSY:
        return "one of its ports is in another bridge"
    return f"{spec.link!r} cannot be made: {problem.strerror}"


def _add_routes(kernel: RumpKernel, spec: Spec) -> None:
    """The config's routes, once all interfaces are there."""
    service = kernel.service("Ip")
    for index, route in enumerate(spec.route):
        try:
            cast(Ip, service).add_route(
                route.to, route.gateway or None, route.interface or None, route.metric, route.source or None
            )
        except OSError as problem:
            text, key = _ROUTE_PROBLEMS.get(problem.errno or 0, (str(problem.strerror), ""))
            raise ConfigError(text, key=f"route[{index}]{key}") from None


_ROUTE_PROBLEMS = {
    ENETUNREACH: ("no interface's network has this gateway", ".gateway"),
    EADDRNOTAVAIL: ("no interface has this address", ".source"),
    EEXIST: ("this route is there already", ""),
}


def set_sysctls(kernel: RumpKernel, values: dict[str, int]) -> None:
    """Set a config's sysctls.  On the schedule.  Raises ConfigError."""
    for name, value in values.items():
        try:
            kernel.sysctl.set(name, value)
        except OSError as problem:
            known = [setting.name for setting in kernel.sysctl]
            plain = canonical(name)
            hint = "" if plain in known else suggest(plain, known)
            if plain.startswith("net.") and not any(one.startswith("net.") for one in known):
                hint = 'this kernel has no network: add [[interface]] with link = "user"'
            text = "there is no such sysctl" if plain not in known else str(problem.strerror)
            raise ConfigError(text, key=f"sysctl.{name}", hint=hint) from None
