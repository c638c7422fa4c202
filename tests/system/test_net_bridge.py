"""VLANs and bridges: ours between Linux's network stacks, and Linux's bridge with VLANs between ours."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.arp import REPLY, REQUEST, ArpPacket, parse_arp
from tests.hosts.posix.netns import ip, network_namespace
from tests.system.helpers.peer import digest
from tests.system.helpers.spaces import Space, space
from tests.system.helpers.user import wait_for
from tests.system.helpers.wire import answer
from tests.system.test_net_captures import well_formed
from tests.system.test_net_router import MB, echoes, peer, ping

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip"), pytest.mark.timeout(240)]
OFFLOAD = pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
PACKET_AUXDATA = 8


@contextlib.contextmanager
def bridged(offload: bool) -> Iterator[tuple[Kernel, Space]]:
    """near (the test's namespace, 10.9.0.1) and far (10.9.0.2) on a bridge of our kernel's (10.9.0.9)."""
    with network_namespace(), space() as far:
        spec = Spec()
        spec.interface.append(InterfaceSpec("tap:near0", offload=offload))
        spec.interface.append(InterfaceSpec("tap:far0", offload=offload))
        spec.interface.append(InterfaceSpec("bridge", "br0", ["vif0", "vif1"], ["10.9.0.9/24"]))
        with Kernel(spec) as kernel:
            ip("addr add 10.9.0.1/24 dev near0")
            ip("link set near0 up")
            ip(f"link set far0 netns {far.pid}")
            assert far.run("ip addr add 10.9.0.2/24 dev far0") == far.run("ip link set far0 up") == ""
            wait_for(lambda: "LOWER_UP" in ip("link show near0"), "near is up")
            wait_for(lambda: "LOWER_UP" in far.run("ip link show far0"), "far is up")
            yield kernel, far


@OFFLOAD
def test_our_bridge_joins_two_network_stacks(offload, tmp_path):
    with bridged(offload) as (kernel, far):
        capture = kernel.capture(tmp_path / "bridge.pcapng")
        for address in ("10.9.0.2", "10.9.0.9"):
            assert echoes(address)
        assert " 1 received" in far.run("ping -c 1 -W 5 10.9.0.9")
        sink = far.linux("sink", "10.9.0.2")
        command = peer("source", "10.9.0.2", str(answer(sink)["port"]), str(3 * MB), "5")
        assert subprocess.run(command, capture_output=True, timeout=60).stdout
        assert answer(sink) == {"size": 3 * MB, "digest": digest(3 * MB, 5)}
        counters = kernel.counters()
        assert counters["bridge.br0.forwarded"] > 20
        assert counters["bridge.br0.too_big"] == 0
        assert counters["ip.forwarded"] == 0
        capture.close()
        well_formed(tmp_path / "bridge.pcapng", capture.frames)


def test_tags_on_the_wire():
    """Linux without VLANs still tells a packet socket what the tag was."""
    with network_namespace():
        spec = Spec(interface=[InterfaceSpec("tap:rump0", address=["10.9.0.2/24"])])
        spec.interface.append(InterfaceSpec("vlan:vif0.10", address=["10.10.0.2/24"]))
        with Kernel(spec) as kernel, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
            ip("link set rump0 up")
            wait_for(lambda: "LOWER_UP" in ip("link show rump0"), "the TAP is up")
            wire.bind(("rump0", 3))
            wire.settimeout(10)
            wire.setsockopt(263, PACKET_AUXDATA, 1)
            theirs = b"\2\0\0\0\0\x77"
            question = ArpPacket(REQUEST, theirs, parse_ipv4("10.10.0.1"), bytes(6), parse_ipv4("10.10.0.2"))
            for tag, wanted in ((b"\x81\0\0\x0a", 10), (b"", None), (b"\x81\0\0\x0b", None)):
                wire.send(b"\xff" * 6 + theirs + tag + b"\x08\x06" + question.emit())
                if wanted is None:
                    continue
                while True:
                    data, extra, _, _ = wire.recvmsg(2000, 200)
                    reply = parse_arp(data, 14) if data[12:14] == b"\x08\x06" else None
                    if reply is not None and reply.operation == REPLY:
                        break
                assert reply.sender_ip == parse_ipv4("10.10.0.2")
                status, *_, number, _ = struct.unpack("IIIHHHH", extra[0][2])
                assert status & 0x10 and number & 0xFFF == wanted
            wait_for(lambda: kernel.counters()["interface.vif0.tagged_in"] >= 1, "the strange VLAN's frame")
            assert kernel.counters()["arp.replies_out"] == 1


@contextlib.contextmanager
def linux_bridge(offload: bool) -> Iterator[tuple[Kernel, Kernel]]:
    """Linux's bridge with VLAN filtering.  One kernel of ours on a trunk port: 10.9.0.2 untagged, 10.10.0.2 in VLAN 10,
    10.20.0.2 in VLAN 20, 10.30.0.2 in VLAN 30, which the port does not let through.  Another on a port of VLAN 10."""
    trunk = Spec(interface=[InterfaceSpec("tap:trunk0", address=["10.9.0.2/24"], offload=offload)])
    for number in (10, 20, 30):
        trunk.interface.append(InterfaceSpec(f"vlan:vif0.{number}", address=[f"10.{number}.0.2/24"]))
    access = Spec(interface=[InterfaceSpec("tap:access0", address=["10.10.0.3/24"], offload=offload)])
    with network_namespace(), Kernel(trunk) as first, Kernel(access) as second:
        ip("link add br0 type bridge vlan_filtering 1 stp_state 0")
        for name in ("trunk0", "access0"):
            ip(f"link set {name} master br0")
            ip(f"link set {name} up")
        ip("link set br0 up")
        for command in (
            "vlan add dev trunk0 vid 10", "vlan add dev trunk0 vid 20", "vlan add dev br0 vid 10 self",
            "vlan add dev br0 vid 20 self", "vlan add dev br0 vid 30 self", "vlan del dev access0 vid 1",
            "vlan add dev access0 vid 10 pvid untagged",
        ):  # fmt: skip
            subprocess.run(["bridge", *command.split()], check=True)
        ip("addr add 10.9.0.1/24 dev br0")
        for number in (10, 20, 30):
            ip(f"link add link br0 name br0.{number} type vlan id {number}")
            ip(f"addr add 10.{number}.0.1/24 dev br0.{number}")
            ip(f"link set br0.{number} up")
        for name in ("trunk0", "access0"):
            wait_for(lambda name=name: "state forwarding" in ip(f"-d link show {name}"), "the port forwards", 40)  # type: ignore[misc]
        yield first, second


@OFFLOAD
@pytest.mark.needs("bridge", "vlan")
def test_linux_bridges_our_vlans(offload, tmp_path):
    with linux_bridge(offload) as (first, second):
        captures = [kernel.capture(tmp_path / f"{index}.pcapng") for index, kernel in enumerate((first, second))]
        for address in ("10.9.0.2", "10.10.0.2", "10.20.0.2", "10.10.0.3"):
            assert echoes(address), address
        assert " 0 received" in ping("-c", "1", "-W", "1", "10.30.0.2")
        listener = first.process().listen("tcp", 7100)
        client = second.process().connect("tcp", ("10.10.0.2", 7100))
        server, source = listener.accept()
        assert source[0] == "10.10.0.3"
        client.sendall(bytes(range(256)) * 200)
        got = b""
        while len(got) < 51200:
            got += server.recv(1 << 16)
        assert got == bytes(range(256)) * 200
        theirs = subprocess.Popen(peer("source", "10.20.0.2", "7100", str(3 * MB), "5"), stdout=subprocess.PIPE)
        other, _ = listener.accept()
        received = bytearray()
        while data := other.recv(1 << 16):
            received += data
        other.sendall(bytes(received))
        other.shutdown(1)
        assert f'"digest": "{digest(3 * MB, 5)}"' in theirs.communicate(timeout=60)[0].decode()
        for capture, name in zip(captures, ("0", "1"), strict=True):
            capture.close()
            well_formed(tmp_path / f"{name}.pcapng", capture.frames)
        for some in (client, server, other, listener):
            some.close()
