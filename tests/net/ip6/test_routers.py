"""Router discovery (RFC 4861 section 6.3) and autoconfiguration (RFC 4862 section 5.5, RFC 7217, RFC 8981), on virtual time."""

from __future__ import annotations

import gc
from itertools import pairwise

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.net.ip6.routers import LearntRoute
from rumpkit.net.wire import nd
from rumpkit.net.wire.address import format_ipv6, parse_ipv6
from rumpkit.net.wire.icmpv6 import (
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
)
from tests.net.lan import Hub
from tests.net.lan6 import ALL_NODES, STRANGER, Node6, icmp6_frame

ROUTER, OTHER = "fe80::1", "fe80::2"
PREFIX = "2001:db8:1::"
BOTH = nd.ON_LINK | nd.AUTONOMOUS


def lone(seed: int = 1, **sysctl: int) -> tuple[SimHost, Node6]:
    """A kernel with a link-local address, which has asked for routers and heard of none."""
    host = SimHost(seed=seed)
    node = Node6(host, "a", (Hub(host), ""), **sysctl)
    host.run(host.now + 20 * SECOND)
    node.forget_sent()
    return host, node


def prefix(
    valid: int = 86400, preferred: int = 3600, flags: int = BOTH, length: int = 64, text: str = PREFIX
) -> nd.Option:
    return nd.prefix_option(nd.PrefixInformation(length, flags, valid, preferred, parse_ipv6(text)))


def advertise(
    node: Node6,
    *options: nd.Option,
    source: str = ROUTER,
    lifetime: int = 1800,
    flags: int = 0,
    hop_limit: int = 0,
    reachable: int = 0,
    retrans: int = 0,
    mac: bytes = STRANGER,
    **frame: int,
) -> None:
    message = nd.RouterAdvertisement(hop_limit, flags, lifetime, reachable, retrans)
    message.options = [nd.Option(nd.SOURCE_LINK_ADDRESS, mac), *options] if mac else list(options)
    node.inject(icmp6_frame(ROUTER_ADVERTISEMENT, message.emit(), source, ALL_NODES, **frame))  # type: ignore[arg-type]


def gateway(node: Node6, address: str = "2001:db8:ffff::1") -> str:
    """Whom packets to an address are handed to; "" where none leads there."""
    try:
        return format_ipv6(node.do(node.v6.route, parse_ipv6(address)).next_hop)
    except OSError:
        return ""


def made(node: Node6) -> dict[str, str]:
    """Addresses from prefixes, and their states."""
    return {text: state for text, state in node.addresses().items() if not text.startswith("fe80")}


# Asking --------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("4861", "4.1-c", "6.3.7-a", "6.3.7-b")
def test_routers_are_asked_for_three_times_four_seconds_apart():
    host = SimHost(seed=1)
    a = Node6(host, "a", (Hub(host), ""))
    times = []
    for _ in range(300):
        before = len(a.messages(ROUTER_SOLICITATION))
        host.run(host.now + 100 * MILLISECOND)
        times += [host.now] * (len(a.messages(ROUTER_SOLICITATION)) - before)
    assert len(times) == 3
    assert [round((later - sooner) / SECOND, 1) for sooner, later in pairwise(times)] == [4.0, 4.0]
    header, message = a.messages(ROUTER_SOLICITATION)[0]
    assert (format_ipv6(header.source), format_ipv6(header.destination)) == (a.link_local, "ff02::2")
    assert header.hop_limit == 255
    options = nd.parse_router_solicitation(message.body())
    assert options is not None and nd.link_address(options, nd.SOURCE_LINK_ADDRESS) == a.interface.mac


@pytest.mark.rfc("4861", "6.3.7-d")
def test_an_answer_ends_the_asking():
    host = SimHost(seed=1)
    a = Node6(host, "a", (Hub(host), ""))
    host.run(host.now + 3 * SECOND)
    assert len(a.messages(ROUTER_SOLICITATION)) == 1
    advertise(a)
    host.run(host.now + 20 * SECOND)
    assert len(a.messages(ROUTER_SOLICITATION)) == 1


@pytest.mark.rfc("4861", "6.3.7-c")
def test_who_comes_up_together_does_not_ask_together():
    """The random wait is duplicate address detection's, before which there is no address to ask from."""
    times = set()
    for seed in range(8):
        host = SimHost(seed=seed)
        a = Node6(host, "a", (Hub(host), ""))
        began = host.now
        while not a.messages(ROUTER_SOLICITATION):
            host.run(host.now + 10 * MILLISECOND)
        times.add((host.now - began) // (10 * MILLISECOND))
        assert SECOND <= host.now - began <= 2 * SECOND + 10 * MILLISECOND
    assert len(times) > 4


@pytest.mark.rfc("4861", "6.3.7-e")
def test_one_question_is_asked_even_if_a_router_has_spoken_before():
    host = SimHost(seed=1)
    a = Node6(host, "a", (Hub(host), ""))
    advertise(a)
    assert a.counter("nd.router_advertisements_in") == 1 and not a.messages(ROUTER_SOLICITATION)
    host.run(host.now + 3 * SECOND)
    assert len(a.messages(ROUTER_SOLICITATION)) == 1


@pytest.mark.rfc("4861", "6.3.4-d")
def test_many_routers_are_kept():
    _, a = lone()
    routers = [f"fe80::{number:x}" for number in range(1, 9)]
    for number, router in enumerate(routers):
        advertise(a, source=router, mac=bytes((2, 0, 0, 0, 9, number)))
    for router in routers:
        assert gateway(a) == router
        advertise(a, source=router, lifetime=0, mac=bytes((2, 0, 0, 0, 9, routers.index(router))))
    assert gateway(a) == ""


@pytest.mark.rfc("4861", "6.3.4-g", "6.3.4-h")
def test_the_reachable_time_is_random_anew_for_each_confirmation():
    """That is when a router changes the base, and more often than every few hours."""
    _, a = lone()

    def times() -> list[float]:
        return [a.do(a.ip6.discovery.reachable_time, a.link) / SECOND for _ in range(50)]

    first = times()
    assert len(set(first)) > 40 and all(15 <= time < 45 for time in first)
    advertise(a, reachable=10_000)
    then = times()
    assert len(set(then)) > 40 and all(5 <= time < 15 for time in then)


@pytest.mark.parametrize("sysctl", [{"ip6__accept_ra": 0}, {"ip6__forwarding": 1}, {"ip6__router_solicitations": 0}])
def test_who_does_not_listen_does_not_ask(sysctl):
    host = SimHost(seed=1)
    a = Node6(host, "a", (Hub(host), ""), **sysctl)
    host.run(host.now + 20 * SECOND)
    assert a.messages(ROUTER_SOLICITATION) == []
    if "ip6__router_solicitations" not in sysctl:
        advertise(a, prefix())
        assert gateway(a) == "" and made(a) == {} and a.counter("nd.ignored_in") == 1


# Default routers -----------------------------------------------------------------------------------------------


@pytest.mark.rfc("4861", "5.3-a", "6.3.4-j", "6.3.4-k", "6.3.4-l")
def test_a_router_is_a_default_route_for_its_lifetime():
    host, a = lone()
    advertise(a, prefix(), lifetime=30)
    host.run(host.now + 2 * SECOND)
    assert gateway(a) == ROUTER
    assert a.table.rows()[0][:3] == (parse_ipv6(ROUTER), STRANGER, "stale") and a.table.rows()[0][3]
    host.run(host.now + 29 * SECOND)
    assert gateway(a) == ""


@pytest.mark.rfc("4861", "4.2-c")
def test_a_lifetime_of_zero_ends_it_at_once():
    host, a = lone()
    advertise(a, prefix())
    host.run(host.now + 2 * SECOND)
    advertise(a, lifetime=0)
    assert gateway(a) == ""


@pytest.mark.rfc("4861", "6.3.4-c")
def test_preferences_decide_between_routers():
    host, a = lone()
    advertise(a, prefix())
    host.run(host.now + 2 * SECOND)
    advertise(a, source=OTHER, flags=0x08, mac=b"\2\0\0\0\0\x55")  # high
    assert gateway(a) == OTHER
    advertise(a, source=OTHER, flags=0x18, mac=b"\2\0\0\0\0\x55")  # low
    assert gateway(a) == ROUTER
    advertise(a, source=OTHER, flags=0x10, mac=b"\2\0\0\0\0\x55")  # reserved: medium, and the first stays
    assert gateway(a) == ROUTER


@pytest.mark.rfc("4861", "6.3.4-c", "6.3.6-a")
def test_a_router_that_does_not_answer_gives_way_to_another():
    host, a = lone()
    advertise(a, prefix())
    advertise(a, source=OTHER, mac=b"\2\0\0\0\0\x55")
    host.run(host.now + 2 * SECOND)
    assert gateway(a) == ROUTER
    a.ping6("2001:db8:ffff::1")
    host.run(host.now + 10 * SECOND)  # five of delay, three probes
    assert gateway(a) == OTHER
    advertise(a, prefix())  # it is there again, but what works is kept
    assert gateway(a) == OTHER
    assert [row.metric for row in a.ip.route_rows() if row.prefix == "::/0"] == [1024, 1024]


@pytest.mark.rfc("4861", "6.3.6-b")
def test_routers_of_which_none_answers_take_turns_until_one_does():
    host, a = lone()
    macs = {ROUTER: STRANGER, OTHER: b"\2\0\0\0\0\x55"}
    for text, mac in macs.items():
        advertise(a, prefix(), source=text, mac=mac)
    host.run(host.now + 2 * SECOND)
    turns = []
    for _ in range(4):
        turns.append(gateway(a))
        a.ping6("2001:db8:ffff::1")
        host.run(host.now + 10 * SECOND)
    assert turns == [ROUTER, OTHER, ROUTER, OTHER]
    assert gateway(a) == ROUTER
    a.ping6("2001:db8:ffff::1")
    host.run(host.now + 10 * SECOND)
    a.ping6("2001:db8:ffff::1")
    link_option = [nd.Option(nd.TARGET_LINK_ADDRESS, macs[OTHER])]
    body = nd.Neighbour(nd.ROUTER | nd.SOLICITED | nd.OVERRIDE, parse_ipv6(OTHER), link_option).emit()
    a.inject(icmp6_frame(NEIGHBOUR_ADVERTISEMENT, body, OTHER, a.link_local))
    assert gateway(a) == OTHER and a.states()[OTHER] == "reachable"
    assert sorted(row.metric for row in a.ip.route_rows() if row.prefix == "::/0") == [1024, 9216]


@pytest.mark.rfc("4861", "7.2.5-h", "7.3.3-f")
def test_a_router_that_becomes_a_host_is_left():
    host, a = lone()
    advertise(a, prefix())
    host.run(host.now + 2 * SECOND)
    body = nd.Neighbour(nd.OVERRIDE, parse_ipv6(ROUTER), [nd.Option(nd.TARGET_LINK_ADDRESS, STRANGER)]).emit()
    a.inject(icmp6_frame(NEIGHBOUR_ADVERTISEMENT, body, ROUTER, ALL_NODES))
    assert gateway(a) == ""


def test_routers_are_limited():
    _, a = lone(ip6__max_routers=2)
    for last in range(1, 6):
        advertise(a, source=f"fe80::{last}", mac=bytes([2, 0, 0, 0, 9, last]))
    assert sum(row.prefix == "::/0" for row in a.ip.route_rows()) == 2


@pytest.mark.rfc("4861", "6.1.2-a")
@pytest.mark.parametrize(
    "wrong", [{"hops": 254}, {"code": 1}, {"source": "fd00::1"}], ids=["forwarded", "code", "not link-local"]
)
def test_advertisements_that_break_the_rules_are_dropped(wrong):
    _, a = lone()
    advertise(a, prefix(), **wrong)
    assert a.counter("nd.bad_in") == 1 and gateway(a) == "" and made(a) == {}


# The link ------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("4861", "6.3.4-a", "6.3.4-b", "6.3.4-e", "6.3.4-f", "6.3.4-i", "6.3.4-n")
def test_parameters_of_the_link():
    host, a = lone()
    advertise(a, prefix(), nd.mtu_option(1400), hop_limit=17, reachable=10_000, retrans=200)
    host.run(host.now + 2 * SECOND)
    route = a.do(a.v6.route, parse_ipv6("2001:db8:ffff::1"))
    assert (route.hop_limit, route.mtu) == (17, 1400)
    assert (a.link.reachable_milliseconds, a.link.retrans_milliseconds) == (10_000, 200)
    advertise(a)  # zeros leave what was known
    assert (a.link.hop_limit, a.link.mtu, a.link.retrans_milliseconds) == (17, 1400, 200)
    a.forget_sent()
    a.ping6("2001:db8:1::77")
    host.run(host.now + 900 * MILLISECOND)
    assert len(a.messages(NEIGHBOUR_SOLICITATION)) == 3  # 200 ms apart


@pytest.mark.rfc("4861", "6.3.4-n")
@pytest.mark.parametrize("mtu", [1279, 1501, 0])
def test_mtus_that_cannot_be_are_ignored(mtu):
    _, a = lone()
    advertise(a, nd.mtu_option(mtu))
    assert a.link.path_mtu() == 1500


@pytest.mark.rfc("4861", "6.3.4-p")
def test_a_prefix_on_the_link_needs_no_router():
    host, a = lone()
    advertise(a, prefix(), prefix(flags=nd.AUTONOMOUS, text="2001:db8:2::"))
    host.run(host.now + 2 * SECOND)
    assert gateway(a, "2001:db8:1::77") == "2001:db8:1::77"
    assert gateway(a, "2001:db8:2::77") == ROUTER  # ours, but not on the link (RFC 5942)
    advertise(a, prefix(valid=0, preferred=0))
    assert gateway(a, "2001:db8:1::77") == ROUTER


def test_more_specific_routes():
    host, a = lone()
    advertise(a, prefix())
    route = nd.Option(nd.ROUTE_INFORMATION, bytes((48, 0)) + (60).to_bytes(4, "big") + parse_ipv6("2001:db8:7::")[:8])
    advertise(a, route, source=OTHER, lifetime=0, mac=b"\2\0\0\0\0\x55")
    host.run(host.now + 2 * SECOND)
    assert (gateway(a), gateway(a, "2001:db8:7::1")) == (ROUTER, OTHER)
    host.run(host.now + 60 * SECOND)
    assert gateway(a, "2001:db8:7::1") == ROUTER


def test_prefixes_are_limited():
    _, a = lone(ip6__max_prefixes=3, ip6__max_addresses=2)
    advertise(a, *[prefix(text=f"2001:db8:{number:x}::") for number in range(16, 26)])
    assert sum(row.prefix.endswith("/64") and row.origin == "dynamic" for row in a.ip.route_rows()) == 3
    assert len(made(a)) == 2


def test_what_comes_and_goes_is_not_kept():
    _, a = lone()
    gc.collect()
    before = sum(isinstance(some, LearntRoute) for some in gc.get_objects())
    for number in range(500):
        source, mac = f"fe80::{number + 1:x}", bytes([2, 0, 0, 7, number >> 8, number & 255])
        advertise(a, source=source, mac=mac, lifetime=65535)
        advertise(a, source=source, mac=mac, lifetime=0)
    assert sum(isinstance(some, LearntRoute) for some in gc.get_objects()) == before


def test_name_servers_and_domains_for_their_lifetimes():
    host, a = lone()
    server = parse_ipv6("fe80::53")
    rdnss = nd.Option(nd.RDNSS, bytes(2) + (60).to_bytes(4, "big") + server)
    dnssl = nd.Option(nd.DNSSL, bytes(2) + (120).to_bytes(4, "big") + b"\7example\3org\0" + bytes(3))
    advertise(a, rdnss, dnssl)
    assert a.ip.names.resolv_conf() == "nameserver fe80::53%vif0\nsearch example.org\n"
    host.run(host.now + 61 * SECOND)
    assert a.ip.names.resolv_conf() == "search example.org\n"
    host.run(host.now + 60 * SECOND)
    assert a.ip.names.resolv_conf() == ""


def test_a_link_that_goes_down_forgets_what_routers_said():
    host, a = lone()
    advertise(a, prefix(), nd.mtu_option(1300), hop_limit=9)
    host.run(host.now + 2 * SECOND)
    a.do(a.ip.set_up, "vif0", False)
    assert made(a) == {} and a.link.mtu == 0 and a.link.hop_limit == 0
    assert [row for row in a.ip.route_rows() if row.origin == "dynamic"] == []


# Redirects -----------------------------------------------------------------------------------------------------


def redirect(source: str = ROUTER, target: str = OTHER, destination: str = "2001:db8:ffff::1", **frame: int) -> bytes:
    options = [nd.Option(nd.TARGET_LINK_ADDRESS, b"\2\0\0\0\0\x55")]
    body = nd.Redirect(parse_ipv6(target), parse_ipv6(destination), options).emit()
    return icmp6_frame(REDIRECT, body, source, "2001:db8:1::5", to=b"\2\0\0\0\0\1", **frame)  # type: ignore[arg-type]


@pytest.mark.rfc("4861", "8.3-a")
@pytest.mark.parametrize(("accept", "expected"), [(0, ROUTER), (1, OTHER)])
def test_redirects_are_believed_only_where_that_is_wanted(accept, expected):
    host, a = lone(ip6__accept_redirects=accept)
    advertise(a, prefix())
    host.run(host.now + 2 * SECOND)
    own = next(iter(made(a)))
    body = redirect()[58:]
    a.inject(icmp6_frame(REDIRECT, body, ROUTER, own))
    assert gateway(a) == expected
    assert gateway(a, "2001:db8:ffff::2") == ROUTER
    host.run(host.now + 601 * SECOND)
    assert gateway(a) == ROUTER


def test_a_redirect_to_a_router_that_does_not_answer_is_forgotten():
    host, a = lone(ip6__accept_redirects=1)
    advertise(a, prefix())
    host.run(host.now + 2 * SECOND)
    a.inject(icmp6_frame(REDIRECT, redirect()[58:], ROUTER, next(iter(made(a)))))
    assert gateway(a) == OTHER and a.states()[OTHER] == "stale"
    a.ping6("2001:db8:ffff::1")
    host.run(host.now + 10 * SECOND)
    assert gateway(a) == ROUTER


@pytest.mark.rfc("4861", "8.3-e")
def test_a_redirect_may_say_that_a_destination_is_on_the_link():
    host, a = lone(ip6__accept_redirects=1)
    advertise(a, prefix())
    host.run(host.now + 2 * SECOND)
    target = "2001:db8:ffff::1"
    a.inject(icmp6_frame(REDIRECT, redirect(target=target)[58:], ROUTER, next(iter(made(a)))))
    assert gateway(a) == target
    known = {format_ipv6(address): (mac, is_router) for address, mac, _, is_router in a.table.rows()}
    assert known[target] == (b"\2\0\0\0\0\x55", False)


@pytest.mark.rfc("4861", "8.1-a")
def test_only_the_present_first_hop_redirects():
    host, a = lone(ip6__accept_redirects=1)
    advertise(a, prefix())
    host.run(host.now + 2 * SECOND)
    own = next(iter(made(a)))
    body = redirect()[58:]
    a.inject(icmp6_frame(REDIRECT, body, "fe80::66", own))
    a.inject(icmp6_frame(REDIRECT, body, ROUTER, own, hops=64))
    a.inject(icmp6_frame(REDIRECT, redirect(target="fd00::5")[58:], ROUTER, own))
    assert gateway(a) == ROUTER and a.counter("nd.bad_in") == 3


# Addresses -----------------------------------------------------------------------------------------------------


def test_an_address_from_a_prefix_is_detected_then_used():
    host, a = lone()
    advertise(a, prefix())
    [(address, state)] = made(a).items()
    assert address.startswith("2001:db8:1:") and state == "tentative"
    host.run(host.now + 2 * SECOND)
    assert made(a) == {address: "valid"}
    assert format_ipv6(a.do(a.v6.route, parse_ipv6("2001:db8:ffff::1")).source) == address


def test_advertisements_that_follow_at_once_do_not_disturb_detection():
    host, a = lone(ip6__use_temporary=1)
    for _ in range(5):
        advertise(a, prefix())
        host.run(host.now + 300 * MILLISECOND)
    host.run(host.now + 500 * MILLISECOND)
    assert list(made(a).values()) == ["valid", "valid"]


def test_lifetimes_deprecate_then_end_an_address():
    host, a = lone()
    advertise(a, prefix(valid=100, preferred=50), lifetime=0)
    start = host.now
    [address] = made(a)
    host.run(start + 49 * SECOND)
    assert made(a) == {address: "valid"}
    host.run(start + 51 * SECOND)
    assert made(a) == {address: "deprecated"}
    assert a.v6.is_local(parse_ipv6(address))
    host.run(start + 101 * SECOND)
    assert made(a) == {}


def test_further_advertisements_prolong():
    host, a = lone()
    advertise(a, prefix(valid=100, preferred=50))
    [address] = made(a)
    for _ in range(10):
        host.run(host.now + 45 * SECOND)
        advertise(a, prefix(valid=100, preferred=50))
    host.run(host.now + 49 * SECOND)
    assert made(a) == {address: "valid"}


@pytest.mark.parametrize(
    ("left", "announced", "after"),
    [(86400, 10000, 10000), (86400, 60, 7200), (3600, 60, 3600), (3600, 4000, 4000), (86400, 0, 7200)],
)
def test_nobody_ends_an_address_within_two_hours(left, announced, after):
    """RFC 4862 section 5.5.3 (e)."""
    host, a = lone()
    advertise(a, prefix(valid=left, preferred=60))
    advertise(a, prefix(valid=announced, preferred=0))
    [address] = made(a)
    host.run(host.now + (after - 1) * SECOND)
    assert address in made(a)
    host.run(host.now + 2 * SECOND)
    assert made(a) == {}


@pytest.mark.parametrize(
    "option",
    [
        prefix(length=48),
        prefix(flags=nd.ON_LINK),
        prefix(valid=10, preferred=20),
        prefix(valid=0, preferred=0),
        prefix(text="fe80::"),
        prefix(text="ff02::"),
    ],
)
def test_prefixes_that_give_no_address(option):
    _, a = lone()
    advertise(a, option)
    assert made(a) == {}


def test_identifiers_are_stable_for_a_prefix_and_different_for_another():
    host, a = lone()
    advertise(a, prefix(), prefix(text="2001:db8:2::"))
    first, second = (parse_ipv6(text)[8:] for text in made(a))
    assert first != second and first != parse_ipv6(a.link_local)[8:]
    a.do(a.ip.set_up, "vif0", False)
    a.do(a.ip.set_up, "vif0", True)
    advertise(a, prefix())
    assert [parse_ipv6(text)[8:] for text in made(a)] == [first]
    _, other = lone(seed=2)
    advertise(other, prefix())
    assert [parse_ipv6(text)[8:] for text in made(other)] != [first]
    assert host is not None


def test_identifiers_of_mac_addresses():
    _, a = lone(ip6__stable_privacy=0)
    advertise(a, prefix())
    assert list(made(a)) == ["2001:db8:1::ff:fe00:1"]


def test_a_duplicate_gets_another_identifier_three_times():
    host, a = lone()
    advertise(a, prefix())
    seen = []
    for _ in range(4):
        [address] = made(a)
        seen.append(address)
        body = nd.Neighbour(nd.OVERRIDE, parse_ipv6(address), []).emit()
        a.inject(icmp6_frame(NEIGHBOUR_ADVERTISEMENT, body, address, ALL_NODES))
    assert len(set(seen)) == 4
    assert made(a) == {seen[-1]: "duplicated"}
    host.run(host.now + 5 * SECOND)
    assert made(a) == {seen[-1]: "duplicated"}


@pytest.mark.parametrize(("use", "temporary"), [(0, 0), (1, 1), (2, 1)])
def test_temporary_addresses_are_made_and_preferred_where_asked_for(use, temporary):
    host, a = lone(ip6__use_temporary=use)
    advertise(a, prefix(valid=10**6, preferred=10**6))
    host.run(host.now + 2 * SECOND)
    origins = {format_ipv6(own.address): own.origin for own in a.link.addresses}
    assert list(origins.values()).count(3) == temporary and len(made(a)) == 1 + temporary
    source = format_ipv6(a.do(a.v6.route, parse_ipv6("2001:db8:ffff::1")).source)
    assert origins[source] == (3 if use == 2 else 2)


def test_temporary_addresses_are_succeeded_then_deprecated_then_end():
    host, a = lone(ip6__use_temporary=2, ip6__temporary_preferred_seconds=1000, ip6__temporary_valid_seconds=2000)
    advertise(a, prefix(valid=10**6, preferred=10**6))
    start = host.now
    first = next(own for own in a.link.addresses if own.origin == 3)
    assert 600 * SECOND <= first.preferred_until - start <= 1000 * SECOND
    host.run(first.preferred_until - 6 * SECOND)
    assert sum(own.origin == 3 for own in a.link.addresses) == 1
    host.run(first.preferred_until - SECOND)
    second = next(own for own in a.link.addresses if own.origin == 3 and own is not first)
    assert second.state == 1 and not first.deprecated  # valid before it is needed
    host.run(first.preferred_until + SECOND)
    assert first.deprecated
    assert a.do(a.v6.route, parse_ipv6("2001:db8:ffff::1")).source == second.address
    host.run(start + 2001 * SECOND)
    assert first not in a.link.addresses


def test_a_prefix_too_short_lived_gives_no_temporary_address():
    _, a = lone(ip6__use_temporary=2)
    advertise(a, prefix(valid=100, preferred=4))
    assert len(made(a)) == 1


def test_no_number_of_duplicates_is_too_large():
    """Who announces a prefix again and again, and claims each address that is made from it."""
    host, a = lone(ip6__dad_delay_milliseconds=0)
    for _ in range(300):
        advertise(a, prefix(1, 1))
        for text in made(a):
            body = nd.Neighbour(nd.OVERRIDE, parse_ipv6(text), [nd.Option(nd.TARGET_LINK_ADDRESS, STRANGER)]).emit()
            a.inject(icmp6_frame(NEIGHBOUR_ADVERTISEMENT, body, OTHER, ALL_NODES))
        host.run(host.now + 2 * SECOND)
        advertise(a, prefix(0, 0))
        assert made(a) == {}
