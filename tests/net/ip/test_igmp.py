"""IGMP on simulated time: what routers are told, when, how often, and in whose version."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.net.ip.groups import Memberships
from rumpkit.net.ip.igmp import ALL_ROUTERS, REPORTS_V3
from rumpkit.net.wire import igmp as wire
from rumpkit.net.wire.address import multicast_mac, parse_ipv4
from rumpkit.net.wire.igmp import GroupRecord, IgmpMessage, parse_igmp
from tests.net.lan import Hub, Node, packet

GROUP, OTHER = parse_ipv4("239.1.2.3"), parse_ipv4("239.1.2.4")
A, B, C = parse_ipv4("10.0.0.7"), parse_ipv4("10.0.0.8"), parse_ipv4("10.0.0.9")
ALERT = b"\x94\x04\0\0"
IN, EX = wire.MODE_IS_INCLUDE, wire.MODE_IS_EXCLUDE
TO_IN, TO_EX = wire.CHANGE_TO_INCLUDE, wire.CHANGE_TO_EXCLUDE
ALLOW, BLOCK = wire.ALLOW_NEW_SOURCES, wire.BLOCK_OLD_SOURCES


class Bench:
    """A kernel at 10.0.0.1 and what it sends by IGMP."""

    def __init__(self, seed: int = 1, mtu: int = 1500) -> None:
        self.host = SimHost(seed=seed)
        self.node = Node(self.host, "a", (Hub(self.host, mtu=mtu), "10.0.0.1/24"))
        self.members = Memberships(self.node.v4.groups)
        self.taken = 0

    def join(self, group: bytes = GROUP) -> None:
        self.node.do(self.members.join, self.node.interface, group)

    def wait(self, seconds: float = 10) -> None:
        self.host.run(self.host.now + int(seconds * SECOND))

    def sent(self) -> list[tuple[bytes, IgmpMessage]]:
        """Destination and message of everything since the last time; its headers are as they must be."""
        out = []
        sent = self.node.ports[0].sent
        for frame in sent[self.taken :]:
            head = frame.linear()
            if head[12:14] != b"\x08\0" or head[23] != 2:
                continue
            assert head[:6] == multicast_mac(head[30:34])
            assert (head[14], head[15], head[22], head[26:30], head[34:38]) == (0x46, 0xC0, 1, b"\x0a\0\0\1", ALERT)
            message = parse_igmp(head[38:])
            assert message is not None
            out.append((head[30:34], message))
        self.taken = len(sent)
        return out

    def records(self) -> list[GroupRecord]:
        """All records of the reports of version 3, which are all there is."""
        messages = self.sent()
        assert all(to == REPORTS_V3 and message.kind == wire.REPORT_V3 for to, message in messages)
        return [record for _, message in messages for record in message.records]

    def ask(
        self, group: bytes = bytes(4), sources: tuple[bytes, ...] = (), version: int = 3, code: int = 100, ttl: int = 1
    ) -> None:
        """A router's query."""
        message = IgmpMessage(wire.QUERY, group)
        message.version, message.sources, message.code = version, sources, code
        self.hear(message, "224.0.0.1" if not any(group) else ".".join(map(str, group)), ttl)

    def hear(self, message: IgmpMessage, to: str, ttl: int = 1) -> None:
        mac = multicast_mac(parse_ipv4(to))
        self.node.inject(packet("10.0.0.9", to, 2, message.emit(), peer=mac, ttl=ttl, options=ALERT))

    def count(self, name: str) -> int:
        return self.node.counter(f"igmp.{name}")


def test_joining_and_leaving_is_told_twice():
    bench = Bench()
    bench.join()
    assert bench.records() == [GroupRecord(TO_EX, GROUP)]
    bench.wait(1)
    assert bench.records() == [GroupRecord(TO_EX, GROUP)]
    bench.wait()
    assert bench.records() == []
    bench.node.do(bench.members.leave, 0, GROUP)
    bench.wait()
    assert bench.records() == [GroupRecord(TO_IN, GROUP)] * 2
    assert bench.count("reports_out") == 4


def test_a_join_and_a_leave_in_quick_succession_say_what_holds_in_the_end():
    bench = Bench()
    bench.join()
    bench.node.do(bench.members.leave, 0, GROUP)
    bench.wait()
    assert [record.kind for record in bench.records()] == [TO_EX, TO_IN, TO_IN]


def test_changes_of_sources():
    bench = Bench()
    members, interface = bench.members, bench.node.interface
    bench.node.do(members.join_source, interface, GROUP, A)
    bench.wait()
    assert bench.records() == [GroupRecord(TO_IN, GROUP, (A,))] * 2
    bench.node.do(members.join_source, interface, GROUP, B)
    bench.node.do(members.leave_source, 0, GROUP, A)
    bench.wait()
    told = bench.records()
    assert set(told) == {GroupRecord(ALLOW, GROUP, (B,)), GroupRecord(BLOCK, GROUP, (A,))}
    assert len(told) == 4
    bench.node.do(members.leave_source, 0, GROUP, B)
    bench.join()
    bench.wait()
    bench.records()
    bench.node.do(members.block, 0, GROUP, C, True)
    bench.wait()
    assert bench.records() == [GroupRecord(BLOCK, GROUP, (C,))] * 2
    bench.node.do(members.block, 0, GROUP, C, False)
    bench.wait()
    assert bench.records() == [GroupRecord(ALLOW, GROUP, (C,))] * 2


@pytest.mark.parametrize("robustness", [1, 3])
def test_robustness_says_how_often(robustness):
    bench = Bench()
    bench.node.kernel.sysctl.set("net.igmp.robustness", robustness)
    bench.join()
    bench.wait()
    assert len(bench.records()) == robustness


def test_a_general_query_is_answered_in_time_and_once():
    bench = Bench()
    bench.join()
    bench.node.do(bench.members.join_source, bench.node.interface, OTHER, A)
    bench.wait()
    bench.records()
    for _ in range(3):
        bench.ask()
    assert bench.sent() == []
    bench.wait(10)
    assert bench.records() == [GroupRecord(EX, GROUP), GroupRecord(IN, OTHER, (A,))]
    assert bench.count("queries_in") == 3


def test_hosts_answer_at_different_times():
    times = set()
    for seed in range(5):
        bench = Bench(seed)
        bench.join()
        bench.wait()
        bench.records()
        bench.ask()
        start = bench.host.now
        while not bench.records():
            bench.wait(0.1)
        times.add((bench.host.now - start) * 10 // SECOND)
        assert bench.host.now - start <= 10.1 * SECOND
    assert len(times) > 2


def test_queries_about_a_group_and_about_sources():
    bench = Bench()
    bench.node.do(bench.members.join_source, bench.node.interface, GROUP, A)
    bench.join(OTHER)
    bench.wait()
    bench.records()
    bench.ask(GROUP)
    bench.wait()
    assert bench.records() == [GroupRecord(IN, GROUP, (A,))]
    bench.ask(GROUP, (A, B))
    bench.wait()
    assert bench.records() == [GroupRecord(IN, GROUP, (A,))]
    bench.ask(OTHER, (B,))
    bench.ask(OTHER, (C,))
    bench.wait()
    assert bench.records() == [GroupRecord(IN, OTHER, (B, C))]
    bench.ask(OTHER, (B,))
    bench.ask(OTHER)
    bench.wait()
    assert bench.records() == [GroupRecord(EX, OTHER)]
    bench.ask(GROUP, (B,))
    bench.ask(parse_ipv4("239.9.9.9"))
    bench.wait()
    assert bench.records() == []


def test_a_router_of_version_2():
    bench = Bench()
    bench.join()
    bench.wait()
    bench.records()
    bench.ask(version=2)
    bench.wait()
    ((to, message),) = bench.sent()
    assert (to, message.kind, message.group) == (GROUP, wire.REPORT_V2, GROUP)
    bench.join(OTHER)
    assert [(to, message.kind) for to, message in bench.sent()] == [(OTHER, wire.REPORT_V2)]
    bench.wait(10)
    assert len(bench.sent()) == 1
    bench.node.do(bench.members.leave, 0, OTHER)
    assert [(to, message.kind, message.group) for to, message in bench.sent()] == [(ALL_ROUTERS, wire.LEAVE_V2, OTHER)]
    bench.wait(261)
    bench.join(OTHER)
    assert bench.records() == [GroupRecord(TO_EX, OTHER)]


def test_a_report_of_another_host_is_enough_for_old_routers():
    bench = Bench()
    bench.join()
    bench.join(OTHER)
    bench.wait()
    bench.records()
    bench.ask(version=2)
    bench.hear(IgmpMessage(wire.REPORT_V2, GROUP), "239.1.2.3")
    bench.wait()
    assert [to for to, _ in bench.sent()] == [OTHER]
    assert bench.count("reports_in") == 1


def test_a_router_of_version_1():
    bench = Bench()
    bench.join()
    bench.wait()
    bench.records()
    bench.ask(version=1, code=0)
    bench.wait()
    assert [(to, message.kind) for to, message in bench.sent()] == [(GROUP, wire.REPORT_V1)]
    bench.node.do(bench.members.leave, 0, GROUP)
    bench.wait()
    assert bench.sent() == []


def test_an_old_router_stops_what_was_still_to_be_told():
    bench = Bench()
    bench.join()
    bench.ask(version=2, code=10)
    bench.wait(2)
    kinds = [message.kind for _, message in bench.sent()]
    assert kinds == [wire.REPORT_V3, wire.REPORT_V2]


def test_what_comes_from_afar_or_is_damaged_is_not_believed():
    bench = Bench()
    bench.join()
    bench.wait()
    bench.records()
    bench.ask(ttl=2)
    data = bytearray(IgmpMessage(wire.QUERY).emit())
    data[1] ^= 1
    bench.node.inject(packet("10.0.0.9", "224.0.0.1", 2, bytes(data), peer=multicast_mac(b"\xe0\0\0\1"), ttl=1))
    bench.wait()
    assert bench.sent() == []
    assert bench.count("bad_in") == 2


def test_many_groups_and_sources_fit_the_mtu():
    bench = Bench(mtu=576)
    bench.node.kernel.sysctl.set("net.group.max_memberships", 300)
    bench.node.kernel.sysctl.set("net.group.max_sources", 200)
    for number in range(200):
        bench.join(bytes((239, 7, 0, number)))
    for number in range(200):
        bench.node.do(bench.members.join_source, bench.node.interface, GROUP, bytes((10, 1, 0, number)))
    bench.wait()
    bench.sent()
    before = len(bench.node.ports[0].sent)
    bench.ask()
    bench.wait()
    told = bench.records()
    assert {record.group for record in told} == {GROUP, *[bytes((239, 7, 0, number)) for number in range(200)]}
    assert sum(len(record.sources) for record in told if record.group == GROUP) == 200
    assert max(len(frame) for frame in bench.node.ports[0].sent[before:]) <= 14 + 576


def test_an_interface_that_goes_says_nothing_more():
    bench = Bench()
    bench.join()
    bench.records()
    bench.node.do(bench.node.ip.remove_interface, "vif0")
    bench.wait()
    assert bench.sent() == []


def test_the_group_of_all_hosts_is_never_reported():
    bench = Bench()
    bench.join(b"\xe0\0\0\1")
    bench.wait()
    assert bench.sent() == []
    bench.ask()
    bench.wait()
    assert bench.sent() == []


def test_only_groups_that_were_joined_are_taken_in():
    bench = Bench()
    bench.join()
    for group, peer in (("239.1.2.4", "239.1.2.4"), ("239.129.2.3", "239.1.2.3"), ("239.1.2.3", "239.1.2.3")):
        bench.node.inject(packet("10.0.0.9", group, 200, b"x", peer=multicast_mac(parse_ipv4(peer))))
    assert bench.node.counter("interface.vif0.other_group_in") == 1
    assert bench.node.counter("ip.martian_destination") == 1
    assert bench.node.counter("ip.unknown_protocol") == 1


def test_questions_about_ever_more_sources_end_in_one_about_all():
    bench = Bench()
    bench.join()
    bench.wait()
    bench.records()
    most = bench.node.v4.groups.settings.max_sources
    for start in range(0, 50 * most, most):
        bench.ask(GROUP, tuple(number.to_bytes(4, "big") for number in range(start + 1, start + most + 1)), code=200)
        (state,) = bench.node.v4.groups.listener._igmp.links[bench.node.interface.index]._states.values()  # type: ignore[union-attr]
        assert len(state.asked) <= most
    bench.wait(3000)
    assert bench.records() == [GroupRecord(EX, GROUP)]


@pytest.mark.parametrize("source", ["10.0.0.9", "0.0.0.0"])
def test_a_switch_that_has_no_address_may_ask(source):
    """RFC 4541 section 2.1.1: as Linux's bridge does."""
    bench = Bench()
    bench.join()
    bench.wait()
    bench.records()
    query = IgmpMessage(wire.QUERY)
    query.version, query.code = 3, 10
    mac = multicast_mac(parse_ipv4("224.0.0.1"))
    bench.node.inject(packet(source, "224.0.0.1", 2, query.emit(), peer=mac, ttl=1, options=ALERT))
    bench.wait()
    assert bench.records() == [GroupRecord(EX, GROUP)]
    bench.node.inject(packet("0.0.0.0", "224.0.0.1", 17, bytes(8), peer=mac))
    assert bench.node.counter("ip.martian_source") == 1
