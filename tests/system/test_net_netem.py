"""Transfers over links that the machine's own kernel makes bad, both ways: by `tc netem`, and by `tbf`, a narrow link.

A queueing discipline works on what leaves an interface, so what Linux sends is treated on the TAP itself, and what it
receives on an `ifb` that the TAP's ingress is redirected to.  With offload Linux gives them whole super-segments to lose.
"""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.system.helpers.wire import TAP, Wire, wired
from tests.system.test_net_transfer import MB, OFFLOAD, WAYS, to_linux

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip", "tc", "ifb"), pytest.mark.timeout(900)]
netem = pytest.mark.needs("netem")

NETEM = {
    "loss": "loss 1% limit 100000",
    "reorder": "delay 1ms reorder 95% limit 100000",
    "duplicate": "duplicate 2% limit 100000",
    "all": "delay 1ms reorder 95% loss 1% duplicate 2% limit 100000",
}


def tc(command: str) -> str:
    return subprocess.run(["tc", *command.split()], check=True, capture_output=True, text=True).stdout


def redirect_ingress(qdisc: str) -> None:
    """Have what arrives at the TAP pass `qdisc` of an ifb before Linux sees it."""
    subprocess.run("ip link add ifb0 type ifb && ip link set ifb0 up", shell=True, check=True)
    tc(f"qdisc add dev {TAP} ingress")
    tc(f"filter add dev {TAP} parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ifb0")
    tc(f"qdisc add dev ifb0 root {qdisc}")


def transfer(way, offload: bool, name: str, size: int) -> None:
    with wired(offload=offload) as wire:
        tc(f"qdisc add dev {TAP} root netem {NETEM[name]}")
        redirect_ingress(f"netem {NETEM[name]}")
        way(wire, size)
        check(wire, way, name)


def check(wire: Wire, way, name: str) -> None:
    counters = wire.kernel.counters()
    if name in ("loss", "all"):
        assert counters["tcp.retransmits" if way is to_linux else "tcp.out_of_order"] > 0
    if name in ("duplicate", "all") and way is not to_linux:
        assert counters["tcp.duplicates"] > 0


@WAYS
@OFFLOAD
@pytest.mark.needs("tbf")
def test_a_narrow_link_with_a_short_queue(way, offload):
    """100 Mbit/s behind a queue that is shorter than the window: what is lost is what a congested router loses."""
    # Without SACK Linux needs a round trip for each segment that was lost (RFC 6582): a window that isn't huge.
    window = {"net.tcp.receive_buffer": 200_000, "net.tcp.receive_buffer_max": 200_000}
    # Linux keeps few bytes of a slow flow in its own queues (tcp_limit_output_bytes), fewer the slower this machine is.
    for queue in (64, 32, 16, 8, 4):
        narrow = f"tbf rate 100mbit burst {max(queue // 2, 4)}kb limit {queue}kb"
        with wired(offload=offload, sysctl=window) as wire:
            tc(f"qdisc add dev {TAP} root {narrow}")
            redirect_ingress(narrow)
            started = time.monotonic()
            way(wire, 5 * MB)
            rate = 40 / (time.monotonic() - started)
            assert rate < 130, "Mbit/s"
            shown = tc(f"-s qdisc show dev {'ifb0' if way is to_linux else TAP} root")
            assert "tbf" in shown
            if "dropped 0," not in shown:
                return
    raise AssertionError(shown)


@netem
@WAYS
@OFFLOAD
@pytest.mark.parametrize("name", NETEM)
def test_ten_megabytes_under_netem(way, offload, name):
    transfer(way, offload, name, 10 * MB)


@netem
@pytest.mark.long
@WAYS
@OFFLOAD
@pytest.mark.parametrize("name", NETEM)
def test_a_hundred_megabytes_under_netem(way, offload, name):
    transfer(way, offload, name, 100 * MB)
