"""Our kernel and Linux's over a TAP: handshakes by SYN cookie, with data on the SYN, and over what waits in TIME-WAIT."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from rumpkit import SO_ERROR, SO_REUSEADDR, SOL_SOCKET
from rumpkit.clients.socketlike import SocketLike
from rumpkit.kern.abi.socket import IPPROTO_TCP, MSG_FASTOPEN, TCP_FASTOPEN
from tests.system.helpers.wire import OURS, THEIRS, Wire, wired

pytestmark = pytest.mark.needs("root", "tap", "netns", "ip")

PORT = 5001
SIZE = 300_000
FAST_OPEN = Path("/proc/sys/net/ipv4/tcp_fastopen")


@pytest.fixture
def wire():
    with wired() as wire:
        yield wire


def counter(wire: Wire, name: str) -> int:
    return wire.count("tcp." + name)


def exchange(ours: SocketLike, theirs: socket.socket) -> None:
    """Data both ways, to the byte."""
    data = os.urandom(SIZE)
    theirs.settimeout(20)

    def echo() -> None:
        left = SIZE
        while left:
            part = theirs.recv(65536)
            theirs.sendall(part)
            left -= len(part)

    thread = threading.Thread(target=echo)
    thread.start()
    sender = threading.Thread(target=ours.sendall, args=(data,))
    sender.start()
    got = b""
    while len(got) < SIZE:
        part = ours.recv(65536)
        assert part
        got += part
    thread.join()
    sender.join()
    assert got == data


def test_linux_connects_by_cookie(wire):
    """With timestamps, so that window scale and SACK come back; then without."""
    wire.kernel.sysctl("net.tcp.syncookies", 2)
    timestamps = Path("/proc/sys/net/ipv4/tcp_timestamps")
    for number, value in enumerate(("1", "0"), 1):
        timestamps.write_text(value)
        port = PORT + number
        with (
            wire.process.listen("tcp", port) as listening,
            socket.create_connection((OURS, port), timeout=10) as theirs,
        ):
            ours, _ = listening.accept()
            with ours:
                exchange(ours, theirs)
        assert counter(wire, "syncookies_received") == number
    assert counter(wire, "syncookies_failed") == 0


def test_linux_sends_data_with_its_syn(wire):
    wire.kernel.sysctl("net.tcp.fastopen", 2)
    FAST_OPEN.write_text("1")
    with wire.process.listen("tcp", PORT) as listening:
        listening.setsockopt(IPPROTO_TCP, TCP_FASTOPEN, 5)
        for number in range(3):
            with socket.socket() as theirs:
                theirs.sendto(b"question", socket.MSG_FASTOPEN, (OURS, PORT))
                theirs.settimeout(10)
                ours, _ = listening.accept()
                with ours:
                    assert ours.recv(100) == b"question"
                    ours.sendall(b"answer")
                    assert theirs.recv(100) == b"answer"
                    exchange(ours, theirs)
            assert counter(wire, "fastopen_passive") == number
    assert counter(wire, "fastopen_cookies_asked") == 1
    assert counter(wire, "fastopen_passive_failed") == 0


def test_we_send_data_with_our_syn(wire):
    wire.kernel.sysctl("net.tcp.fastopen", 1)
    FAST_OPEN.write_text("3")
    with socket.create_server((THEIRS, 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
        port = listener.getsockname()[1]
        for number in range(3):
            with wire.process.socket("tcp") as ours:
                wire.process.sendto(ours.fileno(), b"question", MSG_FASTOPEN, (THEIRS, port))
                theirs, _ = listener.accept()
                with theirs:
                    theirs.settimeout(10)
                    assert theirs.recv(100) == b"question"
                    theirs.sendall(b"answer")
                    assert ours.recv(100) == b"answer"
                    assert ours.getsockopt(SOL_SOCKET, SO_ERROR) == 0
                    exchange(ours, theirs)
            assert counter(wire, "fastopen_active") == number
    assert counter(wire, "fastopen_active_failed") == 0


def test_linux_in_time_wait_takes_our_new_connection(wire):
    """RFC 6191: the same four-tuple again and again, though Linux, which closed first, still waits for the last one to be forgotten."""
    with socket.create_server((THEIRS, 0)) as listener:
        for number in range(6):
            ours = connect_again(wire, listener.getsockname())
            theirs, _ = listener.accept()
            theirs.settimeout(10)
            ours.sendall(b"x%d" % number)
            assert theirs.recv(10) == b"x%d" % number
            theirs.close()
            assert ours.recv(10) == b""
            ours.close()


def connect_again(wire: Wire, address: tuple[str, int]) -> SocketLike:
    """A connection from port 40000, as soon as the last one's end is acknowledged."""
    until = time.monotonic() + 10
    while True:
        ours = wire.process.socket("tcp")
        ours.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        ours.bind((OURS, 40_000))
        try:
            ours.connect(address)
        except OSError as problem:
            assert problem.errno == errno.EADDRNOTAVAIL and time.monotonic() < until
            ours.close()
            time.sleep(0.02)
        else:
            return ours
