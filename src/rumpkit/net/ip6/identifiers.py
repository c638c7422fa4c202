"""Interface identifiers: the last 64 bits of addresses that a kernel makes for itself.

Stable and opaque ones (RFC 7217), random ones (RFC 8981 section 3.3.1) and those made from MAC addresses (RFC 4291
appendix A).  Pure functions, below `ip6.dad` and `ip6.slaac`.
"""

from hashlib import sha256
from typing import Final

ID_SIZE: Final = 8
IDGEN_RETRIES: Final = 3
"""How often another identifier is tried after a duplicate (RFC 7217 section 5, RFC 8981 section 3.8)."""
LINK_LOCAL_PREFIX: Final = b"\xfe\x80" + bytes(6)


def stable(prefix: bytes, interface: str, mac: bytes, counter: int, secret: bytes) -> bytes:
    """The 8 bytes of RFC 7217 section 5: the same for the same prefix (8 bytes) on the same interface of the same kernel;
    `counter` counts duplicates."""
    parts = (prefix, interface.encode(), mac, counter.to_bytes(8, "big"), secret)
    attempt = 0
    while True:
        data = b"".join(len(part).to_bytes(1, "big") + part for part in (*parts, bytes((attempt,))))
        made = sha256(data).digest()[:ID_SIZE]
        if not is_reserved(made):
            return made
        attempt += 1


def from_mac(mac: bytes) -> bytes:
    """The modified EUI-64 form of a MAC address (RFC 4291 appendix A)."""
    return bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


def is_reserved(identifier: bytes) -> bool:
    """Whether nobody may use it: the subnet routers' anycast address, Ethernet's block, reserved anycast addresses (RFC
    5453)."""
    if identifier == bytes(ID_SIZE) or identifier.startswith(b"\x02\x00\x5e\xff\xfe"):
        return True
    return identifier[:7] == b"\xfd" + b"\xff" * 6 and identifier[7] >= 0x80


def solicited_node(address: bytes) -> bytes:
    """The group that who has `address` listens to (RFC 4291 section 2.7.1)."""
    return b"\xff\x02" + bytes(9) + b"\1\xff" + address[13:]
