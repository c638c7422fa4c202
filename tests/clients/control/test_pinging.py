"""Pings over the control socket."""

import pytest

from rumpkit import Kernel
from rumpkit.clients.control import session
from rumpkit.clients.control.client import connect
from rumpkit.clients.control.protocol import ControlError
from rumpkit.net.wire.icmp import ECHO_REPLY, IcmpMessage
from tests.clients.control.kernels import runtime  # noqa: F401 (a fixture)


@pytest.fixture
def lan():
    with (
        Kernel(net="switch:lan", address="10.0.0.1/24", control=True) as kernel,
        Kernel(net="switch:lan", address="10.0.0.2/24") as peer,
        connect() as control,
    ):
        yield kernel, peer, control


def collect(stream):
    """The parts and the result of a stream."""
    parts = []
    while True:
        try:
            parts.append(next(stream))
        except StopIteration as end:
            return parts, end.value


@pytest.mark.parametrize("destination", ["10.0.0.2", "10.0.0.1", "127.0.0.1"])
def test_answers_and_statistics(lan, destination):
    kernel, _, control = lan
    parts, result = collect(control.stream("ping", destination=destination, count=3, interval=10, size=100))
    assert [(one["sequence"], one["from"], one["bytes"], one["intact"]) for one in parts] == [
        (number, destination, 108, True) for number in (1, 2, 3)
    ]
    assert (result["transmitted"], result["received"], result["errors"]) == (3, 3, 0)
    assert 0 <= result["min"] <= result["avg"] <= result["max"] <= result["time"]
    assert kernel.counters()["icmp.echo_requests_out"] == 3
    assert kernel.core.service("Icmp").pingers == {}


def test_nobody_answers(lan):
    _, peer, control = lan
    peer.sysctl("net.icmp.echo_ignore_all", 1)
    parts, result = collect(control.stream("ping", destination="10.0.0.2", count=2, interval=10, timeout=50))
    assert parts == []
    assert (result["transmitted"], result["received"]) == (2, 0)
    assert "min" not in result


def test_there_is_no_way(lan):
    _, _, control = lan
    parts, result = collect(control.stream("ping", destination="9.9.9.9", count=2, interval=10))
    assert [one["error"] for one in parts] == ["Network is unreachable"] * 2
    assert (result["received"], result["errors"]) == (0, 2)


def test_a_neighbour_that_is_not_there(lan):
    kernel, _, control = lan
    kernel.sysctl("net.arp.retry_milliseconds", 20)
    parts, result = collect(control.stream("ping", destination="10.0.0.77", count=1, timeout=5000))
    assert [one["error"] for one in parts] == ["No route to host"]
    assert result["errors"] == 1


def test_a_cancelled_run_tells_its_statistics(lan):
    kernel, _, control = lan
    stream = control.stream("ping", destination="10.0.0.2", interval=10)
    for _ in range(3):
        next(stream)
    control.cancel()
    _, result = collect(stream)
    assert result["transmitted"] >= result["received"] >= 3
    assert kernel.core.service("Icmp").pingers == {}
    assert control.call("info")


def test_a_client_that_goes_ends_it(lan):
    kernel, _, control = lan
    with connect() as other:
        next(other.stream("ping", destination="10.0.0.2", interval=10))
        assert len(kernel.core.service("Icmp").pingers) == 1
    assert control.call("info")
    control.call("info")
    assert kernel.core.service("Icmp").pingers == {}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"destination": "x"}, "'x' is not"),
        ({"destination": "10.0.0.2", "interval": 0}, "interval must be from 10"),
        ({"destination": "10.0.0.2", "size": 65508}, "size must be from 0 to 65507"),
        ({"destination": "10.0.0.2", "ttl": 0}, "ttl must be from 1"),
        ({"destination": "10.0.0.2", "count": -1}, "count must be from 0"),
    ],
)
def test_what_cannot_be_pinged(lan, parameters, message):
    with pytest.raises(ControlError, match=message):
        collect(lan[2].stream("ping", **parameters))


def test_answers_that_nobody_reads_are_left_out_and_counted(lan, monkeypatch):
    kernel, _, control = lan
    monkeypatch.setattr(session, "MAX_WAITING", 2000)
    with connect() as lazy:
        stream = lazy.stream("ping", destination="10.0.0.2", interval=10)
        parts = [next(stream)]
        (running,) = kernel.core.service("Icmp").pingers.values()
        identifier = next(iter(kernel.core.service("Icmp").pingers))
        made_up = IcmpMessage(ECHO_REPLY, 0, identifier << 16 | 9999, b"").emit()
        kernel.host.enter()
        try:
            for _ in range(1000):
                running.reply(b"\x0a\0\0\2", made_up, 64, kernel.host.now)
            assert max(one._size for one in kernel._control._sessions) <= 2000
        finally:
            kernel.host.leave()
        lazy.cancel()
        rest, result = collect(stream)
        assert result["duplicates"] == 1000
        assert result["skipped"] > 900
        assert len(parts + rest) + result["skipped"] == result["received"] + result["duplicates"]
    assert control.call("info")
