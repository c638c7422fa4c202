"""A kernel of ours and the machine's own, at the two ends of a TAP in a network namespace that goes away with the test.

The calling thread moves into the namespace, and with it the threads and processes that it starts: plain `socket.socket()`
is the machine's end there.  `Wire.linux` runs a peer in a process of its own, so that it does not share our interpreter.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from rumpkit import Kernel
from rumpkit.compose.boot import NET
from rumpkit.compose.spec import InterfaceSpec, KernelSpec, Spec
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.tap import TapPort, open_tap
from rumpkit.net.ip.service import Ip
from rumpkit.net.link.impairment import ImpairedPort, Impairment, ImpairmentConfig
from tests.hosts.posix.netns import ip, network_namespace
from tests.system.helpers.user import wait_for

TAP = "rump0"
OURS, THEIRS, FAR = "10.9.0.2", "10.9.0.1", "10.8.0.2"
PEER = Path(__file__).with_name("peer.py")


class Wire:
    """Made by `wired`."""

    def __init__(self, kernel: Kernel, impaired: ImpairedPort | None) -> None:
        self.kernel = kernel
        self.process = kernel.process()
        self.impaired = impaired
        self._children: list[subprocess.Popen[str]] = []

    def count(self, name: str) -> int:
        """One of the kernel's counters."""
        return self.kernel.counters()[name]

    def linux(self, role: str, *arguments: object, inside: Beyond | None = None) -> subprocess.Popen[str]:
        """Start `peer.py ROLE ARGUMENTS` on the machine's side, or beyond it."""
        command = [sys.executable, str(PEER), role, *map(str, arguments)]
        if inside is not None:
            command = [*inside.enter, *command]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._children.append(child)
        return child

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.communicate()


def answer(child: subprocess.Popen[str]) -> Any:
    """The next line that a peer prints, which is JSON."""
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, f"the peer ended with status {child.wait()}"
    return json.loads(line)


@contextlib.contextmanager
def wired(
    offload: bool = True,
    mtu: int = 1500,
    outbound: ImpairmentConfig | None = None,
    inbound: ImpairmentConfig | None = None,
    thread: bool = True,
    sysctl: dict[str, int] | None = None,
    gateway: str = THEIRS,
    more: list[InterfaceSpec] | None = None,
    components: tuple[str, ...] = (),
) -> Iterator[Wire]:
    """Both kernels, up and with addresses; `outbound` and `inbound` make the wire bad, as seen from our kernel."""
    with network_namespace():
        ip(f"tuntap add mode tap name {TAP}" + (" vnet_hdr" if offload else ""))
        ip(f"link set {TAP} mtu {mtu}")
        configure_address()
        bad = outbound is not None or inbound is not None
        spec = Spec(kernel=KernelSpec("ours", [*(NET if bad else ()), *components]), sysctl=sysctl or {})
        if not bad:
            spec.interface.append(InterfaceSpec(f"tap:{TAP}", address=[f"{OURS}/24"], gateway=gateway, offload=offload))
        spec.interface += more or []
        with Kernel(spec, thread=thread) as kernel:
            host = kernel.host
            assert isinstance(host, PosixHost)
            impaired = None
            if bad:
                impaired = _impair(kernel, host, open_tap(host, TAP, offload=offload), outbound, inbound)
            # Until Linux has noticed that somebody has attached, it drops what it would send.
            wait_for(lambda: "state UP" in ip(f"link show {TAP}"), "the TAP is up")
            if thread:
                host.start_thread()
            wire = Wire(kernel, impaired)
            try:
                yield wire
            finally:
                wire.close()


class Beyond:
    """Another namespace, reached through the one with the TAP, which routes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.enter = ["nsenter", "-t", str(process.pid), "-n"]

    def run(self, command: str) -> None:
        """Run a command in there."""
        subprocess.run([*self.enter, *command.split()], check=True, capture_output=True)


@contextlib.contextmanager
def beyond(mtu: int) -> Iterator[Beyond]:
    """A host FAR behind the Linux end of a wire, over a link of `mtu` bytes."""
    with subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            there = Beyond(process)
            subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
            ip(f"link add near0 type veth peer name far0 netns {process.pid}")
            ip(f"link set near0 mtu {mtu} up")
            ip("addr add 10.8.0.1/24 dev near0")
            there.run(f"ip link set far0 mtu {mtu} up")
            there.run(f"ip addr add {FAR}/24 dev far0")
            there.run("ip route add default via 10.8.0.1")
            yield there
        finally:
            process.kill()


def configure_address() -> None:
    ip(f"addr add {THEIRS}/24 dev {TAP}")
    ip(f"link set {TAP} up")


def _impair(
    kernel: Kernel,
    host: PosixHost,
    port: TapPort,
    outbound: ImpairmentConfig | None,
    inbound: ImpairmentConfig | None,
) -> ImpairedPort:
    ways = [Impairment(host, config) if config else None for config in (outbound, inbound)]
    impaired = ImpairedPort(host, port, *ways)
    kernel.on_close(impaired.close)
    host.enter()
    try:
        service = cast(Ip, kernel.core.service("Ip"))
        service.add_interface(impaired, "vif0")
        service.add_address("vif0", f"{OURS}/24")
        service.add_route("default", THEIRS, "vif0")
    finally:
        host.leave()
    return impaired
