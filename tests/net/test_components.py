"""The components of the net faction: what selecting them gives a kernel."""

import pytest

import rumpkit.net.components
from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EAFNOSUPPORT, ENETUNREACH, EPROTONOSUPPORT, ESOCKTNOSUPPORT
from rumpkit.kern.abi.socket import AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_UDP, SOCK_DGRAM, SOCK_RAW
from rumpkit.kern.kernel import RumpKernel
from rumpkit.net.ip.service import Ip
from tests.net.lan import Hub


def boot(*components):
    host = SimHost(seed=5)
    host.enter()
    kernel = RumpKernel(host, components)
    host.leave()
    return host, kernel


def net_components(kernel):
    return [built.component.name for built in kernel.built if built.component.faction == "net"]


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


def test_a_transport_pulls_in_what_it_stands_on():
    _, kernel = boot("udp")
    assert net_components(kernel) == ["ethernet", "ipv4", "udp"]
    kernel.sockets.make(AF_INET, SOCK_DGRAM, 0)
    kernel.sockets.make(AF_INET, SOCK_DGRAM, IPPROTO_UDP)
    fails(EPROTONOSUPPORT, kernel.sockets.make, AF_INET, SOCK_DGRAM, IPPROTO_ICMP)
    fails(ESOCKTNOSUPPORT, kernel.sockets.make, AF_INET, SOCK_RAW, 0)
    fails(EAFNOSUPPORT, kernel.sockets.make, AF_INET6, SOCK_DGRAM, 0)


def test_the_usual_set_builds():
    _, kernel = boot(*rumpkit.net.components.NET)
    assert sorted(net_components(kernel)) == ["ethernet", "icmp", "ipv4", "loopback", "udp"]
    assert all(built.component.help for built in kernel.built)
    kernel.sockets.make(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)


def test_limits_have_names_bounds_and_help():
    _, kernel = boot(*rumpkit.net.components.NET)
    settings = {setting.name: setting for setting in kernel.sysctl}
    for name in (
        "net.arp.queue_packets",
        "net.arp.max_neighbours",
        "net.ip.fragment_memory",
        "net.ip.route_cache_entries",
        "net.ip.path_mtu_entries",
        "net.icmp.errors_per_second",
        "net.udp.receive_buffer",
        "net.port.ephemeral_first",
    ):
        assert settings[name].help
        assert settings[name].low <= settings[name].value <= settings[name].high
    assert kernel.counters.get("interface.lo.frames_in") == 0


def test_a_kernel_without_icmp_stays_silent_and_one_without_loopback_is_not_there_for_itself():
    host, kernel = boot("udp")
    host.enter()
    ip = kernel.service("Ip")
    assert isinstance(ip, Ip)
    hub = Hub(host)
    port, other = hub.port(), hub.port()
    interface = ip.add_interface(port, "vif0", b"\2\0\0\0\0\1")
    ip.add_address("vif0", "10.0.0.1/24")
    socket = kernel.sockets.make(AF_INET, SOCK_DGRAM, 0)
    fails(ENETUNREACH, socket.send, b"x", 0, 0, (b"\x7f\0\0\1", 7), host.now)
    fails(ENETUNREACH, socket.send, b"x", 0, 0, (b"\x0a\0\0\1", 7), host.now)
    from rumpkit.hyper.frame import Frame
    from rumpkit.net.wire.udp import emit_udp_header
    from tests.net.lan import packet

    before = len(port.sent)
    interface.ingress().receive(Frame(packet("10.0.0.2", "10.0.0.1", 17, emit_udp_header(1, 2, 0))), host.now)
    host.leave()
    host.run(host.now + SECOND)
    assert kernel.counters.get("udp.no_port") == 1
    assert len(port.sent) == before
    assert other.sent == []
