"""IPv6's way in (RFC 8200): extension headers in every shape, fragments that somebody tampers with, sources and destinations
that must not be; and what their senders hear (RFC 4443)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.net.ip.contract import Transport
from rumpkit.net.wire.address import format_ipv6, parse_ipv6
from rumpkit.net.wire.icmpv6 import (
    ECHO_REPLY,
    PACKET_TOO_BIG,
    PARAMETER_PROBLEM,
    TIME_EXCEEDED,
    Icmp6Message,
)
from rumpkit.net.wire.ipv6 import (
    DESTINATION_OPTIONS,
    FRAGMENT,
    HOP_BY_HOP,
    NO_NEXT_HEADER,
    PROTOCOL_ICMPV6,
    ROUTING,
    emit_ipv6_header,
)
from rumpkit.net.wire.ipv6_extensions import FragmentHeader, emit_options_header
from tests.net.lan import Hub
from tests.net.lan6 import ALL_NODES, STRANGER, Node6, frame6

US, THEM = "fd00::1", "fd00::9"


def lone(**sysctl: int) -> Node6:
    """A kernel at US that knows where THEM is."""
    host = SimHost(seed=1)
    node = Node6(host, "a", (Hub(host), "fd00::1/64"), **sysctl)
    host.run(host.now + 20 * SECOND)
    node.do(node.table.add_static, parse_ipv6(THEM), STRANGER, host.now)
    node.forget_sent()
    return node


def echo(data: bytes = b"data", source: str = THEM, destination: str = US) -> bytes:
    return Icmp6Message(128, 0, 0x10001, data).emit(parse_ipv6(source), parse_ipv6(destination))


def answered(node: Node6) -> int:
    return len(node.messages(ECHO_REPLY))


def problems(node: Node6) -> list[tuple[int, int, int]]:
    """Type, code and pointer (or MTU) of each error sent."""
    found = node.messages(PARAMETER_PROBLEM, TIME_EXCEEDED, PACKET_TOO_BIG, 1)
    assert all(format_ipv6(header.destination) == THEM for header, _ in found)
    return [(message.kind, message.code, message.rest) for _, message in found]


def routing(next_header: int, kind: int, left: int) -> bytes:
    return bytes((next_header, 2, kind, left)) + bytes(20)


# Extension headers ---------------------------------------------------------------------------------------------

HBH = emit_options_header(PROTOCOL_ICMPV6, b"")
DST = emit_options_header(PROTOCOL_ICMPV6, b"\x1e\2ab")
CHAIN = (
    emit_options_header(DESTINATION_OPTIONS, b"")
    + emit_options_header(ROUTING, b"")
    + routing(FRAGMENT, 9, 0)
    + FragmentHeader(DESTINATION_OPTIONS, 0, False, 7).emit()
    + DST
)


@pytest.mark.rfc("8200", "4.1-c", "4.2-b", "4.4-a", "4.5-f", "8.4-a")
@pytest.mark.parametrize(
    ("first", "headers"),
    [
        (HOP_BY_HOP, HBH),
        (DESTINATION_OPTIONS, DST),
        (ROUTING, routing(PROTOCOL_ICMPV6, 0, 0)),
        (ROUTING, routing(PROTOCOL_ICMPV6, 200, 0)),
        (FRAGMENT, FragmentHeader(PROTOCOL_ICMPV6, 0, False, 7).emit()),
        (HOP_BY_HOP, CHAIN),
    ],
    ids=["hop by hop", "destination", "routing 0", "routing 200", "atomic fragment", "all"],
)
def test_headers_that_may_be_passed(first, headers):
    a = lone()
    a.inject(frame6(first, headers + echo(), THEM, US))
    assert answered(a) == 1 and problems(a) == []


@pytest.mark.rfc("8200", "4-b", "4-d", "4-e", "4.2-c", "4.2-d", "4.2-e", "4.4-b", "4.7-a")
@pytest.mark.parametrize(
    ("first", "headers", "expected"),
    [
        # A routing header with segments left, of type 0 or any other (RFC 5095, RFC 8200 section 4.4)
        (ROUTING, routing(PROTOCOL_ICMPV6, 0, 1), [(4, 0, 42)]),
        (ROUTING, routing(PROTOCOL_ICMPV6, 77, 1), [(4, 0, 42)]),
        # Hop-by-hop options anywhere but first (section 4.1)
        (DESTINATION_OPTIONS, emit_options_header(HOP_BY_HOP, b"") + HBH, [(4, 1, 40)]),
        # Options by their two highest bits (section 4.2)
        (DESTINATION_OPTIONS, emit_options_header(58, b"\x5e\0"), []),
        (DESTINATION_OPTIONS, emit_options_header(58, b"\x9e\0"), [(4, 2, 42)]),
        (DESTINATION_OPTIONS, emit_options_header(58, b"\xde\0"), [(4, 2, 42)]),
        (HOP_BY_HOP, emit_options_header(58, b"\0\0\xc2\4" + bytes(4)), [(4, 2, 44)]),
        # Next headers that nobody knows (section 4)
        (253, b"", [(4, 1, 6)]),
        (HOP_BY_HOP, emit_options_header(51, b""), [(4, 1, 40)]),
        # Lengths that run past the packet
        (HOP_BY_HOP, b"\x3a\xff" + bytes(6), []),
        (NO_NEXT_HEADER, b"", []),
    ],
)
def test_headers_that_stop_a_packet(first, headers, expected):
    a = lone()
    a.inject(frame6(first, headers + echo(), THEM, US))
    assert answered(a) == 0 and problems(a) == expected


@pytest.mark.rfc("8200", "4.2-d", "4.2-e")
@pytest.mark.parametrize(("option", "expected"), [(b"\x9e\0", [(4, 2, 42)]), (b"\xde\0", [])])
def test_of_packets_to_groups_only_one_kind_of_option_is_reported(option, expected):
    a = lone()
    data = emit_options_header(58, option) + echo(destination=ALL_NODES)
    a.inject(frame6(DESTINATION_OPTIONS, data, THEM, ALL_NODES))
    assert answered(a) == 0 and problems(a) == expected


def test_too_many_extension_headers():
    a = lone(ip6__max_extension_headers=3)
    for count in (3, 4):
        headers = emit_options_header(DESTINATION_OPTIONS, b"") * (count - 1) + DST
        a.inject(frame6(DESTINATION_OPTIONS, headers + echo(), THEM, US))
    assert answered(a) == 1 and a.counter("ip6.bad_header") == 1


def test_errors_are_not_answered_nor_sent_too_often():
    a = lone()
    error = Icmp6Message(1, 0, 0, bytes(48)).emit(parse_ipv6(THEM), parse_ipv6(US))
    a.inject(frame6(ROUTING, routing(PROTOCOL_ICMPV6, 0, 1) + error, THEM, US))
    a.inject(frame6(253, b"", "::", ALL_NODES))
    assert problems(a) == []
    for _ in range(200):
        a.inject(frame6(253, b"12345678", THEM, US))
    assert len(problems(a)) == 50 and a.counter("icmp6.errors_limited") == 150


# Fragments -----------------------------------------------------------------------------------------------------

WHOLE = echo(bytes(range(256)) * 8)


def fragment(start: int, end: int, *, more: bool = True, kind: int = 58, number: int = 7, data: bytes = WHOLE) -> bytes:
    header = FragmentHeader(kind, start, more, number).emit()
    return frame6(FRAGMENT, header + data[start:end], THEM, US)


def test_fragments_in_any_order_make_a_packet():
    parts = [fragment(0, 800), fragment(800, 1600), fragment(1600, len(WHOLE), more=False)]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 0, 2)):
        a = lone()
        for index in order:
            a.inject(parts[index])
        assert a.counter("icmp6.echo_replies_out") == 1, order
        assert a.ip6.reassembly.waiting() == 0


@pytest.mark.parametrize(
    ("codes", "expected"), [((2, 2, 2), 2), ((2, 3, 2), 3), ((3, 1, 1), 3), ((0, 0, 0), 0), ((0, 3, 0), None)]
)
def test_a_congestion_mark_on_a_fragment_is_the_packets(codes, expected):
    """RFC 3168 section 5.3: what was not to be marked and is, is dropped."""

    class Seen(Transport):
        def __init__(self) -> None:
            super().__init__()
            self.codes: list[int] = []

        def input(self, frame: Frame, network: int, transport: int, end: int, now: int) -> None:
            self.codes.append(frame.head[network + 1] >> 4 & 3)

    a, seen = lone(), Seen()
    a.v6.transports[99] = seen
    for at, code in enumerate(codes):
        head = bytearray(fragment(at * 64, at * 64 + 64, more=at < 2, kind=99))
        head[15] |= code << 4
        a.inject(bytes(head))
    assert seen.codes == ([] if expected is None else [expected])


@pytest.mark.rfc("8200", "4.5-p")
@pytest.mark.parametrize("start", [792, 808 - 16, 0])
def test_overlaps_are_refused_and_what_follows_is_swallowed(start):
    a = lone()
    a.inject(fragment(0, 800))
    a.inject(fragment(start, 1600))
    a.inject(fragment(800, 1600))
    a.inject(fragment(1600, len(WHOLE), more=False))
    assert a.counter("icmp6.echo_requests_in") == 0 and a.counter("ip6.reassembly_failed") == 1
    a.host.run(a.host.now + 61 * SECOND)
    assert a.ip6.reassembly.waiting() == 0 and a.ip6.reassembly.memory == 0


@pytest.mark.rfc("8200", "4.5-r")
def test_identifications_and_addresses_tell_packets_apart():
    a = lone()
    a.inject(fragment(0, 800))
    a.inject(fragment(800, len(WHOLE), more=False, number=8))
    assert a.counter("icmp6.echo_requests_in") == 0 and a.ip6.reassembly.waiting() == 2


@pytest.mark.rfc("8200", "4.5-j", "4.5-k", "4.5-l", "4.5-m", "4.5-n", "4.5-o")
@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (fragment(0, 801), [(4, 0, 4)]),  # not a multiple of 8
        (frame6(FRAGMENT, FragmentHeader(58, 65528, False, 7).emit() + bytes(16), THEM, US), [(4, 0, 42)]),
        (frame6(FRAGMENT, FragmentHeader(DESTINATION_OPTIONS, 0, True, 7).emit() + b"\x3a\1" + bytes(6), THEM, US),
         [(4, 3, 0)]),
        (frame6(FRAGMENT, FragmentHeader(58, 0, True, 7).emit(), THEM, US), [(4, 3, 0)]),
        (frame6(FRAGMENT, b"\x3a\0\0\1", THEM, US), []),
    ],
    ids=["odd size", "too long", "headers cut", "nothing", "no room"],
)  # fmt: skip
def test_fragments_that_cannot_be(head, expected):
    a = lone()
    a.inject(head)
    assert problems(a) == expected and a.ip6.reassembly.waiting() == 0


@pytest.mark.rfc("8200", "4.5-h", "4.5-i")
def test_an_unfinished_packet_is_reported_after_a_minute_if_its_first_fragment_came():
    a = lone()
    a.inject(fragment(0, 800))
    a.inject(fragment(800, 1600, number=8))
    a.host.run(a.host.now + 59 * SECOND)
    assert problems(a) == []
    a.host.run(a.host.now + 2 * SECOND)
    assert problems(a) == [(3, 1, 0)] and a.counter("ip6.reassembly_failed") == 2


def test_fragments_of_fragments_are_dropped():
    a = lone()
    inner = FragmentHeader(58, 0, True, 9).emit() + WHOLE[:800]
    a.inject(fragment(0, 400, kind=FRAGMENT, data=inner))
    a.inject(fragment(400, 808, more=False, kind=FRAGMENT, data=inner))
    assert a.ip6.reassembly.waiting() == 0 and a.counter("ip6.bad_header") == 1


def test_neither_are_they_taken_behind_another_header():
    a = lone()
    inner = emit_options_header(FRAGMENT, b"") + FragmentHeader(58, 0, True, 9).emit() + WHOLE[:800]
    a.inject(fragment(0, 400, kind=DESTINATION_OPTIONS, data=inner))
    a.inject(fragment(400, 816, more=False, kind=DESTINATION_OPTIONS, data=inner))
    assert a.ip6.reassembly.waiting() == 0 and a.counter("ip6.bad_header") == 1


def test_headers_in_front_of_the_fragment_header_are_the_first_fragment_s():
    a = lone()
    before = emit_options_header(FRAGMENT, b"")
    head = FragmentHeader(58, 0, True, 7).emit() + WHOLE[:800]
    rest = FragmentHeader(58, 800, False, 7).emit() + WHOLE[800:]
    a.inject(frame6(FRAGMENT, rest, THEM, US))
    a.inject(frame6(DESTINATION_OPTIONS, before + head, THEM, US))
    assert a.counter("icmp6.echo_replies_out") == 1


def test_fragments_that_wait_are_limited():
    a = lone(ip6__fragment_datagrams_per_peer=8, ip6__fragment_memory=4000)
    for number in range(50):
        a.inject(fragment(0, 800, number=number))
    assert a.ip6.reassembly.waiting() <= 8 and a.ip6.reassembly.memory <= 4000


# Addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["ff02::5", "::1", "fd00::1", "::ffff:10.0.0.1", "::"])
def test_sources_that_cannot_be(source):
    a = lone()
    a.inject(frame6(PROTOCOL_ICMPV6, echo(source=source), source, US))
    assert answered(a) == 0 and a.counter("ip6.martian_source") == 1


@pytest.mark.parametrize("destination", ["::1", "::", "::ffff:10.0.0.1", "ff01::1", "ff00::5"])
def test_destinations_that_cannot_be(destination):
    a = lone()
    a.inject(frame6(PROTOCOL_ICMPV6, echo(destination=destination), THEM, destination, to=b"\2\0\0\0\0\1"))
    assert answered(a) == 0 and a.counter("ip6.martian_destination") == 1


def test_a_link_local_address_is_one_on_its_own_link_only():
    a = lone()
    second = a.plug(Hub(a.host))
    a.host.run(a.host.now + 3 * SECOND)
    other = format_ipv6(a.v6.links[second.index].link_local())
    a.inject(frame6(PROTOCOL_ICMPV6, echo(destination=other), THEM, other))
    assert answered(a) == 0 and a.counter("ip6.martian_destination") == 1


def test_packets_for_others_and_other_groups_are_ignored():
    a = lone()
    a.inject(frame6(PROTOCOL_ICMPV6, echo(destination="fd00::5"), THEM, "fd00::5"))
    a.inject(frame6(PROTOCOL_ICMPV6, echo(destination="ff02::77"), THEM, "ff02::77"))
    assert answered(a) == 0 and a.counter("ip6.not_ours") == 2 and problems(a) == []


def test_link_padding_is_no_payload():
    a = lone()
    a.inject(frame6(PROTOCOL_ICMPV6, echo(b""), THEM, US) + bytes(20))
    [(_, message)] = a.messages(ECHO_REPLY)
    assert message.data == b""


def test_echoes_can_be_ignored():
    for name in ("echo_ignore_all", "echo_ignore_multicast"):
        a = lone(**{f"icmp6__{name}": 1})
        a.inject(frame6(PROTOCOL_ICMPV6, echo(destination=ALL_NODES), THEM, ALL_NODES))
        assert answered(a) == 0
        a.inject(frame6(PROTOCOL_ICMPV6, echo(), THEM, US))
        assert answered(a) == (name == "echo_ignore_multicast")


WORLD: list[Node6] = []


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([0, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135, 253]),
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([HBH, DST, CHAIN, routing(44, 0, 0), FragmentHeader(60, 0, True, 1).emit(), echo()]),
        ),
        max_size=5,
    ),
    st.sampled_from([THEM, "::", "fe80::5"]),
    st.sampled_from([US, ALL_NODES, "fd00::5", "ff02::1:ff00:1"]),
    st.integers(0, 8),
)
def test_whatever_comes_is_survived(first, parts, source, destination, cut):
    if not WORLD:
        WORLD.append(lone())
    a = WORLD[0]
    data = frame6(first, b"".join(parts), source, destination)
    a.inject(data)
    a.inject(data[: len(data) - cut])
    own, target = parse_ipv6(source), parse_ipv6(destination)
    a.inject(data[:14] + emit_ipv6_header(own, target, first, len(data)) + data[54:])
    a.forget_sent()
    a.inject(frame6(PROTOCOL_ICMPV6, echo(), THEM, US))
    assert answered(a) == 1
