"""Transfers between our TCP and Linux's over a TAP, byte for byte, on good links and bad ones.

Bad links are made by the machine's kernel where it can (test_net_netem.py) and here by rumpkit's own impairment, which
sits between our kernel and the TAP and splits super-segments first, so that what gets lost is a segment and not sixty.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from rumpkit._form import COMPILED
from rumpkit.hyper.time import MILLISECOND
from rumpkit.net.link.impairment import ImpairmentConfig
from tests.system.helpers.peer import blocks, digest
from tests.system.helpers.wire import OURS, THEIRS, Wire, answer, wired

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip"), pytest.mark.timeout(600)]

MB = 1_000_000
PORT = 5001

LATE = 2 * MILLISECOND
TROUBLE: dict[str, dict[str, Any]] = {
    "loss": {"loss": 0.01},
    "reorder": {"reorder": 0.05, "reorder_delay": LATE},
    "duplicate": {"duplicate": 0.02},
    "corrupt": {"corrupt": 0.005},
    "all": {"loss": 0.01, "reorder": 0.05, "reorder_delay": LATE, "duplicate": 0.02, "delay": MILLISECOND},
}


def to_linux(wire: Wire, size: int, seed: int = 1, theirs: str = THEIRS) -> None:
    """Our kernel connects and sends."""
    peer = wire.linux("sink", theirs)
    with wire.process.connect("tcp", (theirs, answer(peer)["port"])) as connection:
        for block in blocks(size, seed):
            connection.sendall(block)
        connection.shutdown(1)
        assert connection.recv(1) == b"", "Linux closes when it has all"
    assert answer(peer) == {"size": size, "digest": digest(size, seed)}


def from_linux(wire: Wire, size: int, seed: int = 2, ours: str = OURS) -> None:
    """Linux connects and sends."""
    with wire.process.listen("tcp", PORT, ours) as listener:
        peer = wire.linux("source", ours, PORT, size, seed)
        connection, _ = listener.accept()
        with connection:
            total, received = hashlib.sha256(), 0
            while data := connection.recv(1 << 18):
                total.update(data)
                received += len(data)
            assert (received, total.hexdigest()) == (size, digest(size, seed))
    assert answer(peer)["size"] == 0


Way = Callable[[Wire, int], None]
WAYS = pytest.mark.parametrize("way", [to_linux, from_linux])
OFFLOAD = pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])


@WAYS
@OFFLOAD
@pytest.mark.parametrize("thread", [True, False], ids=["thread", "caller"])
def test_ten_megabytes_arrive_as_they_were(way, offload, thread):
    for _ in range(5):
        with wired(offload=offload, thread=thread) as wire:
            way(wire, 10 * MB)
            counters = wire.kernel.counters()
            frames = counters["interface.vif0.frames_in"] + counters["interface.vif0.frames_out"]
            # At MTU 1500 ten megabytes are 6900 frames; offloaded, most are super-segments.
            assert frames < 3500 if offload else frames > 6900
            for trouble in ("malformed", "bad_checksums", "aborts_on_timeout", "resets_sent"):
                assert counters[f"tcp.{trouble}"] == 0, trouble
            # A machine that stalls for a retransmission timeout makes a clean transfer impossible: once more.
            if counters["tcp.timeouts"] == 0:
                return
    raise AssertionError("retransmission timeouts on a clean link, five times")


@WAYS
@OFFLOAD
def test_a_hundred_megabytes_arrive_as_they_were(way, offload):
    """Interpreted a fifth of them, which takes as long as all the others."""
    with wired(offload=offload) as wire:
        way(wire, (100 if COMPILED else 20) * MB)


@OFFLOAD
def test_both_directions_at_once(offload):
    size = 5 * MB
    with wired(offload=offload) as wire:
        peer = wire.linux("both", THEIRS, size, 3)
        with wire.process.connect("tcp", (THEIRS, answer(peer)["port"])) as connection:

            def send():
                for block in blocks(size, 4):
                    connection.sendall(block)
                connection.shutdown(1)

            sender = threading.Thread(target=send)
            sender.start()
            total = hashlib.sha256()
            while data := connection.recv(1 << 18):
                total.update(data)
            sender.join()
        assert total.hexdigest() == digest(size, 3)
        assert answer(peer) == {"size": size, "digest": digest(size, 4)}


def bad(name: str, offload: bool) -> contextlib.AbstractContextManager[Wire]:
    config = ImpairmentConfig(**TROUBLE[name])
    return wired(offload=offload, outbound=config, inbound=ImpairmentConfig(**TROUBLE[name]))


def check_trouble(wire: Wire, name: str, way: Way) -> None:
    """What was to happen to the frames did happen, and our TCP did what it has to do about it."""
    assert wire.impaired is not None
    out, back = wire.impaired.outbound, wire.impaired.inbound
    assert out is not None and back is not None
    counters = wire.kernel.counters()
    ours_sends = way is to_linux
    data = out if ours_sends else back
    if name in ("loss", "all"):
        assert data.lost > 20
        assert counters["tcp.retransmits"] >= (data.lost // 2 if ours_sends else 0)
    if name in ("reorder", "all"):
        assert data.reordered > 20
        assert ours_sends or counters["tcp.out_of_order"] > 0
    if name in ("duplicate", "all"):
        assert data.duplicated > 20
        assert ours_sends or counters["tcp.duplicates"] > 0
    if name == "corrupt":
        assert data.corrupted > 20
        bad_ip = counters["ip.bad_header"]
        assert ours_sends or counters["tcp.bad_checksums"] + bad_ip > 0


@WAYS
@pytest.mark.parametrize(("name", "offload"), [(name, True) for name in TROUBLE] + [("all", False)])
def test_ten_megabytes_over_a_bad_link(way, name, offload):
    with bad(name, offload) as wire:
        way(wire, 10 * MB)
        check_trouble(wire, name, way)


@WAYS
@OFFLOAD
@pytest.mark.long
@pytest.mark.parametrize("name", TROUBLE)
def test_a_hundred_megabytes_over_a_bad_link(way, offload, name):
    with bad(name, offload) as wire:
        way(wire, 100 * MB)
        check_trouble(wire, name, way)
