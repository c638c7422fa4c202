"""The `user` link: a port for the kernel's interface, and behind it the gateway and all its flows."""

from typing import cast, final

from ...hosts.posix.host import PosixHost
from ...hosts.switch import Switch
from ...hyper.link import LinkPort
from ...kern.kernel import RumpKernel
from ...net.ip.service import Ip
from ...net.transport.tcp.layer import Tcp
from ...net.transport.udp import Udp
from ...net.wire.address import format_ipv4
from ..spec import InterfaceSpec
from ..values import Forward
from .datagrams import Datagrams
from .flows import Flows
from .inbound import Inbound
from .outbound import Outbound
from .plan import Plan, plan
from .world import World

MTU = 65520
"""Memory carries any size; with segmentation offload it hardly matters, but UDP wants no fragments."""
COMPONENTS = ("ethernet", "ipv4", "icmp", "udp", "tcp")


@final
class UserLink:
    """Built off the schedule.  Raises ConfigError for addresses that don't fit, OSError for a forward's port in use."""

    def __init__(self, host: PosixHost, spec: InterfaceSpec) -> None:
        self.plan: Plan = plan(spec)
        self.host = host
        switch = Switch(host, mtu=spec.mtu or MTU)
        self.port: LinkPort = switch.port()
        """For the kernel's interface."""
        self.world = World(self.plan)
        self.flows = Flows(host)
        self._inbound: list[Inbound] = []
        self._udp_forwards: list[Forward] = []
        host.enter()
        try:
            self.gateway = RumpKernel(host, COMPONENTS, "gateway")
            self._configure(switch)
            self.datagrams = Datagrams(host, self.gateway, self._udp, self.plan, self.world)
            self._udp.stray = self.datagrams
            self.outbound = Outbound(host, self.plan, self.world, self.flows)
            self._tcp.intercept(self.outbound)
        finally:
            host.leave()
        try:
            for forward in self.plan.forwards:
                self._forward(forward)
        except OSError:
            self.close()
            raise

    def _configure(self, switch: Switch) -> None:
        ip = cast(Ip, self.gateway.service("Ip"))
        self._udp = cast(Udp, self.gateway.service("Udp"))
        self._tcp = cast(Tcp, self.gateway.service("Tcp"))
        self.gateway.sysctl.set("net.ip.accept_any_destination", 1)
        ip.add_interface(switch.port(), "gw0")
        for address in (self.plan.gateway, self.plan.name_server):
            ip.add_address("gw0", f"{format_ipv4(address)}/{self.plan.prefix_length}")

    def _forward(self, forward: Forward) -> None:
        if forward.protocol == "udp":
            self._udp_forwards.append(self.datagrams.forward(forward))
        else:
            self._inbound.append(Inbound(self.host, self.gateway, self.plan, forward, self.flows))

    def forwards(self) -> list[Forward]:
        """What is forwarded, with the ports that the host chose."""
        return [*(inbound.forward for inbound in self._inbound), *self._udp_forwards]

    def close(self) -> None:
        """Reset all flows and let go of all host sockets.  Off the schedule."""
        self.host.enter()
        try:
            for inbound in self._inbound:
                inbound.close()
            self.outbound.close()
            self.flows.close()
            self.datagrams.close()
            self.gateway.close()
        finally:
            self.host.leave()
        self.port.close()
