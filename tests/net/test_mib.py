"""The MIB: every object is made of counters that are there, and counts what the RFC says."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.components import BASE
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.sysctl import SYNONYMS
from rumpkit.net import mib
from rumpkit.net.components import NET
from tests.net.lan import pair
from tests.net.tcp_world import World

GAUGES = {
    "tcp.established": 7,
    "tcp.connections": 9,
    "tcp.time_waits": 3,
    "tcp.orphans": 1,
    "tcp.min_rto": 200,
    "tcp.max_rto": 120_000,
}


@pytest.fixture(scope="module")
def counters():
    """Those of a kernel with the whole network."""
    host = SimHost(1)
    host.enter()
    names = dict.fromkeys((*BASE, *NET, "tcp", "ipv6"))
    return dict(RumpKernel(host, tuple(names)).counters)


def test_every_object_is_made_of_counters_that_are_there(counters):
    for item in mib.objects(counters):
        for name in item.counters:
            assert name.lstrip("-") in counters or name in GAUGES, f"{item.name}: {name}"


def test_synonyms_of_sysctls_lead_somewhere():
    host = SimHost(1)
    host.enter()
    known = {row.name for row in RumpKernel(host, tuple(dict.fromkeys((*BASE, *NET, "tcp", "ipv6")))).sysctl}
    assert [name for name, meant in SYNONYMS.items() if meant not in known] == []


def test_names_are_unique(counters):
    names = [item.name for item in mib.objects(counters)]
    assert len(names) == len(set(names)) == len(mib.values(counters, GAUGES))


def test_sums_and_differences():
    counted = {"udp.datagrams_in": 10, "udp.bad_in": 1, "udp.bad_checksum": 2, "udp.no_port": 3, "udp.buffer_full": 0}
    found = mib.values(counted, {})
    assert found["udpHCInDatagrams"] == 4
    assert found["udpInErrors"] == 3
    assert found["udpNoPorts"] == 3
    assert "tcpHCInSegs" not in found
    assert mib.values(counted, GAUGES)["tcpCurrEstab"] == 7


def test_pings_by_type():
    host, a, b = pair()
    a.ping("10.0.0.2")
    host.run(host.now + 10**9)
    assert (a.counter("icmp.type_8_out"), a.counter("icmp.type_0_in")) == (1, 1)
    assert (b.counter("icmp.type_8_in"), b.counter("icmp.type_0_out")) == (1, 1)
    found = mib.values(dict(b.kernel.counters), {})
    assert found["icmpMsgStatsInPkts.8"] == found["icmpStatsInMsgs"] == 1
    assert found["icmpMsgStatsOutPkts.0"] == found["icmpStatsOutMsgs"] == 1


def test_errors_by_type():
    host, a, b = pair()
    socket = a.udp_socket()
    a.send(socket, b"x", "10.0.0.2", 9)
    host.run(host.now + 10**9)
    assert b.counter("icmp.type_3_out") == a.counter("icmp.type_3_in") == 1


def test_octets_and_groups():
    host, a, b = pair()
    a.ping("10.0.0.2", b"12345678")
    host.run(host.now + 10**9)
    assert a.counter("ip.bytes_out") == b.counter("ip.bytes_in") == 20 + 8 + 8
    # What was broadcast: ARP's announcement and its question.
    name = a.interface.name
    assert a.counter(f"interface.{name}.group_out") == 2
    found = mib.values(dict(a.kernel.counters), {})
    assert found[f"ifHCOutMulticastPkts.{name}"] == 2
    assert found[f"ifHCOutUcastPkts.{name}"] == 1


def test_connections_that_end_by_a_reset():
    world = World()
    client, server = world.pair()
    world.call(client.abort, world.now)
    world.run(1)
    assert world.a.counter("established_resets") == world.b.counter("established_resets") == 1
    client, server = world.pair(81)
    for socket in (client, server):
        world.call(socket.release, world.now)
    world.run(100)
    assert world.a.counter("established_resets") == 1
