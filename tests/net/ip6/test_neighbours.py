"""Neighbour unreachability detection and address resolution (RFC 4861 section 7), as neighbours see it."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.kern.abi.errno import EHOSTUNREACH
from rumpkit.net.ip6.identifiers import solicited_node
from rumpkit.net.wire import nd
from rumpkit.net.wire.address import format_ipv6, parse_ipv6
from rumpkit.net.wire.icmpv6 import DESTINATION_UNREACHABLE, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION
from tests.net.lan import Hub
from tests.net.lan6 import ALL_NODES, MAC_A, MAC_B, STRANGER, Node6, icmp6_frame, pair6

B = "fd00::2"
OTHER = b"\2\0\0\0\0\x77"


def solicitation(target="fd00::1", source="fd00::9", mac=STRANGER, **frame):
    options = [nd.Option(nd.SOURCE_LINK_ADDRESS, mac)] if mac else []
    body = nd.Neighbour(0, parse_ipv6(target), options).emit()
    group = format_ipv6(solicited_node(parse_ipv6(target)))
    return icmp6_frame(NEIGHBOUR_SOLICITATION, body, source, group, **frame)


def advertisement(target, mac=STRANGER, flags=nd.SOLICITED | nd.OVERRIDE, destination="fd00::1", **frame):
    options = [nd.Option(nd.TARGET_LINK_ADDRESS, mac)] if mac else []
    body = nd.Neighbour(flags, parse_ipv6(target), options).emit()
    return icmp6_frame(NEIGHBOUR_ADVERTISEMENT, body, target, destination, **frame)


def asked(node):
    """Who was asked for since, to which MAC address and from where."""
    return [
        (frame.head[:6], format_ipv6(header.source), format_ipv6(frame.head[62:78]))
        for _, header, frame in node.packets()
        if header.next_header == 58 and frame.head[54] == NEIGHBOUR_SOLICITATION
    ]


def fresh():
    host, a, b = pair6()
    a.forget_sent()
    b.forget_sent()
    return host, a, b


def lone(seed=1):
    """One kernel, whose neighbour B does only what a test says."""
    host = SimHost(seed=seed)
    a = Node6(host, "a", (Hub(host), "fd00::1/64"))
    host.run(host.now + 20 * SECOND)
    a.forget_sent()
    return host, a


def meet(host, a, until="reachable"):
    """Let B become a neighbour in some state."""
    a.ping6(B)
    if until == "incomplete":
        return
    a.inject(advertisement(B, MAC_B))
    if until == "stale":
        host.run(host.now + 46 * SECOND)
    assert a.states() == {B: until}
    a.forget_sent()


def mac_of(node, address):
    return {format_ipv6(key): mac for key, mac, _, _ in node.table.rows()}.get(address)


@pytest.mark.rfc("4861", "7.2.2-b", "7.2.3-b", "7.2.4-a", "7.2.4-c", "4.4-b", "7.2.4-e", "7.2.1-a")
def test_one_question_one_answer():
    host, a, b = fresh()
    a.ping6(B)
    host.run(host.now + 50 * MILLISECOND)
    assert asked(a) == [(b"\x33\x33\xff\0\0\2", "fd00::1", B)]
    [(header, message)] = b.messages(NEIGHBOUR_ADVERTISEMENT)
    answer = nd.parse_neighbour(message.body())
    assert answer is not None and answer.flags == nd.SOLICITED | nd.OVERRIDE
    assert nd.link_address(answer.options, nd.TARGET_LINK_ADDRESS) == MAC_B
    assert (format_ipv6(header.destination), header.hop_limit) == ("fd00::1", 255)
    assert a.states() == {B: "reachable"}
    # Who asks tells where it is, which says nothing about whether it can be reached.
    assert mac_of(b, "fd00::1") == MAC_A


@pytest.mark.rfc("4861", "7.2.2-a")
def test_the_question_bears_the_source_of_the_packet_that_prompts_it():
    host, a, _ = fresh()
    a.do(a.ip.add_address, "vif0", "fd00::5/64", False)
    a.ping6(B, source="fd00::5")
    host.run(host.now + 50 * MILLISECOND)
    assert asked(a) == [(b"\x33\x33\xff\0\0\2", "fd00::5", B)]


@pytest.mark.rfc("4861", "7.2.2-d", "7.2.2-e", "7.2.2-f")
def test_the_queue_of_a_neighbour_keeps_the_youngest():
    host, a, _ = fresh()
    a.kernel.sysctl.set("net.nd.queue_packets", 2)
    pings = [a.ping6(B) for _ in range(5)]
    host.run(host.now + 50 * MILLISECOND)
    assert [len(ping.replies) for ping in pings] == [0, 0, 0, 1, 1]
    assert a.counter("nd.queue_dropped") == 3


@pytest.mark.parametrize("until", ["incomplete", "reachable", "stale"])
def test_who_is_forgotten_by_hand_is_asked_for_again_and_what_waits_is_reported(until):
    host, a = lone()
    meet(host, a, until)
    waits = a.ping6(B) if until == "incomplete" else None
    assert a.do(a.table.forget, parse_ipv6(B), host.now) and not a.do(a.table.forget, parse_ipv6(B), host.now)
    assert a.states() == {}
    if waits is not None:
        assert waits.errors == [EHOSTUNREACH]
    a.forget_sent()
    ping = a.ping6(B)
    assert len(asked(a)) == 1 and a.states() == {B: "incomplete"} and ping.errors == []


def test_what_waits_when_a_link_goes_down_is_counted():
    host, a = lone()
    meet(host, a, "incomplete")
    a.ping6(B)
    a.do(a.ip.set_up, "vif0", False)
    assert a.counter("nd.queue_dropped") == 2 and host.now > 0


@pytest.mark.rfc("4861", "7.2.2-g", "7.2.2-h", "7.2.2-i", "7.3.3-a", "7.3.3-c")
def test_silence_is_asked_three_times_then_reported():
    host, a, _ = fresh()
    ping = a.ping6("fd00::9")
    host.run(host.now + 2999 * MILLISECOND)
    assert len(asked(a)) == 3 and ping.errors == [] and a.states() == {"fd00::9": "incomplete"}
    host.run(host.now + 2 * MILLISECOND)
    assert ping.errors == [EHOSTUNREACH] and a.states() == {} and len(asked(a)) == 3


@pytest.mark.rfc("4861", "7.3.3-b", "7.3.3-c")
def test_the_five_states_in_turn():
    host, a = lone()
    a.ping6(B)
    assert a.states() == {B: "incomplete"}
    a.inject(advertisement(B, MAC_B))
    assert a.states() == {B: "reachable"}
    host.run(host.now + 45 * SECOND)  # one and a half times the base at most
    assert a.states() == {B: "stale"}
    a.forget_sent()
    start = host.now
    a.ping6(B)
    assert a.states() == {B: "delay"} and asked(a) == []
    host.run(start + 4999 * MILLISECOND)
    assert a.states() == {B: "delay"}
    host.run(start + 5001 * MILLISECOND)
    assert a.states() == {B: "probe"}
    assert asked(a) == [(MAC_B, a.link_local, B)]
    host.run(start + 7999 * MILLISECOND)
    assert a.states() == {B: "probe"} and len(asked(a)) == 3
    host.run(start + 8001 * MILLISECOND)
    assert a.states() == {}


def test_a_probe_that_is_answered():
    host, a = lone()
    meet(host, a, "stale")
    a.ping6(B)
    host.run(host.now + 5500 * MILLISECOND)
    assert a.states() == {B: "probe"}
    a.inject(advertisement(B, b"", nd.SOLICITED))
    assert a.states() == {B: "reachable"}


def test_a_reachable_neighbour_stays_so_between_half_and_one_and_a_half_of_the_base_time():
    times = set()
    for seed in range(6):
        host, a = lone(seed)
        meet(host, a)
        start = host.now
        while a.states() == {B: "reachable"}:
            host.run(host.now + 100 * MILLISECOND)
        times.add((host.now - start) // (100 * MILLISECOND))
    assert len(times) > 1 and min(times) >= 149 and max(times) <= 451


def test_a_stale_neighbour_in_use_is_confirmed_and_nothing_waits():
    host, a, b = fresh()
    a.ping6(B)
    host.run(host.now + 46 * SECOND)
    b.forget_sent()
    ping = a.ping6(B)
    host.run(host.now + 5 * MILLISECOND)
    assert ping.replies
    host.run(host.now + 6 * SECOND)
    assert a.states()[B] == "reachable"


def test_an_idle_neighbour_is_forgotten():
    host, a = lone()
    meet(host, a, "stale")
    host.run(host.now + 60 * SECOND)
    assert a.states() == {}


@pytest.mark.rfc("4861", "7.3.1-a")
def test_a_transport_confirms_without_a_question():
    host, a = lone()
    meet(host, a, "stale")
    a.ping6(B)
    assert a.states() == {B: "delay"}
    a.do(a.table.confirm, parse_ipv6(B), host.now)
    assert a.states() == {B: "reachable"}
    host.run(host.now + 7 * SECOND)
    assert asked(a) == []


@pytest.mark.rfc("4861", "7.2.5-b", "7.2.5-c", "7.2.5-d", "7.2.5-e", "7.2.5-f", "7.3.1-b", "7.3.3-d")
@pytest.mark.parametrize(
    ("before", "mac", "flags", "state", "known"),
    [
        # RFC 4861 appendix C, from INCOMPLETE
        ("incomplete", OTHER, nd.SOLICITED, "reachable", OTHER),
        ("incomplete", OTHER, 0, "delay", OTHER),  # stale, but a packet was waiting
        ("incomplete", b"", nd.SOLICITED, "incomplete", b""),
        # from REACHABLE
        ("reachable", MAC_B, nd.SOLICITED, "reachable", MAC_B),
        ("reachable", MAC_B, 0, "reachable", MAC_B),
        ("reachable", OTHER, nd.SOLICITED, "stale", MAC_B),
        ("reachable", OTHER, 0, "stale", MAC_B),
        ("reachable", OTHER, nd.SOLICITED | nd.OVERRIDE, "reachable", OTHER),
        ("reachable", OTHER, nd.OVERRIDE, "stale", OTHER),
        ("reachable", b"", nd.SOLICITED | nd.OVERRIDE, "reachable", MAC_B),
        # from STALE
        ("stale", MAC_B, nd.SOLICITED, "reachable", MAC_B),
        ("stale", MAC_B, nd.SOLICITED | nd.OVERRIDE, "reachable", MAC_B),
        ("stale", MAC_B, nd.OVERRIDE, "stale", MAC_B),
        ("stale", OTHER, nd.SOLICITED, "stale", MAC_B),
        ("stale", OTHER, nd.SOLICITED | nd.OVERRIDE, "reachable", OTHER),
        ("stale", OTHER, nd.OVERRIDE, "stale", OTHER),
        ("stale", b"", nd.SOLICITED, "reachable", MAC_B),
    ],
)
def test_what_an_advertisement_does(before, mac, flags, state, known):
    host, a = lone()
    meet(host, a, before)
    a.inject(advertisement(B, mac, flags))
    assert a.states() == {B: state} and mac_of(a, B) == known


@pytest.mark.rfc("4861", "7.2.3-b", "7.2.3-d", "7.3.1-b", "7.3.3-d")
@pytest.mark.parametrize("before", ["reachable", "stale"])
def test_a_solicitation_from_elsewhere_moves_a_neighbour_which_is_looked_after_then(before):
    host, a = lone()
    meet(host, a, before)
    # Answering is traffic, which makes a stale neighbour be looked after.
    a.inject(solicitation(source=B, mac=MAC_B))
    assert a.states() == {B: "reachable" if before == "reachable" else "delay"}
    a.inject(solicitation(source=B, mac=OTHER))
    assert a.states() == {B: "delay"} and mac_of(a, B) == OTHER
    assert [to for to, _, _ in a.packets()][-1] == OTHER


@pytest.mark.rfc("4861", "7.2.5-a")
def test_an_unasked_advertisement_teaches_nothing_about_strangers():
    _, a, _ = fresh()
    a.inject(advertisement("fd00::50", STRANGER, nd.OVERRIDE, ALL_NODES))
    assert a.states() == {}


@pytest.mark.rfc("4861", "7.2.3-a")
def test_questions_for_others_get_no_answer():
    _, a, _ = fresh()
    a.inject(solicitation(target="fd00::51", to=MAC_A))
    body = nd.Neighbour(0, parse_ipv6("fd00::51"), []).emit()
    a.inject(icmp6_frame(NEIGHBOUR_SOLICITATION, body, "fd00::9", "fd00::1"))
    assert a.messages(NEIGHBOUR_ADVERTISEMENT) == [] and a.states() == {}


@pytest.mark.rfc("4861", "4.3-b", "4.6-b", "7.1.1-a", "7.1.2-a")
@pytest.mark.parametrize(
    "head",
    [
        solicitation(hops=254),
        solicitation(code=1),
        icmp6_frame(NEIGHBOUR_SOLICITATION, bytes(19), "fd00::9", "fd00::1"),
        icmp6_frame(NEIGHBOUR_SOLICITATION, nd.Neighbour(0, parse_ipv6("ff02::1"), []).emit(), "fd00::9", "fd00::1"),
        icmp6_frame(NEIGHBOUR_SOLICITATION, nd.Neighbour(0, parse_ipv6("fd00::1"), []).emit() + b"\1\0", "fd00::9", "fd00::1"),
        solicitation(source="::"),  # with a link address
        icmp6_frame(NEIGHBOUR_SOLICITATION, nd.Neighbour(0, parse_ipv6("fd00::1"), []).emit(), "::", ALL_NODES),
        advertisement(B, hops=64),
        advertisement(B, code=3),
        advertisement(B, destination=ALL_NODES),  # solicited, to a group
        icmp6_frame(NEIGHBOUR_ADVERTISEMENT, nd.Neighbour(0, parse_ipv6("ff02::9"), []).emit(), B, "fd00::1"),
    ],
)  # fmt: skip
def test_messages_that_break_the_rules_are_dropped(head):
    _, a, _ = fresh()
    a.inject(head)
    assert a.counter("nd.bad_in") == 1
    assert a.states() == {} and a.messages(NEIGHBOUR_ADVERTISEMENT) == []


@pytest.mark.rfc("4861", "7.1.1-a")
def test_a_wrong_checksum_is_dropped():
    _, a, _ = fresh()
    head = solicitation()
    a.inject(head[:56] + bytes([head[56] ^ 1]) + head[57:])
    assert a.counter("icmp6.bad_in") == 1 and a.messages(NEIGHBOUR_ADVERTISEMENT) == []


def test_strangers_cannot_push_out_those_in_use():
    host, a, _ = fresh()
    a.kernel.sysctl.set("net.nd.max_neighbours", 4)
    a.ping6(B)
    host.run(host.now + 50 * MILLISECOND)
    for last in range(0x20, 0x30):
        a.inject(solicitation(source=f"fd00::{last:x}", mac=bytes([2, 0, 0, 0, 1, last])))
    assert len(a.states()) == 4 and a.states()[B] == "reachable"


def test_a_scan_of_the_network_stays_bounded_and_leaves_neighbours_alone():
    host, a, _ = fresh()
    a.kernel.sysctl.set("net.nd.max_incomplete", 8)
    a.ping6(B)
    host.run(host.now + 50 * MILLISECOND)
    for last in range(0x1000, 0x1100):
        a.ping6(f"fd00::{last:x}")
    states = a.states()
    assert len(states) == 9 and states[B] == "reachable"
    assert a.counter("nd.evicted") == 256 - 8
    host.run(host.now + 4 * SECOND)
    assert list(a.states()) == [B]


def test_a_static_neighbour_is_never_asked_for():
    host, a, _ = fresh()
    a.do(a.table.add_static, parse_ipv6("fd00::9"), STRANGER, host.now)
    a.ping6("fd00::9")
    host.run(host.now + 200 * SECOND)
    assert asked(a) == [] and a.states() == {"fd00::9": "permanent"}
    a.inject(advertisement("fd00::9", OTHER))
    assert mac_of(a, "fd00::9") == STRANGER
    assert [to for to, _, _ in a.packets() if to == STRANGER] == [STRANGER]


def test_a_router_tells_the_sender_of_a_neighbour_that_is_not_there():
    host, a, b = fresh()
    far = Hub(host)
    b.plug(far, "fd01::1/64")
    b.kernel.sysctl.set("net.ip6.forwarding", 1)
    c = Node6(host, "c", (far, "fd01::2/64"))
    a.do(a.ip.add_route, "fd01::/64", B)
    c.do(c.ip.add_route, "fd00::/64", "fd01::1")
    host.run(host.now + 3 * SECOND)
    ping = a.ping6("fd01::2")
    host.run(host.now + SECOND)
    assert ping.replies == [("fd01::2", b"ping", 63)]
    ping = a.ping6("fd01::99")
    host.run(host.now + 4 * SECOND)
    assert ping.errors == [EHOSTUNREACH]
    [(_, message)] = b.messages(DESTINATION_UNREACHABLE)
    assert message.code == 3
