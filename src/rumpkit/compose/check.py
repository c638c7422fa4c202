"""A spec's values, checked as a whole before anything is opened: what `values` and the wire's parsers accept."""

from collections.abc import Mapping
from functools import partial

from ..net.wire.address import (
    format_prefix,
    in_network,
    is_link_local,
    network_of,
    parse_address,
    parse_ipv4,
    parse_mac,
    parse_prefix,
)
from ..net.wire.dns import split_name
from .errors import ConfigError, suggest
from .locate import KeyPath, dotted, line_of, path_of, placed
from .spec import DiskSpec, EtfsSpec, InterfaceSpec, MountSpec, RouteSpec, Spec
from .supervise.check import RunPlace, Test, run_tests
from .user.plan import parse_server
from .values import DHCP, interface_name, parse_duration, parse_forward, parse_link, parse_size

MIN_MTU = 576
MIN_MTU_V6 = 1280
"""What every link of IPv6 carries (RFC 8200 section 5)."""
MAX_MTU = 65535
MAX_METRIC = 0xFFFFFFFF
MAX_HOSTNAME = 64
ENTRIES = ("file", "block")
"""What a host file can be in the kernel."""
SHOWN = ("show", "require", "hide")
"""What mounts are to programs."""


def check(spec: Spec, file: str = "", text: str = "", kernel: str = "", runs: bool = True) -> None:
    """Raise ConfigError for the first value that can't be used, with its key and, given the text, its line.  `kernel`: which one of
    a file of several this is, whose programs are checked together (`check_runs`), as `runs` = False leaves them to others."""
    tests = _tests(spec)
    if runs and not kernel:
        tests += run_tests([RunPlace(("run", index), "", run, spec.kernel.root) for index, run in enumerate(spec.run)])
    apply([(placed(path, kernel), test) for path, test in tests], file, text)


def check_runs(kernels: Mapping[str, Spec], file: str = "", text: str = "") -> None:
    """The same for the programs of all kernels of a file."""
    places = [
        RunPlace(placed(("run", index), kernel), kernel, run, spec.kernel.root)
        for kernel, spec in kernels.items()
        for index, run in enumerate(spec.run)
    ]
    apply(run_tests(places), file, text)


def apply(tests: list[Test], file: str, text: str) -> None:
    """Make tests; raise ConfigError for the first that fails."""
    for path, test in tests:
        try:
            test()
        except (ConfigError, ValueError) as problem:
            message, hint, key = str(problem), "", ""
            if isinstance(problem, ConfigError):
                message, hint, key = problem.message, problem.hint, problem.key
            where = path_of(key) if key else path
            line = line_of(text, where) if text else 0
            raise ConfigError(message, key=dotted(where), hint=hint, file=file, line=line) from None


def _tests(spec: Spec) -> list[Test]:
    tests: list[Test] = [(("kernel", "hostname"), lambda: _hostname(spec.kernel.hostname))]
    names = {"lo"}
    for index, interface in enumerate(spec.interface):
        tests += _interface_tests(("interface", index), interface, names)
    for index, interface in enumerate(spec.interface):
        if interface.ports:
            tests.append((("interface", index, "ports"), partial(_ports_are_bare, interface, spec)))
    for index, route in enumerate(spec.route):
        tests += _route_tests(("route", index), route, names)
    disks: set[str] = set()
    for index, disk in enumerate(spec.disk):
        tests.append((("disk", index, "name"), partial(_disk_name, disk.name, disks)))
        tests.append((("disk", index), partial(_disk, disk)))
    entries: set[str] = set()
    for index, entry in enumerate(spec.etfs):
        tests.append((("etfs", index), partial(_etfs, entry, entries)))
    paths: set[str] = set()
    for index, mount in enumerate(spec.mount):
        tests += _mount_tests(("mount", index), mount, paths)
    switches: set[str] = set()
    for index, switch in enumerate(spec.switch):
        tests.append((("switch", index, "name"), partial(_switch_name, switch.name, switches)))
        tests.append((("switch", index, "mtu"), partial(_within, switch.mtu, MIN_MTU, MAX_MTU)))
        tests.append((("switch", index, "delay"), partial(parse_duration, switch.delay)))
    if spec.switch:
        for index, interface in enumerate(spec.interface):
            tests.append((("interface", index, "link"), partial(_switch_is_known, interface, switches)))
    return tests


def _switch_name(name: str, seen: set[str]) -> None:
    if not name:
        raise ConfigError("is empty", hint='such as "lan", for link = "switch:lan"')
    _unique(name, seen, "switch name")


def _switch_is_known(spec: InterfaceSpec, switches: set[str]) -> None:
    kind, _, name = spec.link.partition(":")
    if kind == "switch":
        _known(name, switches, "switch")


def _interface_tests(path: KeyPath, spec: InterfaceSpec, names: set[str]) -> list[Test]:
    tests: list[Test] = [((*path, "link"), lambda: parse_link(spec.link))]
    name = interface_name(int(path[1]), spec.name, spec.link)
    tests.append(((*path, "name") if spec.name else path, partial(_unique, name, names, "interface name")))
    tests += _inner_tests(path, spec, names)
    for index, prefix in enumerate(spec.address):
        tests.append(((*path, "address", index), partial(_address, prefix, spec)))
    for index, gateway in enumerate(spec.gateways):
        place = (*path, "gateway") if isinstance(spec.gateway, str) else (*path, "gateway", index)
        tests.append((place, partial(_reachable, gateway, spec)))
    if len(spec.address) > 1:
        tests.append(((*path, "address"), lambda: _many_addresses(spec)))
    for index, server in enumerate(spec.dns):
        tests.append(((*path, "dns", index), partial(parse_server if spec.link == "user" else parse_address, server)))
    for index, domain in enumerate(spec.search):
        tests.append(((*path, "search", index), partial(split_name, domain)))
    if spec.mac:
        tests.append(((*path, "mac"), lambda: _unicast_mac(spec.mac)))
    if spec.metric:
        tests.append(((*path, "metric"), lambda: _within(spec.metric, 0, MAX_METRIC)))
    if spec.mtu:
        sixth = spec.autoconf or any(":" in text for text in (*spec.address, *spec.gateways))
        tests.append(((*path, "mtu"), lambda: _within(spec.mtu, MIN_MTU_V6 if sixth else MIN_MTU, MAX_MTU)))
    if spec.forward:
        tests.append(((*path, "forward"), lambda: _forwards_need_user(spec)))
    for index, forward in enumerate(spec.forward):
        tests.append(((*path, "forward", index), partial(parse_forward, forward)))
    return tests


def _inner_tests(path: KeyPath, spec: InterfaceSpec, names: set[str]) -> list[Test]:
    """Of interfaces over others, which come before them in the file."""
    tests: list[Test] = []
    kind, _, rest = spec.link.partition(":")
    if kind == "vlan":
        tests.append(((*path, "link"), lambda: _known(rest.rpartition(".")[0], names, "earlier interface")))
        if spec.mac:
            tests.append(((*path, "mac"), _vlan_with_mac))
    if kind == "bridge":
        tests.append(((*path, "ports"), lambda: _joins(spec)))
    elif spec.ports:
        tests.append(((*path, "ports"), _ports_need_bridge))
    for index, port in enumerate(spec.ports):
        tests.append(((*path, "ports", index), partial(_known, port, names, "earlier interface")))
    return tests


def _vlan_with_mac() -> None:
    raise ConfigError("a VLAN has the MAC address of the interface that carries it")


def _joins(spec: InterfaceSpec) -> None:
    if not spec.ports:
        raise ConfigError("a bridge needs ports", hint='write ports = ["vif0", "vif1"]')
    for port in spec.ports:
        if spec.ports.count(port) > 1:
            raise ConfigError(f"{port!r} stands here twice")


def _ports_are_bare(bridge: InterfaceSpec, spec: Spec) -> None:
    for index, other in enumerate(spec.interface):
        name = interface_name(index, other.name, other.link)
        if name in bridge.ports and (other.address or other.gateway or other.link == "user"):
            raise ConfigError(f"{name!r} has an address of its own", hint="give it to the bridge")
        if other is not bridge and set(other.ports) & set(bridge.ports):
            raise ConfigError("two bridges cannot join the same interface")


def _ports_need_bridge() -> None:
    raise ConfigError('only a "bridge" has ports')


def _route_tests(path: KeyPath, spec: RouteSpec, names: set[str]) -> list[Test]:
    tests: list[Test] = [((*path, "to"), lambda: _destination(spec.to))]
    for key in ("gateway", "source"):
        text = getattr(spec, key)
        if text:
            tests.append(((*path, key), partial(_of_family, text, spec)))
    if not spec.gateway and not spec.interface:
        tests.append((path, _route_without_way))
    if spec.interface:
        tests.append(((*path, "interface"), lambda: _known(spec.interface, names, "interface")))
    if spec.metric:
        tests.append(((*path, "metric"), lambda: _within(spec.metric, 0, MAX_METRIC)))
    return tests


def _mount_tests(path: KeyPath, spec: MountSpec, paths: set[str]) -> list[Test]:
    tests: list[Test] = [((*path, "path"), lambda: _mount_point(spec.path, paths))]
    tests.append(((*path, "programs"), lambda: _shown(spec)))
    if spec.size:
        tests.append(((*path, "size"), lambda: parse_size(spec.size)))
    return tests


def _shown(spec: MountSpec) -> None:
    if spec.programs not in SHOWN:
        raise ConfigError(
            f"{spec.programs!r} is none of {', '.join(map(repr, SHOWN))}", hint=suggest(spec.programs, SHOWN)
        )
    if spec.programs == "require" and spec.path.strip("/") == "":
        raise ConfigError("programs keep the host's root", hint="mount it elsewhere, too")


def _destination(text: str) -> None:
    if text == "default":
        return
    address, length = parse_prefix(text)
    if network_of(address, length) != address:
        network = format_prefix(network_of(address, length), length)
        raise ConfigError(f"{text!r} has bits behind its prefix", hint=f'write "{network}"')


def _route_without_way() -> None:
    raise ConfigError("leads nowhere", hint='add gateway = "ADDRESS" or interface = "NAME"')


def _known(name: str, names: set[str], what: str) -> None:
    if name not in names:
        raise ConfigError(f"there is no {what} {name!r}", hint=suggest(name, names))


def _hostname(name: str) -> None:
    if not 0 < len(name) <= MAX_HOSTNAME or not name.replace("-", "").replace(".", "").isalnum():
        raise ConfigError(f"{name!r} is not a host name", hint=f"letters, digits, - and ., at most {MAX_HOSTNAME}")


def _unique(name: str, seen: set[str], what: str) -> None:
    if name in seen:
        raise ConfigError(f"{what} {name!r} is taken already")
    seen.add(name)


def _unicast_mac(text: str) -> None:
    if parse_mac(text)[0] & 1:
        raise ConfigError(f"{text} is a multicast address", hint="the first byte must be even")


def _within(value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{value} is outside {low} to {high}")


def _address(text: str, spec: InterfaceSpec) -> None:
    if text != DHCP:
        parse_prefix(text)
    elif parse_link(spec.link).kind in ("user", "tun"):
        raise ConfigError(f"there is no DHCP server behind {spec.link!r}", hint="leave address out, or write one")
    elif spec.address.count(DHCP) > 1:
        raise ConfigError(f"{DHCP!r} stands here twice")


def _of_family(text: str, spec: RouteSpec) -> None:
    """An address of the version of IP that the route is of."""
    address = parse_address(text)
    sixth = ":" in spec.to if spec.to != "default" else ":" in (spec.gateway or text)
    if (len(address) == 16) != sixth:
        raise ConfigError(f"{text} is no IPv{6 if sixth else 4} address", hint=f"the route leads to {spec.to!r}")


def _reachable(text: str, spec: InterfaceSpec) -> None:
    """A `user` link without an address has its own default, which it looks at itself.  Link-local gateways are on every link."""
    if spec.link == "user":
        parse_ipv4(text)
    gateway = parse_address(text)
    if sum(len(parse_address(other)) == len(gateway) for other in spec.gateways) > 1:
        raise ConfigError("there is another gateway of this version of IP", hint="write [[route]] with a metric")
    if len(gateway) == 16 and is_link_local(gateway):
        return
    if not spec.address and spec.link == "user":
        return
    if any(in_network(gateway, *parse_prefix(prefix)) for prefix in spec.address if prefix != DHCP):
        return
    raise ConfigError(
        f"{text} is in no network of this interface", hint=f"address = [{', '.join(map(repr, spec.address))}]"
    )


def _many_addresses(spec: InterfaceSpec) -> None:
    if spec.link == "user":
        raise ConfigError('a "user" link has one address', hint="its gateway and name server are in that network")


def _forwards_need_user(spec: InterfaceSpec) -> None:
    if parse_link(spec.link).kind != "user":
        raise ConfigError('only a "user" link forwards host ports', hint=f"this one is {spec.link!r}")


def _mount_point(path: str, seen: set[str]) -> None:
    if not path.startswith("/"):
        raise ConfigError(f"{path!r} is not an absolute path", hint=f'write "/{path}"')
    _unique(path.rstrip("/") or "/", seen, "mount point")


def _disk_name(name: str, seen: set[str]) -> None:
    if not name or "/" in name or "\0" in name:
        raise ConfigError(f"{name!r} is not a name of a device", hint="such as disk0, which is /dev/disk0 then")
    _unique(name, seen, "disk name")


def _disk(spec: DiskSpec) -> None:
    if bool(spec.source) == bool(spec.size):
        raise ConfigError(
            "needs a source or a size", hint='write source = "disk.img", or size = "64M" for one in memory'
        )
    if spec.size:
        if spec.read_only:
            raise ConfigError("a disk in memory has nothing to read", hint="leave read_only out")
        if spec.snapshot:
            raise ConfigError("a disk in memory is forgotten anyway", hint="leave snapshot out")
        parse_size(spec.size)
    if spec.read_only and spec.snapshot:
        raise ConfigError("what is read only has no changes to forget", hint="leave read_only or snapshot out")


def _etfs(spec: EtfsSpec, seen: set[str]) -> None:
    if not spec.path.startswith("/") or spec.path.endswith("/") or "\0" in spec.path:
        raise ConfigError(f"{spec.path!r} is not the absolute path of a file", hint='such as "/etc/resolv.conf"')
    if not spec.source:
        raise ConfigError("needs a source", hint='write source = "notes.txt"')
    if spec.type not in ENTRIES:
        raise ConfigError(f"{spec.type!r} is no type of an entry", hint=suggest(spec.type, ENTRIES))
    _unique(spec.path, seen, "entry")
