"""Our IP, UDP and ARP against Linux's over a TAP: fragments, errors, routers, path MTUs, neighbours that move."""

from __future__ import annotations

import errno
import hashlib
import socket
import subprocess
import time
from pathlib import Path

import pytest

from rumpkit import IP_MTU_DISCOVER, IP_RECVERR, IP_TTL, IPPROTO_IP
from rumpkit.compose.spec import InterfaceSpec
from tests.hosts.posix.netns import ip
from tests.system.helpers.peer import blocks, digest
from tests.system.helpers.user import wait_for
from tests.system.helpers.wire import FAR, OURS, TAP, THEIRS, answer, beyond, wired

pytestmark = pytest.mark.needs("root", "tap", "netns", "ip")

DATA = bytes(range(251)) * 262
PORT = 4000
IP_PMTUDISC_DONT = 0
IP_PMTUDISC_DO = 2


@pytest.fixture(params=[True, False], ids=["offload", "plain"])
def wire(request):
    with wired(offload=request.param) as wire:
        yield wire


def machine_socket() -> socket.socket:
    theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    theirs.settimeout(10)
    return theirs


# UDP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 8192, 60000, 65507])
def test_datagrams_of_any_size_go_both_ways(wire, size):
    with machine_socket() as theirs, wire.process.socket("udp") as ours:
        ours.settimeout(10)
        theirs.bind((THEIRS, 0))
        ours.bind(("", PORT))
        ours.sendto(DATA[:size], theirs.getsockname())
        assert theirs.recvfrom(70000) == (DATA[:size], (OURS, PORT))
        theirs.sendto(DATA[-size:] if size else b"", (OURS, PORT))
        assert ours.recvfrom(70000) == (DATA[-size:] if size else b"", theirs.getsockname())
    counters = wire.kernel.counters()
    if size > 1472:
        assert counters["ip.fragmented"] == counters["ip.reassembled"] == 1
        assert counters["ip.fragments_out"] == counters["ip.fragments_in"] == -(-(size + 8) // 1480)
    else:
        assert counters["ip.fragmented"] == counters["ip.fragments_in"] == 0
    assert counters["udp.bad_checksum"] == counters["udp.bad_in"] == 0


def test_a_thousand_datagrams_are_neither_lost_nor_mixed(wire):
    with machine_socket() as theirs, wire.process.socket("udp") as ours:
        theirs.bind((THEIRS, 0))
        ours.bind(("", PORT))
        ours.settimeout(10)
        for number in range(1000):
            ours.sendto(b"%d " % number * 100, theirs.getsockname())
            data, peer = theirs.recvfrom(2000)
            theirs.sendto(data, peer)
            assert ours.recv(2000) == b"%d " % number * 100


def test_more_than_we_can_take_is_dropped_and_counted(wire):
    with machine_socket() as theirs, wire.process.socket("udp") as ours:
        ours.bind(("", PORT))
        for _ in range(3000):
            theirs.sendto(bytes(1400), (OURS, PORT))
        wait_for(lambda: wire.count("udp.datagrams_in") > 1000, "they arrive")
        assert wire.count("udp.buffer_full") > 0
        theirs.sendto(b"", (OURS, PORT))
        ours.settimeout(5)
        assert len(ours.recv(2000)) == 1400


def test_an_unfinished_datagram_does_not_stay_for_ever(wire):
    """The first fragment of a ping, from a raw socket of Linux; its rest never comes."""
    wire.kernel.sysctl("net.ip.fragment_timeout_seconds", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        header = bytes.fromhex("4500 0000 1234 2000 4001 0000".replace(" ", ""))
        packet = header + socket.inet_aton(THEIRS) + socket.inet_aton(OURS) + bytes.fromhex("0800f7ff00000000")
        raw.sendto(packet + bytes(24), (OURS, 0))
        wait_for(lambda: wire.count("ip.fragments_in") == 1, "it arrives")
        wait_for(lambda: wire.count("ip.reassembly_failed") == 1, "it is given up")
        wait_for(lambda: wire.count("icmp.errors_out") == 1, "Linux is told (RFC 1122 3.3.2)")


# Errors and routers ----------------------------------------------------------------------------------------------


@pytest.fixture
def router():
    """Our kernel between Linux and a switch where nobody else is."""
    lan = InterfaceSpec("switch:lan", address=["10.10.0.1/24"])
    with wired(sysctl={"net.ip.forwarding": 1}, gateway="", more=[lan]) as wire:
        ip(f"route add 10.0.0.0/8 via {OURS}")
        yield wire


@pytest.mark.parametrize(
    ("address", "ttl", "number"),
    [
        ("10.10.0.9", 1, errno.EHOSTUNREACH),  # time exceeded (Linux: icmp_err_convert)
        ("10.10.0.9", 9, errno.EHOSTUNREACH),  # nobody answers there
        ("10.77.0.1", 9, errno.ENETUNREACH),  # no route
        ("10.10.0.1", 9, errno.ECONNREFUSED),  # our own address, and no such port
    ],
)
def test_linux_hears_what_we_say_as_a_router(router, address, ttl, number):
    with machine_socket() as theirs:
        theirs.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        theirs.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        theirs.connect((address, 33434))
        theirs.send(b"probe")
        with pytest.raises(OSError) as caught:
            theirs.recv(10)
        assert caught.value.errno == number


@pytest.fixture
def far():
    with wired() as wire, beyond(mtu=1200) as there:
        yield wire, there


needs_router = pytest.mark.needs("nsenter", "unshare", "sysctl")


@needs_router
def test_we_hear_what_linux_says_as_a_router(far):
    wire, there = far
    cases = [(FAR, 1, errno.EHOSTUNREACH), (FAR, 9, errno.ECONNREFUSED), ("10.8.0.77", 9, errno.EHOSTUNREACH)]
    for address, ttl, number in cases:
        with wire.process.socket("udp") as ours:
            ours.settimeout(10)
            ours.setsockopt(IPPROTO_IP, IP_TTL, ttl)
            ours.setsockopt(IPPROTO_IP, IP_RECVERR, 1)
            ours.connect((address, 33434))
            ours.send(b"probe")
            with pytest.raises(OSError) as caught:
                ours.recv(10)
            assert caught.value.errno == number, (address, ttl)
    there.run("ip link set far0 up")


@needs_router
def test_tcp_finds_the_mtu_of_the_path(far):
    wire, there = far
    there.run("ip link set far0 mtu 1500")  # so that it announces the MSS of a wider path
    size = 3_000_000
    peer = wire.linux("sink", FAR, inside=there)
    with wire.process.connect("tcp", (FAR, answer(peer)["port"])) as ours:
        for block in blocks(size, 1):
            ours.sendall(block)
        ours.shutdown(1)
        assert ours.recv(1) == b""
    assert answer(peer) == {"size": size, "digest": digest(size, 1)}
    assert wire.count("icmp.errors_in") > 0


@needs_router
def test_a_connection_that_outgrows_its_path(far):
    """The path narrows under a connection that has used it in full."""
    wire, there = far
    there.run("ip link set far0 mtu 1500")
    ip("link set near0 mtu 1500")
    peer = wire.linux("sink", FAR, inside=there)
    with wire.process.connect("tcp", (FAR, answer(peer)["port"])) as ours:
        total = hashlib.sha256()
        for number, block in enumerate(blocks(8_000_000, 1)):
            if number == 10:
                ip("link set near0 mtu 1000")
            ours.sendall(block)
            total.update(block)
        ours.shutdown(1)
        assert ours.recv(1) == b""
    assert answer(peer)["digest"] == total.hexdigest()


@needs_router
def test_a_router_fragments_our_datagrams(far):
    wire, there = far
    peer = wire.linux("echo", FAR, inside=there)
    with wire.process.socket("udp") as ours:
        ours.settimeout(10)
        ours.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        ours.sendto(DATA[:1400], (FAR, answer(peer)["port"]))
        assert ours.recv(2000) == DATA[:1400]
    assert wire.count("ip.reassembled") == 1


@needs_router
def test_who_forbids_fragments_hears_of_the_paths_mtu(far):
    wire, there = far
    peer = wire.linux("echo", FAR, inside=there)
    with wire.process.socket("udp") as ours:
        ours.settimeout(10)
        ours.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        ours.connect((FAR, answer(peer)["port"]))
        ours.send(DATA[:1400])
        wait_for(lambda: wire.count("icmp.errors_in") == 1, "the router says that it is too big")
        with pytest.raises(OSError) as caught:
            for _ in range(2):
                ours.send(DATA[:1400])
        assert caught.value.errno == errno.EMSGSIZE
        ours.send(DATA[:1172])
        assert ours.recv(2000) == DATA[:1172]


# Neighbours ------------------------------------------------------------------------------------------------------


def test_linux_and_we_know_each_others_hardware_address(wire):
    with machine_socket() as theirs, wire.process.socket("udp") as ours:
        ours.bind(("", PORT))
        theirs.sendto(b"x", (OURS, PORT))
        ours.recv(1)
    ours_mac = wire.kernel.core.service("Interfaces").get("vif0").mac.hex(":")
    assert f"lladdr {ours_mac}" in ip(f"neigh show {OURS}")
    assert wire.count("arp.replies_out") + wire.count("arp.requests_out") > 0


def test_a_neighbour_that_gets_new_hardware_is_found_again(wire):
    with machine_socket() as theirs, wire.process.socket("udp") as ours:
        theirs.bind((THEIRS, 0))
        ours.settimeout(1)
        ours.sendto(b"before", theirs.getsockname())
        assert theirs.recv(10) == b"before"
        subprocess.run(["sysctl", "-qw", f"net.ipv4.conf.{TAP}.arp_notify=1"], check=True)
        ip(f"link set {TAP} address 02:00:00:00:99:99")
        ip(f"link set {TAP} down")
        ip(f"link set {TAP} up")
        started = time.monotonic()
        theirs.settimeout(0.2)
        while True:
            ours.sendto(b"after", theirs.getsockname())
            try:
                assert theirs.recv(10) == b"after"
                break
            except TimeoutError:
                assert time.monotonic() - started < 10


def test_nothing_of_these_tests_is_left_on_the_machine():
    assert TAP not in ip("link show")
    assert not Path(f"/run/netns/{TAP}").exists()
