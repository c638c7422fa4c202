"""TCP over a bad path, ours and Linux's on the same one: goodput under loss, and how two flows share a bottleneck.

The path is a switch of this process.  On it are the host itself (the receiver, over a TAP of this network namespace), a Linux
sender (over a TAP that is handed to a namespace of its own), and a kernel of ours.  What goes to the receiver, and what comes from
it, passes an impairment: loss, delay, a rate with a queue.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.netdev import set_address, set_up
from rumpkit.hosts.posix.tap import open_tap
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.link import LinkPort, Receiver
from rumpkit.hyper.time import MILLISECOND, Instant
from rumpkit.net.link.impairment import ImpairedPort, Impairment, ImpairmentConfig

from .result import Result

RECEIVER, LINUX, OURS = "10.98.0.1", "10.98.0.2", "10.98.0.3"
PORT = 5003
SECONDS = 15.0
FLOWS = 12
"""Of each sender: with so many there are losses enough that chance moves the ratio of the two by 2% only."""
SHARED_SECONDS = 45.0
"""Two flows take turns at being ahead, for ten seconds and more."""
WARM_UP = 5.0
ONE_WAY = 10 * MILLISECOND
RATE = 40_000_000
BLOCK = bytes(64 << 10)

SENDER = """
import socket, sys, threading, time
address, port, seconds, flows = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
input()
end = time.monotonic() + seconds
def flow():
    c = socket.socket(); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic"); c.settimeout(5)
    c.connect((address, port)); b = bytes(64 << 10)
    try:
        while time.monotonic() < end: c.send(b)
    except OSError: pass
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0"); c.close()
threads = [threading.Thread(target=flow) for _ in range(flows)]
for t in threads: t.start()
for t in threads: t.join()
"""


class Forward(Receiver):
    """Hands frames on to a port."""

    def __init__(self, port: LinkPort) -> None:
        self.port = port

    def receive(self, frame: Frame, now: Instant) -> None:
        self.port.transmit(frame)


class Sinks(threading.Thread):
    """Takes connections and counts what each brings, on the host's own TCP."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server((RECEIVER, PORT), backlog=64)
        self.counts: dict[tuple[str, int], int] = {}

    def run(self) -> None:
        while True:
            try:
                taken, peer = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._drain, args=(taken, peer), daemon=True).start()

    def _drain(self, taken: socket.socket, peer: tuple[str, int]) -> None:
        self.counts[peer] = 0
        with taken:
            try:
                while data := taken.recv(1 << 20):
                    self.counts[peer] += len(data)
            except OSError:
                pass

    def stop(self) -> None:
        """Take no more; also ends an accept that waits."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def total(self, address: str) -> int:
        """Bytes that came from an address so far."""
        return sum(count for peer, count in list(self.counts.items()) if peer[0] == address)


class Path:
    """The three on their switch.  Made by `path`."""

    def __init__(self, kernel: Kernel, linux: subprocess.Popen[str]) -> None:
        self.kernel = kernel
        self._linux = linux

    def ours(self, seconds: float, flows: int) -> list[threading.Thread]:
        """Send from our kernel for a time."""
        process = self.kernel.process()
        end = time.monotonic() + seconds

        def flow() -> None:
            with process.connect("tcp", (RECEIVER, PORT)) as client:
                client.settimeout(5.0)
                try:
                    while time.monotonic() < end:
                        client.send(BLOCK)
                except OSError:
                    pass
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        threads = [threading.Thread(target=flow) for _ in range(flows)]
        for thread in threads:
            thread.start()
        return threads

    def linux(self, seconds: float, flows: int) -> subprocess.Popen[str]:
        """Send from Linux for a time."""
        enter = ["nsenter", "-t", str(self._linux.pid), "--net"]
        command = [*enter, sys.executable, "-c", SENDER, RECEIVER, str(PORT), str(seconds), str(flows)]
        sender = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        assert sender.stdin is not None
        sender.stdin.write("\n")
        sender.stdin.flush()
        return sender


@contextmanager
def path(forth: ImpairmentConfig, back: ImpairmentConfig) -> Iterator[Path]:
    """The path; `forth` is what happens to frames on their way to the receiver, `back` from it."""
    with ExitStack() as stack:
        host = PosixHost()
        stack.callback(host.close)
        switch = host.switches.named("path")
        for name, impaired in (("rumpsink", True), ("rumpsrc", False)):
            port = open_tap(host, name, offload=False)
            stack.callback(port.close)
            cable = switch.port()
            out: LinkPort = port
            into: LinkPort = cable
            if impaired:
                out = ImpairedPort(host, port, Impairment(host, forth))
                into = ImpairedPort(host, cable, Impairment(host, back))
            cable.attach(Forward(out))
            port.attach(Forward(into))
        set_address("rumpsink", socket.inet_aton(RECEIVER), 24)
        set_up("rumpsink")
        linux = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], text=True)
        stack.callback(linux.wait)
        stack.callback(linux.kill)
        time.sleep(0.3)
        subprocess.run(f"ip link set rumpsrc netns {linux.pid}".split(), check=True)
        enter = f"nsenter -t {linux.pid} --net ip "
        subprocess.run((enter + f"address add {LINUX}/24 dev rumpsrc").split(), check=True)
        subprocess.run((enter + "link set rumpsrc up").split(), check=True)
        spec = Spec(interface=[InterfaceSpec("switch:path", address=[f"{OURS}/24"], offload=False)])
        kernel = stack.enter_context(Kernel(spec, host=host))
        host.start_thread()
        yield Path(kernel, linux)
        host.stop()


def goodput() -> Iterator[Result]:
    """Under 1% loss, both at once: whatever else the machine does hits both."""
    with path(ImpairmentConfig(loss=0.01, delay=ONE_WAY), ImpairmentConfig(delay=ONE_WAY)) as way:
        sinks = Sinks()
        sinks.start()
        linux = way.linux(SECONDS, FLOWS)
        for thread in way.ours(SECONDS, FLOWS):
            thread.join()
        linux.wait()
        time.sleep(0.5)
        ours, native = (sinks.total(address) * 8 / SECONDS / 1e6 for address in (OURS, LINUX))
        sinks.stop()
    name = f"goodput at 1% loss, 20 ms, {FLOWS} flows"
    yield Result(name, ours, "Mbit/s", "Linux cubic on the same path", native, 0.95, of_peer=True)


def fairness() -> Iterator[Result]:
    """One flow each through one bottleneck, at the same time."""
    queue = RATE * 2 * ONE_WAY // 8_000_000_000
    with path(ImpairmentConfig(delay=ONE_WAY, rate=RATE, queue_bytes=queue), ImpairmentConfig(delay=ONE_WAY)) as way:
        sinks = Sinks()
        sinks.start()
        linux = way.linux(SHARED_SECONDS, 1)
        ours = way.ours(SHARED_SECONDS, 1)
        time.sleep(WARM_UP)
        before = [sinks.total(address) for address in (OURS, LINUX)]
        for thread in ours:
            thread.join()
        linux.wait()
        shares = [sinks.total(address) - had for address, had in zip((OURS, LINUX), before, strict=True)]
        sinks.stop()
    jain = sum(shares) ** 2 / (2 * sum(share * share for share in shares))
    yield Result("fairness of two flows, ours and Linux cubic: Jain's index", jain, "", "even shares", 1.0, 0.95)
