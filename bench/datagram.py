"""UDP round trips of 64 bytes between two kernels of one process, awaited in one thread and between blocking threads."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.hosts.posix.host import PosixHost

from .result import Result, best

TRIPS = 20_000
ROUNDS = 5
PAYLOAD = bytes(64)
ONE, OTHER = ("10.0.0.1", 7), ("10.0.0.2", 7)


def datagrams() -> Iterator[Result]:
    """The least of some rounds: a round trip is short, and whatever else runs only adds to it."""
    native = best(native_threads, ROUNDS)
    awaited = best(lambda: asyncio.run(awaited_trip()), ROUNDS)
    yield Result(
        "UDP round trip, 64 bytes: awaited in one thread", awaited, "us", "host, Python threads", native, 12, True
    )
    name = "UDP round trip, 64 bytes: between blocking threads"
    yield Result(name, best(threaded_trip, ROUNDS), "us", "host, Python threads", native, 45, True)
    # A core that has gone idle takes tens of microseconds to wake up here, native or not; without that the kernel is left.
    with one_core():
        native, threads = best(native_threads, ROUNDS), best(threaded_trip, ROUNDS)
    yield Result(f"{name}, on one core", threads, "us", "host, Python threads, on one core", native, 45, True)


@contextmanager
def two_kernels() -> Iterator[tuple[Kernel, Kernel]]:
    host = PosixHost()
    specs = [Spec(interface=[InterfaceSpec("switch:b", address=[f"{address}/24"])]) for address, _ in (ONE, OTHER)]
    with Kernel(specs[0], host=host) as one, Kernel(specs[1], host=host) as other:
        yield one, other
    host.close()


@contextmanager
def one_core() -> Iterator[None]:
    """This thread, and those that it starts, stay on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


async def awaited_trip() -> float:
    """Microseconds for a round trip between two tasks."""
    with two_kernels() as (one, other):
        async with one, other:
            near, far = await one.process().aio.socket("udp"), await other.process().aio.socket("udp")
            for here, name, peer in ((near, ONE, OTHER), (far, OTHER, ONE)):
                await here.bind(name)
                await here.connect(peer)

            async def echo() -> None:
                for _ in range(TRIPS):
                    await far.send(await far.recv(100))

            echoing = asyncio.create_task(echo())
            started = time.perf_counter()
            for _ in range(TRIPS):
                await near.send(PAYLOAD)
                await near.recv(100)
            taken = time.perf_counter() - started
            await echoing
            return taken / TRIPS * 1e6


def threaded_trip() -> float:
    """The same between two threads."""
    with two_kernels() as (one, other):
        near, far = one.process().socket("udp"), other.process().socket("udp")
        for here, name, peer in ((near, ONE, OTHER), (far, OTHER, ONE)):
            here.bind(name)
            here.connect(peer)
        return _between_threads(near, far)


def native_threads() -> float:
    """The host's own, over its loopback."""
    with socket.socket(type=socket.SOCK_DGRAM) as near, socket.socket(type=socket.SOCK_DGRAM) as far:
        for here in (near, far):
            here.bind(("127.0.0.1", 0))
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        return _between_threads(near, far)


def _between_threads(near: object, far: object) -> float:
    send, receive = near.send, near.recv  # type: ignore[attr-defined]
    far_send, far_receive = far.send, far.recv  # type: ignore[attr-defined]

    def echo() -> None:
        for _ in range(TRIPS):
            far_send(far_receive(100))

    thread = threading.Thread(target=echo)
    thread.start()
    started = time.perf_counter()
    for _ in range(TRIPS):
        send(PAYLOAD)
        receive(100)
    taken = time.perf_counter() - started
    thread.join()
    return taken / TRIPS * 1e6
