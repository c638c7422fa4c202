"""A program on the machine's own network stack, for tests to talk to.  It answers in lines of JSON.

Run as `python peer.py ROLE ARGUMENTS`, with nothing of rumpkit's on its path.  PEER_CONGESTION in its environment names the
congestion control of its TCP.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sys
from collections.abc import Callable, Iterator

BLOCK = 1 << 18
SHIFTS = 4093


def blocks(size: int, seed: int) -> Iterator[bytes]:
    """`size` bytes that look random and differ everywhere, in blocks."""
    base = random.Random(seed).randbytes(BLOCK + SHIFTS)
    for number in range((size + BLOCK - 1) // BLOCK):
        at = number % SHIFTS
        yield base[at : at + min(BLOCK, size - number * BLOCK)]


def digest(size: int, seed: int) -> str:
    """The SHA-256 of what `blocks` yields."""
    total = hashlib.sha256()
    for block in blocks(size, seed):
        total.update(block)
    return total.hexdigest()


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def send_all(connection: socket.socket, size: int, seed: int) -> None:
    for block in blocks(size, seed):
        connection.sendall(block)


def receive_all(connection: socket.socket) -> tuple[int, str]:
    """Read to the end: how much came, and its SHA-256."""
    total, size = hashlib.sha256(), 0
    while data := connection.recv(1 << 18):
        total.update(data)
        size += len(data)
    return size, total.hexdigest()


def controlled(connection: socket.socket) -> None:
    """Have a connection, or those that a listener takes, use the congestion control that was asked for."""
    wanted = os.environ.get("PEER_CONGESTION")
    if wanted:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, wanted.encode())


def serve(address: str) -> socket.socket:
    """A listener on some port of an address of either version of IP."""
    return socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)


def source(address: str, port: str, size: str, seed: str) -> None:
    """Connect, send, end, and wait for the other end."""
    with socket.create_connection((address, int(port)), timeout=100) as connection:
        controlled(connection)
        send_all(connection, int(size), int(seed))
        connection.shutdown(socket.SHUT_WR)
        size_back, digest_back = receive_all(connection)
        say(size=size_back, digest=digest_back)


def sink(address: str) -> None:
    """Listen, say where, and take one connection to its end."""
    with socket.create_server((address, 0), family=family_of(address)) as listener:
        say(port=listener.getsockname()[1])
        connection, _ = listener.accept()
        with connection:
            size, total = receive_all(connection)
            say(size=size, digest=total)


def both(address: str, size: str, seed: str) -> None:
    """Listen, say where; on one connection send and receive at the same time."""
    import threading

    with socket.create_server((address, 0), family=family_of(address)) as listener:
        say(port=listener.getsockname()[1])
        connection, _ = listener.accept()

        def send() -> None:
            send_all(connection, int(size), int(seed))
            connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        received, total = receive_all(connection)
        thread.join()
        connection.close()
        say(size=received, digest=total)


def echo(address: str) -> None:
    """Send every datagram back, until standard input ends."""
    import select

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind((address, 0))
        say(port=here.getsockname()[1])
        while True:
            readable, _, _ = select.select([here, sys.stdin], [], [])
            if sys.stdin in readable:
                return
            data, peer = here.recvfrom(65536)
            here.sendto(data, peer)


ROLES: dict[str, Callable[..., None]] = {"source": source, "sink": sink, "both": both, "echo": echo}

if __name__ == "__main__":
    ROLES[sys.argv[1]](*sys.argv[2:])
