"""Duplicate address detection (RFC 4862 section 5.4): when an address may be used, and what happens if somebody has it."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.kern.abi.errno import EADDRNOTAVAIL
from rumpkit.net.ip6.identifiers import solicited_node
from rumpkit.net.wire import nd
from rumpkit.net.wire.address import format_ipv6, parse_ipv6
from rumpkit.net.wire.icmpv6 import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION
from tests.net.lan import Hub
from tests.net.lan6 import ALL_NODES, Node6, icmp6_frame, pair6

A = parse_ipv6("fd00::1")
GROUP = format_ipv6(solicited_node(A))


def alone(**sysctl: int) -> tuple[SimHost, Node6]:
    host = SimHost(seed=1)
    node = Node6(host, "a", (Hub(host), ""), **{"ip6__dad_delay_milliseconds": 0, **sysctl})
    host.run(host.now + 2 * SECOND)
    node.forget_sent()
    return host, node


def solicitation(target: bytes, nonce: bytes = b"") -> bytes:
    options = [nd.Option(nd.NONCE, nonce)] if nonce else []
    return icmp6_frame(NEIGHBOUR_SOLICITATION, nd.Neighbour(0, target, options).emit(), "::", GROUP)


def test_an_address_is_asked_for_once_from_nowhere_and_valid_a_second_later():
    host, a = alone()
    a.do(a.ip.add_address, "vif0", "fd00::1/64")
    [(header, message)] = a.messages(NEIGHBOUR_SOLICITATION)
    assert (header.source, header.destination, header.hop_limit) == (bytes(16), solicited_node(A), 255)
    asked = nd.parse_neighbour(message.body())
    assert asked is not None and asked.target == A
    assert nd.link_address(asked.options, nd.SOURCE_LINK_ADDRESS) == b""
    assert a.addresses()["fd00::1"] == "tentative" and not a.v6.is_local(A)
    host.run(host.now + 999 * MILLISECOND)
    assert a.addresses()["fd00::1"] == "tentative"
    host.run(host.now + MILLISECOND)
    assert a.addresses()["fd00::1"] == "valid" and a.v6.is_local(A)


@pytest.mark.parametrize("transmits", [0, 1, 3])
def test_dad_transmits_says_how_often(transmits):
    host, a = alone(ip6__dad_transmits=transmits)
    a.do(a.ip.add_address, "vif0", "fd00::1/64")
    host.run(host.now + transmits * SECOND)
    assert a.addresses()["fd00::1"] == "valid"
    assert len(a.messages(NEIGHBOUR_SOLICITATION)) == transmits


def test_on_a_link_whose_far_side_is_slow_the_question_is_repeated_within_its_time():
    """As on a TAP: Linux hears the first one, and its answer is lost."""
    host = SimHost(seed=1)
    a = Node6(host, "a", ip6__dad_delay_milliseconds=0)
    port = Hub(host).port()
    port.slow_start = True
    a.ports.append(port)
    with a.entered():
        a.interfaces.append(a.ip.add_interface(port, "vif0", b"\2\0\0\0\0\1"))  # type: ignore[arg-type]
        a.ip.add_address("vif0", "fd00::1/64")

    def asked() -> int:
        found = [nd.parse_neighbour(message.body()) for _, message in a.messages(NEIGHBOUR_SOLICITATION)]
        return len([one for one in found if one is not None and one.target == A])

    assert asked() == 1
    host.run(host.now + 499 * MILLISECOND)
    assert asked() == 1
    host.run(host.now + MILLISECOND)
    assert asked() == 2 and a.addresses()["fd00::1"] == "tentative"
    host.run(host.now + 500 * MILLISECOND)
    assert asked() == 2 and a.addresses()["fd00::1"] == "valid"
    a.do(a.ip.remove_address, "vif0", "fd00::1")
    host.run(host.now + SECOND)
    a.forget_sent()
    a.do(a.ip.add_address, "vif0", "fd00::1/64")
    host.run(host.now + SECOND)
    assert asked() == 1, "the link has been up for long"


def test_an_address_that_needs_no_detection_is_valid_at_once():
    _, a = alone()
    a.do(a.ip.add_address, "vif0", "fd00::1/64", False)
    assert a.addresses()["fd00::1"] == "valid"
    assert a.messages(NEIGHBOUR_SOLICITATION) == []
    assert solicited_node(A) in a.link.groups


def test_a_tentative_address_is_no_source_and_answers_nothing():
    host, a = alone()
    a.do(a.ip.add_address, "vif0", "fd00::1/64")
    with pytest.raises(OSError) as caught:
        a.do(a.v6.route, parse_ipv6("fd00::2"), A)
    assert caught.value.errno == EADDRNOTAVAIL
    a.inject(icmp6_frame(NEIGHBOUR_SOLICITATION, nd.Neighbour(0, A, []).emit(), "fd00::9", GROUP))
    a.inject(icmp6_frame(128, bytes(4), "fd00::9", "fd00::1"))
    host.run(host.now + 100 * MILLISECOND)
    assert a.messages(NEIGHBOUR_ADVERTISEMENT, 129) == []


def test_two_that_ask_at_the_same_time_both_lose():
    host, a = alone()
    a.do(a.ip.add_address, "vif0", "fd00::1/64")
    a.inject(solicitation(A))
    assert a.addresses()["fd00::1"] == "duplicated"
    host.run(host.now + 5 * SECOND)
    assert a.addresses()["fd00::1"] == "duplicated" and a.counter("nd.duplicates") == 1
    assert not a.v6.is_local(A)


def test_an_advertisement_of_the_address_ends_it():
    _, a = alone()
    a.do(a.ip.add_address, "vif0", "fd00::1/64")
    body = nd.Neighbour(nd.OVERRIDE, A, [nd.Option(nd.TARGET_LINK_ADDRESS, b"\2\0\0\0\0\x99")]).emit()
    a.inject(icmp6_frame(NEIGHBOUR_ADVERTISEMENT, body, "fd00::1", ALL_NODES))
    assert a.addresses()["fd00::1"] == "duplicated"


def test_our_own_question_that_comes_back_is_no_conflict():
    host, a = alone()
    a.do(a.ip.add_address, "vif0", "fd00::1/64")
    [(_, message)] = a.messages(NEIGHBOUR_SOLICITATION)
    asked = nd.parse_neighbour(message.body())
    assert asked is not None
    nonce = nd.first(asked.options, nd.NONCE)
    assert len(nonce) == 6
    a.inject(solicitation(A, nonce))
    host.run(host.now + SECOND)
    assert a.addresses()["fd00::1"] == "valid"


@pytest.mark.rfc("4861", "4.4-a", "7.2.4-d", "7.2.3-g")
def test_a_valid_address_is_defended():
    _, a, _ = pair6()
    a.forget_sent()
    a.inject(solicitation(A))
    [(header, message)] = a.messages(NEIGHBOUR_ADVERTISEMENT)
    assert format_ipv6(header.destination) == ALL_NODES
    answer = nd.parse_neighbour(message.body())
    assert answer is not None and (answer.flags, answer.target) == (nd.OVERRIDE, A)
    assert a.addresses()["fd00::1"] == "valid"


def test_two_kernels_with_one_address_notice():
    host = SimHost(seed=3)
    hub = Hub(host)
    a = Node6(host, "a", (hub, "fd00::1/64"))
    host.run(host.now + 3 * SECOND)
    b = Node6(host, "b", (hub, "fd00::1/64"))
    host.run(host.now + 3 * SECOND)
    assert (a.addresses()["fd00::1"], b.addresses()["fd00::1"]) == ("valid", "duplicated")


def test_a_link_local_address_is_made_again_after_a_conflict():
    host = SimHost(seed=1)
    node = Node6(host, "a", (Hub(host), ""), ip6__dad_delay_milliseconds=0)
    first = node.link.addresses[0].address
    group = format_ipv6(solicited_node(first))
    node.inject(icmp6_frame(NEIGHBOUR_SOLICITATION, nd.Neighbour(0, first, []).emit(), "::", group))
    host.run(host.now + 2 * SECOND)
    assert node.link_local and parse_ipv6(node.link_local) != first
    assert solicited_node(first) not in node.link.groups


def test_without_stable_privacy_the_link_local_address_is_the_mac_address_s():
    _, node = alone(ip6__stable_privacy=0)
    assert node.link_local == "fe80::ff:fe00:1"


def test_the_first_question_waits_a_random_while():
    starts = set()
    for seed in range(5):
        host = SimHost(seed=seed)
        node = Node6(host, "a", (Hub(host), ""))
        begun = host.now
        while not node.messages(NEIGHBOUR_SOLICITATION):
            host.run(host.now + 10 * MILLISECOND)
        starts.add((host.now - begun) // (10 * MILLISECOND))
    assert len(starts) > 2 and max(starts) <= 100


def test_a_link_that_goes_down_meanwhile_starts_anew():
    host, a = alone()
    a.do(a.ip.add_address, "vif0", "fd00::1/64")
    host.run(host.now + 500 * MILLISECOND)
    a.do(a.ip.set_up, "vif0", False)
    host.run(host.now + 5 * SECOND)
    assert a.addresses() == {"fd00::1": "tentative"}
    a.do(a.ip.set_up, "vif0", True)
    host.run(host.now + 900 * MILLISECOND)
    assert a.addresses()["fd00::1"] == "tentative"
    a.inject(solicitation(A))
    assert a.addresses()["fd00::1"] == "duplicated" and solicited_node(A) not in a.link.groups
    a.do(a.ip.set_up, "vif0", False)
    a.do(a.ip.set_up, "vif0", True)
    host.run(host.now + 2 * SECOND)
    assert a.addresses()["fd00::1"] == "valid" and solicited_node(A) in a.link.groups


def test_a_link_that_goes_down_and_up_asks_again():
    host, a, _ = pair6()
    before = a.link_local
    a.do(a.ip.set_up, "vif0", False)
    assert a.addresses() == {"fd00::1": "tentative"}
    a.do(a.ip.set_up, "vif0", True)
    host.run(host.now + 3 * SECOND)
    assert a.addresses() == {"fd00::1": "valid", before: "valid"}
