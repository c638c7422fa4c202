"""IP, ICMP, ARP and UDP against Linux over a TAP: pings of all sizes, fragments both ways, errors both ways."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import time

import pytest

from rumpkit.hyper.frame import Frame
from rumpkit.kern.abi.errno import ECONNREFUSED
from rumpkit.kern.abi.socket import AF_INET, IPPROTO_ICMP, SOCK_DGRAM
from rumpkit.net.ip.service import Ip
from rumpkit.net.wire.icmp import ECHO, ECHO_REPLY, IcmpMessage, parse_icmp
from tests.hosts.posix.netns import ip
from tests.system.helpers.wire import OURS, TAP, THEIRS, Wire, wired

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip"), pytest.mark.timeout(300)]
OFFLOAD = pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])


def ip_of(wire: Wire) -> Ip:
    service = wire.kernel.core.service("Ip")
    assert isinstance(service, Ip)
    return service


def pattern(size: int) -> bytes:
    return (hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))[:size]


@OFFLOAD
@pytest.mark.needs("ping")
@pytest.mark.parametrize("size", [0, 56, 1472, 1473, 8000, 65507])
def test_linux_pings_us(offload, size):
    with wired(offload=offload) as wire:
        for _ in range(3):  # of several, ping gives up those that take twice as long as another
            command = ["ping", "-c", "1", "-W", "5", "-s", str(size), "-p", "a5", OURS]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout
            assert " 1 received" in done.stdout
            assert "wrong data byte" not in done.stdout
        assert wire.count("ip.reassembled") == (3 if size > 1472 else 0)


@pytest.mark.needs("ping")
def test_linux_pings_us_with_options_and_a_ttl_of_one():
    with wired() as wire:
        for extra in (["-R"], ["-T", "tsonly"], ["-t", "1"], ["-M", "do", "-s", "1472"], ["-Q", "0x10"]):
            done = subprocess.run(["ping", "-c", "1", "-W", "5", *extra, OURS], capture_output=True, text=True)
            assert " 1 received" in done.stdout, (extra, done.stdout)
        assert wire.count("ip.bad_options") == 0


@OFFLOAD
@pytest.mark.parametrize("size", [0, 100, 1472, 9000, 60000])
def test_we_ping_linux(offload, size):
    with wired(offload=offload) as wire:
        process = wire.process
        fd = process.socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)
        data = pattern(size)
        process.sendto(fd, IcmpMessage(ECHO, 0, 7, data).emit(), 0, (THEIRS, 0))
        received, source = process.recvfrom(fd, 65536)
        message = parse_icmp(Frame(received), 0, len(received))
        assert message is not None
        assert (message.kind, message.sequence(), message.data) == (ECHO_REPLY, 7, data)
        assert source is not None and source[0] == THEIRS


@OFFLOAD
def test_datagrams_of_all_sizes_both_ways(offload):
    with wired(offload=offload) as wire, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.settimeout(10)
        theirs.bind((THEIRS, 0))
        with wire.process.socket("udp") as ours:
            ours.bind((OURS, 7))
            for size in (0, 1, 1471, 1472, 1473, 5000, 65507):
                data = pattern(size)
                theirs.sendto(data, (OURS, 7))
                got, source = ours.recvfrom(65536)
                assert source is not None
                assert (got, source) == (data, theirs.getsockname())
                ours.sendto(data[::-1], source)
                assert theirs.recvfrom(65536) == (data[::-1], (OURS, 7))
        assert wire.count("udp.bad_checksum") == 0


def test_closed_ports_are_refused_both_ways():
    with wired() as wire, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.settimeout(10)
        theirs.connect((OURS, 99))
        theirs.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            theirs.recv(10)
        with wire.process.socket("udp") as ours:
            ours.connect((THEIRS, 99))
            ours.send(b"x")
            with pytest.raises(OSError) as caught:
                ours.recv(10)
            assert caught.value.errno == ECONNREFUSED


def test_linux_resolves_us_and_sees_us_move():
    with wired() as wire, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.sendto(b"x", (OURS, 99))
        mac = ip_of(wire).interfaces.get("vif0").mac.hex(":")
        deadline = time.monotonic() + 5
        while mac not in (neighbours := ip(f"neigh show dev {TAP}")):
            assert time.monotonic() < deadline, neighbours
            time.sleep(0.01)
        ip(f"neigh replace {OURS} lladdr 02:00:00:00:00:99 dev {TAP} nud stale")
        host = wire.kernel.host
        host.enter()
        try:
            interface = ip_of(wire).interfaces.get("vif0")
            interface.announce(bytes(map(int, OURS.split("."))), host.now)
        finally:
            host.leave()
        while mac not in (neighbours := ip(f"neigh show dev {TAP}")):
            assert time.monotonic() < deadline, neighbours
            time.sleep(0.01)


def test_a_route_through_linux_with_a_narrow_link_is_discovered():
    """Linux forwards to an interface with MTU 1280 and tells us so when we send more."""
    with wired() as wire:
        ip("tuntap add mode tap name narrow")
        ip("link set narrow mtu 1280 up")
        ip("addr add 10.77.0.1/24 dev narrow")
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        with wire.process.socket("udp") as ours:
            ours.setsockopt(0, 10, 2)
            ours.connect(("10.77.0.9", 7))
            ours.send(bytes(1400))
            deadline = time.monotonic() + 5
            ipv4 = ip_of(wire).v4
            while ipv4.path_mtus.rows() != [(b"\x0a\x4d\0\x09", 1280)]:
                assert time.monotonic() < deadline, ipv4.path_mtus.rows()
                time.sleep(0.01)
            with pytest.raises(OSError):
                ours.send(bytes(1253))
            ours.send(bytes(1252))
