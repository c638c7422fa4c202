"""What a hostile kernel can put on its side of a `user` link: the gateway takes it, and serves others as before."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.hyper.frame import CHECKSUM_VERIFIED, Frame
from rumpkit.net.wire.checksum import internet_checksum
from tests.house.descriptors import descriptors_before, open_descriptors

FRAMES = 4000
HEADERS = (14, 74)
"""Bytes of a frame that are damaged: IP, TCP with options.  Whoever lies in Ethernet's or ARP's cuts himself off, as on any link."""

DESTINATIONS = [
    bytes(one) for one in ((10, 0, 2, 2), (10, 0, 2, 3), (10, 0, 2, 77), (127, 0, 0, 1), (0, 0, 0, 0), (224, 0, 0, 1))
]
"""The host's loopback, its name server (a test's own), and what leads nowhere."""


def user_kernel(echo: int) -> Kernel:
    """A kernel on a `user` link whose name server is on the host's loopback."""
    return Kernel(Spec(interface=[InterfaceSpec("user", forward=["0 -> 80"], dns=[f"127.0.0.1:{echo}"])]))


@pytest.fixture
def bugs(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """What was raised where nobody could catch it."""
    found: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda what: found.append(what.exc_value))
    return found


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server on the host's loopback that sends everything back."""
    server = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=send_back, args=(connection,), daemon=True).start()

    def send_back(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def send(kernel: Kernel, data: bytes) -> None:
    """Put a frame on the link, with its transport checksum taken for true: it is the headers that are to be looked at."""
    frame = Frame(data)
    frame.checksum = CHECKSUM_VERIFIED
    port = kernel.links()[0].port
    assert port is not None
    kernel.host.enter()
    try:
        port.transmit(frame)
    finally:
        kernel.host.leave()


def frames_of(capture: Path) -> list[bytes]:
    """The frames of a pcapng file's enhanced packet blocks."""
    data = capture.read_bytes()
    found: list[bytes] = []
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind == 6:
            length = struct.unpack_from("<I", data, at + 20)[0]
            found.append(data[at + 28 : at + 28 + length])
        at += size
    return found


def with_true_ip_checksum(frame: bytearray) -> bytes:
    """So that the IP layer looks at the rest."""
    size = (frame[14] & 15) * 4 if len(frame) >= 34 else 0
    if size >= 20 and len(frame) >= 14 + size:
        frame[24:26] = b"\0\0"
        frame[24:26] = int(internet_checksum(bytes(frame), 14, 14 + size)).to_bytes(2, "big")
    return bytes(frame)


def damaged(frame: bytes, dice: random.Random) -> bytes:
    """One to four bytes of its headers changed, or its tail cut off."""
    out = bytearray(frame)
    for _ in range(dice.randint(1, 4)):
        out[dice.randrange(HEADERS[0], min(HEADERS[1], len(out)))] = dice.randrange(256)
    # The destination is damaged too, but never into a stranger's address: what the gateway takes, it connects to.
    out[30:34] = dice.choice(DESTINATIONS)
    if dice.random() < 0.2:
        del out[dice.randrange(14, len(out)) :]
    return with_true_ip_checksum(out) if dice.random() < 0.8 else bytes(out)


def talk(kernel: Kernel, port: int) -> None:
    with kernel.process().connect("tcp", ("10.0.2.2", port)) as session:
        session.settimeout(20)
        session.sendall(b"hello")
        assert session.recv(10) == b"hello"


def conversation(kernel: Kernel, capture: Path, port: int) -> list[bytes]:
    """IPv4 frames that this kernel has sent for connections, datagrams, a name."""
    recording = kernel.capture(capture)
    talk(kernel, port)
    datagrams = kernel.process().socket("udp")
    datagrams.sendto(b"\1\2\1\0\0\1\0\0\0\0\0\0\4host\0\0\1\0\1", ("10.0.2.3", 53))
    datagrams.sendto(bytes(3000), ("10.0.2.2", port))
    listener = kernel.process().listen("tcp", 80)
    _, _, forwarded = kernel.forwards()[0].partition(" ")[0].partition(":")
    with socket.create_connection(("127.0.0.1", int(forwarded))):
        listener.accept()[0].close()
    recording.close()
    return [one for one in frames_of(capture) if one[12:14] == b"\x08\0" and one[26:30] == bytes((10, 0, 2, 15))]


def test_damaged_frames_raise_nothing_and_cut_nobody_off(
    bugs: list[BaseException | None], echo: int, tmp_path: Path
) -> None:
    dice = random.Random(5)
    with user_kernel(echo) as kernel:
        frames = conversation(kernel, tmp_path / "c.pcapng", echo)
        assert len(frames) > 6  # what ends the connections may come after the recording
        steady = kernel.process().connect("tcp", ("10.0.2.2", echo))
        steady.settimeout(20)
        for number in range(FRAMES):
            send(kernel, damaged(dice.choice(frames), dice))
            if number % 500 == 0:
                steady.sendall(b"still here")
                assert steady.recv(100) == b"still here"
        talk(kernel, echo)
    assert bugs == []


def test_requests_in_a_stranger_s_name_leave_nothing_behind(
    bugs: list[BaseException | None], echo: int, tmp_path: Path
) -> None:
    """The host's connect succeeds, and then there is no way to tell who asked."""
    with user_kernel(echo) as kernel:
        frames = conversation(kernel, tmp_path / "c.pcapng", echo)
        request = next(one for one in frames if one[23] == 6 and one[47] == 2)
        before = len(descriptors_before())
        for number in range(20):
            forged = bytearray(request)
            forged[26:30] = bytes((198, 51, 100, number))
            send(kernel, with_true_ip_checksum(forged))
        for _ in range(10):
            talk(kernel, echo)
        end = time.monotonic() + 10
        while len(open_descriptors()) > before and time.monotonic() < end:
            talk(kernel, echo)
        assert len(open_descriptors()) <= before + 2
    assert bugs == []
