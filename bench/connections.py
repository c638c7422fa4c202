"""Connections of one kernel over its own loopback: how many a second, and what an idle one costs."""

from __future__ import annotations

import gc
import socket
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from rumpkit import AF_INET, SOCK_STREAM, Kernel
from rumpkit.clients.local import LocalProcess
from rumpkit.compose.spec import KernelSpec, Spec

from .local import resident_kib
from .result import Result

COMPONENTS = ["ethernet", "ipv4", "loopback", "icmp", "udp", "tcp"]
ADDRESS = "127.0.0.1"
LINUX = "Linux's slabs"
PORTS = range(8000, 8008)
ROUND = 4000
"""Connections between two looks at the clock."""
TRACED = 2000
MANY = 50_000
"""Connections of which one kernel holds both ends: 100,000 control blocks."""


def kernel_for_many() -> Kernel:
    """A kernel whose processes may open enough."""
    return Kernel(Spec(kernel=KernelSpec(components=COMPONENTS), sysctl={"kern.max_open_files": 1 << 18}))


def listeners(process: LocalProcess) -> list[tuple[int, tuple[str, int]]]:
    """Listening sockets, more than one as each has ephemeral ports for 28,000 peers."""
    made = []
    for port in PORTS:
        fd = process.socket(AF_INET, SOCK_STREAM)
        process.bind(fd, (ADDRESS, port))
        process.listen(fd, 128)
        made.append((fd, (ADDRESS, port)))
    return made


def connections() -> Iterator[Result]:
    """Set up and torn down a second, and held."""
    with kernel_for_many() as kernel:
        ours = max(rate(kernel.process()) for _ in range(5))
    yield Result("connections set up and torn down, loopback", ours, "k/s", "host loopback", host_rate(), 20)
    linux = linux_bytes()
    with kernel_for_many() as kernel:
        size = traced(kernel.process())
        yield Result("memory of an idle connection, traced", size, "bytes", LINUX, linux, 2048, at_most=True)
    with kernel_for_many() as kernel:
        size, taken = held(kernel.process())
        yield Result("memory of an idle connection, resident", size, "bytes", LINUX, linux, 2048, at_most=True)
        yield Result("50,000 connections set up, both ends in one kernel", taken, "s", "", 0, None)


def linux_bytes() -> float:
    """What one end of a connection takes of Linux's slabs; 0 where they can't be read."""
    try:
        rows = [line.split() for line in Path("/proc/slabinfo").read_text("ascii").splitlines()[2:]]
    except OSError:
        return 0
    return sum(int(row[3]) for row in rows if row[0] in ("TCP", "sock_inode_cache", "filp", "dentry"))


def rate(process: LocalProcess) -> float:
    """Thousands of connections a second: connect, accept, close, close."""
    places = listeners(process)
    started = time.perf_counter()
    for number in range(ROUND):
        fd, address = places[number & 7]
        client = process.socket(AF_INET, SOCK_STREAM)
        process.connect(client, address)
        server, _ = process.accept4(fd)
        process.close(client)
        process.close(server)
    taken = time.perf_counter() - started
    for fd, _ in places:
        process.close(fd)
    return ROUND / taken / 1e3


def open_many(process: LocalProcess, places: list[tuple[int, tuple[str, int]]], count: int) -> None:
    for number in range(count):
        fd, address = places[number & 7]
        client = process.socket(AF_INET, SOCK_STREAM)
        process.connect(client, address)
        process.accept4(fd)


def settle(process: LocalProcess) -> None:
    """Let the timers of the handshakes run out."""
    time.sleep(1.5)
    process.getpid()
    gc.collect()


def traced(process: LocalProcess) -> float:
    """Bytes of Python objects for one end, its socket and descriptor among them."""
    places = listeners(process)
    open_many(process, places, 100)
    settle(process)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    open_many(process, places, TRACED)
    settle(process)
    size = (tracemalloc.get_traced_memory()[0] - before) / (TRACED * 2)
    tracemalloc.stop()
    return size


def held(process: LocalProcess) -> tuple[float, float]:
    """Bytes of resident memory for one end, and how long it took to open all of them."""
    places = listeners(process)
    open_many(process, places, 100)
    gc.collect()
    before = resident_kib()
    started = time.perf_counter()
    open_many(process, places, MANY)
    taken = time.perf_counter() - started
    settle(process)
    return (resident_kib() - before) * 1024 / (MANY * 2), taken


def host_rate() -> float:
    """The same on the host."""
    with socket.create_server((ADDRESS, 0)) as listener:
        address = listener.getsockname()
        started = time.perf_counter()
        for _ in range(ROUND):
            client = socket.create_connection(address)
            server, _ = listener.accept()
            client.close()
            server.close()
        return ROUND / (time.perf_counter() - started) / 1e3
