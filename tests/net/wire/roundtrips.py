"""Parse, emit, parse again: for each header a function that takes any bytes, and bytes to begin with.

Each function returns whether the parser took the bytes; if it did, what the emitter makes of the result must parse to the same, or,
where a header has one form only, be the same bytes.  Hypothesis and the fuzzer (`tests/fuzz`) both run them.
"""

from __future__ import annotations

from collections.abc import Callable

from rumpkit.hyper.frame import Frame
from rumpkit.net.wire import dns, icmpv6, igmp, mld, nd
from rumpkit.net.wire.arp import ArpPacket, parse_arp
from rumpkit.net.wire.checksum import internet_checksum
from rumpkit.net.wire.dhcp import ACK, BOOTREPLY, DhcpMessage, parse_dhcp
from rumpkit.net.wire.ethernet import destination_mac, emit_ethernet, ethertype, source_mac
from rumpkit.net.wire.icmp import IcmpMessage, parse_icmp
from rumpkit.net.wire.ipv4 import emit_ipv4_header, parse_ipv4_header
from rumpkit.net.wire.ipv6 import emit_ipv6_header, parse_ipv6_header
from rumpkit.net.wire.ipv6_extensions import (
    OPTIONS_FINE,
    FragmentHeader,
    check_options,
    emit_options_header,
    parse_fragment_header,
)
from rumpkit.net.wire.segment import SYN, Segment
from rumpkit.net.wire.tcp import emit_segment, parse_segment
from rumpkit.net.wire.udp import emit_udp_header, parse_udp

MAC_A, MAC_B = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"
A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
A6, B6 = bytes(15) + b"\1", b"\xfe\x80" + bytes(13) + b"\2"


def ethernet(data: bytes) -> bool:
    """The Ethernet header."""
    kind = ethertype(data)
    if kind < 0:
        return False
    assert emit_ethernet(destination_mac(data), source_mac(data), kind) == data[:14]
    return True


def arp(data: bytes) -> bool:
    """An ARP packet: has one form."""
    packet = parse_arp(data, 0)
    if packet is None:
        return False
    assert packet.emit() == data[:28]
    return True


def ipv4(data: bytes) -> bool:
    """An IPv4 header: has one form, given its options."""
    header = parse_ipv4_header(data, 0, len(data))
    if header is None or not header.checksum_valid:
        return False
    emitted = emit_ipv4_header(
        header.source, header.destination, int(header.protocol), int(header.end - header.transport),
        int(header.identification), int(header.fragment), int(header.ttl), int(header.tos), data[20 : header.transport],
    )  # fmt: skip
    # The checksum has two forms of zero, of which we send one.
    assert emitted[:10] + emitted[12:] == data[:10] + data[12 : header.transport]
    return True


def icmp(data: bytes) -> bool:
    """An ICMP message: has one form, but for its checksum."""
    message = parse_icmp(Frame(data), 0, len(data))
    if message is None:
        return False
    emitted = message.emit()
    assert emitted[:2] + emitted[4:] == data[:2] + data[4:]
    return True


def udp(data: bytes) -> bool:
    """A UDP datagram."""
    datagram = parse_udp(Frame(data), 0, len(data))
    if datagram is None:
        return False
    payload = datagram.payload()
    head = emit_udp_header(int(datagram.sport), int(datagram.dport), len(payload), int(datagram.checksum))
    assert head + payload == data[: 8 + len(payload)]
    return True


def _fields(segment: Segment) -> tuple[object, ...]:
    return (
        segment.seq, segment.ack, segment.flags, segment.window, segment.urgent, segment.mss, segment.window_scale,
        segment.has_timestamp, segment.ts_value, segment.ts_echo, segment.sack_permitted, segment.user_timeout, segment.fast_open,
        segment.payload(),
    )  # fmt: skip


def tcp(data: bytes) -> bool:
    """A TCP segment; unknown options are left out, and SACK blocks that no longer fit."""
    segment = parse_segment(Frame(data), 0, len(data))
    if segment is None:
        return False
    before = _fields(segment)
    blocks = segment.sack_blocks
    frame = emit_segment(segment, 1, 2, 0)
    again = parse_segment(frame, 0, len(frame))
    assert again is not None
    if len(frame.head) < 60 - 16:
        # Else one of the rarest options may have found no room beside the others.
        assert _fields(again) == before
    assert again.sack_blocks == blocks[: len(again.sack_blocks)]
    assert len(again.sack_blocks) == len(blocks) or len(frame.head) > 60 - 16
    return True


def _records(message: dns.Message) -> tuple[object, ...]:
    sections = [
        [(r.name, r.kind, r.class_number, r.ttl, r.data, r.target) for r in part]
        for part in (message.answers, message.authority, message.additional)
    ]
    return (
        message.identification,
        message.flags,
        [(q.name, q.kind, q.class_number) for q in message.questions],
        sections,
    )


def dns_message(data: bytes) -> bool:
    """A DNS message; compression may make another form of it."""
    message = dns.parse_message(data)
    if message is None:
        return False
    emitted = message.emit()
    again = dns.parse_message(emitted)
    assert again is not None
    if again.flags == message.flags:
        assert _records(again) == _records(message)
    return True


def dhcp(data: bytes) -> bool:
    """A DHCP message."""
    message = parse_dhcp(data)
    if message is None:
        return False
    again = parse_dhcp(message.emit())
    assert again is not None
    for name in ("operation", "transaction", "hardware", "seconds", "flags", "client", "yours", "relay", "options"):
        assert getattr(again, name) == getattr(message, name), name
    return True


def ipv6(data: bytes) -> bool:
    """An IPv6 header: has one form."""
    header = parse_ipv6_header(data, 0, len(data))
    if header is None:
        return False
    emitted = emit_ipv6_header(
        header.source, header.destination, int(header.next_header), int(header.payload_size), int(header.hop_limit),
        int(header.traffic_class), int(header.flow),
    )  # fmt: skip
    assert emitted == data[:40]
    return True


def ipv6_fragment(data: bytes) -> bool:
    """A fragment header."""
    header = parse_fragment_header(data, 0, len(data))
    if header is None:
        return False
    emitted = header.emit()
    # But for its reserved bits.
    assert emitted[0] == data[0] and emitted[2] == data[2] and emitted[3] == data[3] & 0xF9 and emitted[4:] == data[4:8]
    return True


def ipv6_options(data: bytes) -> bool:
    """A header of options."""
    if len(data) > 2046 or check_options(data, 0, len(data)) != OPTIONS_FINE:
        return False
    emitted = emit_options_header(17, data)
    assert len(emitted) % 8 == 0 and (emitted[1] + 1) * 8 == len(emitted) and emitted[2 : 2 + len(data)] == data
    assert check_options(emitted, 2, len(emitted)) == OPTIONS_FINE
    return True


def icmp6(data: bytes) -> bool:
    """An ICMPv6 message: has one form, but for its checksum."""
    message = icmpv6.parse_icmpv6(Frame(data), 0, len(data))
    if message is None:
        return False
    emitted = message.emit(A6, B6)
    assert emitted[:2] + emitted[4:] == data[:2] + data[4:]
    return True


def neighbour(data: bytes) -> bool:
    """A neighbour solicitation or advertisement, and what its options say."""
    message = nd.parse_neighbour(data)
    if message is None:
        return False
    again = nd.parse_neighbour(message.emit())
    assert again is not None
    assert (again.flags, again.target, again.options) == (message.flags, message.target, message.options)
    nd.link_address(message.options, 1)
    return True


def router(data: bytes) -> bool:
    """A router advertisement, and what its options say."""
    message = nd.parse_router_advertisement(data)
    if message is None:
        return False
    again = nd.parse_router_advertisement(message.emit())
    assert again is not None
    for name in ("hop_limit", "flags", "lifetime", "reachable", "retrans", "options"):
        assert getattr(again, name) == getattr(message, name), name
    options = message.options
    for prefix in nd.prefixes(options):
        assert nd.prefixes([nd.prefix_option(prefix)]) == [prefix]
    nd.link_mtu(options), nd.routes(options), nd.name_servers(options), nd.search_domains(options)
    return True


def redirect(data: bytes) -> bool:
    """A redirect."""
    message = nd.parse_redirect(data)
    if message is None:
        return False
    again = nd.parse_redirect(message.emit())
    assert again is not None
    assert (again.target, again.destination, again.options) == (message.target, message.destination, message.options)
    return True


def igmp_message(data: bytes) -> bool:
    """An IGMP message, given its checksum; bytes behind it and auxiliary data are left out."""
    if len(data) < 8:
        return False
    blank = data[:2] + bytes(2) + data[4:]
    data = blank[:2] + int(internet_checksum(blank, 0, len(blank))).to_bytes(2, "big") + blank[4:]
    message = igmp.parse_igmp(data)
    if message is None:
        return False
    again = igmp.parse_igmp(message.emit())
    assert again is not None
    names = ["kind", "version", "suppress", "robustness", "interval_code", "sources", "records"]
    for name in names + (["group", "code"] if message.kind != igmp.REPORT_V3 else []):
        assert getattr(again, name) == getattr(message, name), name
    assert message.response_time() >= 0
    return True


def mld_query(data: bytes) -> bool:
    """A multicast listener query; times that take an exponent are not sent."""
    query = mld.parse_query(data)
    if query is None:
        return False
    if query.max_delay < 32768 and query.interval < 128:
        assert mld.parse_query(mld.emit_query(query)) == query
    return True


def mld_report(data: bytes) -> bool:
    """A multicast listener report; auxiliary data is left out."""
    records = mld.parse_report(data)
    if records is None:
        return False
    assert mld.parse_report(mld.emit_report(records)) == records
    return True


def _syn() -> bytes:
    segment = Segment(1, 0, SYN, 65535)
    segment.mss, segment.window_scale, segment.sack_permitted, segment.has_timestamp = 1460, 7, True, True
    return emit_segment(segment, 4000, 80, 0).linear()


def _sack() -> bytes:
    segment = Segment(1, 2, 16, 5, b"payload", 0, 7)
    segment.sack_blocks = ((10, 20), (30, 40), (50, 60))
    segment.has_timestamp = True
    return emit_segment(segment, 4000, 80, 0).linear()


def _rare() -> bytes:
    segment = Segment(1, 0, SYN, 5, b"early", 0, 5)
    segment.fast_open, segment.user_timeout = bytes(range(8)), 300
    return emit_segment(segment, 4000, 80, 0).linear()


def _igmp() -> list[bytes]:
    report = igmp.IgmpMessage(igmp.REPORT_V3)
    report.records = (igmp.GroupRecord(4, b"\xef\1\2\3", (A, B)), igmp.GroupRecord(3, b"\xef\1\2\4"))
    query = igmp.IgmpMessage(igmp.QUERY, b"\xef\1\2\3")
    query.version, query.code, query.robustness, query.sources = 3, 100, 2, (A,)
    return [report.emit(), query.emit(), igmp.IgmpMessage(igmp.LEAVE_V2, b"\xef\1\2\3").emit()]


def _dns() -> bytes:
    message = dns.Message(7)
    message.questions = [dns.Question("www.example.org", 1)]
    message.answers = [
        dns.Record("www.example.org", 1, 60, A),
        dns.Record("example.org", 2, 60, target="a.example.org"),
    ]
    return message.emit()


def _dhcp() -> bytes:
    message = DhcpMessage(BOOTREPLY, 77, MAC_A)
    message.options = {53: bytes([ACK]), 1: b"\xff\xff\xff\0", 3: A, 121: b"\x18\x0a\0\1" + B, 119: b"\2ab\0"}
    return message.emit()


def _router() -> bytes:
    message = nd.RouterAdvertisement(64, 0x08, 1800, 0, 0)
    prefix = nd.PrefixInformation(64, 0xC0, 3600, 1800, b"\x20\1\x0d\xb8" + bytes(12))
    message.options = [nd.Option(1, MAC_A), nd.prefix_option(prefix), nd.mtu_option(1400)]
    message.options.append(nd.Option(25, bytes(2) + b"\0\0\1\0" + A6))
    message.options.append(nd.Option(31, bytes(2) + b"\0\0\1\0" + b"\2ab\2cd\0\0"))
    return message.emit()


_ECHO = bytes([128, 0, 0, 0, 0, 1, 0, 1]) + b"data"
ROUND_TRIPS: dict[str, tuple[Callable[[bytes], bool], list[bytes]]] = {
    "ethernet": (ethernet, [emit_ethernet(MAC_A, MAC_B, 0x0800) + b"rest"]),
    "arp": (arp, [ArpPacket(1, MAC_A, A, bytes(6), B).emit(), ArpPacket(2, MAC_A, A, MAC_B, B).emit()]),
    "ipv4": (ipv4, [emit_ipv4_header(A, B, 17, 8, 7, 0x4000) + bytes(8),
                    emit_ipv4_header(A, B, 6, 8, 7, 0x2003, 1, 4, b"\x07\7\4\0\0\0\0\0") + bytes(8)]),
    "icmp": (icmp, [IcmpMessage(8, 0, 1, b"data").emit(), IcmpMessage(3, 4, 576, bytes(28)).emit()]),
    "udp": (udp, [emit_udp_header(1000, 53, 4, 5) + b"data"]),
    "igmp": (igmp_message, _igmp()),
    "mld_query": (mld_query, [mld.emit_query(mld.Query(2, B6, 1000, (A6,), 2, 125)), mld.emit_query(mld.Query(1, B6, 9))]),
    "mld_report": (mld_report, [mld.emit_report([mld.Record(4, B6, (A6,)), mld.Record(2, A6)])]),
    "tcp": (tcp, [_syn(), _sack(), _rare(), emit_segment(Segment(5, 6, 0x18, 7, b"abc", 0, 3), 1, 2, 0).linear()]),
    "dns": (dns_message, [_dns()]),
    "dhcp": (dhcp, [_dhcp()]),
    "ipv6": (ipv6, [emit_ipv6_header(A6, B6, 17, 4, 64, 3, 5) + b"data"]),
    "ipv6_fragment": (ipv6_fragment, [FragmentHeader(17, 1480, True, 99).emit()]),
    "ipv6_options": (ipv6_options, [b"\5\2\0\0\1\0", b"\1\4\0\0\0\0", b"\x1e\3abc\0"]),
    "icmpv6": (icmp6, [_ECHO]),
    "neighbour": (neighbour, [nd.Neighbour(0x60, A6, [nd.Option(2, MAC_A)]).emit()]),
    "router": (router, [_router()]),
    "redirect": (redirect, [nd.Redirect(A6, B6, [nd.Option(4, bytes(6))]).emit()]),
}  # fmt: skip
"""By header: the function, and bytes that it takes."""
