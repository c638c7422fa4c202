"""Sources of groups of IPv6 (RFC 3810 sections 4 to 6): what sockets want, what a link takes in, what routers are told."""

from __future__ import annotations

import struct

import pytest

from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.kern.abi.errno import EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENOBUFS, ENODEV
from rumpkit.kern.abi.socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IPV6,
    IPV6_JOIN_GROUP,
    IPV6_LEAVE_GROUP,
    IPV6_MULTICAST_IF,
    IPV6_MULTICAST_LOOP,
    SOCK_DGRAM,
)
from rumpkit.net.ip.groups import ANYBODY, NOTHING, SourceFilter
from rumpkit.net.socket.datagram import UdpSocket
from rumpkit.net.socket.multicast_options import (
    MCAST_BLOCK_SOURCE,
    MCAST_JOIN_GROUP,
    MCAST_JOIN_SOURCE_GROUP,
    MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP,
    MCAST_UNBLOCK_SOURCE,
)
from rumpkit.net.wire.address import format_ipv6, parse_ipv6
from rumpkit.net.wire.mld import (
    ALLOW_NEW_SOURCES,
    BLOCK_OLD_SOURCES,
    CHANGE_TO_EXCLUDE,
    CHANGE_TO_INCLUDE,
    MODE_IS_EXCLUDE,
    MODE_IS_INCLUDE,
    Query,
    Record,
)
from tests.net.ip6.test_mld import ask, lone, records
from tests.net.lan import Hub
from tests.net.lan6 import ALL_NODES, Node6, pair6

GROUP = parse_ipv6("ff35::77")
ONE, TWO, THREE = (parse_ipv6(f"fd00::{number}") for number in (1, 2, 3))


def socket_on(node: Node6, port: int = 0) -> UdpSocket:
    made = node.do(node.kernel.sockets.make, AF_INET6, SOCK_DGRAM, 0)
    assert isinstance(made, UdpSocket)
    made.hold()
    if port:
        node.do(made.set_option, 1, 15, b"\1\0\0\0")
        node.do(made.bind, (bytes(16), port))
    return made


def storage(address: bytes, family: int = AF_INET6) -> bytes:
    return (family.to_bytes(2, "little") + bytes(6) + address).ljust(128, b"\0")


def act(node: Node6, socket: UdpSocket, name: int, source: bytes = b"", zone: int = 0, group: bytes = GROUP) -> int:
    """Set an option about a group; the errno that it fails with, or 0."""
    if name in (IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP):
        value = group + struct.pack("<i", zone)
    else:
        value = struct.pack("<i4x", zone) + storage(group) + (storage(source) if source else b"")
    try:
        node.do(socket.set_option, IPPROTO_IPV6, name, value)
    except OSError as problem:
        return problem.errno or -1
    return 0


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([(MCAST_JOIN_SOURCE_GROUP, ONE)], Record(CHANGE_TO_INCLUDE, GROUP, (ONE,))),
        ([(MCAST_JOIN_GROUP, b"")], Record(CHANGE_TO_EXCLUDE, GROUP)),
        ([(MCAST_JOIN_SOURCE_GROUP, ONE), (MCAST_JOIN_SOURCE_GROUP, TWO)], Record(ALLOW_NEW_SOURCES, GROUP, (TWO,))),
        (
            [(MCAST_JOIN_SOURCE_GROUP, ONE), (MCAST_JOIN_SOURCE_GROUP, TWO), (MCAST_LEAVE_SOURCE_GROUP, ONE)],
            Record(BLOCK_OLD_SOURCES, GROUP, (ONE,)),
        ),
        ([(MCAST_JOIN_SOURCE_GROUP, ONE), (MCAST_LEAVE_SOURCE_GROUP, ONE)], Record(CHANGE_TO_INCLUDE, GROUP)),
        ([(MCAST_JOIN_GROUP, b""), (MCAST_BLOCK_SOURCE, ONE)], Record(BLOCK_OLD_SOURCES, GROUP, (ONE,))),
        (
            [(MCAST_JOIN_GROUP, b""), (MCAST_BLOCK_SOURCE, ONE), (MCAST_UNBLOCK_SOURCE, ONE)],
            Record(ALLOW_NEW_SOURCES, GROUP, (ONE,)),
        ),
        ([(MCAST_JOIN_GROUP, b""), (MCAST_LEAVE_GROUP, b"")], Record(CHANGE_TO_INCLUDE, GROUP)),
    ],
)
def test_the_last_step_is_told_twice(steps, wanted):
    host, a = lone()
    one = socket_on(a)
    for name, source in steps:
        host.run(host.now + 5 * SECOND)
        a.forget_sent()
        assert act(a, one, name, source) == 0
    host.run(host.now + 5 * SECOND)
    assert records(a) == [wanted] * 2


def test_a_link_takes_in_what_any_socket_wants():
    host, a = lone()
    one, two = socket_on(a), socket_on(a)
    act(a, one, MCAST_JOIN_SOURCE_GROUP, ONE)
    host.run(host.now + 5 * SECOND)
    a.forget_sent()
    act(a, two, IPV6_JOIN_GROUP)
    act(a, two, MCAST_BLOCK_SOURCE, TWO)
    act(a, two, MCAST_BLOCK_SOURCE, ONE)
    assert a.link.wanted(GROUP).same(SourceFilter(True, frozenset((TWO,))))
    host.run(host.now + 5 * SECOND)
    assert set(records(a)) == {Record(CHANGE_TO_EXCLUDE, GROUP), Record(CHANGE_TO_EXCLUDE, GROUP, (TWO,))}
    a.forget_sent()
    a.do(two.release, host.now)
    host.run(host.now + 5 * SECOND)
    assert records(a) == [Record(CHANGE_TO_INCLUDE, GROUP, (ONE,))] * 2
    a.do(one.release, host.now)
    assert a.link.wanted(GROUP).same(NOTHING) and GROUP not in a.link.groups and not a.link.filters


def test_queries_are_answered_with_the_filter():
    host, a = lone()
    one = socket_on(a)
    act(a, one, MCAST_JOIN_SOURCE_GROUP, TWO)
    act(a, one, MCAST_JOIN_SOURCE_GROUP, ONE)
    host.run(host.now + 5 * SECOND)
    for query, answer in (
        (Query(2, bytes(16), 1000), Record(MODE_IS_INCLUDE, GROUP, (ONE, TWO))),
        (Query(2, GROUP, 1000), Record(MODE_IS_INCLUDE, GROUP, (ONE, TWO))),
        (Query(2, GROUP, 1000, (TWO, THREE)), Record(MODE_IS_INCLUDE, GROUP, (TWO,))),
        (Query(2, GROUP, 1000, (THREE,)), None),
    ):
        a.forget_sent()
        ask(a, query, ALL_NODES if not any(query.group) else format_ipv6(GROUP))
        host.run(host.now + 2 * SECOND)
        assert [record for record in records(a) if record.group == GROUP] == ([] if answer is None else [answer])
    other = socket_on(a)
    act(a, other, IPV6_JOIN_GROUP)
    act(a, other, MCAST_BLOCK_SOURCE, THREE)
    host.run(host.now + 5 * SECOND)
    a.forget_sent()
    ask(a, Query(2, GROUP, 1000, (ONE, THREE)), format_ipv6(GROUP))
    host.run(host.now + 2 * SECOND)
    ask(a, Query(2, GROUP, 1000), format_ipv6(GROUP))
    host.run(host.now + 2 * SECOND)
    assert records(a) == [Record(MODE_IS_INCLUDE, GROUP, (ONE,)), Record(MODE_IS_EXCLUDE, GROUP, (THREE,))]


def test_a_router_of_version_1_hears_of_the_group_alone():
    host, a = lone()
    ask(a, Query(1, bytes(16), 10))
    host.run(host.now + 5 * SECOND)
    a.forget_sent()
    one = socket_on(a)
    act(a, one, MCAST_JOIN_SOURCE_GROUP, ONE)
    host.run(host.now + 5 * SECOND)
    first = a.counter("mld.reports_out")
    act(a, one, MCAST_JOIN_SOURCE_GROUP, TWO)
    host.run(host.now + 5 * SECOND)
    assert a.counter("mld.reports_out") == first and a.counter("mld.leaves_out") == 0
    a.do(one.release, host.now)
    host.run(host.now + 5 * SECOND)
    assert a.counter("mld.leaves_out") == 2


def test_long_lists_of_sources_are_told_in_parts_that_fit():
    host, a = lone()
    a.kernel.sysctl.set("net.ip6.groups.max_sources", 200)
    one = socket_on(a)
    for number in range(150):
        assert act(a, one, MCAST_JOIN_SOURCE_GROUP, parse_ipv6(f"fd00::1:{number:x}")) == 0
    host.run(host.now + 5 * SECOND)
    a.forget_sent()
    ask(a, Query(2, GROUP, 100), format_ipv6(GROUP))
    host.run(host.now + SECOND)
    said = records(a)
    assert [len(record.sources) for record in said] == [64, 64, 22]
    assert len({source for record in said for source in record.sources}) == 150
    assert all(len(frame.linear()) <= 1294 for _, _, frame in a.packets())


def test_only_wanted_sources_are_delivered():
    host, a, b = pair6()
    everybody, some, but_one = (socket_on(b, 7) for _ in range(3))
    act(b, some, MCAST_JOIN_SOURCE_GROUP, TWO)
    sender = socket_on(a, 9)
    a.do(a.ip.add_address, "vif0", "fd00::3/64", False)

    def send(source: bytes) -> list[int]:
        control = (IPPROTO_IPV6, 50, source + bytes(4))
        a.do(sender.send_with, b"x", (control,), 0, (GROUP, 7), host.now)
        host.run(host.now + 20 * MILLISECOND)
        return [len(b.drain(one)) for one in (everybody, some, but_one)]

    assert send(ONE) == [0, 0, 0], "the link does not take it in"
    act(b, some, MCAST_JOIN_SOURCE_GROUP, ONE)
    assert send(ONE) == [1, 1, 1]
    act(b, but_one, IPV6_JOIN_GROUP)
    act(b, but_one, MCAST_BLOCK_SOURCE, ONE)
    assert send(ONE) == [1, 1, 0]
    assert send(THREE) == [1, 0, 1]
    act(b, some, MCAST_LEAVE_SOURCE_GROUP, ONE)
    assert send(ONE) == [0, 0, 0]


def test_a_group_has_members_on_the_senders_own_host():
    host, a, _ = pair6()
    member, sender = socket_on(a, 7), socket_on(a)
    act(a, member, IPV6_JOIN_GROUP)
    for loops, heard in ((1, 1), (0, 0), (1, 1)):
        a.do(sender.set_option, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, struct.pack("<i", loops))
        a.do(sender.send, b"x" * 3000, 0, 0, (GROUP, 7), host.now)
        host.run(host.now + 20 * MILLISECOND)
        assert [len(data) for data in a.drain(member)] == [3000] * heard


def test_an_interface_may_be_named_for_groups():
    host, a, _ = pair6()
    other = a.plug(Hub(host), "fd01::1/64")
    host.run(host.now + 3 * SECOND)
    socket = socket_on(a)
    a.do(socket.set_option, IPPROTO_IPV6, IPV6_MULTICAST_IF, struct.pack("<i", other.index))
    a.forget_sent()
    a.do(socket.send, b"x", 0, 0, (parse_ipv6("ff15::1"), 7), host.now)
    sent = [[header.source for _, header, _ in a.packets(index) if header.next_header == 17] for index in (0, 1)]
    assert sent == [[], [parse_ipv6("fd01::1")]]
    with pytest.raises(OSError) as caught:
        a.do(socket.set_option, IPPROTO_IPV6, IPV6_MULTICAST_IF, struct.pack("<i", 99))
    assert caught.value.errno == ENODEV


def test_what_is_refused():
    _, a = lone()
    one = socket_on(a)
    assert act(a, one, IPV6_JOIN_GROUP, group=ONE) == EINVAL
    assert act(a, one, IPV6_JOIN_GROUP, zone=99) == ENODEV
    assert act(a, one, IPV6_LEAVE_GROUP) == EADDRNOTAVAIL
    assert act(a, one, IPV6_JOIN_GROUP) == 0
    assert act(a, one, IPV6_JOIN_GROUP) == act(a, one, MCAST_JOIN_GROUP) == EADDRINUSE
    assert act(a, one, MCAST_JOIN_SOURCE_GROUP, ONE) == EINVAL
    assert act(a, one, MCAST_BLOCK_SOURCE, ONE) == 0
    assert act(a, one, MCAST_BLOCK_SOURCE, ONE) == EADDRNOTAVAIL
    a.kernel.sysctl.set("net.ip6.groups.max_sources", 1)
    assert act(a, one, MCAST_BLOCK_SOURCE, TWO) == ENOBUFS
    a.kernel.sysctl.set("net.ip6.groups.max_memberships", 1)
    assert act(a, one, IPV6_JOIN_GROUP, group=parse_ipv6("ff35::78")) == ENOBUFS
    assert act(a, one, IPV6_LEAVE_GROUP) == 0
    for name, value in (
        (IPV6_JOIN_GROUP, GROUP),
        (MCAST_JOIN_GROUP, bytes(100)),
        (MCAST_JOIN_SOURCE_GROUP, struct.pack("<i4x", 0) + storage(GROUP)),
    ):
        with pytest.raises(OSError) as caught:
            a.do(one.set_option, IPPROTO_IPV6, name, value)
        assert caught.value.errno == EINVAL
    with pytest.raises(OSError) as caught:
        a.do(one.set_option, IPPROTO_IPV6, MCAST_JOIN_GROUP, bytes(8) + storage(GROUP, AF_INET))
    assert caught.value.errno == EADDRNOTAVAIL
    assert a.link.wanted(GROUP).same(NOTHING) and not a.link.wanted(parse_ipv6(ALL_NODES)).same(NOTHING)
    assert a.link.wanted(parse_ipv6(ALL_NODES)).same(ANYBODY)


def test_an_interface_goes_with_its_memberships():
    host, a = lone()
    one = socket_on(a)
    act(a, one, MCAST_JOIN_SOURCE_GROUP, ONE)
    a.do(a.ip.remove_interface, "vif0")
    assert act(a, one, MCAST_LEAVE_SOURCE_GROUP, ONE) == 0
    a.do(one.release, host.now)
