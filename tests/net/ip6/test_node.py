"""What RFC 8200 and RFC 4861 ask of a node, beside what the other tests of this folder show."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hosts.switch import Switch
from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.net.ip6.identifiers import solicited_node
from rumpkit.net.wire import nd
from rumpkit.net.wire.address import format_ipv6, parse_ipv6
from rumpkit.net.wire.icmpv6 import (
    ECHO_REPLY,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    PARAMETER_PROBLEM,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    Icmp6Message,
)
from rumpkit.net.wire.ipv6 import DESTINATION_OPTIONS, FRAGMENT, PROTOCOL_ICMPV6, ROUTING
from rumpkit.net.wire.ipv6_extensions import FragmentHeader, emit_options_header, parse_fragment_header
from tests.net.lan import Hub
from tests.net.lan6 import ALL_NODES, STRANGER, Node6, frame6, icmp6_frame

US, THEM = "fd00::1", "fd00::9"
ROUTER, OTHER = "fe80::1", "fe80::2"
FAR = "2001:db8:ffff::1"
MAC_X = b"\2\0\0\0\0\x55"
UNKNOWN = nd.Option(200, bytes(6))


def lone(**sysctl: int) -> Node6:
    """A kernel at US, long after it came up."""
    host = SimHost(seed=1)
    node = Node6(host, "a", (Hub(host), "fd00::1/64"), **sysctl)
    host.run(host.now + 20 * SECOND)
    node.forget_sent()
    return node


def known(node: Node6, address: str) -> tuple[bytes, str, bool] | None:
    """What a kernel knows of a neighbour: MAC address, state, whether it is a router."""
    for row in node.table.rows():
        if row[0] == parse_ipv6(address):
            return row[1], row[2], bool(row[3])
    return None


def solicitation(*options: nd.Option, source: str = THEM, reserved: int = 0) -> bytes:
    body = bytearray(nd.Neighbour(0, parse_ipv6(US), list(options)).emit())
    body[1] = reserved
    group = format_ipv6(solicited_node(parse_ipv6(US)))
    return icmp6_frame(NEIGHBOUR_SOLICITATION, bytes(body), source, group)


def advertisement(*options: nd.Option, target: str = THEM, flags: int = nd.SOLICITED | nd.OVERRIDE) -> bytes:
    return icmp6_frame(
        NEIGHBOUR_ADVERTISEMENT, nd.Neighbour(flags, parse_ipv6(target), list(options)).emit(), target, US
    )


def routes(*options: nd.Option, source: str = ROUTER, lifetime: int = 1800, **fields: int) -> bytes:
    message = nd.RouterAdvertisement(fields.get("hop_limit", 0), 0, lifetime, fields.get("reachable", 0), 0)
    message.options = list(options)
    return icmp6_frame(ROUTER_ADVERTISEMENT, message.emit(), source, ALL_NODES)


def link(mac: bytes = STRANGER, kind: int = nd.SOURCE_LINK_ADDRESS) -> nd.Option:
    return nd.Option(kind, mac)


def prefix(text: str, flags: int = nd.ON_LINK, valid: int = 3600) -> nd.Option:
    return nd.prefix_option(nd.PrefixInformation(64, flags, valid, valid, parse_ipv6(text)))


def gateway(node: Node6, address: str = FAR) -> str:
    try:
        return format_ipv6(node.do(node.v6.route, parse_ipv6(address)).next_hop)
    except OSError:
        return ""


def echo(data: bytes = b"data", destination: str = US) -> bytes:
    return Icmp6Message(128, 0, 0x10001, data).emit(parse_ipv6(THEM), parse_ipv6(destination))


def neighbourly(**sysctl: int) -> Node6:
    """A kernel that knows where THEM is."""
    node = lone(**sysctl)
    node.do(node.table.add_static, parse_ipv6(THEM), STRANGER, node.host.now)
    return node


# RFC 8200 -------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("8200", "3-b")
def test_a_hop_limit_of_zero_reaches_us():
    a = neighbourly()
    a.inject(frame6(PROTOCOL_ICMPV6, echo(), THEM, US, hops=0))
    assert len(a.messages(ECHO_REPLY)) == 1


DROPS, TELLS = b"\x5e\0", b"\x9e\0"
SOURCE_ROUTE = bytes((PROTOCOL_ICMPV6, 2, 9, 1)) + bytes(20)


@pytest.mark.rfc("8200", "4-c")
def test_headers_count_in_their_order():
    """The first that stops a packet decides whether anybody hears of it."""
    silent, told = neighbourly(), neighbourly()
    silent.inject(frame6(DESTINATION_OPTIONS, emit_options_header(ROUTING, DROPS) + SOURCE_ROUTE + echo(), THEM, US))
    assert silent.messages(PARAMETER_PROBLEM) == []
    route = bytes((DESTINATION_OPTIONS,)) + SOURCE_ROUTE[1:]
    told.inject(frame6(ROUTING, route + emit_options_header(PROTOCOL_ICMPV6, DROPS) + echo(), THEM, US))
    assert len(told.messages(PARAMETER_PROBLEM)) == 1


@pytest.mark.rfc("8200", "4.2-a", "4.2-c")
@pytest.mark.parametrize(("options", "count"), [(DROPS + TELLS, 0), (TELLS + DROPS, 1), (b"\1\2ab" + TELLS, 1)])
def test_options_count_in_their_order(options, count):
    a = neighbourly()
    a.inject(frame6(DESTINATION_OPTIONS, emit_options_header(PROTOCOL_ICMPV6, options) + echo(), THEM, US))
    assert len(a.messages(PARAMETER_PROBLEM)) == count and a.messages(ECHO_REPLY) == []


@pytest.mark.rfc("8200", "4-a")
def test_a_router_looks_at_no_header_that_is_not_for_it():
    host = SimHost(seed=1)
    near, far = Hub(host), Hub(host)
    router = Node6(host, "router", (near, "fd00::1/64"), (far, "fd01::1/64"), ip6__forwarding=1)
    host.run(host.now + 20 * SECOND)
    table = router.ip6.neighbours(router.interfaces[1])
    assert table is not None
    router.do(table.add_static, parse_ipv6("fd01::9"), STRANGER, host.now)
    router.forget_sent()
    payload = emit_options_header(PROTOCOL_ICMPV6, DROPS) + echo(destination="fd01::9")
    router.inject(frame6(DESTINATION_OPTIONS, payload, THEM, "fd01::9", to=router.interfaces[0].mac))
    host.run(host.now + SECOND)
    sent = [frame.linear()[54:] for _, header, frame in router.packets(1) if header.next_header == DESTINATION_OPTIONS]
    assert sent == [payload]


@pytest.mark.rfc("8200", "4.5-a")
def test_identifications_of_fragmented_packets_differ():
    a = neighbourly()
    for _ in range(5):
        a.ping6(THEM, bytes(3000))
    found = set()
    for _, header, frame in a.packets():
        if header.next_header == FRAGMENT:
            part = parse_fragment_header(frame.linear(), 54, len(frame))
            assert part is not None
            found.add(part.identification)
    assert len(found) == 5


@pytest.mark.rfc("8200", "4.5-f", "4.5-g")
def test_an_atomic_fragment_has_nothing_to_do_with_others_of_its_number():
    a = neighbourly()
    whole = echo(bytes(1000))
    a.inject(frame6(FRAGMENT, FragmentHeader(58, 0, True, 7).emit() + whole[:504], THEM, US))
    a.inject(frame6(FRAGMENT, FragmentHeader(58, 0, False, 7).emit() + echo(), THEM, US))
    assert len(a.messages(ECHO_REPLY)) == 1
    a.inject(frame6(FRAGMENT, FragmentHeader(58, 504, False, 7).emit() + whole[504:], THEM, US))
    assert len(a.messages(ECHO_REPLY)) == 2


@pytest.mark.rfc("8200", "4.5-p", "4.5-q")
def test_overlaps_are_dropped_without_a_word():
    a = neighbourly()
    whole = echo(bytes(1000))
    for start, end, more in ((0, 504, True), (496, 1000, True), (504, len(whole), False)):
        a.inject(frame6(FRAGMENT, FragmentHeader(58, start, more, 7).emit() + whole[start:end], THEM, US))
    a.host.run(a.host.now + 90 * SECOND)
    assert a.packets() == [] or all(header.next_header != PROTOCOL_ICMPV6 for _, header, _ in a.packets())
    assert a.counter("icmp6.echo_requests_in") == 0


@pytest.mark.rfc("8200", "4.5-s")
def test_reserved_bits_of_a_fragment_header_are_ignored():
    a = neighbourly()
    header = bytearray(FragmentHeader(58, 0, False, 7).emit())
    header[1], header[3] = 0xFF, header[3] | 6
    a.inject(frame6(FRAGMENT, bytes(header) + echo(), THEM, US))
    assert len(a.messages(ECHO_REPLY)) == 1


# RFC 4861: messages ----------------------------------------------------------------------------------------------------


@pytest.mark.rfc("4861", "4.1-a", "4.1-b", "4.3-a", "4.6-a")
def test_what_is_asked_has_zeros_where_nothing_is():
    host = SimHost(seed=1)
    a = Node6(host, "a", (Hub(host), "fd00::1/64"))
    host.run(host.now + 3 * SECOND)
    a.ping6(THEM)
    host.run(host.now + 20 * SECOND)
    found = a.messages(ROUTER_SOLICITATION, NEIGHBOUR_SOLICITATION)
    assert {message.kind for _, message in found} == {ROUTER_SOLICITATION, NEIGHBOUR_SOLICITATION}
    for header, message in found:
        assert message.rest == 0 and len(message.data) % 8 == 0
        options = nd.parse_options(message.data, 0 if message.kind == ROUTER_SOLICITATION else 16)
        assert options is not None
        if not any(header.source):
            assert nd.link_address(options, nd.SOURCE_LINK_ADDRESS) == b""


@pytest.mark.rfc("4861", "4.3-a", "4.4-c", "7.1.1-b")
def test_reserved_fields_and_unknown_options_of_a_question_are_ignored():
    a = lone()
    a.inject(solicitation(UNKNOWN, link(), UNKNOWN, reserved=0xFF))
    [(_, message)] = a.messages(NEIGHBOUR_ADVERTISEMENT)
    assert message.rest & 0x1FFFFFFF == 0
    assert known(a, THEM) is not None


@pytest.mark.rfc("4861", "4.6.1-a", "4.6.2-d", "4.6.3-a", "4.6.4-a", "7.1.1-c")
def test_options_that_have_no_place_in_a_question():
    a = lone()
    header = nd.Option(4, bytes(6))
    a.inject(
        solicitation(link(MAC_X, nd.TARGET_LINK_ADDRESS), prefix("2001:db8::"), nd.mtu_option(1300), header, link())
    )
    neighbour = known(a, THEM)
    assert neighbour is not None and neighbour[0] == STRANGER
    assert a.link.path_mtu() == 1500 and gateway(a, "2001:db8::1") == ""
    assert len(a.messages(NEIGHBOUR_ADVERTISEMENT)) == 1


@pytest.mark.rfc("4861", "4.4-c", "4.6.1-a", "4.6.2-d", "4.6.4-a", "7.1.2-b", "7.1.2-c")
def test_options_and_reserved_fields_that_have_no_place_in_an_answer():
    a = lone()
    a.ping6(THEM)
    body = nd.Neighbour(nd.SOLICITED | nd.OVERRIDE, parse_ipv6(THEM), [])
    body.options = [
        link(MAC_X),
        UNKNOWN,
        prefix("2001:db8::"),
        nd.mtu_option(1300),
        link(STRANGER, nd.TARGET_LINK_ADDRESS),
    ]
    data = bytearray(body.emit())
    data[0] |= 0x1F
    data[1:4] = b"\xff" * 3
    a.inject(icmp6_frame(NEIGHBOUR_ADVERTISEMENT, bytes(data), THEM, US))
    assert known(a, THEM) == (STRANGER, "reachable", False)
    assert a.link.path_mtu() == 1500 and gateway(a, "2001:db8::1") == ""


@pytest.mark.rfc("4861", "6.1.1-a")
def test_a_host_ignores_those_who_ask_for_routers():
    a = lone()
    a.inject(icmp6_frame(ROUTER_SOLICITATION, bytes(4) + nd.emit_options([link()]), THEM, "ff02::2"))
    a.inject(icmp6_frame(ROUTER_SOLICITATION, bytes(4) + nd.emit_options([link()]), THEM, ALL_NODES))
    a.host.run(a.host.now + SECOND)
    assert known(a, THEM) is None and a.messages() == []


@pytest.mark.rfc("4861", "6.1.2-b", "6.1.2-c", "9-a", "9-b")
def test_unknown_options_of_a_router_are_ignored_and_known_ones_are_not():
    a = lone()
    a.inject(routes(UNKNOWN, nd.mtu_option(1400), link(MAC_X, nd.TARGET_LINK_ADDRESS), link(), prefix("2001:db8:5::")))
    assert gateway(a) == ROUTER and a.link.path_mtu() == 1400
    assert known(a, ROUTER) == (STRANGER, "stale", True)
    assert gateway(a, "2001:db8:5::7") == "2001:db8:5::7"


@pytest.mark.rfc("4861", "4.6.2-a", "4.6.2-b")
def test_bits_behind_a_prefix_and_its_reserved_fields_are_ignored():
    a = lone()
    option = prefix("2001:db8:5::dead:beef")
    value = bytearray(option.data)
    value[1] |= 0x1F
    value[10:14] = b"\xff" * 4
    a.inject(routes(link(), nd.Option(option.kind, bytes(value))))
    assert gateway(a, "2001:db8:5::7") == "2001:db8:5::7" and gateway(a, "2001:db8:6::7") == ROUTER


@pytest.mark.rfc("4861", "4.6.2-c", "5.1-a")
def test_no_router_takes_the_link_local_prefix_away():
    a = lone()
    a.inject(routes(link(), prefix("fe80::", valid=0)))
    assert gateway(a, "fe80::77") == "fe80::77"


# RFC 4861: routers -----------------------------------------------------------------------------------------------------


@pytest.mark.rfc("4861", "6.3.4-m", "7.3.3-d")
def test_a_router_that_has_moved_is_doubted():
    a = lone()
    a.inject(routes(link()))
    a.do(a.table.confirm, parse_ipv6(ROUTER), a.host.now)
    assert known(a, ROUTER) == (STRANGER, "reachable", True)
    a.inject(routes(link()))
    assert known(a, ROUTER) == (STRANGER, "reachable", True)
    a.inject(routes(link(MAC_X)))
    assert known(a, ROUTER) == (MAC_X, "stale", True)


@pytest.mark.rfc("4861", "6.3.4-o")
def test_a_prefix_without_the_on_link_flag_says_nothing():
    a = lone()
    a.inject(routes(link(), prefix("2001:db8:5::")))
    a.inject(routes(link(), prefix("2001:db8:5::", flags=nd.AUTONOMOUS)))
    assert gateway(a, "2001:db8:5::7") == "2001:db8:5::7"


@pytest.mark.rfc("4861", "6.3.5-a", "6.3.4-c")
def test_another_router_takes_over_from_one_whose_time_is_over():
    a = lone()
    a.inject(routes(link()))
    a.inject(routes(link(MAC_X), source=OTHER))
    first = gateway(a)
    a.inject(routes(link(STRANGER if first == ROUTER else MAC_X), source=first, lifetime=0))
    assert {first, gateway(a)} == {ROUTER, OTHER}


@pytest.mark.rfc("4861", "7.2-a")
def test_messages_that_tell_no_link_address_make_no_neighbour():
    a = lone()
    a.inject(routes())
    a.inject(solicitation())
    found = known(a, THEM)
    assert known(a, ROUTER) is None and (found is None or found[1] == "incomplete")
    a.inject(routes(link()))
    a.inject(routes())
    assert known(a, ROUTER) == (STRANGER, "stale", True)


# RFC 4861: neighbours --------------------------------------------------------------------------------------------------


@pytest.mark.rfc("4861", "7.2.1-b", "7.2.1-c")
def test_solicited_node_groups_follow_addresses():
    a = lone()
    twin = "fd00::5:0:0:1"
    group = solicited_node(parse_ipv6(US))
    assert group == solicited_node(parse_ipv6(twin)) and group in a.link.groups
    a.do(a.ip.add_address, "vif0", f"{twin}/64")
    a.host.run(a.host.now + 2 * SECOND)
    a.do(a.ip.remove_address, "vif0", US)
    assert group in a.link.groups
    a.do(a.ip.remove_address, "vif0", twin)
    assert group not in a.link.groups


@pytest.mark.rfc("4861", "7.2.2-c")
def test_a_probe_tells_who_probes():
    a = lone()
    a.inject(solicitation(link()))
    a.ping6(THEM)
    a.forget_sent()
    a.host.run(a.host.now + 6 * SECOND)
    [(header, message), *_] = a.messages(NEIGHBOUR_SOLICITATION)
    options = nd.parse_options(message.data, 16)
    assert format_ipv6(header.destination) == THEM
    assert options is not None and nd.link_address(options, nd.SOURCE_LINK_ADDRESS) == a.interface.mac


@pytest.mark.rfc("4861", "7.2.3-c", "7.2.3-e", "7.2.3-f", "7.3.1-b")
def test_who_asks_is_not_confirmed_and_no_router():
    a = lone()
    a.inject(solicitation(link()))
    found = known(a, THEM)
    assert found is not None and found[1] in ("stale", "delay") and not found[2]  # the answer is traffic
    a.inject(routes(link()))
    a.inject(solicitation(link(), source=ROUTER))
    found = known(a, ROUTER)
    assert found is not None and found[2] and found[1] != "reachable"


@pytest.mark.rfc("4861", "7.2.3-g")
def test_nobody_is_no_neighbour():
    a = lone()
    a.inject(solicitation(source="::"))
    assert a.table.rows() == []


@pytest.mark.rfc("4861", "7.2.4-b")
@pytest.mark.parametrize(("forwarding", "flag"), [(0, 0), (1, nd.ROUTER)])
def test_an_answer_says_whether_a_router_gives_it(forwarding, flag):
    a = lone(ip6__forwarding=forwarding)
    a.inject(solicitation(link()))
    [(_, message)] = a.messages(NEIGHBOUR_ADVERTISEMENT)
    assert message.rest >> 24 & nd.ROUTER == flag


@pytest.mark.rfc("4861", "7.2.5-g", "7.3.3-e")
def test_an_answer_tells_who_is_a_router():
    a = lone()
    a.ping6(THEM)
    a.inject(advertisement(link(kind=nd.TARGET_LINK_ADDRESS), flags=nd.SOLICITED | nd.OVERRIDE | nd.ROUTER))
    assert known(a, THEM) == (STRANGER, "reachable", True)
    a.inject(advertisement(link(kind=nd.TARGET_LINK_ADDRESS)))
    assert known(a, THEM) == (STRANGER, "reachable", False)


# RFC 4861: redirects ---------------------------------------------------------------------------------------------------


def redirect(target: str, destination: str = FAR, *options: nd.Option, reserved: int = 0) -> bytes:
    body = bytearray(nd.Redirect(parse_ipv6(target), parse_ipv6(destination), list(options)).emit())
    body[0] = reserved
    return icmp6_frame(REDIRECT, bytes(body), ROUTER, US)


def routed(**sysctl: int) -> Node6:
    a = lone(**{"ip6__accept_redirects": 1, **sysctl})
    a.inject(routes(link()))
    return a


@pytest.mark.rfc("8200", "5-c")
def test_a_link_takes_1500_bytes_where_nobody_says_otherwise():
    host = SimHost(seed=1)
    a = Node6(host, "a")
    with a.entered():
        interface = a.ip.add_interface(Switch(host).port(), "vif0", b"\2\0\0\0\0\1")
    assert a.v6.links[interface.index].path_mtu() >= 1500


@pytest.mark.rfc("4861", "8.1-b", "8.1-c", "8.3-a", "8.3-b", "8.3-c", "8.3-f")
def test_a_better_router_is_taken():
    a = routed()
    quote = nd.Option(4, bytes(6))
    extra = (UNKNOWN, quote, nd.mtu_option(1300), link(MAC_X, nd.TARGET_LINK_ADDRESS))
    a.inject(redirect(OTHER, FAR, *extra, reserved=0xFF))
    assert gateway(a) == OTHER and a.link.path_mtu() == 1500
    assert known(a, OTHER) == (MAC_X, "stale", True)


@pytest.mark.rfc("4861", "8.1-d", "8.3-e")
def test_a_destination_that_is_here_needs_no_prefix():
    a = routed()
    a.inject(redirect(FAR, FAR, link(MAC_X, nd.TARGET_LINK_ADDRESS)))
    assert gateway(a) == FAR


@pytest.mark.rfc("4861", "8.3-d")
def test_a_redirect_that_changes_a_link_address_makes_it_doubtful():
    a = routed()
    a.inject(redirect(OTHER, FAR, link(STRANGER, nd.TARGET_LINK_ADDRESS)))
    a.do(a.table.confirm, parse_ipv6(OTHER), a.host.now)
    a.inject(redirect(OTHER, "2001:db8:ffff::2", link(MAC_X, nd.TARGET_LINK_ADDRESS)))
    found = known(a, OTHER)
    assert found is not None and found[:2] == (MAC_X, "stale")


@pytest.mark.rfc("4861", "8.2-d")
def test_routers_are_not_redirected():
    a = lone(ip6__accept_redirects=1, ip6__forwarding=1)
    a.do(a.ip.add_route, "default", ROUTER, "vif0")
    a.inject(redirect(OTHER, FAR, link(MAC_X, nd.TARGET_LINK_ADDRESS)))
    assert gateway(a) == ROUTER


@pytest.mark.rfc("4861", "8.3-g")
def test_a_host_redirects_nobody():
    a = lone()
    a.inject(solicitation(link()))
    a.forget_sent()
    a.inject(frame6(PROTOCOL_ICMPV6, echo(destination=FAR), THEM, FAR, to=a.interface.mac))
    a.host.run(a.host.now + 100 * MILLISECOND)
    assert a.messages(REDIRECT) == []


@pytest.mark.rfc("8200", "5-a", "5-b")
@pytest.mark.parametrize(("mtu", "there"), [(1279, False), (1280, True)])
def test_a_link_that_takes_less_than_1280_bytes_has_no_ipv6(mtu, there):
    host = SimHost(seed=1)
    a = Node6(host, "a", (Hub(host, mtu=mtu), ""))
    host.run(host.now + 5 * SECOND)
    assert (a.packets() != []) == there
    a.inject(frame6(PROTOCOL_ICMPV6, echo(destination=ALL_NODES), THEM, ALL_NODES))
    assert a.counter("ip6.packets_in") == there
    if not there:
        with pytest.raises(OSError):
            a.do(a.ip.add_address, "vif0", "fd00::1/64")
