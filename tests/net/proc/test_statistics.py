"""The counters of /proc/net, as Linux's tools read them."""

from __future__ import annotations

from rumpkit.net import mib
from rumpkit.net.proc.files import FILES
from rumpkit.net.proc.statistics import gauges
from rumpkit.net.proc.view import View
from tests.net.lan import pair
from tests.net.lan6 import pair6
from tests.net.tcp_world import World


def text(kernel, name: str) -> str:
    return "".join(FILES[name](View(kernel)))


def pairs(kernel, name: str) -> dict[str, dict[str, int]]:
    """What a file of lines in twos says: names, then numbers."""
    found = {}
    lines = text(kernel, name).splitlines()
    for names, numbers in zip(lines[::2], lines[1::2], strict=True):
        group, *words = names.split()
        assert numbers.split()[0] == group and len(numbers.split()) == len(words) + 1
        found[group] = dict(zip(words, map(int, numbers.split()[1:]), strict=True))
    return found


def test_snmp_and_netstat_count_what_the_kernel_counts():
    world = World()
    client, _ = world.pair()
    world.call(client.send, b"x" * 3000, 0, 0, None, world.now)
    world.run(0.5)
    looked_up = gauges(world.a.kernel)
    try:
        while True:
            next(looked_up)
    except StopIteration as end:
        values = mib.values(dict(world.a.kernel.counters), end.value)
    found = pairs(world.a.kernel, "snmp")
    assert found["Tcp:"]["ActiveOpens"] == found["Tcp:"]["CurrEstab"] == 1
    assert found["Tcp:"]["OutSegs"] == values["tcpHCOutSegs"] > 0
    assert found["Ip:"]["InReceives"] == values["ipSystemStatsHCInReceives"] > 0
    assert (found["Ip:"]["Forwarding"], found["Ip:"]["DefaultTTL"]) == (2, 64)
    more = pairs(world.a.kernel, "netstat")
    assert more["IpExt:"]["OutOctets"] >= 3000 and set(more["TcpExt:"]) > {"ListenDrops", "TCPTimeouts"}


def test_echoes_and_neighbours():
    _, a, b = pair()
    a.ping("10.0.0.2")
    a.host.run(a.host.now + 10**9)
    with a.entered():
        assert pairs(a.kernel, "snmp")["Icmp:"]["InEchoReps"] == 1
        assert pairs(b.kernel, "snmp")["Icmp:"]["InEchos"] == 1
        head, row = text(a.kernel, "arp").splitlines()
    assert head.startswith("IP address       HW type")
    assert row.split() == ["10.0.0.2", "0x1", "0x2", b.interface.mac.hex(":"), "*", a.interface.name]


def test_interfaces_count_what_went_through_them():
    world = World()
    client, _ = world.pair()
    world.call(client.send, b"x" * 3000, 0, 0, None, world.now)
    world.run(0.5)
    rows = {
        line.split(":")[0].strip(): line.split(":")[1].split() for line in text(world.a.kernel, "dev").splitlines()[2:]
    }
    counted = world.a.ip.interfaces.get("eth0").counters
    row = [int(word) for word in rows["eth0"]]
    assert (row[0], row[1], row[8], row[9]) == (
        counted.bytes_in,
        counted.frames_in,
        counted.bytes_out,
        counted.frames_out,
    )
    assert len(row) == 16 and row[8] > 3000


def test_ipv6_has_a_file_of_its_own():
    _, a, _ = pair6()  # whose duplicate address detection asks for its own addresses
    with a.entered():
        rows = dict(line.split() for line in text(a.kernel, "snmp6").splitlines())
    assert int(rows["Ip6OutTransmits"]) > 0 and "Ip6OutForwDatagrams" in rows and int(rows["Icmp6OutType135"]) > 0
