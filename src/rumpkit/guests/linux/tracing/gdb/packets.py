"""Packets of gdb's remote protocol as bytes: `$DATA#SUM`, with escapes.  Nothing here reads or writes; `line` does."""

from typing import Final, final

INTERRUPT: Final = b"\x03"
ACK: Final = b"+"
MAX_PACKET: Final = 1 << 17
"""Bytes of a packet that we take."""
_ESCAPED: Final = frozenset(b"$#}*")


def encode(data: bytes) -> bytes:
    """A packet around data, which is escaped already where it is binary."""
    return b"$%b#%02x" % (data, sum(data) & 0xFF)


def escape(data: bytes) -> bytes:
    """Binary data within a packet."""
    out = bytearray()
    for byte in data:
        if byte in _ESCAPED:
            out += bytes((0x7D, byte ^ 0x20))
        else:
            out.append(byte)
    return bytes(out)


def unescape(data: bytes) -> bytes:
    """The reverse."""
    out = bytearray()
    place = 0
    while place < len(data):
        byte = data[place]
        if byte == 0x7D and place + 1 < len(data):
            place += 1
            byte = data[place] ^ 0x20
        out.append(byte)
        place += 1
    return bytes(out)


class BadPacket(ValueError):
    """What came is no packet, or too long: whoever speaks is no gdb."""


@final
class Decoder:
    """Takes bytes, gives packets' data; INTERRUPT stands for Ctrl-C."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """What is complete, each with whether its sum is right.  Raises BadPacket."""
        self._waiting += data
        found: list[tuple[bytes, bool]] = []
        while self._waiting:
            first = self._waiting[0]
            if first in b"+-":
                del self._waiting[0]
            elif first == 3:
                del self._waiting[0]
                found.append((INTERRUPT, True))
            elif first != 0x24:
                raise BadPacket(f"a packet that begins with {first:#x}")
            else:
                end = self._waiting.find(b"#")
                if end < 0 or end + 3 > len(self._waiting):
                    if len(self._waiting) > MAX_PACKET:
                        raise BadPacket("a packet without an end")
                    break
                body = bytes(self._waiting[1:end])
                right = bytes(self._waiting[end + 1 : end + 3]).lower() == b"%02x" % (sum(body) & 0xFF)
                del self._waiting[: end + 3]
                found.append((body, right))
        return found
