"""Multicast listener discovery, the host's side (RFC 3810, RFC 2710): who is told of which groups, and when."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.kern.abi.errno import EADDRNOTAVAIL, EINVAL, ENOBUFS
from rumpkit.net.ip6.identifiers import solicited_node
from rumpkit.net.wire.address import format_ipv6, parse_ipv6
from rumpkit.net.wire.icmpv6 import MLD_DONE_V1, MLD_QUERY, MLD_REPORT_V1, MLD_REPORT_V2, Icmp6Message, parse_icmpv6
from rumpkit.net.wire.ipv6 import HOP_BY_HOP, PROTOCOL_ICMPV6
from rumpkit.net.wire.ipv6_extensions import ROUTER_ALERT_MLD, emit_options_header
from rumpkit.net.wire.mld import (
    CHANGE_TO_EXCLUDE,
    CHANGE_TO_INCLUDE,
    MODE_IS_EXCLUDE,
    MODE_IS_INCLUDE,
    Query,
    Record,
    emit_query,
    parse_report,
)
from tests.net.lan import Hub
from tests.net.lan6 import ALL_NODES, Node6, frame6

GROUP = parse_ipv6("ff05::1:3")
ROUTER = "fe80::1"


def lone(**sysctl: int) -> tuple[SimHost, Node6]:
    host = SimHost(seed=1)
    node = Node6(host, "a", (Hub(host), ""), **sysctl)
    host.run(host.now + 20 * SECOND)
    node.forget_sent()
    return host, node


def reports(node: Node6) -> list[tuple[str, str, Icmp6Message]]:
    """Source, destination and message of each listener message sent so far; all bear a router alert and one hop."""
    found = []
    for _, header, frame in node.packets():
        if header.next_header == HOP_BY_HOP:
            assert frame.head[54:62] == emit_options_header(PROTOCOL_ICMPV6, ROUTER_ALERT_MLD)
            assert header.hop_limit == 1
            message = parse_icmpv6(frame, 62, int(header.end))
            assert message is not None
            found.append((format_ipv6(header.source), format_ipv6(header.destination), message))
    return found


def records(node: Node6) -> list[Record]:
    """All records reported so far, in version 2."""
    found = []
    for _, destination, message in reports(node):
        assert message.kind == MLD_REPORT_V2 and destination == "ff02::16"
        some = parse_report(message.body())
        assert some is not None
        found += some
    return found


def ask(
    node: Node6, query: Query, destination: str = ALL_NODES, *, hops: int = 1, alert: bool = True, source: str = ROUTER
):
    body = emit_query(query)
    message = Icmp6Message(MLD_QUERY, 0, int.from_bytes(body[:4], "big"), body[4:])
    data = message.emit(parse_ipv6(source), parse_ipv6(destination))
    if alert:
        header = emit_options_header(PROTOCOL_ICMPV6, ROUTER_ALERT_MLD)
        node.inject(frame6(HOP_BY_HOP, header + data, source, destination, hops=hops))
    else:
        node.inject(frame6(PROTOCOL_ICMPV6, data, source, destination, hops=hops))


def test_joining_is_reported_twice_within_a_second():
    host, a = lone()
    a.do(a.v6.join, GROUP)
    host.run(host.now + MILLISECOND)
    assert records(a) == [Record(CHANGE_TO_EXCLUDE, GROUP)]
    assert reports(a)[0][0] == a.link_local
    host.run(host.now + 1001 * MILLISECOND)
    assert records(a) == [Record(CHANGE_TO_EXCLUDE, GROUP)] * 2
    host.run(host.now + 60 * SECOND)
    assert len(records(a)) == 2


def test_leaving_is_reported_and_takes_the_place_of_an_unfinished_join():
    host, a = lone()
    a.do(a.v6.join, GROUP)
    host.run(host.now + MILLISECOND)
    a.do(a.v6.leave, GROUP)
    host.run(host.now + 5 * SECOND)
    assert records(a) == [Record(CHANGE_TO_EXCLUDE, GROUP)] + [Record(CHANGE_TO_INCLUDE, GROUP)] * 2


def test_only_the_first_join_and_the_last_leave_count():
    host, a = lone()
    for _ in range(3):
        a.do(a.v6.join, GROUP)
    host.run(host.now + 5 * SECOND)
    assert len(records(a)) == 2
    a.do(a.v6.leave, GROUP)
    a.do(a.v6.leave, GROUP)
    host.run(host.now + 5 * SECOND)
    assert len(records(a)) == 2
    a.do(a.v6.leave, GROUP)
    host.run(host.now + 5 * SECOND)
    assert len(records(a)) == 4
    with pytest.raises(OSError) as caught:
        a.do(a.v6.leave, GROUP)
    assert caught.value.errno == EADDRNOTAVAIL


def test_a_link_that_comes_up_reports_first_from_nowhere_then_from_its_address():
    host = SimHost(seed=1)
    a = Node6(host, "a", (Hub(host), ""))
    group = solicited_node(a.link.addresses[0].address)
    host.run(host.now + 10 * SECOND)
    sources = [source for source, _, _ in reports(a)]
    assert "::" in sources and a.link_local in sources
    assert sources == sorted(sources, key=lambda source: source != "::")
    assert {record.group for record in records(a)} == {group}  # all nodes' group is never reported


@pytest.mark.parametrize(
    ("kind", "group"), [("general", bytes(16)), ("of the group", GROUP)], ids=["general", "of the group"]
)
def test_queries_are_answered_within_the_delay(kind, group):
    host, a = lone()
    a.do(a.v6.join, GROUP)
    host.run(host.now + 5 * SECOND)
    a.forget_sent()
    ask(a, Query(2, group, 4000), ALL_NODES if kind == "general" else format_ipv6(GROUP))
    assert records(a) == []
    host.run(host.now + 4001 * MILLISECOND)
    groups = {record.group for record in records(a)}
    expected = {GROUP} if kind != "general" else {GROUP, solicited_node(parse_ipv6(a.link_local))}
    assert groups == expected
    assert {record.kind for record in records(a)} == {MODE_IS_EXCLUDE}


def test_a_query_about_sources_names_them_in_the_answer():
    host, a = lone()
    a.do(a.v6.join, GROUP)
    host.run(host.now + 5 * SECOND)
    a.forget_sent()
    one, two = parse_ipv6("fd00::1"), parse_ipv6("fd00::2")
    ask(a, Query(2, GROUP, 1000, (one,)), format_ipv6(GROUP))
    ask(a, Query(2, GROUP, 1000, (two,)), format_ipv6(GROUP))
    host.run(host.now + SECOND)
    assert records(a) == [Record(MODE_IS_INCLUDE, GROUP, (one, two))]


def test_queries_about_groups_of_others_get_no_answer():
    host, a = lone()
    ask(a, Query(2, parse_ipv6("ff05::99"), 10), ALL_NODES)
    ask(a, Query(2, parse_ipv6("ff02::1"), 10), ALL_NODES)
    host.run(host.now + SECOND)
    assert records(a) == [] and a.counter("mld.queries_in") == 2


def test_many_queries_make_one_report():
    host, a = lone()
    for _ in range(50):
        ask(a, Query(2, bytes(16), 1000))
    host.run(host.now + 2 * SECOND)
    assert len(reports(a)) == 1


@pytest.mark.parametrize("wrong", [{"hops": 64}, {"alert": False}, {"source": "fd00::1"}])
def test_queries_that_break_the_rules_are_dropped(wrong):
    host, a = lone()
    ask(a, Query(2, bytes(16), 10), **wrong)
    host.run(host.now + SECOND)
    assert records(a) == [] and a.counter("mld.bad_in") == 1


def test_a_router_of_version_1_is_spoken_to_in_its_way():
    host, a = lone()
    a.do(a.v6.join, GROUP)
    host.run(host.now + 5 * SECOND)
    a.forget_sent()
    ask(a, Query(1, GROUP, 1000), format_ipv6(GROUP))
    host.run(host.now + SECOND)
    [(_, destination, message)] = reports(a)
    assert (message.kind, destination, message.data) == (MLD_REPORT_V1, format_ipv6(GROUP), GROUP)
    a.forget_sent()
    a.do(a.v6.leave, GROUP)
    host.run(host.now + 5 * SECOND)
    assert {(message.kind, destination) for _, destination, message in reports(a)} == {(MLD_DONE_V1, "ff02::2")}
    host.run(host.now + 260 * SECOND)
    a.forget_sent()
    a.do(a.v6.join, GROUP)
    host.run(host.now + SECOND)
    assert {message.kind for _, _, message in reports(a)} == {MLD_REPORT_V2}


def test_in_version_1_somebody_else_s_report_is_enough():
    host, a = lone()
    a.do(a.v6.join, GROUP)
    host.run(host.now + 5 * SECOND)
    a.forget_sent()
    ask(a, Query(1, GROUP, 1000), format_ipv6(GROUP))
    report = Icmp6Message(MLD_REPORT_V1, 0, 0, GROUP).emit(parse_ipv6("fe80::7"), GROUP)
    header = emit_options_header(PROTOCOL_ICMPV6, ROUTER_ALERT_MLD)
    a.inject(frame6(HOP_BY_HOP, header + report, "fe80::7", format_ipv6(GROUP), hops=1))
    host.run(host.now + 2 * SECOND)
    assert reports(a) == []


def test_many_groups_fit_the_smallest_mtu():
    host, a = lone()
    for number in range(100):
        a.do(a.v6.join, GROUP[:-1] + bytes([number + 100]))
    a.forget_sent()
    ask(a, Query(2, bytes(16), 10))
    host.run(host.now + 100 * MILLISECOND)
    assert all(len(frame) - 14 <= 1280 for _, _, frame in a.packets())
    assert len({record.group for record in records(a) if record.kind == MODE_IS_EXCLUDE}) == 101


def test_groups_are_limited_and_must_be_groups():
    _, a = lone(ip6__max_groups=4)
    with pytest.raises(OSError) as caught:
        for number in range(10):
            a.do(a.v6.join, GROUP[:-1] + bytes([number]))
    assert caught.value.errno == ENOBUFS and len(a.link.groups) == 4
    with pytest.raises(OSError) as caught:
        a.do(a.v6.join, parse_ipv6("fd00::1"))
    assert caught.value.errno == EINVAL


def test_packets_to_a_group_come_in_only_where_it_was_joined():
    host, a = lone()
    b = a.plug(Hub(host))
    host.run(host.now + 5 * SECOND)
    a.do(a.v6.join, GROUP, b.index)
    echo = Icmp6Message(128, 0, 1, b"").emit(parse_ipv6("fd00::5"), GROUP)
    before = a.counter("icmp6.echo_requests_in")
    a.inject(frame6(PROTOCOL_ICMPV6, echo, "fd00::5", format_ipv6(GROUP)), 0)
    assert a.counter("icmp6.echo_requests_in") == before
    a.inject(frame6(PROTOCOL_ICMPV6, echo, "fd00::5", format_ipv6(GROUP)), 1)
    assert a.counter("icmp6.echo_requests_in") == before + 1


def test_what_was_joined_anywhere_is_left_where_it_was_joined():
    host, a = lone()
    a.plug(Hub(host))
    a.do(a.v6.join, GROUP)
    a.do(a.ip.set_up, "vif0", False)  # "anywhere" is vif1 by now
    a.do(a.v6.join, GROUP)
    assert sum(GROUP in link.groups for link in a.v6.links.values()) == 2
    a.do(a.v6.leave, GROUP)
    a.do(a.v6.leave, GROUP)
    assert not any(GROUP in link.groups for link in a.v6.links.values())


def test_a_group_can_be_left_whose_interface_has_gone():
    _, a = lone()
    a.do(a.v6.join, GROUP, a.interface.index)
    a.do(a.ip.remove_interface, "vif0")
    a.do(a.v6.leave, GROUP, a.interface.index)
    with pytest.raises(OSError) as caught:
        a.do(a.v6.leave, GROUP, a.interface.index)
    assert caught.value.errno == EADDRNOTAVAIL
