"""Links by name: from `link = "tap:tap0"` to a port that an interface can be put on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..hosts.switch import SwitchBoard
from ..hyper.calls import Hypercalls
from ..hyper.link import LinkPort
from ..hyper.named import NamedTuple
from .errors import ConfigError
from .spec import InterfaceSpec, Spec
from .values import parse_duration, parse_link

if TYPE_CHECKING:
    from .user.link import UserLink


class OpenedLink(NamedTuple):
    """A link that has been opened for one interface."""

    port: LinkPort | None
    """None: the kernel makes it itself, over interfaces that it has."""
    addresses: tuple[str, ...]
    """The interface's addresses: the config's, or the link's default."""
    gateways: tuple[str, ...]
    """Where default routes lead."""
    close: Callable[[], None]
    """Takes down what stands behind the port.  Called off the schedule, after the kernel has closed."""
    external: bool = False
    """Whether frames come from outside this process."""
    user: "UserLink | None" = None
    """The gateway behind a `user` link."""
    point_to_point: bool = False
    """Whether there is one other end, and no Ethernet."""


def open_link(host: Hypercalls, spec: InterfaceSpec) -> OpenedLink:
    """Open the link that `spec` names, off the schedule.  Raises ConfigError, and OSError where the host refuses."""
    link = parse_link(spec.link)
    return OPENERS[link.kind](host, spec, link.name)


def set_switches(host: Hypercalls, spec: Spec) -> None:
    """Make the switches as the config has them.  Raises ConfigError."""
    for one in spec.switch:
        switches = getattr(host, "switches", None)
        if not isinstance(switches, SwitchBoard):
            raise ConfigError(f"this host has no switches for {one.name!r}")
        switch = switches.named(one.name)
        if not switch.ports():  # else another kernel of the file has come before
            switch.mtu = one.mtu
            switch.delay = parse_duration(one.delay)


def _nothing() -> None:
    return None


def _open_switch(host: Hypercalls, spec: InterfaceSpec, name: str) -> OpenedLink:
    switches = getattr(host, "switches", None)
    if not isinstance(switches, SwitchBoard):
        raise ConfigError(f"this host has no switches for {spec.link!r}")
    switch = switches.named(name)
    if spec.mtu > switch.mtu:
        switch.mtu = spec.mtu
    port = switch.port()
    if not spec.offload:
        port.features = 0
    return OpenedLink(port, tuple(spec.address), tuple(spec.gateways), _nothing)


def _open_tap(host: Hypercalls, spec: InterfaceSpec, name: str) -> OpenedLink:
    from ..hosts.posix.host import PosixHost
    from ..hosts.posix.tap import open_tap

    if not isinstance(host, PosixHost):
        raise ConfigError(f"{spec.link!r} needs the posix host")
    port = open_tap(host, name, mtu=spec.mtu, offload=spec.offload)
    return OpenedLink(port, tuple(spec.address), tuple(spec.gateways), port.close, True)


def _open_tun(host: Hypercalls, spec: InterfaceSpec, name: str) -> OpenedLink:
    from ..hosts.posix.host import PosixHost
    from ..hosts.posix.tun import open_tun

    if not isinstance(host, PosixHost):
        raise ConfigError(f"{spec.link!r} needs the posix host")
    port = open_tun(host, name, mtu=spec.mtu, offload=spec.offload)
    return OpenedLink(port, tuple(spec.address), tuple(spec.gateways), port.close, True, point_to_point=True)


def _open_user(host: Hypercalls, spec: InterfaceSpec, name: str) -> OpenedLink:
    from ..hosts.posix.host import PosixHost
    from ..net.wire.address import format_ipv4
    from .user.link import UserLink

    if not isinstance(host, PosixHost):
        raise ConfigError(f"{spec.link!r} needs the posix host")
    user = UserLink(host, spec)
    return OpenedLink(user.port, (user.plan.prefix(),), (format_ipv4(user.plan.gateway),), user.close, True, user)


def _of_the_kernel(host: Hypercalls, spec: InterfaceSpec, name: str) -> OpenedLink:
    """A VLAN or a bridge: nothing of the host's."""
    return OpenedLink(None, tuple(spec.address), tuple(spec.gateways), _nothing)


OPENERS: dict[str, Callable[[Hypercalls, InterfaceSpec, str], OpenedLink]] = {
    "switch": _open_switch,
    "tap": _open_tap,
    "tun": _open_tun,
    "user": _open_user,
    "vlan": _of_the_kernel,
    "bridge": _of_the_kernel,
}
