"""What the status line says of a kernel's traffic."""

from __future__ import annotations

import re
import time

import pytest

from rumpkit import Kernel
from rumpkit.cli.traffic import Traffic, amount


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1234, "1.2 kB"),
        (123456, "123 kB"),
        (2_500_000, "2.5 MB"),
        (5e9, "5.0 GB"),
        (5e12, "5000 GB"),
    ],
)
def test_amounts(count: float, text: str) -> None:
    assert amount(count) == text


def test_rates_between_two_looks() -> None:
    with (
        Kernel(net="switch:t", address="10.0.0.1/24", hostname="one") as one,
        Kernel(net="switch:t", address="10.0.0.2/24") as two,
    ):
        traffic = Traffic(one)
        start = time.monotonic()
        traffic.line(start)
        receiver = two.process().socket("udp")
        receiver.bind(("10.0.0.2", 9))
        sender = one.process().socket("udp")
        for _ in range(10):
            sender.sendto(bytes(1000), ("10.0.0.2", 9))
            receiver.recv(2000)
        line = traffic.line(start + 2)
        match = re.fullmatch(r" one \| up (\d+) s \| in (\d+) B/s \| out (\d+\.\d) kB/s \| Ctrl-C stops", line)
        assert match, line
        assert match[1] == "2"
        assert 5.0 <= float(match[3]) <= 5.5  # ten datagrams of 1042 bytes and an ARP request, over two seconds
        assert "out 0 B/s" in traffic.line(start + 3)


def test_loopback_is_no_traffic() -> None:
    with Kernel(net="switch:t", address="10.0.0.1/24") as kernel:
        traffic = Traffic(kernel)
        start = time.monotonic()
        process = kernel.process()
        receiver = process.socket("udp")
        receiver.bind(("127.0.0.1", 9))
        process.socket("udp").sendto(bytes(1000), ("127.0.0.1", 9))
        assert len(receiver.recv(2000)) == 1000
        assert "in 0 B/s | out 0 B/s" in traffic.line(start + 1)
