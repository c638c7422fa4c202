"""The DHCP client's state machine on its own: every message and every second of it, in order."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from rumpkit.hyper.time import FOREVER, MILLISECOND, SECOND
from rumpkit.net.dhcp import states
from rumpkit.net.dhcp.client import _ACTIONS, DhcpClient, DhcpCounters, DhcpOwner, DhcpSettings
from rumpkit.net.dhcp.lease import Lease
from rumpkit.net.wire import dhcp as wire
from rumpkit.net.wire.address import format_ipv4, parse_ipv4
from rumpkit.net.wire.dhcp import DhcpMessage, parse_dhcp

MAC = b"\2\0\0\0\0\1"
OFFERED, SERVER, OTHER = parse_ipv4("10.0.0.50"), parse_ipv4("10.0.0.1"), parse_ipv4("10.0.0.2")


class Owner(DhcpOwner):
    def __init__(self) -> None:
        self.sent: list[tuple[DhcpMessage, bytes, bytes, int]] = []
        self.log: list[str] = []
        self.leases: list[Lease] = []

    def send(self, message: bytes, source: bytes, server: bytes, now: int) -> None:
        parsed = parse_dhcp(message)
        assert parsed is not None
        self.sent.append((parsed, source, server, now))
        self.log.append(wire.KIND_NAMES[parsed.kind()])

    def probe(self, address: bytes, now: int) -> None:
        self.log.append(f"probe {format_ipv4(address)}")

    def configure(self, lease: Lease, now: int) -> None:
        self.leases.append(lease)
        self.log.append(f"configure {format_ipv4(lease.address)}/{lease.length}")

    def release(self, address: bytes, now: int) -> None:
        self.log.append(f"release {format_ipv4(address)}")


class Bench:
    """A client, its owner, and a clock that jumps."""

    def __init__(self, seed: int = 1) -> None:
        self.owner = Owner()
        self.settings = DhcpSettings()
        self.counters = DhcpCounters()
        dice = random.Random(seed)
        self.client = DhcpClient(self.owner, MAC, "host", dice.randbytes, self.settings, self.counters)
        self.now = 100 * SECOND
        self.client.start(self.now)

    def wait(self) -> float:
        """Let the client's deadline come; how many seconds that took."""
        assert self.client.deadline < FOREVER
        before, self.now = self.now, max(self.client.deadline, self.now)
        self.client.on_deadline(self.now)
        return (self.now - before) / SECOND

    def last(self) -> DhcpMessage:
        return self.owner.sent[-1][0]

    def answer(self, kind: int, address: bytes = OFFERED, server: bytes = SERVER, **more: object) -> bool:
        message = DhcpMessage(wire.BOOTREPLY, self.last().transaction, MAC)
        message.yours = address
        message.options = {
            wire.MESSAGE_TYPE: bytes((kind,)),
            wire.SERVER_IDENTIFIER: server,
            wire.LEASE_TIME: (3600).to_bytes(4, "big"),
            wire.SUBNET_MASK: b"\xff\xff\xff\0",
        }
        for name, value in more.items():
            if name in ("transaction", "hardware", "operation"):
                setattr(message, name, value)
            else:
                message.options[getattr(wire, name.upper())] = value  # type: ignore[assignment]
        return self.client.receive(message, self.now)

    def probe_through(self) -> None:
        while self.client.state == states.PROBING:
            self.wait()

    def bind(self, **more: object) -> None:
        self.answer(wire.OFFER)
        self.answer(wire.ACK, **more)  # type: ignore[arg-type]
        self.probe_through()
        assert self.client.bound()


def test_from_discover_to_bound():
    bench = Bench()
    message, source, server, _ = bench.owner.sent[0]
    assert (message.kind(), source, server) == (wire.DISCOVER, bytes(4), b"")
    assert message.flags == wire.BROADCAST_FLAG
    assert message.options[wire.CLIENT_IDENTIFIER] == b"\1" + MAC
    assert message.options[wire.HOST_NAME] == b"host"
    assert message.options[wire.PARAMETER_LIST][0] == wire.CLASSLESS_ROUTES
    assert bench.answer(wire.OFFER)
    message, source, server, _ = bench.owner.sent[1]
    assert (message.kind(), source, server, message.client) == (wire.REQUEST, bytes(4), b"", bytes(4))
    assert message.address(wire.REQUESTED_ADDRESS) == OFFERED
    assert message.address(wire.SERVER_IDENTIFIER) == SERVER
    assert bench.answer(wire.ACK)
    assert not bench.client.bound()
    bench.probe_through()
    assert bench.owner.log == ["discover", "request", *["probe 10.0.0.50"] * 3, "configure 10.0.0.50/24"]
    assert bench.client.state == states.BOUND
    assert bench.counters.leases == 1


def test_nobody_answers_and_the_waits_double():
    bench = Bench()
    waits = [bench.wait() for _ in range(7)]
    for wait, nominal in zip(waits, (4, 8, 16, 32, 64, 64, 64), strict=True):
        assert nominal - 1 <= wait <= nominal + 1
    assert len({message.transaction for message, *_ in bench.owner.sent}) == 1
    assert bench.last().seconds == sum(waits) // 1
    assert bench.owner.log == ["discover"] * 8


def test_an_offer_that_is_never_acknowledged_starts_anew():
    bench = Bench()
    first = bench.last().transaction
    bench.answer(wire.OFFER)
    for _ in range(4):
        bench.wait()
    assert bench.client.state == states.INIT
    bench.wait()
    assert bench.owner.log == ["discover", *["request"] * 4, "discover"]
    assert bench.last().transaction != first


def test_a_refused_request_starts_anew():
    bench = Bench()
    bench.answer(wire.OFFER)
    assert bench.answer(wire.NAK)
    bench.wait()
    assert bench.owner.log == ["discover", "request", "discover"]
    assert bench.counters.naks == 1


@pytest.mark.parametrize(
    "difference",
    [
        {"transaction": 99},
        {"hardware": b"\2\0\0\0\0\7"},
        {"operation": wire.BOOTREQUEST},
        {"server": b"\0\0\0\0"},
        {"address": parse_ipv4("127.0.0.1")},
        {"address": parse_ipv4("224.0.0.1")},
        {"address": bytes(4)},
        {"server_identifier": b""},
    ],
)
def test_offers_that_do_not_count(difference):
    bench = Bench()
    assert not bench.answer(wire.OFFER, **difference)
    assert bench.client.state == states.SELECTING


def test_answers_that_do_not_count():
    bench = Bench()
    assert not bench.answer(wire.ACK)
    bench.answer(wire.OFFER)
    assert not bench.answer(wire.OFFER)
    assert not bench.answer(wire.ACK, server=OTHER)
    assert not bench.answer(wire.NAK, server=OTHER)
    assert not bench.answer(wire.ACK, lease_time=b"")
    assert bench.client.state == states.REQUESTING
    assert bench.answer(wire.ACK)


@pytest.mark.parametrize("probes", [0, 1, 3])
def test_a_conflict_while_probing_is_declined(probes):
    bench = Bench()
    bench.settings.probes = probes
    bench.answer(wire.OFFER)
    bench.answer(wire.ACK)
    if probes == 0:
        assert bench.client.state == states.BOUND
        return
    bench.wait()
    bench.client.conflict(OTHER, bench.now)
    assert bench.client.state == states.PROBING
    bench.client.conflict(OFFERED, bench.now)
    message, source, server, _ = bench.owner.sent[-1]
    assert (message.kind(), source, server) == (wire.DECLINE, bytes(4), b"")
    assert message.address(wire.REQUESTED_ADDRESS) == OFFERED
    assert message.address(wire.SERVER_IDENTIFIER) == SERVER
    assert wire.PARAMETER_LIST not in message.options
    assert bench.owner.log[-2:] == ["decline", "release 10.0.0.50"]
    assert bench.wait() == 10
    assert bench.owner.log[-1] == "discover"
    bench.client.conflict(OFFERED, bench.now)
    assert bench.client.state == states.SELECTING


def test_probes_are_spaced_as_the_rfc_has_it():
    bench = Bench()
    bench.settings.probe_milliseconds = 1000
    bench.answer(wire.OFFER)
    bench.answer(wire.ACK)
    waits = []
    while bench.client.state == states.PROBING:
        waits.append(bench.wait())
    assert 0 <= waits[0] <= 1
    assert all(1 <= wait <= 2 for wait in waits[1:3])
    assert waits[3:] == [2]


def test_after_ten_conflicts_it_slows_down():
    bench = Bench()
    for _ in range(10):
        bench.answer(wire.OFFER)
        bench.answer(wire.ACK)
        bench.client.conflict(OFFERED, bench.now)
        pause = bench.wait()
    assert pause == 60


def test_renewal_from_the_same_server():
    bench = Bench()
    bench.bind()
    asked = bench.owner.sent[-1][3]
    bench.wait()
    assert (bench.now - asked) / SECOND == pytest.approx(1800 - 56, abs=57)
    message, source, server, _ = bench.owner.sent[-1]
    assert (message.kind(), source, server, message.client) == (wire.REQUEST, OFFERED, SERVER, OFFERED)
    assert wire.REQUESTED_ADDRESS not in message.options
    assert wire.SERVER_IDENTIFIER not in message.options
    assert message.flags == 0
    assert bench.answer(wire.ACK)
    assert bench.client.state == states.BOUND
    assert bench.owner.log[-1] == "configure 10.0.0.50/24"
    assert "probe" not in bench.owner.log[-2]


def test_a_server_that_is_gone_is_followed_by_any_other_and_then_by_none():
    bench = Bench()
    bench.bind()
    lease = bench.client.lease
    assert lease is not None
    while bench.client.state != states.INIT:
        bench.wait()
    renewals = [(server, now) for message, _, server, now in bench.owner.sent if message.client == OFFERED]
    assert {server for server, _ in renewals} == {SERVER, b""}
    assert all(now >= lease.rebind_at for server, now in renewals if server == b"")
    times = [now for _, now in renewals]
    # What is left is halved until the minimum, so the last wait before T2 and before the end may be shorter.
    gaps = [(b - a) / SECOND for a, b in pairwise(times)]
    assert sum(gap < 60 for gap in gaps) <= 2
    assert bench.now == lease.end
    assert bench.owner.log[-1] == "release 10.0.0.50"
    assert bench.counters.expired == 1
    bench.wait()
    assert bench.owner.log[-1] == "discover"


def test_another_server_may_extend_the_lease():
    bench = Bench()
    bench.bind()
    while bench.client.state != states.REBINDING:
        bench.wait()
    assert bench.answer(wire.ACK, server=OTHER)
    assert bench.client.lease is not None
    assert bench.client.lease.server == OTHER
    bench.wait()
    assert bench.owner.sent[-1][2] == OTHER


def test_a_refused_renewal_gives_the_address_up():
    bench = Bench()
    bench.bind()
    bench.wait()
    assert bench.answer(wire.NAK)
    assert bench.owner.log[-1] == "release 10.0.0.50"
    assert not bench.client.bound()
    bench.wait()
    assert bench.owner.log[-1] == "discover"


def test_a_renewal_to_another_address_starts_anew():
    bench = Bench()
    bench.bind()
    bench.wait()
    bench.answer(wire.ACK, address=parse_ipv4("10.0.0.51"))
    assert bench.owner.log[-1] == "release 10.0.0.50"
    assert bench.client.state == states.INIT


def test_an_address_that_another_host_insists_on_is_given_up():
    bench = Bench()
    bench.bind()
    bench.client.conflict(OFFERED, bench.now)
    assert bench.owner.log[-2:] == ["decline", "release 10.0.0.50"]
    assert bench.client.state == states.INIT


def test_an_endless_lease_is_never_renewed():
    bench = Bench()
    bench.bind(lease_time=b"\xff" * 4)
    assert bench.client.deadline == FOREVER


def test_stop_gives_the_lease_back():
    bench = Bench()
    bench.bind()
    bench.client.stop(bench.now)
    message, source, server, _ = bench.owner.sent[-1]
    assert (message.kind(), source, server, message.client) == (wire.RELEASE, OFFERED, SERVER, OFFERED)
    assert bench.owner.log[-1] == "release 10.0.0.50"
    assert bench.client.deadline == FOREVER
    assert not bench.answer(wire.OFFER)


def test_every_step_of_the_table_has_its_action_and_its_state():
    known = {value for name, value in vars(states).items() if name.isupper() and isinstance(value, str)}
    for (state, event), step in states.STEPS.items():
        assert {state, event, step.state} <= known
        assert step.action in _ACTIONS
    assert {step.action for step in states.STEPS.values()} == set(_ACTIONS)
    reachable = {states.INIT} | {step.state for step in states.STEPS.values()}
    assert reachable == {state for state, _ in states.STEPS}


@pytest.mark.parametrize("seed", range(20))
def test_random_events_never_wedge_it(seed):
    dice = random.Random(seed)
    bench = Bench(seed)
    for _ in range(300):
        event = dice.randrange(6)
        if event == 0:
            bench.answer(dice.choice((wire.OFFER, wire.ACK, wire.NAK)), server=dice.choice((SERVER, OTHER)))
        elif event == 1:
            bench.client.conflict(dice.choice((OFFERED, OTHER)), bench.now)
        else:
            bench.wait()
        assert bench.client.deadline < FOREVER
        assert bench.client.deadline >= bench.now - MILLISECOND
    assert len(bench.owner.sent) < 700


# The link comes up again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [states.BOUND, states.RENEWING, states.REBINDING])
def test_a_link_that_comes_up_again_asks_whether_the_lease_holds(state):
    bench = Bench()
    bench.bind()
    while bench.client.state != state:
        bench.wait()
    bench.client.link_up(bench.now)
    message, source, server, _ = bench.owner.sent[-1]
    assert (message.kind(), source, server, message.client) == (wire.REQUEST, bytes(4), b"", bytes(4))
    assert message.address(wire.REQUESTED_ADDRESS) == OFFERED
    assert wire.SERVER_IDENTIFIER not in message.options  # RFC 2131 section 4.3.2
    assert bench.client.state == states.REBOOTING and bench.client.bound()
    assert bench.answer(wire.ACK, server=OTHER)
    assert bench.client.state == states.BOUND
    assert 1700 <= bench.wait() <= 1800
    assert bench.owner.sent[-1][2] == OTHER, "the lease is that of who has answered"


@pytest.mark.parametrize("answer", ["nak", "another address"])
def test_on_another_network_it_starts_anew(answer):
    bench = Bench()
    bench.bind()
    bench.client.link_up(bench.now)
    if answer == "nak":
        bench.answer(wire.NAK)
    else:
        bench.answer(wire.ACK, parse_ipv4("10.0.0.51"))
    assert bench.client.state == states.INIT and not bench.client.bound()
    assert bench.owner.log[-1] == "release 10.0.0.50"
    bench.wait()
    assert bench.client.state == states.SELECTING


def test_where_no_server_answers_the_lease_holds_until_its_end():
    bench = Bench()
    bench.bind()
    end = bench.client.lease.end if bench.client.lease else 0
    bench.client.link_up(bench.now)
    for _ in range(4):
        bench.wait()
    assert bench.client.state == states.BOUND and bench.client.bound()
    assert bench.owner.log.count("request") == 5
    bench.wait()
    assert bench.client.state == states.RENEWING
    while bench.client.bound():
        bench.wait()
    assert end <= bench.now <= end + SECOND


def test_a_lease_that_ends_meanwhile_is_over():
    bench = Bench()
    bench.bind()
    while bench.client.state != states.REBINDING:
        bench.wait()
    lease = bench.client.lease
    assert lease is not None
    bench.now = lease.end - SECOND
    bench.client.link_up(bench.now)
    bench.wait()
    assert bench.now == lease.end and bench.client.state == states.INIT and bench.counters.expired == 1


def test_a_link_that_comes_up_ends_the_wait_for_an_offer():
    bench = Bench()
    for _ in range(5):
        bench.wait()
    bench.client.link_up(bench.now)
    assert bench.client.state == states.SELECTING and bench.wait() < 6
