"""ARP packets for IPv4 over Ethernet (RFC 826), behind an Ethernet header."""

from typing import Final, final

from .field import read_u16

PACKET_SIZE: Final = 28
REQUEST: Final = 1
REPLY: Final = 2

_IPV4_OVER_ETHERNET: Final = b"\x00\x01\x08\x00\x06\x04"
"""Hardware type, protocol type and the two address lengths."""


@final
class ArpPacket:
    """Who asks or answers for which address."""

    __slots__ = ("operation", "sender_ip", "sender_mac", "target_ip", "target_mac")

    def __init__(
        self, operation: int, sender_mac: bytes, sender_ip: bytes, target_mac: bytes, target_ip: bytes
    ) -> None:
        self.operation: int = operation
        """REQUEST, REPLY, or what else was received."""
        self.sender_mac: bytes = sender_mac
        self.sender_ip: bytes = sender_ip
        self.target_mac: bytes = target_mac
        self.target_ip: bytes = target_ip

    def emit(self) -> bytes:
        """The packet's 28 bytes."""
        operation = self.operation.to_bytes(2, "big")
        return _IPV4_OVER_ETHERNET + operation + self.sender_mac + self.sender_ip + self.target_mac + self.target_ip


def parse_arp(data: bytes, offset: int) -> ArpPacket | None:
    """The packet at data[offset]; link padding may follow.  None if it is short or not for IPv4 over Ethernet."""
    if offset < 0 or len(data) < offset + PACKET_SIZE or data[offset : offset + 6] != _IPV4_OVER_ETHERNET:
        return None
    at = offset + 8
    return ArpPacket(
        read_u16(data, offset + 6),
        data[at : at + 6],
        data[at + 6 : at + 10],
        data[at + 10 : at + 16],
        data[at + 16 : at + 20],
    )
