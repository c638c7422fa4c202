"""What the two ends of a control socket say to each other: frames, and the objects in them.

A frame is the length of its body (4 bytes, big-endian), its kind (1 byte) and the body.  Kind `J` is one JSON object, `B` bytes of
a stream, such as a capture, whose number (8 bytes, big-endian) goes before them.

The server speaks first: {"rumpkit": "control", "version": 1, "name": ..., "pid": ...}.  Then each request
{"id": 1, "method": "stat", "params": {...}} gets any number of {"id": 1, "part": ...} and of `B` frames, and at last
{"id": 1, "result": ...} or {"id": 1, "error": {"errno": 2, "name": "ENOENT", "message": ...}}.
{"id": 2, "method": "cancel", "params": {"id": 1}} ends one early.
"""

from typing import Any, Final

VERSION: Final = 1
"""Of the protocol.  It is raised by what an older client would misunderstand; further keys and methods are no such thing."""
MAX_REQUEST: Final = 65536
"""Bytes of a request's body."""
MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer's body."""
HEADER_SIZE: Final = 5
JSON: Final = 0x4A
BYTES: Final = 0x42
STREAM_NUMBER_SIZE: Final = 8

Object = dict[str, Any]
"""A JSON object."""


class ProtocolError(ValueError):
    """The other end does not speak this protocol, or sends more than it may."""


class ControlError(OSError):
    """The kernel refuses a request: `errno` as the kernel says, `strerror` for people."""


def encode(value: Object) -> bytes:
    """The frame of a JSON object."""
    import json  # by now somebody is there to speak with

    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return len(body).to_bytes(4, "big") + b"J" + body


def encode_bytes(stream: int, data: bytes) -> bytes:
    """The frame of some bytes of a stream."""
    return (
        (len(data) + STREAM_NUMBER_SIZE).to_bytes(4, "big") + b"B" + stream.to_bytes(STREAM_NUMBER_SIZE, "big") + data
    )


def decode(body: bytes) -> Object:
    """The object in the body of a `J` frame.  Raises ProtocolError."""
    import json

    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ProtocolError("this is not JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError("this is no JSON object")
    return value


class Decoder:
    """Takes bytes as they come, gives frames."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting = bytearray()

    def feed(self, data: bytes) -> None:
        """Some bytes have come."""
        self._waiting += data

    def take(self) -> tuple[int, bytes] | None:
        """The kind and the body of the next whole frame, or None.  Raises ProtocolError for one that is too long or of no
        known kind; what follows it means nothing."""
        waiting = self._waiting
        if len(waiting) < HEADER_SIZE:
            return None
        size = int.from_bytes(waiting[:4], "big")
        kind = waiting[4]
        if kind not in (JSON, BYTES):
            raise ProtocolError(f"there is no frame of kind {kind}")
        if size > self._limit:
            raise ProtocolError(f"a frame has {size} bytes; at most {self._limit}")
        if len(waiting) < HEADER_SIZE + size:
            return None
        body = bytes(waiting[HEADER_SIZE : HEADER_SIZE + size])
        del waiting[: HEADER_SIZE + size]
        return kind, body
