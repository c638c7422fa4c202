"""The locking model, proved on one kernel: while a disk of it flushes, others ping it from the network.

The network never waits; files wait only in the block device, off the schedule.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rumpkit import Kernel
from rumpkit.hyper.block import BlockBackend
from rumpkit.kern.abi.fcntl import O_RDWR
from rumpkit.kern.abi.socket import AF_INET, IPPROTO_ICMP, SOCK_DGRAM
from rumpkit.net.wire.icmp import ECHO, IcmpMessage

FLUSH = 0.5
PINGS = 200


class SlowDisk(BlockBackend):
    """A disk that takes its time to flush, or for as long as `go_on` is clear."""

    def __init__(self) -> None:
        super().__init__(1 << 20)
        self.flushing = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.flush_time = 0.0

    def read(self, offset: int, size: int) -> bytes:
        return bytes(size)

    def write(self, offset: int, data: bytes) -> None:
        return None

    def flush(self) -> None:
        self.flushing.set()
        time.sleep(self.flush_time)
        assert self.go_on.wait(30)
        self.flushing.clear()


@contextmanager
def two_kernels(disk: SlowDisk) -> Iterator[tuple[Any, Any]]:
    """A process on the kernel with the disk, and one on its neighbour."""
    with (
        Kernel(net="switch:disk-and-ping", address="10.0.0.1/24", mounts={"/": "tmpfs"}, components=["disks"]) as a,
        Kernel(net="switch:disk-and-ping", address="10.0.0.2/24", host=a.host) as b,
    ):
        a.host.enter()
        try:
            disks: Any = a.core.service("Disks")
            disks.attach("disk", disk)
        finally:
            a.host.leave()
        yield a.process(), b.process()


def pings(process: Any, number: int) -> float:
    """Ping the kernel with the disk; returns the round trip's seconds."""
    fd = process.socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)
    process.connect(fd, ("10.0.0.1", 0))
    started = time.perf_counter()
    process.send(fd, IcmpMessage(ECHO, 0, number, b"are you there?").emit())
    assert b"are you there?" in process.recv(fd, 1500)
    took = time.perf_counter() - started
    process.close(fd)
    return took


@pytest.mark.parametrize("flush_time", [0.0, FLUSH])
def test_a_flush_delays_no_ping(flush_time: float) -> None:
    disk = SlowDisk()
    with two_kernels(disk) as (owner, neighbour):
        fd = owner.open("/dev/disk", O_RDWR)
        owner.write(fd, b"data")
        pings(neighbour, 0)
        disk.flush_time = flush_time
        if not flush_time:
            disk.go_on.clear()  # it lasts until all pings are back
        flusher = threading.Thread(target=owner.fsync, args=(fd,))
        flusher.start()
        assert disk.flushing.wait(30)
        times: list[float] = []
        try:
            while len(times) < PINGS and disk.flushing.is_set():
                times.append(pings(neighbour, len(times) + 1))
                owner.stat("/")
        finally:
            disk.go_on.set()
            flusher.join(30)
        assert not flusher.is_alive()
        print(f"{len(times)} pings during the flush, the slowest {max(times) * 1e3:.2f} ms")
        if flush_time:
            # Under 5 ms, but for what a busy machine does to a few of them.
            assert sorted(times)[len(times) // 2] < 0.005
        else:
            assert len(times) == PINGS
