"""Raw and packet sockets of ours against Linux over a TAP."""

from __future__ import annotations

import pytest

from rumpkit.hyper.frame import Frame
from rumpkit.kern.abi.socket import AF_INET, AF_PACKET, IPPROTO_ICMP, SOCK_RAW
from rumpkit.net.socket.packet import PACKET_HOST, PACKET_OUTGOING, LinkAddress, parse_link_address
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.arp import REPLY, REQUEST, ArpPacket, parse_arp
from rumpkit.net.wire.icmp import ECHO, ECHO_REPLY, IcmpMessage, parse_icmp
from rumpkit.net.wire.ipv4 import parse_ipv4_header
from tests.system.helpers.wire import OURS, THEIRS, wired
from tests.system.test_net_ip import ip_of

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip"), pytest.mark.timeout(120)]
OFFLOAD = pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])


@OFFLOAD
@pytest.mark.parametrize("size", [10, 5000])
def test_a_ping_by_hand(offload, size):
    with wired(offload=offload) as wire:
        process = wire.process
        fd = process.socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)
        data = bytes(range(10)) * (size // 10)
        process.sendto(fd, IcmpMessage(ECHO, 0, 0x77770001, data).emit(), 0, (THEIRS, 0))
        while True:
            packet, source = process.recvfrom(fd, 65536)
            header = parse_ipv4_header(packet, 0, len(packet))
            assert header is not None and header.checksum_valid
            message = parse_icmp(Frame(packet), int(header.transport), int(header.end))
            if message is not None and message.kind == ECHO_REPLY:
                break
        assert source is not None and source[0] == THEIRS
        assert (message.rest, message.data) == (0x77770001, data)


def test_arp_by_hand():
    with wired() as wire:
        kernel = wire.kernel
        interface = ip_of(wire).interfaces.get("vif0")
        kernel.host.enter()
        sockets = kernel.core.sockets
        socket = sockets.make(AF_PACKET, SOCK_RAW, 0x0300)
        socket.hold()
        kernel.host.leave()
        question = ArpPacket(REQUEST, interface.mac, parse_ipv4(OURS), bytes(6), parse_ipv4(THEIRS)).emit()
        frame = b"\xff" * 6 + interface.mac + b"\x08\x06" + question
        fd = wire.process.socket(AF_PACKET, SOCK_RAW, 0x0300)
        assert wire.process.sendto(fd, frame, 0, (LinkAddress(interface.index).emit(), 0)) == len(frame)
        answered = None
        while answered is None:
            data, _ = wire.process.recvfrom(fd, 65536)
            packet = parse_arp(data, 14) if data[12:14] == b"\x08\x06" else None
            if packet is not None and packet.operation == REPLY and packet.target_mac == interface.mac:
                answered = packet
        assert answered.sender_ip == parse_ipv4(THEIRS)
        kernel.host.enter()
        kinds = set()
        received = socket.receive(65536, 0, kernel.host.now)
        while isinstance(received, tuple):
            assert received.source is not None
            kinds.add(parse_link_address(received.source[0]).kind)
            received = socket.receive(65536, 0, kernel.host.now)
        kernel.host.leave()
        assert kinds >= {PACKET_HOST, PACKET_OUTGOING}
