"""Routers: our kernel between two of Linux's network stacks, and Linux between two of our kernels; and TUN links."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, RouteSpec, Spec
from tests.hosts.posix.netns import ip, network_namespace
from tests.system.helpers.peer import digest
from tests.system.helpers.spaces import Space, space
from tests.system.helpers.user import wait_for
from tests.system.helpers.wire import PEER, answer
from tests.system.test_net_captures import well_formed

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip"), pytest.mark.timeout(120)]
OFFLOAD = pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
MB = 1 << 20


@contextlib.contextmanager
def between(offload: bool = True, far_mtu: int = 1500, forwarding: int = 1) -> Iterator[tuple[Kernel, Space]]:
    """near (the test's namespace, 10.1.0.1) -- our kernel -- far (10.2.0.1)."""
    with network_namespace(), space() as far:
        spec = Spec(sysctl={"net.ip.forwarding": forwarding})
        spec.interface.append(InterfaceSpec("tap:near0", address=["10.1.0.9/24"], offload=offload))
        spec.interface.append(InterfaceSpec("tap:far0", address=["10.2.0.9/24"], offload=offload, mtu=far_mtu))
        with Kernel(spec) as kernel:
            ip("addr add 10.1.0.1/24 dev near0")
            ip("link set near0 up")
            ip("route add default via 10.1.0.9")
            ip(f"link set far0 netns {far.pid}")
            for command in ("addr add 10.2.0.1/24 dev far0", "link set far0 up", "route add default via 10.2.0.9"):
                assert far.run(f"ip {command}") == ""
            wait_for(lambda: "LOWER_UP" in ip("link show near0"), "near is up")
            wait_for(lambda: "LOWER_UP" in far.run("ip link show far0"), "far is up")
            yield kernel, far


def peer(*arguments: str) -> list[str]:
    return [sys.executable, str(PEER), *arguments]


def ping(*arguments: str) -> str:
    return subprocess.run(["ping", "-W", "5", *arguments], capture_output=True, text=True).stdout


def echoes(address: str, size: int = 8000) -> bool:
    """Whether two pings are answered, one after the other: of several, ping gives up those that take twice as long as another."""
    return all(" 1 received" in ping("-c", "1", "-s", str(size), address) for _ in range(2))


@OFFLOAD
def test_two_networks_meet_in_our_kernel(offload, tmp_path):
    with between(offload) as (kernel, far):
        capture = kernel.capture(tmp_path / "router.pcapng")
        sink = far.linux("sink", "10.2.0.1")
        command = peer("source", "10.2.0.1", str(answer(sink)["port"]), str(3 * MB), "5")
        assert subprocess.run(command, capture_output=True, timeout=60).stdout
        assert answer(sink) == {"size": 3 * MB, "digest": digest(3 * MB, 5)}
        assert kernel.counters()["ip.forwarded"] > 10
        assert echoes("10.2.0.1")
        capture.close()
        well_formed(tmp_path / "router.pcapng", capture.frames)


def test_linux_hears_what_our_router_says():
    with between(far_mtu=1280) as (kernel, _):
        assert " 1 received" in ping("-c", "1", "-M", "dont", "-s", "1400", "10.2.0.1")
        assert kernel.counters()["ip.fragmented"] == 1
        assert "Time to live exceeded" in ping("-c", "1", "-t", "1", "10.2.0.1")
        assert "From 10.1.0.9" in ping("-c", "1", "-t", "1", "10.2.0.1")
        assert "mtu = 1280" in ping("-c", "1", "-M", "do", "-s", "1400", "10.2.0.1")
        assert "Destination Net Unreachable" in ping("-c", "1", "192.0.2.1")
        assert "Destination Host Unreachable" in ping("-c", "1", "10.2.0.77")


def test_a_kernel_routes_only_where_it_is_asked_to():
    with between(forwarding=0) as (kernel, _):
        assert " 0 received" in ping("-c", "1", "-W", "1", "10.2.0.1")
        assert kernel.counters()["ip.not_ours"] == 1


def test_linux_between_two_of_our_kernels():
    with network_namespace():
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        one = Spec(interface=[InterfaceSpec("tap:one0", address=["10.1.0.9/24"], gateway="10.1.0.1")])
        two = Spec(interface=[InterfaceSpec("tap:two0", address=["10.2.0.9/24"])])
        two.route = [RouteSpec("10.1.0.0/16", "10.2.0.1"), RouteSpec("default", "10.2.0.77", metric=9)]
        with Kernel(one) as first, Kernel(two) as second:
            for name, address in (("one0", "10.1.0.1/24"), ("two0", "10.2.0.1/24")):
                ip(f"addr add {address} dev {name}")
                ip(f"link set {name} up")
                wait_for(lambda name=name: "LOWER_UP" in ip(f"link show {name}"), "the TAP is up")  # type: ignore[misc]
            listener = second.process().listen("tcp", 7100)
            client = first.process().connect("tcp", ("10.2.0.9", 7100))
            server, peer = listener.accept()
            assert peer[0] == "10.1.0.9"
            client.sendall(b"through Linux")
            assert server.recv(100) == b"through Linux"
            for socket in (client, server, listener):
                socket.close()


@OFFLOAD
def test_a_tun_link_both_ways(offload, tmp_path):
    with network_namespace():
        spec = Spec(interface=[InterfaceSpec("tun:tun7", address=["10.7.0.2/24"], offload=offload)])
        with Kernel(spec) as kernel:
            ip("addr add 10.7.0.1/24 dev tun7")
            ip("link set tun7 up")
            wait_for(lambda: "LOWER_UP" in ip("link show tun7"), "the TUN is up")
            assert "POINTOPOINT,MULTICAST,NOARP" in ip("link show tun7")
            capture = kernel.capture(tmp_path / "tun.pcapng")
            assert echoes("10.7.0.2")
            process = kernel.process()
            listener = process.listen("tcp", 7100)
            theirs = subprocess.Popen(peer("source", "10.7.0.2", "7100", str(3 * MB), "5"), stdout=subprocess.PIPE)
            server, _ = listener.accept()
            received = bytearray()
            while data := server.recv(1 << 16):
                received += data
            server.sendall(bytes(received))
            server.shutdown(1)
            assert f'"size": {3 * MB}, "digest": "{digest(3 * MB, 5)}"' in theirs.communicate(timeout=60)[0].decode()
            capture.close()
            well_formed(tmp_path / "tun.pcapng", capture.frames)
            server.close()
            listener.close()
