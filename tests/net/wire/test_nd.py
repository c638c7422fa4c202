from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire import nd

addresses = st.binary(min_size=16, max_size=16)
octets = st.integers(0, 255)
words = st.integers(0, 0xFFFF)
longs = st.integers(0, 0xFFFFFFFF)
options = st.lists(
    st.builds(
        nd.Option, octets, st.integers(0, 8).flatmap(lambda n: st.binary(min_size=6 + 8 * n, max_size=6 + 8 * n))
    ),
    max_size=6,
)


@given(octets, addresses, options)
def test_neighbour_messages_survive_the_round_trip(flags: int, target: bytes, extra: list[nd.Option]) -> None:
    read = nd.parse_neighbour(nd.Neighbour(flags, target, extra).emit())
    assert read is not None
    assert (read.flags, read.target, read.options) == (flags, target, extra)


@given(octets, octets, words, longs, longs, options)
def test_router_advertisements_survive_the_round_trip(
    hops: int, flags: int, lifetime: int, reachable: int, retrans: int, extra: list[nd.Option]
) -> None:
    made = nd.RouterAdvertisement(hops, flags, lifetime, reachable, retrans)
    made.options = extra
    read = nd.parse_router_advertisement(made.emit())
    assert read is not None
    assert (read.hop_limit, read.flags, read.lifetime) == (hops, flags, lifetime)
    assert (read.reachable, read.retrans, read.options) == (reachable, retrans, extra)


@given(addresses, addresses, options)
def test_redirects_survive_the_round_trip(target: bytes, destination: bytes, extra: list[nd.Option]) -> None:
    read = nd.parse_redirect(nd.Redirect(target, destination, extra).emit())
    assert read is not None
    assert (read.target, read.destination, read.options) == (target, destination, extra)


@given(options)
def test_solicitations_survive_the_round_trip(extra: list[nd.Option]) -> None:
    assert nd.parse_router_solicitation(bytes(4) + nd.emit_options(extra)) == extra


@given(st.integers(0, 128), octets, longs, longs, addresses, st.integers(0, 0xFFFFFFFF))
def test_prefixes_and_mtus_survive_the_round_trip(
    length: int, flags: int, valid: int, preferred: int, prefix: bytes, mtu: int
) -> None:
    made = nd.PrefixInformation(length, flags, valid, preferred, prefix)
    read = nd.parse_options(nd.emit_options([nd.prefix_option(made), nd.mtu_option(mtu)]), 0)
    assert read is not None
    assert nd.prefixes(read) == [made] and nd.link_mtu(read) == mtu


def test_an_option_of_no_length_or_too_long_spoils_the_message() -> None:
    head = bytes(4) + bytes(16)
    assert nd.parse_neighbour(head) is not None
    assert nd.parse_neighbour(head[:-1]) is None
    assert nd.parse_neighbour(head + b"\1\0" + bytes(6)) is None
    assert nd.parse_neighbour(head + b"\1\2" + bytes(6)) is None
    assert nd.parse_neighbour(head + b"\1") is None


def test_link_addresses_and_odd_ones() -> None:
    found = [nd.Option(nd.SOURCE_LINK_ADDRESS, bytes(14)), nd.Option(nd.SOURCE_LINK_ADDRESS, b"\2\0\0\0\0\1")]
    assert nd.link_address(found, nd.SOURCE_LINK_ADDRESS) == b"\2\0\0\0\0\1"
    assert nd.link_address(found, nd.TARGET_LINK_ADDRESS) == b""


def test_dns_options() -> None:
    server = bytes.fromhex("fd00") + bytes(13) + b"\x53"
    servers = nd.Option(nd.RDNSS, bytes(2) + (600).to_bytes(4, "big") + server + server)
    assert nd.name_servers([servers, nd.Option(nd.RDNSS, bytes(14))]) == [(server, 600)] * 2
    names = b"\7example\3org\0\1a\0" + bytes(2)
    assert nd.search_domains([nd.Option(nd.DNSSL, bytes(2) + (60).to_bytes(4, "big") + names)]) == [
        ("example.org", 60),
        ("a", 60),
    ]
    assert nd.search_domains([nd.Option(nd.DNSSL, bytes(6) + b"\3a b\0" + bytes(9))]) == []
    assert nd.search_domains([nd.Option(nd.DNSSL, bytes(6) + b"\x3fab" + bytes(11))]) == []


def test_routes() -> None:
    prefix = bytes.fromhex("fd00000100000000")
    option = nd.Option(nd.ROUTE_INFORMATION, bytes((48, 0x08)) + (30).to_bytes(4, "big") + prefix)
    assert nd.routes([option]) == [nd.RouteInformation(48, 1, 30, prefix + bytes(8))]
    assert nd.routes([nd.Option(nd.ROUTE_INFORMATION, bytes((65, 0)) + bytes(12))]) == []
    assert nd.routes([nd.Option(nd.ROUTE_INFORMATION, bytes((0, 0x10)) + bytes(4))]) == []


@given(st.binary(max_size=120))
def test_any_bytes_are_survived(data: bytes) -> None:
    for parse in (nd.parse_neighbour, nd.parse_router_solicitation, nd.parse_router_advertisement, nd.parse_redirect):
        read = parse(data)
        if read is None:
            continue
        found = read if isinstance(read, list) else read.options
        nd.prefixes(found)
        nd.routes(found)
        nd.name_servers(found)
        nd.search_domains(found)
        nd.link_mtu(found)
