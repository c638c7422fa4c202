"""Talk to a MongoDB server with nothing but the standard library: OP_MSG messages with BSON documents of the few types needed."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

OP_MSG = 2013
DOUBLE, STRING, DOCUMENT, ARRAY, BOOLEAN, INT32, INT64 = 1, 2, 3, 4, 8, 16, 18
WIDTHS = {7: 12, 9: 8, 10: 0, 17: 8}
"""Of types that are skipped: ObjectId, date, null, timestamp."""


def pack(document: dict[str, Any]) -> bytes:
    """A document as BSON (bsonspec.org, version 1.1)."""
    body = b"".join(_element(name, value) for name, value in document.items()) + b"\0"
    return struct.pack("<i", len(body) + 4) + body


def _element(name: str, value: Any) -> bytes:
    key = name.encode() + b"\0"
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return bytes([STRING]) + key + struct.pack("<i", len(text)) + text
    if isinstance(value, int):
        return bytes([INT32]) + key + struct.pack("<i", value)
    if isinstance(value, list):
        return bytes([ARRAY]) + key + pack({str(number): item for number, item in enumerate(value)})
    return bytes([DOCUMENT]) + key + pack(value)


def unpack(data: bytes, at: int = 0) -> dict[str, Any]:
    """The document that begins at `at`."""
    end = at + struct.unpack_from("<i", data, at)[0] - 1
    at += 4
    document: dict[str, Any] = {}
    while at < end:
        kind = data[at]
        stop = data.index(0, at + 1)
        name = data[at + 1 : stop].decode()
        document[name], at = _value(kind, data, stop + 1)
    return document


def _value(kind: int, data: bytes, at: int) -> tuple[Any, int]:
    if kind == DOUBLE:
        return struct.unpack_from("<d", data, at)[0], at + 8
    if kind in (INT32, INT64):
        width = 4 if kind == INT32 else 8
        return int.from_bytes(data[at : at + width], "little", signed=True), at + width
    if kind == BOOLEAN:
        return bool(data[at]), at + 1
    if kind in WIDTHS:
        return None, at + WIDTHS[kind]
    length = struct.unpack_from("<i", data, at)[0]
    if kind == STRING:
        return data[at + 4 : at + 3 + length].decode(), at + 4 + length
    if kind in (DOCUMENT, ARRAY):
        inner = unpack(data, at)
        return (list(inner.values()) if kind == ARRAY else inner), at + length
    return None, at + 5 + length  # binary data


def ask(connection: socket.socket, command: dict[str, Any]) -> dict[str, Any]:
    """Run a command on the database "shop"; its reply.  Raises SystemExit with the server's words if it says no."""
    body = struct.pack("<iB", 0, 0) + pack({**command, "$db": "shop"})
    connection.sendall(struct.pack("<4i", len(body) + 16, 1, 0, OP_MSG) + body)
    with connection.makefile("rb") as stream:
        length = struct.unpack("<i", stream.read(4))[0]
        reply = unpack(stream.read(length - 4), 12 + 5)
    if not reply.get("ok"):
        sys.exit(f"the server says: {reply.get('errmsg')}")
    return reply


def main() -> None:
    parts = [{"name": name, "price": price} for name, price in (("bolt", 3), ("nut", 2), ("wheel", 40))]
    with socket.create_connection((sys.argv[1], 27017), timeout=30) as connection:
        print("inserted", ask(connection, {"insert": "parts", "documents": parts})["n"])
        found = ask(connection, {"find": "parts", "filter": {"price": {"$lt": 10}}, "sort": {"price": 1}})
        print("under 10:", *(part["name"] for part in found["cursor"]["firstBatch"]))


main()
