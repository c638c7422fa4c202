"""Multicast between our sockets and Linux's over a TAP, both ways, and what routers hear of it."""

from __future__ import annotations

import socket

import pytest

from rumpkit import Kernel
from rumpkit.kern.abi.socket import IPPROTO_IP
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.igmp import CHANGE_TO_EXCLUDE, QUERY, IgmpMessage
from tests.system.helpers.user import wait_for
from tests.system.helpers.wire import OURS, TAP, THEIRS, wired
from tests.system.test_net_captures import tshark, well_formed

pytestmark = pytest.mark.timeout(120)
needs_tap = pytest.mark.needs("root", "tap", "netns", "ip")
GROUP = "239.1.2.3"
IP_ADD_SOURCE_MEMBERSHIP, IP_BLOCK_SOURCE = 39, 38


def join(ours: str = OURS) -> bytes:
    return parse_ipv4(GROUP) + parse_ipv4(ours)


@needs_tap
@pytest.mark.parametrize(("offload", "size"), [(True, 5000), (False, 10)], ids=["offload", "plain"])
def test_groups_both_ways(offload, size, tmp_path):
    with wired(offload=offload) as wire, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        path = tmp_path / "groups.pcapng"
        capture = wire.kernel.capture(path)
        theirs.settimeout(10)
        theirs.bind(("", 7))
        theirs.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join(THEIRS))
        theirs.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, parse_ipv4(THEIRS))
        theirs.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        with wire.process.socket("udp") as ours:
            ours.bind(("", 7))
            ours.setsockopt(IPPROTO_IP, 35, join())
            ours.setsockopt(IPPROTO_IP, 34, 0)
            ours.sendto(bytes(size), (GROUP, 7))
            assert theirs.recvfrom(65536) == (bytes(size), (OURS, 7))
            theirs.sendto(b"x" * size, (GROUP, 7))
            assert ours.recvfrom(65536) == (b"x" * size, (THEIRS, 7))
            ours.setsockopt(IPPROTO_IP, IP_BLOCK_SOURCE, join() + parse_ipv4(THEIRS))
            theirs.sendto(b"blocked", (GROUP, 7))
            theirs.sendto(b"to us", (OURS, 7))
            assert ours.recvfrom(65536)[0] == b"to us"
            ours.setsockopt(IPPROTO_IP, 36, join())
        wait_for(lambda: wire.count("igmp.reports_out") >= 4, "what changed is told")
        capture.close()
        well_formed(path, capture.frames)
        reports = tshark(path, f"igmp.type == 0x22 && ip.src == {OURS} && igmp.checksum.status == Good")
        assert len(reports) >= 4
        assert tshark(path, f"igmp.record_type == {CHANGE_TO_EXCLUDE} && ip.src == {OURS} && igmp.maddr == {GROUP}")


@needs_tap
def test_a_query_from_linux_is_answered():
    with wired() as wire, wire.process.socket("udp") as ours:
        ours.setsockopt(IPPROTO_IP, 35, join())
        wait_for(lambda: wire.count("igmp.reports_out") == 2, "the join is told")
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP) as router:
            router.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, parse_ipv4(THEIRS))
            router.setsockopt(socket.IPPROTO_IP, 4, b"\x94\4\0\0")
            router.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, TAP.encode())
            query = IgmpMessage(QUERY)
            query.version, query.code = 3, 10
            router.sendto(query.emit(), ("224.0.0.1", 0))
            wait_for(lambda: wire.count("igmp.reports_out") == 3, "an answer", 30)


MEMBER = """
import socket
member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
member.bind(("", 5000))
member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, bytes((239, 1, 2, 3, 0, 0, 0, 0)))
member.settimeout(30)
print(member.recvfrom(100))
"""


@pytest.mark.needs("seccomp", "userns", "python3")
def test_a_program_joins_a_group(tmp_path):
    with (
        Kernel(net="switch:member", address="10.0.0.1/24") as kernel,
        Kernel(net="switch:member", address="10.0.0.2/24") as other,
        open(tmp_path / "output", "w+b") as output,
        other.process().socket("udp") as speaker,
    ):
        program = kernel.run(["python3", "-c", MEMBER], stdout=output.fileno())
        wait_for(
            lambda: kernel.counters()["igmp.reports_out"] >= 1 or program.exit_code is not None, "the join is told", 60
        )
        speaker.bind(("", 5001))
        speaker.sendto(b"to all", (GROUP, 5000))
        assert program.wait(60) == 0
        output.seek(0)
        assert output.read() == b"(b'to all', ('10.0.0.2', 5001))\n"
