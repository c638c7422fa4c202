"""Frames: what interfaces, links and switches hand to each other.

A frame is a head (link, network and transport headers, as bytes) and optionally a body (payload held by
reference in an immutable bytes object).  Where there is a body, the head ends where the transport's payload
starts.  A frame without a body carries everything in its head.

Whoever calls `transmit` gives the frame away: from then on nobody changes it, so that a switch can hand the
same object to many receivers.
"""

from typing import Final, final

from mypy_extensions import mypyc_attr

CHECKSUM_UNVERIFIED: Final = 0
"""The transport checksum is written out in full; the consumer has to check it."""
CHECKSUM_VERIFIED: Final = 1
"""The transport checksum has been checked by somebody we trust (the host, a device)."""
CHECKSUM_PARTIAL: Final = 2
"""The checksum field holds the folded pseudo-header sum, and the rest was never computed because the
frame never left memory.  An egress without the feature completes it; a receiver takes it as verified."""

GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_UDP_L4: Final = 5
GSO_TCPV6: Final = 4

FEATURE_CHECKSUM: Final = 1
"""The link takes CHECKSUM_PARTIAL frames."""
FEATURE_TSO4: Final = 2
"""The link takes TCP over IPv4 super-segments (GSO_TCPV4)."""
FEATURE_TSO6: Final = 4
FEATURE_USO: Final = 8
"""The link takes UDP batches (GSO_UDP_L4)."""
FEATURES_ALL: Final = FEATURE_CHECKSUM | FEATURE_TSO4 | FEATURE_TSO6 | FEATURE_USO


@final
@mypyc_attr(acyclic=True)
class Frame:
    """One frame, or one super-segment that stands for several (`gso_size` is then the payload size of each)."""

    __slots__ = (
        "body",
        "checksum",
        "checksum_offset",
        "checksum_start",
        "gso_size",
        "gso_type",
        "head",
        "size",
        "start",
    )

    def __init__(self, head: bytes, body: bytes = b"", start: int = 0, size: int = 0) -> None:
        self.head: bytes = head
        self.body: bytes = body
        self.start: int = start
        self.size: int = size
        self.checksum: int = CHECKSUM_UNVERIFIED
        self.checksum_start: int = 0
        """Where in the head the checksummed part (the transport header) starts, for CHECKSUM_PARTIAL."""
        self.checksum_offset: int = 0
        """Where the 16-bit checksum lies, counted from `checksum_start`, for CHECKSUM_PARTIAL."""
        self.gso_type: int = GSO_NONE
        self.gso_size: int = 0

    def __len__(self) -> int:
        return len(self.head) + self.size

    def push(self, header: bytes) -> None:
        """Put a header in front.  Only the owner may, before it transmits."""
        self.head = header + self.head
        self.checksum_start += len(header)

    def payload(self) -> bytes:
        """The body's bytes (empty where the frame has no body).  Copies, unless the frame owns its whole body."""
        if self.size == len(self.body):
            return self.body
        return self.body[self.start : self.start + self.size]

    def linear(self) -> bytes:
        """The whole frame as one bytes object."""
        return self.head + self.payload() if self.size else self.head

    def like(self, head: bytes) -> "Frame":
        """A copy of this frame's offload state and body behind another head (used when headers are rewritten)."""
        other = Frame(head, self.body, self.start, self.size)
        other.checksum = self.checksum
        other.checksum_start = self.checksum_start + len(head) - len(self.head)
        other.checksum_offset = self.checksum_offset
        other.gso_type = self.gso_type
        other.gso_size = self.gso_size
        return other
