"""Bulk TCP: between two kernels on a switch, and between a kernel and the host over a TAP."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rumpkit import MSG_DONTWAIT, Kernel, Switch, simulate
from rumpkit.clients.local import LocalProcess
from rumpkit.compose.boot import NET
from rumpkit.compose.spec import InterfaceSpec, KernelSpec, Spec
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.netdev import set_address, set_up
from rumpkit.hosts.posix.tap import open_tap
from rumpkit.hyper.link import LinkPort
from rumpkit.kern.abi.errno import EAGAIN
from rumpkit.net.ip.service import Ip
from rumpkit.net.link.impairment import ImpairedPort, Impairment, ImpairmentConfig

from . import relays
from .result import Result, gbits

SECONDS = 2.0
LOSS = 0.001
PLAIN = "MTU 1500, no offload"
SIZE = 128 << 10
"""Bytes of a read or write of ours: larger ones cost the allocator fresh pages each time."""
BLOCK = bytes(SIZE)
HOST, GUEST = "10.99.0.1", "10.99.0.2"
PORT = 5001

SINK = """
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2]))); print(flush=True)
c, _ = s.accept(); b = bytearray(1 << 20); n = 0
while (got := c.recv_into(b)): n += got
print(n, flush=True)
"""
SOURCE = """
import socket, sys, time
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20); b = bytes(1 << 20)
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end: c.sendall(b)
"""


def switch() -> Iterator[Result]:
    """Two kernels of one process; one thread drives both."""
    native = loopback()
    name = "TCP between two kernels on a switch"
    yield Result(f"{name}: offload", switch_rate(True), "Gbit/s", "host loopback", native, 20)
    plain = switch_rate(False)
    yield Result(f"{name}: MTU 1500, no offload", plain, "Gbit/s", "host loopback", native, 1.5)
    lossless, lossy = lossy_rate(0.0), lossy_rate(LOSS)
    yield Result(
        f"{name}: MTU 1500, no offload, 0.1% loss",
        lossy,
        "Gbit/s",
        "the same without loss",
        lossless,
        0.8,
        of_peer=True,
    )


def switch_rate(offload: bool) -> float:
    """Gbit/s between two kernels on the posix host."""
    host = PosixHost()
    specs = [Spec(interface=[InterfaceSpec("switch:b", address=[f"10.0.0.{n}/24"], offload=offload)]) for n in (1, 2)]
    with Kernel(specs[0], host=host) as a, Kernel(specs[1], host=host) as b:
        rate = pump(a.process(), b.process(), "10.0.0.2")
    host.close()
    return rate


def lossy_rate(loss: float) -> float:
    """Gbit/s of real time between two simulated kernels on a bad wire."""
    with simulate(seed=1) as world:
        lan = Switch(loss=loss, offload=False)
        a, b = world.kernel(link=lan), world.kernel(link=lan)
        return pump(a.process(), b.process(), world.address(b))


def pump(sender: LocalProcess, receiver: LocalProcess, address: str) -> float:
    """Send as fast as it goes and receive in the same thread."""
    listener = receiver.listen("tcp", PORT)
    client = sender.connect("tcp", (address, PORT))
    session, _ = listener.accept()
    out, into = client.fileno(), session.fileno()
    received = 0
    started = time.perf_counter()
    while (taken := time.perf_counter() - started) < SECONDS:
        for _ in range(16):
            try:
                sender.send(out, BLOCK, MSG_DONTWAIT)
            except OSError as problem:
                if problem.errno != EAGAIN:
                    raise
            received += len(receiver.recv(into, SIZE))
    return gbits(received, taken)


def loopback() -> float:
    """The host's own TCP through its loopback, from Python to Python."""
    sink = start(SINK, "127.0.0.1", str(PORT))
    with socket.create_connection(("127.0.0.1", PORT)) as client:
        started = time.perf_counter()
        while time.perf_counter() - started < SECONDS:
            client.sendall(BLOCK)
    assert sink.stdout is not None
    count = int(sink.stdout.readline())
    rate = gbits(count, time.perf_counter() - started)
    sink.wait()
    return rate


def start(code: str, *words: str) -> subprocess.Popen[str]:
    """A peer in a process of its own, which says when it is ready."""
    peer = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True)
    assert peer.stdout is not None
    if code is SINK:
        peer.stdout.readline()
    return peer


def tap() -> Iterator[Result]:
    """A kernel and the host's TCP, over a TAP in this network namespace; native programs behind relays' taps beside it."""
    native = loopback()
    measured: dict[str, tuple[float, float]] = {}
    for kind, offload, loss in (("TSO", True, 0.0), (PLAIN, False, 0.0), (f"{PLAIN}, 0.1% loss", False, LOSS)):
        with tapped(offload, loss) as kernel:
            measured[kind] = to_host(kernel), from_host(kernel)
    for index, direction in enumerate(("to", "from")):
        name = f"TCP {direction} the host over TAP"
        fast, plain, lossy = (rates[index] for rates in measured.values())
        yield Result(f"{name}: TSO", fast, "Gbit/s", "host loopback", native, 10)
        yield Result(f"{name}: TSO, of loopback", fast, "Gbit/s", "host loopback", native, 0.35, of_peer=True)
        yield Result(f"{name}: {PLAIN}", plain, "Gbit/s", "host loopback", native, 1.5)
        yield Result(f"{name}: {PLAIN}, 0.1% loss", lossy, "Gbit/s", "the same without loss", plain, 0.8, of_peer=True)
    for relay in relays.available():
        with relays.RELAYS[relay]() as behind:
            rates = relays.rates(behind)
        for direction, ours, theirs in zip(("to", "from"), measured["TSO"], rates, strict=True):
            yield Result(f"TCP {direction} the host, against {relay}", ours, "Gbit/s", relay, theirs, 1, of_peer=True)


@contextmanager
def tapped(offload: bool, loss: float) -> Iterator[Kernel]:
    """A kernel on a TAP whose host side is up; each direction loses `loss` of the frames."""
    host = PosixHost()
    port: LinkPort = open_tap(host, "rumpbench", offload=offload)
    if loss:
        forth, back = (Impairment(host, ImpairmentConfig(loss=loss)) for _ in range(2))
        port = ImpairedPort(host, port, forth, back)
    with Kernel(Spec(kernel=KernelSpec(components=list(NET))), host=host, thread=False) as kernel:
        host.enter()
        try:
            ip = kernel.core.service("Ip")
            assert isinstance(ip, Ip)
            ip.add_interface(port, "vif0")
            ip.add_address("vif0", f"{GUEST}/24")
        finally:
            host.leave()
        set_address("rumpbench", socket.inet_aton(HOST), 24)
        set_up("rumpbench")
        yield kernel
        port.close()
    host.close()


def to_host(kernel: Kernel) -> float:
    """Gbit/s from the kernel to a sink on the host."""
    sink = start(SINK, HOST, str(PORT))
    process = kernel.process()
    client = process.connect("tcp", (HOST, PORT))
    started = time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        client.sendall(BLOCK)
    client.shutdown(socket.SHUT_WR)
    client.recv(1)  # the kernel is driven by who waits in it: until all has arrived
    assert sink.stdout is not None
    count = int(sink.stdout.readline())
    rate = gbits(count, time.perf_counter() - started)
    sink.wait()
    process.exit()
    return rate


def from_host(kernel: Kernel) -> float:
    """Gbit/s from a source on the host to the kernel."""
    process = kernel.process()
    listener = process.listen("tcp", PORT)
    source = start(SOURCE, GUEST, str(PORT), str(SECONDS))
    session, _ = listener.accept()
    received = 0
    started = time.perf_counter()
    while data := session.recv(SIZE):
        received += len(data)
    rate = gbits(received, time.perf_counter() - started)
    source.wait()
    process.exit()
    return rate
