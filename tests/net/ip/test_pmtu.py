"""Path MTUs learned from ICMP: what is believed, how long, and how many (RFC 1191)."""

import pytest

from rumpkit.hyper.time import SECOND
from rumpkit.net.ip.pmtu import plateau_below
from rumpkit.net.wire.icmp import DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, IcmpMessage
from rumpkit.net.wire.udp import emit_udp_header
from tests.net.lan import packet, pair

FAR = "192.0.2.7"
ADDRESS = b"\xc0\0\2\7"


def node():
    host, a, _ = pair()
    a.do(a.ip.add_route, "default", "10.0.0.2")
    a.udp_socket(port=1000)
    return host, a


def needed(mtu, size=1500, far=FAR, sport=1000):
    """A router's message that a packet of ours was too big."""
    quoted = bytearray(packet("10.0.0.1", far, 17, emit_udp_header(sport, 7, 100) + bytes(100))[14:])
    quoted[2:4] = size.to_bytes(2, "big")
    message = IcmpMessage(DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, mtu, bytes(quoted[:28]))
    return packet("10.0.0.2", "10.0.0.1", 1, message.emit())


def test_a_path_mtu_only_shrinks():
    _, a = node()
    for reported, size, then in (
        (1400, 1500, 1400),
        (1450, 1500, 1400),
        (1400, 1400, 1400),  # no smaller than what was sent: nonsense
        (1200, 1300, 1200),
        (9000, 1500, 1200),
    ):
        a.inject(needed(reported, size))
        assert a.v4.route(ADDRESS).mtu == then
    assert a.v4.route(b"\xc0\0\2\x08").mtu == 1500


@pytest.mark.parametrize(("size", "then"), [(1500, 1492), (1492, 1006), (1006, 552)])
def test_old_routers_that_tell_no_mtu_are_guessed(size, then):
    _, a = node()
    a.inject(needed(0, size))
    route = a.v4.route(ADDRESS)
    assert (route.mtu, route.fragmentable) == (then, then == 552)


def test_plateaus():
    assert [plateau_below(size) for size in (65536, 1500, 1492, 600, 68, 1)] == [65535, 1492, 1006, 508, 68, 68]


def test_crumbs_are_not_believed_and_the_minimum_is_a_sysctl():
    _, a = node()
    a.inject(needed(68))
    assert (a.v4.route(ADDRESS).mtu, a.v4.route(ADDRESS).fragmentable) == (552, True)
    a.kernel.sysctl.set("net.ip.min_path_mtu", 100)
    a.inject(needed(200))
    assert (a.v4.route(ADDRESS).mtu, a.v4.route(ADDRESS).fragmentable) == (200, False)


def test_what_nobody_here_sent_changes_nothing():
    _, a = node()
    a.inject(needed(1000, sport=1001))
    assert a.v4.route(ADDRESS).mtu == 1500
    assert a.counter("icmp.errors_ignored") == 1


def test_memory_of_paths_fades_and_is_limited():
    host, a = node()
    a.kernel.sysctl.set("net.ip.path_mtu_entries", 3)
    for last in range(1, 6):
        a.inject(needed(1000, far=f"192.0.2.{last}"))
        host.run(host.now + 10 * SECOND)
    assert [address[3] for address, _ in a.v4.path_mtus.rows()] == [3, 4, 5]
    host.run(host.now + 575 * SECOND)
    assert [address[3] for address, _ in a.v4.path_mtus.rows()] == [4, 5]
    assert a.v4.route(b"\xc0\0\2\3").mtu == 1500
    assert a.v4.route(b"\xc0\0\2\4").mtu == 1000
    host.run(host.now + 60 * SECOND)
    assert a.v4.path_mtus.rows() == []
    assert a.v4.route(b"\xc0\0\2\5").mtu == 1500
