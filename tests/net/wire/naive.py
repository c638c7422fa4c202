"""An independent, plain reading of the RFCs that the wire tests hold the real code against.  Slow on purpose."""

from __future__ import annotations

import struct

from rumpkit.hyper.frame import Frame
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.ethernet import emit_ethernet
from rumpkit.net.wire.ipv4 import PROTOCOL_TCP, emit_ipv4_header
from rumpkit.net.wire.segment import Segment
from rumpkit.net.wire.tcp import emit_segment

SOURCE = bytes([10, 0, 0, 1])
DESTINATION = bytes([192, 168, 255, 254])
MAC_A = bytes.fromhex("020000000001")
MAC_B = bytes.fromhex("020000000002")


def ones_sum(data: bytes) -> int:
    """The folded one's complement sum, word by word (RFC 1071 section 1)."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for (word,) in struct.iter_unpack("!H", data):
        total += word
        if total > 0xFFFF:
            total -= 0xFFFF
    return total


def pseudo_header(source: bytes, destination: bytes, protocol: int, size: int) -> bytes:
    if len(source) == 4:
        return source + destination + struct.pack("!BBH", 0, protocol, size)
    return source + destination + struct.pack("!IBBBB", size, 0, 0, 0, protocol)


class Packet:
    """An Ethernet frame's IP packet taken apart, by the book, with every checksum checked."""

    def __init__(self, data: bytes) -> None:
        packet = data[14:]
        if packet[0] >> 4 == 4:
            size = (packet[0] & 15) * 4
            (self.total_length,) = struct.unpack("!H", packet[2:4])
            (self.identification,) = struct.unpack("!H", packet[4:6])
            self.protocol = packet[9]
            source, destination = packet[12:16], packet[16:20]
            assert ones_sum(packet[:size]) == 0xFFFF, "the header checksum is wrong"
        else:
            size = 40
            self.total_length = 40 + struct.unpack("!H", packet[4:6])[0]
            self.identification = 0
            self.protocol = packet[6]
            source, destination = packet[8:24], packet[24:40]
        assert self.total_length == len(packet)
        transport = packet[size:]
        self.pseudo = pseudo_header(source, destination, self.protocol, len(transport))
        self.transport = transport
        if self.protocol == 6:
            (self.seq,) = struct.unpack("!I", transport[4:8])
            self.flags = transport[13]
            header = (transport[12] >> 4) * 4
            (self.checksum,) = struct.unpack("!H", transport[16:18])
            self.options = transport[20:header]
        else:
            header = 8
            size, self.checksum = struct.unpack("!HH", transport[4:8])
            assert size == len(transport)
        self.payload = transport[header:]

    def checksum_right(self) -> bool:
        return ones_sum(self.pseudo + self.transport) == 0xFFFF


def tcp_frame(segment: Segment, sport: int = 4000, dport: int = 80, identification: int = 0) -> Frame:
    """An Ethernet frame around `segment`, unfinished as a kernel sends it."""
    frame = emit_segment(segment, sport, dport, pseudo_sum(SOURCE, DESTINATION, PROTOCOL_TCP, 0))
    frame.push(emit_ipv4_header(SOURCE, DESTINATION, PROTOCOL_TCP, len(frame), identification))
    frame.push(emit_ethernet(MAC_B, MAC_A, 0x0800))
    return frame
