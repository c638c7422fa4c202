"""Transfers between our TCP and each of Linux's congestion controls, over paths of many kinds, byte for byte, both ways.

The path is rumpkit's own impairment between our kernel and the TAP; `test_net_netem.py` has the machine's.  The short run has each
kind of path and each congestion control once; the long one has all of them together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from rumpkit.hyper.time import MILLISECOND
from rumpkit.net.ip.service import Ip
from rumpkit.net.link.impairment import ImpairmentConfig
from tests.hosts.posix.netns import ip
from tests.system.helpers.wire import TAP, Wire, wired
from tests.system.test_net_transfer import OFFLOAD, WAYS, from_linux, to_linux

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip"), pytest.mark.timeout(300)]

AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
CONTROLS = ("cubic", "reno", "bbr")
MTUS = (576, 1280, 1500, 9000, 65521)
"""The last is the largest of a TAP: 65535 with its Ethernet header."""
SHORT, LONG = 10 * MILLISECOND, 100 * MILLISECOND


class Road(NamedTuple):
    """What happens to frames in each direction, and how much a test sends over it in a second or two."""

    trouble: dict[str, Any]
    size: int


ROADS = {
    "loss 0.1%, 20 ms": Road({"loss": 0.001, "delay": SHORT}, 2_000_000),
    "loss 1%, 20 ms": Road({"loss": 0.01, "delay": SHORT}, 1_000_000),
    "loss 5%, 20 ms": Road({"loss": 0.05, "delay": SHORT}, 300_000),
    "loss 0.1%, 200 ms": Road({"loss": 0.001, "delay": LONG}, 1_000_000),
    "loss 1%, 200 ms": Road({"loss": 0.01, "delay": LONG}, 200_000),
    "loss 5%, 200 ms": Road({"loss": 0.05, "delay": LONG}, 50_000),
    "reordering": Road({"reorder": 0.05, "reorder_delay": 5 * MILLISECOND, "delay": SHORT}, 2_000_000),
    "jitter": Road({"jitter": 5 * MILLISECOND, "delay": SHORT}, 2_000_000),
    "duplication": Road({"duplicate": 0.05, "delay": SHORT}, 2_000_000),
    "corruption": Road({"corrupt": 0.005, "delay": SHORT}, 4_000_000),
    "10 Mbit/s, short queue": Road({"rate": 10_000_000, "queue_bytes": 20_000, "delay": SHORT}, 1_000_000),
    "10 Mbit/s, long queue": Road({"rate": 10_000_000, "queue_bytes": 400_000, "delay": SHORT}, 1_000_000),
    "1 Mbit/s": Road({"rate": 1_000_000, "queue_bytes": 30_000, "delay": SHORT}, 150_000),
}
QUICK = [(name, CONTROLS[index % len(CONTROLS)]) for index, name in enumerate(ROADS)]


@pytest.fixture
def linux(monkeypatch):
    """Says which congestion control Linux's side is to use."""

    def choose(control: str) -> None:
        if control not in AVAILABLE.read_text().split():
            pytest.skip(f"missing: {control} (Linux's congestion control)")
        monkeypatch.setenv("PEER_CONGESTION", control)

    return choose


def travel(way: Any, road: Road, offload: bool = True, **options: Any) -> Wire:
    """One transfer; the wire, for its counters."""
    ends = [ImpairmentConfig(**road.trouble) for _ in range(2)]
    with wired(offload=offload, outbound=ends[0], inbound=ends[1], **options) as wire:
        way(wire, road.size)
        bad = wire.count("tcp.malformed") + wire.count("tcp.bad_checksums") + wire.count("ip.bad_header")
        assert (bad > 0) == ("corrupt" in road.trouble)
        return wire


@WAYS
@pytest.mark.parametrize(("name", "control"), QUICK)
def test_each_road_with_one_of_linuxs_congestion_controls(linux, way, name, control):
    linux(control)
    travel(way, ROADS[name])


@WAYS
@pytest.mark.parametrize("mtu", MTUS)
def test_each_mtu(way, mtu):
    size = 3_000_000
    wire = travel(way, Road({"loss": 0.002}, size), offload=False, mtu=mtu)
    assert wire.impaired is not None and wire.impaired.outbound is not None and wire.impaired.inbound is not None
    frames = wire.impaired.outbound.passed if way is to_linux else wire.impaired.inbound.passed
    assert size / mtu < frames < 3 * size / mtu


SIX = {to_linux: "fd00:9::1", from_linux: "fd00:9::2"}
"""Who listens."""


@pytest.mark.needs("ipv6")
@WAYS
@OFFLOAD
@pytest.mark.parametrize("name", ["loss 1%, 20 ms", "reordering", "10 Mbit/s, short queue"])
def test_bad_roads_over_ipv6(way, offload, name):
    road = ROADS[name]
    ends = [ImpairmentConfig(**road.trouble) for _ in range(2)]
    sysctl = {"net.ip6.dad_transmits": 0}
    with wired(offload, outbound=ends[0], inbound=ends[1], sysctl=sysctl, components=("ipv6",)) as wire:
        ip(f"addr add {SIX[to_linux]}/64 dev {TAP} nodad")
        wire.kernel.host.enter()
        try:
            cast(Ip, wire.kernel.core.service("Ip")).add_address("vif0", f"{SIX[from_linux]}/64")
        finally:
            wire.kernel.host.leave()
        way(wire, road.size, 3, SIX[way])
        assert wire.count("ip6.delivered") > 10 and wire.count("tcp.bad_checksums") == 0


@pytest.mark.long
@OFFLOAD
@WAYS
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("name", ROADS)
def test_every_road_with_every_congestion_control(linux, way, name, control, offload):
    linux(control)
    road = ROADS[name]
    travel(way, Road(road.trouble, road.size * 2), offload)


@pytest.mark.long
@WAYS
@pytest.mark.parametrize("ours", [0, 1], ids=["ours-cubic", "ours-reno"])
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("mtu", MTUS)
def test_every_mtu_with_loss(linux, way, mtu, control, ours):
    linux(control)
    road = Road({"loss": 0.01, "delay": MILLISECOND}, 3_000_000)
    travel(way, road, offload=False, mtu=mtu, sysctl={"net.tcp.congestion": ours})


def test_ours_sends_again_what_a_road_loses():
    seen = []
    for _ in range(5):
        wire = travel(to_linux, ROADS["loss 1%, 20 ms"])
        assert wire.impaired is not None and wire.impaired.outbound is not None
        lost, again = wire.impaired.outbound.lost, wire.count("tcp.retransmits")
        if 0 < lost <= again <= 3 * lost + 10:
            return
        seen.append((lost, again))  # a machine that stalls has what was only late sent again: once more
    raise AssertionError(f"frames lost, and sent again: {seen}")
