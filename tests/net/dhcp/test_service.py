"""A kernel that gets its address by DHCP from another kernel's socket, in simulated time."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EINVAL, EOPNOTSUPP
from rumpkit.kern.kernel import RumpKernel
from rumpkit.net.dhcp.service import Dhcp
from rumpkit.net.ip.service import Ip
from rumpkit.net.wire import dhcp as wire
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.arp import REPLY, REQUEST, ArpPacket
from rumpkit.net.wire.dhcp import DhcpMessage, emit_classless_routes, parse_dhcp
from rumpkit.net.wire.ethernet import ETHERTYPE_ARP, emit_ethernet
from tests.net.lan import Hub, Node

GIVEN, SERVER = parse_ipv4("10.0.0.50"), parse_ipv4("10.0.0.1")
MAC = b"\2\0\0\0\0\x99"


class Net:
    """Our kernel, with a DHCP client and nothing else, and a kernel at 10.0.0.1 whose socket plays the server."""

    def __init__(self, *components: str) -> None:
        self.host = SimHost(seed=8)
        self.hub = Hub(self.host)
        self.b = Node(self.host, "b", (self.hub, "10.0.0.1/24"))
        self.server = self.b.udp_socket(port=67)
        self.b.do(self.server.set_option, 1, 6, b"\1\0\0\0")
        self.port = self.hub.port()
        self.host.enter()
        self.kernel = RumpKernel(self.host, ("ethernet", "ipv4", "loopback", "icmp", "dhcp", *components), "ours")
        ip, dhcp = self.kernel.service("Ip"), self.kernel.service("Dhcp")
        assert isinstance(ip, Ip) and isinstance(dhcp, Dhcp)
        self.ip, self.dhcp = ip, dhcp
        ip.add_interface(self.port, "vif0", MAC)
        dhcp.start("vif0", 5)
        self.host.leave()
        self.kinds: list[int] = []
        self.given = GIVEN
        self.options: dict[int, bytes] = {
            wire.LEASE_TIME: (600).to_bytes(4, "big"),
            wire.SUBNET_MASK: b"\xff\xff\xff\0",
            wire.ROUTER: SERVER,
            wire.NAME_SERVER: SERVER,
            wire.DOMAIN_NAME: b"example.org",
        }

    def serve(self, seconds: float, refuse: bool = False) -> None:
        """Let time pass, and answer what comes."""
        end = self.host.now + int(seconds * SECOND)
        while self.host.now < end:
            self.host.run(min(end, self.host.now + SECOND // 20))
            while (received := self.b.receive(self.server)) is not None:
                message = parse_dhcp(received.data)
                assert message is not None
                self.kinds.append(message.kind())
                unicast = message.client != bytes(4)
                assert received.source == (message.client if unicast else bytes(4), wire.CLIENT_PORT)
                kind = {wire.DISCOVER: wire.OFFER, wire.REQUEST: wire.NAK if refuse else wire.ACK}.get(message.kind())
                if kind is not None:
                    self.answer(message, kind, "10.0.0.50" if unicast else "255.255.255.255")

    def answer(self, asked: DhcpMessage, kind: int, to: str) -> None:
        message = DhcpMessage(wire.BOOTREPLY, asked.transaction, asked.hardware)
        message.yours = self.given
        message.options = {wire.MESSAGE_TYPE: bytes((kind,)), wire.SERVER_IDENTIFIER: SERVER, **self.options}
        self.b.send(self.server, message.emit(), to, wire.CLIENT_PORT)

    def count(self, name: str) -> int:
        return self.kernel.counters.get(name)

    def addresses(self) -> tuple[str, ...]:
        return self.ip.interface_rows()[1].addresses

    def routes(self) -> list[tuple[str, str, int, str]]:
        return [(row.prefix, row.gateway, row.metric, row.origin) for row in self.ip.route_rows() if row.metric]


def test_an_address_routes_and_names():
    net = Net()
    net.serve(6)
    assert net.addresses() == ("10.0.0.50/24",)
    assert net.routes() == [("0.0.0.0/0", "10.0.0.1", 5, "dynamic")]
    assert net.ip.names.resolv_conf() == "nameserver 10.0.0.1\nsearch example.org\n"
    assert net.dhcp.bound()
    assert net.kinds == [wire.DISCOVER, wire.REQUEST]
    arps = [frame.head[14:] for frame in net.port.sent if frame.head[12:14] == b"\x08\x06"]
    assert [packet[14:18] for packet in arps[:3]] == [bytes(4)] * 3
    assert [(packet[14:18], packet[24:28]) for packet in arps[3:]] == [(GIVEN, GIVEN)] * 2


def test_renewals_change_what_has_changed():
    net = Net()
    net.serve(3)
    route = net.ip.v4.route(parse_ipv4("8.8.8.8"))
    net.serve(310)
    assert net.kinds[2:] == [wire.REQUEST]
    assert net.ip.v4.route(parse_ipv4("8.8.8.8")).next_hop == route.next_hop
    del net.options[wire.ROUTER]
    net.options[wire.CLASSLESS_ROUTES] = emit_classless_routes(
        [(parse_ipv4("10.9.0.0"), 16, parse_ipv4("10.0.0.9")), (parse_ipv4("10.8.0.0"), 16, bytes(4))]
    )
    net.options[wire.NAME_SERVER] = parse_ipv4("10.0.0.3")
    net.options[wire.INTERFACE_MTU] = b"\x05\0"
    net.serve(310)
    assert net.routes() == [("10.9.0.0/16", "10.0.0.9", 5, "dynamic"), ("10.8.0.0/16", "", 5, "dynamic")]
    assert net.ip.names.servers() == [parse_ipv4("10.0.0.3")]
    assert net.ip.v4.route(SERVER).mtu == 1280
    assert net.addresses() == ("10.0.0.50/24",)


def test_a_refused_renewal_takes_everything_away_and_a_new_address_comes():
    net = Net()
    net.serve(3)
    net.serve(305, refuse=True)
    assert net.count("dhcp.naks") >= 1
    net.given = parse_ipv4("10.0.0.77")
    net.serve(10)
    assert net.addresses() == ("10.0.0.77/24",)
    assert net.routes() == [("0.0.0.0/0", "10.0.0.1", 5, "dynamic")]


def test_without_a_server_the_lease_runs_out():
    net = Net()
    net.serve(3)
    net.host.run(net.host.now + 700 * SECOND)
    assert net.addresses() == ()
    assert net.routes() == []
    assert net.ip.names.resolv_conf() == ""
    assert not net.dhcp.bound()
    assert net.count("dhcp.expired") == 1


@pytest.mark.parametrize("how", ["owner", "prober"])
def test_an_address_that_is_somebodys_is_declined(how):
    net = Net()
    if how == "owner":
        net.b.do(net.b.ip.add_address, "vif0", "10.0.0.50/24")
        net.serve(3)
    else:
        net.kernel.sysctl.set("net.dhcp.probe_milliseconds", 1000)
        while net.count("dhcp.messages_out") < 2:
            net.serve(0.1)
        packet = ArpPacket(REQUEST, b"\2\0\0\0\0\x42", bytes(4), bytes(6), GIVEN).emit()
        net.host.run(net.host.now + 2 * SECOND)
        send(net, packet)
        net.serve(1)
    assert net.count("dhcp.declined") == 1
    assert net.addresses() == ()
    assert net.kinds == [wire.DISCOVER, wire.REQUEST, wire.DECLINE]
    assert net.count("arp.conflicts") == 1
    net.given = parse_ipv4("10.0.0.51")
    net.serve(25)
    assert net.addresses() == ("10.0.0.51/24",)


def send(net: Net, packet: bytes) -> None:
    """An ARP packet of a third host."""
    net.host.enter()
    receiver = net.port.receiver
    assert receiver is not None
    net.host.post(receiver, Frame(emit_ethernet(b"\xff" * 6, b"\2\0\0\0\0\x42", ETHERTYPE_ARP) + packet))
    net.host.leave()


def test_an_address_is_defended_once_and_then_given_up():
    net = Net()
    net.serve(3)
    claim = ArpPacket(REPLY, b"\2\0\0\0\0\x42", GIVEN, MAC, GIVEN).emit()
    send(net, claim)
    net.serve(1)
    assert net.addresses() == ("10.0.0.50/24",)
    send(net, claim)
    net.serve(1)
    assert net.addresses() == ()
    assert net.kinds[-1] == wire.DECLINE


def test_strangers_messages_and_garbage_are_counted():
    net = Net()
    net.serve(3)
    stranger = DhcpMessage(wire.BOOTREPLY, 1, b"\2\0\0\0\0\7")
    net.answer(stranger, wire.ACK, "255.255.255.255")
    net.b.send(net.server, b"garbage", "255.255.255.255", wire.CLIENT_PORT)
    other = net.b.udp_socket(port=1067)
    net.b.do(other.set_option, 1, 6, b"\1\0\0\0")
    net.b.send(other, stranger.emit(), "255.255.255.255", wire.CLIENT_PORT)
    net.serve(1)
    assert (net.count("dhcp.ignored_in"), net.count("dhcp.bad_in")) == (1, 2)
    assert net.addresses() == ("10.0.0.50/24",)


def test_start_and_stop():
    net = Net()
    net.serve(3)
    with pytest.raises(OSError) as caught:
        net.dhcp.start("vif0")
    assert caught.value.errno == EINVAL
    with pytest.raises(OSError) as caught:
        net.dhcp.start("lo")
    assert caught.value.errno == EOPNOTSUPP
    net.host.enter()
    net.dhcp.stop("vif0")
    net.host.leave()
    net.serve(1)
    assert net.kinds[-1] == wire.RELEASE
    assert net.addresses() == ()
    with pytest.raises(OSError):
        net.dhcp.stop("vif0")


def test_an_mtu_holds_for_both_versions_of_ip_at_once():
    net = Net("ipv6")
    net.host.enter()
    net.ip.add_address("vif0", "fd00::2/64", detect=False)
    net.host.leave()
    net.serve(10)
    assert net.ip.v6 is not None
    peer = b"\xfd" + bytes(14) + b"\1"
    assert net.ip.v6.route(peer).mtu == 1500
    net.options[wire.INTERFACE_MTU] = b"\x05\x78"
    net.serve(310)
    assert net.ip.v4.route(SERVER).mtu == net.ip.v6.route(peer).mtu == 1400


def test_an_interface_that_goes_takes_its_client_with_it():
    net = Net()
    net.serve(20)
    sent = net.count("dhcp.messages_out")
    net.host.enter()
    net.ip.remove_interface("vif0")
    net.host.leave()
    assert net.dhcp.clients == {} and net.dhcp.bound()
    assert net.count("dhcp.messages_out") == sent + 1, (
        "the lease is given back, as far as the way to the server is known"
    )
    net.serve(1000)
    assert net.count("dhcp.messages_out") == sent + 1
    port = net.hub.port()
    net.host.enter()
    net.ip.add_interface(port, "vif0", MAC)
    net.dhcp.start("vif0")
    net.host.leave()
    net.serve(20)
    assert net.dhcp.bound() and net.addresses() == ("10.0.0.50/24",)


def test_an_interface_that_comes_up_again_asks_for_its_lease():
    net = Net()
    net.serve(20)
    before = len(net.kinds)
    net.host.enter()
    net.ip.set_up("vif0", False)
    net.host.leave()
    net.serve(5)
    net.host.enter()
    net.ip.set_up("vif0", True)
    net.host.leave()
    net.serve(5)
    assert net.kinds[before:] == [wire.REQUEST]
    assert net.dhcp.bound() and net.addresses() == ("10.0.0.50/24",)
