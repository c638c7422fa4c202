"""The socket tables of /proc/net, held against what Linux's tools take them apart as."""

from __future__ import annotations

import pytest

from rumpkit.kern.abi.socket import AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_ICMPV6, SOCK_RAW
from rumpkit.net.proc.files import FILES
from rumpkit.net.proc.view import Owner, View
from rumpkit.net.wire.address import parse_ipv6
from tests.net.lan import pair
from tests.net.lan6 import pair6
from tests.net.tcp_world import World


def rows(view: View, name: str) -> list[list[str]]:
    """The words of each row, as everybody reads them; the first is Linux's heading."""
    head, *lines = "".join(FILES[name](view)).splitlines()
    assert head.split()[:2] == ["sl", "local_address"]
    return [line.split() for line in lines]


def test_a_listener_its_connections_and_one_in_time_wait():
    world = World()
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 80))
    world.call(listener.listen, 5)
    owners: dict[object, Owner] = {listener.listener: Owner(4711, AF_INET, 33)}
    [row] = rows(View(world.b.kernel, owners), "tcp")
    assert row[:5] == ["0:", "00000000:0050", "00000000:0000", "0A", "00000000:00000000"]
    assert (row[7], row[9]) == ("33", "4711")
    client = world.a.socket()
    world.call(client.connect, (world.b.address, 80), world.now)
    world.run(0.1)
    server = world.call(listener.accept, world.now)
    server.hold()
    world.call(client.send, b"abc", 0, 0, None, world.now)
    world.run(0.1)
    row = rows(View(world.b.kernel), "tcp")[1]
    port = f"{client.local_address()[1]:04X}"
    assert row[1:5] == ["0200000A:0050", f"0100000A:{port}", "01", "00000000:00000003"]
    world.call(client.release, world.now)
    world.call(server.receive, 9, 0, world.now)
    world.call(server.release, world.now)
    world.run(0.1)
    [row] = rows(View(world.a.kernel), "tcp")
    assert row[3] == "06" and row[5].startswith("03:") and int(row[5][3:], 16) > 5000
    assert "tw 1" in "".join(FILES["sockstat"](View(world.a.kernel)))


def test_what_was_not_acknowledged_and_its_timer():
    world = World()
    client, _ = world.pair()
    world.call(world.b.ip.set_up, "eth0", False)
    world.call(client.send, b"x" * 3000, 0, 0, None, world.now)
    world.run(0.7)
    [row] = rows(View(world.a.kernel), "tcp")
    assert row[4] == f"{3000:08X}:00000000" and row[5][:3] == "01:" and int(row[6], 16) >= 1


def test_sockets_of_ipv6_are_in_tables_of_their_own():
    _, node, _ = pair6()
    sockets = node.kernel.sockets
    with node.entered():
        made = [sockets.make(AF_INET6, kind, protocol) for kind, protocol in ((1, 0), (2, 0), (2, 58))]
        for one in made:
            one.hold()
        made[0].bind((bytes(16), 80))
        made[0].listen(5)
        made[1].bind((parse_ipv6("fd00::1"), 53))
        made[2].bind((bytes(16), 77))
        made[2].connect((parse_ipv6("fd00::2"), 0), node.host.now)
        view = View(node.kernel)
        found = {name: rows(view, name) for name in ("tcp", "tcp6", "udp", "udp6", "icmp", "icmp6")}
    assert [name for name in found if found[name]] == ["tcp6", "udp6", "icmp6"]
    assert found["tcp6"][0][1:4] == [f"{'0' * 32}:0050", f"{'0' * 32}:0000", "0A"]
    assert found["udp6"][0][1:4] == ["000000FD000000000000000001000000:0035", f"{'0' * 32}:0000", "07"]
    assert found["icmp6"][0][2:4] == ["000000FD000000000000000002000000:0000", "01"]
    assert "UDP6: inuse 1\n" in "".join(FILES["sockstat6"](view))


def test_datagrams_that_wait():
    _, a, b = pair()
    socket = b.udp_socket(port=53)
    a.send(a.udp_socket(), b"question", "10.0.0.2", 53)
    b.host.run(b.host.now + 10**9)
    with b.entered():
        [row] = rows(View(b.kernel), "udp")
    assert row[1:5] == ["00000000:0035", "00000000:0000", "07", row[4]] and int(row[4].split(":")[1], 16) >= 8
    assert b.receive(socket) is not None


@pytest.mark.parametrize(("family", "table"), [(0, "tcp"), (AF_INET6, "tcp6"), (AF_INET, "tcp")])
def test_whose_a_socket_is_says_where_it_is_listed(family, table):
    world = World()
    listener = world.b.socket()
    world.call(listener.bind, (world.b.address, 80))
    world.call(listener.listen, 5)
    view = View(world.b.kernel, {listener.listener: Owner(1, family, 0)} if family else None)
    found = {name: rows(view, name) for name in ("tcp", "tcp6")}
    assert [name for name in found if found[name]] == [table]
    if table == "tcp6":
        assert found[table][0][1] == "0000000000000000FFFF00000200000A:0050"


def test_tables_of_a_kernel_without_a_network_are_empty():
    from rumpkit.hosts.sim.host import SimHost
    from rumpkit.kern.components import BASE
    from rumpkit.kern.kernel import RumpKernel

    host = SimHost(1)
    host.enter()
    view = View(RumpKernel(host, tuple(BASE)))
    for name in ("tcp", "tcp6", "udp", "udp6", "icmp", "icmp6", "raw", "raw6"):
        assert rows(view, name) == []
    for name, make in FILES.items():
        assert "".join(make(view)) or name == "snmp6"


def test_raw_sockets_of_both_versions():
    host, a, _ = pair6()
    del host
    four = a.do(a.kernel.sockets.make, AF_INET, SOCK_RAW, IPPROTO_ICMP)
    six = a.do(a.kernel.sockets.make, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
    a.do(six.connect, (parse_ipv6("fd00::2"), 0), a.host.now)
    view = View(a.kernel, {six: Owner(77, AF_INET6, 1000)})
    (row,) = rows(view, "raw")
    assert row[1:4] == ["00000000:0001", "00000000:0000", "07"]
    (row,) = rows(view, "raw6")
    assert row[1:4] == ["000000FD000000000000000001000000:003A", "000000FD000000000000000002000000:0000", "01"]
    assert row[7] == "1000" and row[9] == "77"
    assert "RAW: inuse 1" in "".join(FILES["sockstat"](view)) and "RAW6: inuse 1" in "".join(FILES["sockstat6"](view))
    assert four.describe() == "raw 1"
