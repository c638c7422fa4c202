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

TAP = "rump0"
OURS, THEIRS = "10.9.0.2", "10.9.0.1"
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

    def linux(self, role: str, *arguments: object) -> subprocess.Popen[str]:
        """Start `peer.py ROLE ARGUMENTS` on the machine's side."""
        command = [sys.executable, str(PEER), role, *map(str, arguments)]
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
) -> Iterator[Wire]:
    """Both kernels, up and with addresses; `outbound` and `inbound` make the wire bad, as seen from our kernel."""
    with network_namespace():
        ip(f"tuntap add mode tap name {TAP}" + (" vnet_hdr" if offload else ""))
        ip(f"link set {TAP} mtu {mtu}")
        configure_address()
        bad = outbound is not None or inbound is not None
        spec = Spec(kernel=KernelSpec("ours", list(NET) if bad else []), sysctl=sysctl or {})
        if not bad:
            spec.interface.append(InterfaceSpec(f"tap:{TAP}", address=[f"{OURS}/24"], gateway=THEIRS, offload=offload))
        with Kernel(spec) as kernel:
            host = kernel.host
            assert isinstance(host, PosixHost)
            impaired = None
            if bad:
                impaired = _impair(kernel, host, open_tap(host, TAP, offload=offload), outbound, inbound)
            if thread:
                host.start_thread()
            wire = Wire(kernel, impaired)
            try:
                yield wire
            finally:
                wire.close()


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
