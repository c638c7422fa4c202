"""Raw sockets of IPv6 of ours against Linux's over a TAP: messages, checksums, control messages, errors.  tshark finds nothing wrong."""

from __future__ import annotations

import socket
import struct

import pytest

from rumpkit.kern.abi.errno import EPROTO
from rumpkit.kern.abi.socket import AF_INET6, IPPROTO_ICMPV6, IPPROTO_IPV6, MSG_ERRQUEUE, SOCK_RAW
from rumpkit.net.wire.address import parse_ipv6
from tests.system.helpers.user import wait_for
from tests.system.test_net_captures import tshark
from tests.system.test_net_ipv6 import BAD, OURS, THEIRS, linux_side, six_on

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip"), pytest.mark.timeout(120)]
PROTOCOL = 200
THEM, THEIR_ADDRESS = (THEIRS, 0), parse_ipv6(THEIRS)
CHECKSUM, HDRINCL, RECVERR, PKTINFO, HOPLIMIT, TCLASS = 7, 36, 25, 50, 52, 67


def an_int(number: int) -> bytes:
    return number.to_bytes(4, "little", signed=True)


@pytest.mark.needs("tshark")
def test_messages_both_ways(tmp_path):
    capture = tmp_path / "raw6.pcapng"
    with linux_side(), six_on(capture=capture) as six:
        process = six.kernel.process()
        icmp = process.socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
        words = [0xFFFFFFFF] * 8
        words[129 >> 5] &= ~(1 << (129 & 31))
        process.setsockopt(icmp, IPPROTO_ICMPV6, 1, struct.pack("<8I", *words))
        for size in (10, 5000):
            data = bytes(range(10)) * (size // 10)
            process.sendto(icmp, bytes([128, 0, 0xDE, 0xAD, 0x77, 0x77, 0, 1]) + data, 0, THEM)
            answer, source = process.recvfrom(icmp, 65536)
            assert source is not None and source[:2] == THEM and answer[4:] == b"\x77\x77\0\1" + data
        ours = process.socket(AF_INET6, SOCK_RAW, PROTOCOL)
        with socket.socket(socket.AF_INET6, SOCK_RAW, PROTOCOL) as theirs:
            theirs.settimeout(20)
            theirs.setsockopt(socket.IPPROTO_IPV6, CHECKSUM, 4)
            for name in (49, 51, 66):
                theirs.setsockopt(socket.IPPROTO_IPV6, name, 1)
                process.setsockopt(ours, IPPROTO_IPV6, name, an_int(1))
            process.setsockopt(ours, IPPROTO_IPV6, CHECKSUM, an_int(4))
            said = ((IPPROTO_IPV6, HOPLIMIT, an_int(33)), (IPPROTO_IPV6, TCLASS, an_int(0x20)))
            process.sendmsg(ours, [b"question" + bytes(7)], said, 0, THEM)
            message, control, _, source = theirs.recvmsg(100, 200)  # whose checksum Linux has looked at
            assert (message[:4], source[0]) == (b"ques", OURS)
            found = {kind: data for _, kind, data in control}
            assert (found[PKTINFO][:16], found[HOPLIMIT], found[TCLASS]) == (THEIR_ADDRESS, an_int(33), an_int(0x20))
            theirs.sendmsg([b"answer" + bytes(5)], [(41, HOPLIMIT, an_int(44)), (41, TCLASS, an_int(8))], 0, (OURS, 0))
            message, control, _, source = process.recvmsg(ours, 100)
            assert source is not None and (message[:4], source[:2]) == (b"answ", THEM)
            got = {kind: data for _, kind, data in control}
            assert (got[PKTINFO][:16], got[HOPLIMIT], got[TCLASS]) == (parse_ipv6(OURS), an_int(44), an_int(8))
            whole = process.socket(AF_INET6, SOCK_RAW, 255)
            head = struct.pack("!IHBB", 6 << 28, 8, PROTOCOL, 9) + parse_ipv6(OURS) + THEIR_ADDRESS
            theirs.setsockopt(socket.IPPROTO_IPV6, CHECKSUM, -1)
            process.sendto(whole, head + b"by hand\0", 0, THEM)
            assert theirs.recvfrom(100)[0] == b"by hand\0"
        nobody = process.socket(AF_INET6, SOCK_RAW, PROTOCOL + 1)
        process.setsockopt(nobody, IPPROTO_IPV6, RECVERR, an_int(1))
        process.sendto(nobody, b"is there anybody", 0, THEM)
        wait_for(lambda: six.count("icmp6.errors_in") > 0, "Linux says that it doesn't know the protocol")
        message, control, _, source = process.recvmsg(nobody, 100, MSG_ERRQUEUE)
        assert source is not None and (message, source[:2]) == (b"is there anybody", THEM)
        assert control[0][2][:12] == an_int(EPROTO) + bytes([3, 4, 1, 0]) + an_int(6)  # where the protocol stands
    assert tshark(capture, BAD) == []
    assert len(tshark(capture, f"ipv6.nxt == {PROTOCOL}")) == 3
