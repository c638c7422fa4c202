"""Components of the net faction.  Interpreted; see kern/component.py.

Protocols are loaded with their kernel; sockets, with all their options, when the first of a kind is made.
"""

from typing import TYPE_CHECKING, Final

from ..kern.component import component

if TYPE_CHECKING:
    from ..kern.kernel import RumpKernel
    from ..kern.socket import Socket, StreamSocket
    from .dhcp.service import Dhcp
    from .ip.icmp import Icmp
    from .ip.service import Ip
    from .ip6.service import Ip6
    from .link.bridge import Bridges
    from .link.interfaces import Interfaces
    from .link.loopback import LoopbackInterface
    from .proc.texts import NetTexts
    from .socket.privileged import PrivilegedSockets
    from .transport.tcp.channel import Channel
    from .transport.tcp.layer import Tcp
    from .transport.udp import Udp

NET: Final = ("ethernet", "ipv4", "loopback", "icmp", "udp")
"""What a kernel with a network is built with; transports other than UDP are named beside it."""


@component("ethernet", faction="net")
def ethernet(kernel: "RumpKernel") -> "Interfaces":
    """Network interfaces over Ethernet links, with ARP."""
    from .link.interfaces import Interfaces

    return Interfaces(kernel.hyper, kernel.timers)


@component("ipv4", faction="net")
def ipv4(kernel: "RumpKernel", interfaces: "Interfaces") -> "Ip":
    """The Internet protocol, version 4: addresses, routes, fragments, path MTU discovery."""
    from .ip.service import Ip

    ip = Ip(kernel.hyper, kernel.timers, interfaces)
    ip.register(kernel.counters, kernel.sysctl)
    return ip


@component("net_texts", faction="net")
def net_texts(kernel: "RumpKernel", ip: "Ip") -> "NetTexts":
    """What Linux's /proc/net says, for a file system to show."""
    from .proc.texts import NetTexts

    return NetTexts(kernel)


@component("ipv6", faction="net")
def ipv6(kernel: "RumpKernel", ip: "Ip") -> "Ip6":
    """The Internet protocol, version 6: addresses, neighbours, routers, ICMPv6, multicast listening."""
    from ..kern.abi.socket import AF_INET6, IPPROTO_ICMPV6, SOCK_DGRAM
    from .ip6.service import Ip6

    def make(family: int, kind: int, protocol: int) -> "Socket":
        from .socket.ping6 import Ping6Socket

        return Ping6Socket(made.icmp, made.network, kernel.hyper, ip.interfaces, family, kind, protocol)

    made = Ip6(kernel.hyper, kernel.timers, ip.names)
    made.register(kernel.counters, kernel.sysctl)
    ip.enable_ipv6(made)
    kernel.sockets.register(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6, make, default=False)
    return made


@component("loopback", faction="net")
def loopback(ip: "Ip") -> "LoopbackInterface":
    """The interface lo, 127.0.0.1/8: what the kernel sends to itself."""
    return ip.add_loopback()


@component("icmp", faction="net")
def icmp(kernel: "RumpKernel", ip: "Ip") -> "Icmp":
    """Answers to pings, ICMP errors both ways, and sockets to ping from."""
    from ..kern.abi.socket import AF_INET, IPPROTO_ICMP, SOCK_DGRAM
    from .ip.icmp import Icmp
    from .ip.report import ICMP_SYSCTLS

    def make(family: int, kind: int, protocol: int) -> "Socket":
        from .socket.ping import PingSocket

        return PingSocket(made, ip.v4, kernel.hyper, family, kind, protocol)

    made = Icmp(ip.v4)
    kernel.counters.register("icmp", made.counters)
    kernel.sysctl.register("net.icmp", made.settings, ICMP_SYSCTLS)
    kernel.sockets.register(AF_INET, SOCK_DGRAM, IPPROTO_ICMP, make, default=False)
    return made


@component("udp", faction="net")
def udp(kernel: "RumpKernel", ip: "Ip") -> "Udp":
    """The user datagram protocol and its sockets."""
    from ..kern.abi.socket import AF_INET, IPPROTO_UDP, SOCK_DGRAM
    from .transport.udp import Udp
    from .transport.udp_settings import UDP_SYSCTLS

    def make(family: int, kind: int, protocol: int) -> "Socket":
        from .socket.datagram import UdpSocket

        return UdpSocket(made, family, kind, IPPROTO_UDP)

    made = Udp(kernel.hyper, ip.v4, ip.ports)
    made.devices = ip.interfaces
    kernel.counters.register("udp", made.counters)
    kernel.sysctl.register("net.udp", made.settings, UDP_SYSCTLS)
    kernel.sockets.register(AF_INET, SOCK_DGRAM, IPPROTO_UDP, make)

    def enable_ipv6(ip6: "Ip6") -> None:
        from ..kern.abi.socket import AF_INET6
        from .transport.udp6 import UdpOver6

        UdpOver6(made, ip6.network)
        kernel.sockets.register(AF_INET6, SOCK_DGRAM, IPPROTO_UDP, make)

    ip.with_ipv6(enable_ipv6)
    return made


@component("raw", faction="net")
def raw(kernel: "RumpKernel", ip: "Ip") -> "PrivilegedSockets":
    """Raw sockets of IPv4 and IPv6, and packet sockets (AF_PACKET), for root."""
    from .socket.privileged import PrivilegedSockets

    return PrivilegedSockets(kernel, ip)


@component("bridge", faction="net")
def bridge(kernel: "RumpKernel") -> "Bridges":
    """Bridges between Ethernet interfaces: learning, ageing, no spanning tree."""
    from .link.bridge import BRIDGE_SYSCTLS, Bridges

    made = Bridges()
    kernel.sysctl.register("net.bridge", made.settings, BRIDGE_SYSCTLS)
    return made


@component("dhcp", faction="net")
def dhcp(kernel: "RumpKernel", ip: "Ip", udp: "Udp") -> "Dhcp":
    """Addresses, routes and name servers by DHCPv4, for interfaces that ask for it."""
    from .dhcp.client import DHCP_SYSCTLS
    from .dhcp.service import Dhcp

    made = Dhcp(kernel, ip, udp)
    kernel.counters.register("dhcp", made.counters)
    kernel.sysctl.register("net.dhcp", made.settings, DHCP_SYSCTLS)
    return made


@component("tcp", faction="net")
def tcp(kernel: "RumpKernel", ip: "Ip") -> "Tcp":
    """The transmission control protocol and its sockets."""
    from ..kern.abi.socket import AF_INET, IPPROTO_TCP, SOCK_STREAM
    from .transport.ports import PortAllocator
    from .transport.tcp.layer import Tcp

    def make(family: int, kind: int, protocol: int) -> "Socket":
        from .socket.stream import TcpSocket

        return TcpSocket(made, family, kind, IPPROTO_TCP)

    def take_over(channel: "Channel") -> "StreamSocket":
        from .socket.stream import adopt

        made.adopt = lambda channel: adopt(made, channel, AF_INET)  # from the second on
        return adopt(made, channel, AF_INET)

    made = Tcp(kernel, ip.v4, PortAllocator(kernel.hyper, ip.ports))
    made.devices = ip.interfaces
    made.adopt = take_over
    kernel.sockets.register(AF_INET, SOCK_STREAM, IPPROTO_TCP, make)

    def enable_ipv6(ip6: "Ip6") -> None:
        from ..kern.abi.socket import AF_INET6
        from .transport.tcp.layer import TcpOver6

        TcpOver6(made, ip6.network)
        kernel.sockets.register(AF_INET6, SOCK_STREAM, IPPROTO_TCP, make)

    ip.with_ipv6(enable_ipv6)
    return made
