"""Our kernel and Linux's talk over a TAP: how connections begin and end, ICMP, UDP with fragments, neighbours, path MTU."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import subprocess
import threading
import time

import pytest

from rumpkit import (
    AF_INET,
    IPPROTO_ICMP,
    IPPROTO_TCP,
    POLLOUT,
    SHUT_WR,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_RCVBUF,
    SOCK_DGRAM,
    SOL_SOCKET,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
)
from rumpkit.clients.socketlike import SocketLike
from tests.hosts.posix.netns import ip
from tests.system.helpers.user import reset, wait_for
from tests.system.helpers.wire import OURS, TAP, THEIRS, Wire, wired

pytestmark = pytest.mark.needs("root", "tap", "netns", "ip")

PORT = 5001
RESET = struct.pack("<ii", 1, 0)
WAYS = pytest.mark.parametrize("way", ["out", "in"])


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.long)], ids=["offload", "plain"])
def wire(request):
    with wired(offload=request.param) as wire:
        yield wire


def joined(wire: Wire, way: str) -> tuple[SocketLike, socket.socket]:
    """One connection, opened by our kernel ("out") or by Linux ("in")."""
    if way == "out":
        with socket.create_server((THEIRS, 0)) as listener:
            ours = wire.process.connect("tcp", (THEIRS, listener.getsockname()[1]))
            theirs, _ = listener.accept()
    else:
        with wire.process.listen("tcp", PORT) as listening:
            theirs = socket.create_connection((OURS, PORT), timeout=10)
            ours, _ = listening.accept()
    theirs.settimeout(10)
    ours.settimeout(10)
    return ours, theirs


def raises(number: int):
    return pytest.raises(OSError, check=lambda problem: problem.errno == number)


# TCP: beginning --------------------------------------------------------------------------------------------------


def test_linux_refuses_us(wire):
    with wire.process.socket("tcp") as ours, raises(errno.ECONNREFUSED):
        ours.connect((THEIRS, 1))


def test_we_refuse_linux(wire):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((OURS, 1), timeout=5)
    assert wire.count("tcp.no_connection") == 1


def test_a_backlog_that_overflows_holds_linux_off_and_loses_nobody(wire):
    with wire.process.socket("tcp") as listening, contextlib.ExitStack() as stack:
        listening.bind(("", PORT))
        listening.listen(2)
        clients = []
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((OURS, PORT))
            clients.append(client)
        wait_for(lambda: wire.count("tcp.listen_overflows") + wire.count("tcp.listen_drops") > 0, "an overflow")
        listening.settimeout(10)
        for _ in clients:
            ours, _ = listening.accept()
            ours.sendall(b"served")
            ours.close()
        for client in clients:
            client.settimeout(10)
            assert client.recv(10) == b"served"


def test_a_backlog_of_linux_that_overflows_holds_us_off(wire):
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind((THEIRS, 0))
        listener.listen(1)
        where = listener.getsockname()
        ours = []
        for _ in range(4):
            one = stack.enter_context(wire.process.socket("tcp"))
            one.setblocking(False)
            with raises(errno.EINPROGRESS):
                one.connect(where)
            ours.append(one)
        served = threading.Thread(target=serve, args=(listener, len(ours)))
        served.start()
        for one in ours:
            # Linux has thrown away the last ACK of some handshakes, and waits for data to complete them.
            one.settimeout(10)
            assert wire.process.poll([(one.fileno(), POLLOUT)], 10)
            one.sendall(b"ask")
        # All have asked before any waits: Linux accepts them in the order in which it had room for them, not in ours.
        for one in ours:
            assert one.recv(10) == b"served"
        served.join()


def serve(listener: socket.socket, count: int) -> None:
    for _ in range(count):
        theirs, _ = listener.accept()
        with theirs:
            theirs.recv(10)
            theirs.sendall(b"served")


# TCP: ending -----------------------------------------------------------------------------------------------------


@WAYS
def test_each_direction_ends_alone(wire, way):
    ours, theirs = joined(wire, way)
    with ours, theirs:
        ours.sendall(b"question")
        ours.shutdown(SHUT_WR)
        assert theirs.recv(100) == b"question"
        assert theirs.recv(100) == b""
        theirs.sendall(b"answer")
        assert ours.recv(100) == b"answer"
        theirs.shutdown(socket.SHUT_WR)
        assert ours.recv(100) == b""


@WAYS
def test_linux_ends_first(wire, way):
    ours, theirs = joined(wire, way)
    with ours, theirs:
        theirs.shutdown(socket.SHUT_WR)
        assert ours.recv(100) == b""
        ours.sendall(b"x" * 100_000)
        ours.shutdown(SHUT_WR)
        received = 0
        while data := theirs.recv(65536):
            received += len(data)
        assert received == 100_000


@WAYS
def test_linux_resets_us(wire, way):
    ours, theirs = joined(wire, way)
    with ours:
        reset(theirs)
        with raises(errno.ECONNRESET):
            ours.recv(1)
        with raises(errno.EPIPE):
            ours.send(b"x")


@WAYS
def test_we_reset_linux(wire, way):
    ours, theirs = joined(wire, way)
    with theirs:
        ours.setsockopt(SOL_SOCKET, SO_LINGER, RESET)
        ours.close()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)


@WAYS
def test_unread_data_at_close_is_a_reset(wire, way):
    """RFC 2525 section 2.17, in both roles."""
    ours, theirs = joined(wire, way)
    with theirs:
        theirs.sendall(b"never read")
        wait_for(lambda: bool(wire.process.poll([(ours.fileno(), 1)], 0)), "data is there")
        ours.close()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
    ours, theirs = joined(wire, way)
    with ours:
        ours.sendall(b"never read")
        assert select.select([theirs], [], [], 5)[0]
        theirs.close()
        with raises(errno.ECONNRESET):
            ours.recv(1)


# TCP: in between -------------------------------------------------------------------------------------------------


def test_keepalive_finds_out_that_linux_is_gone(wire):
    ours, theirs = joined(wire, "out")
    with ours, theirs:
        ours.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        for name, value in ((TCP_KEEPIDLE, 1), (TCP_KEEPINTVL, 1), (TCP_KEEPCNT, 2)):
            ours.setsockopt(IPPROTO_TCP, name, value)
        time.sleep(1.5)
        assert wire.count("tcp.keepalive_probes") >= 1
        ours.sendall(b"alive")
        assert theirs.recv(10) == b"alive"
        ip(f"link set {TAP} down")
        started = time.monotonic()
        with raises(errno.ETIMEDOUT):
            ours.recv(1)
        assert time.monotonic() - started < 8


def test_linux_finds_us_alive_by_keepalive(wire):
    ours, theirs = joined(wire, "in")
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
            theirs.setsockopt(socket.IPPROTO_TCP, name, 1)
        before = wire.count("tcp.segments_in")
        time.sleep(3.5)
        assert wire.count("tcp.segments_in") - before >= 2
        theirs.sendall(b"still there")
        assert ours.recv(100) == b"still there"


def test_linux_closes_its_window_and_opens_it_again(wire):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        listener.bind((THEIRS, 0))
        listener.listen()
        ours = wire.process.connect("tcp", listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        data = os.urandom(3_000_000)
        sender = threading.Thread(target=ours.sendall, args=(data,))
        sender.start()
        wait_for(lambda: wire.count("tcp.window_probes") >= 2, "we probe the closed window", 20)
        received = b""
        while len(received) < len(data):
            received += theirs.recv(1 << 16)
        sender.join()
        assert received == data


def test_we_close_our_window_and_open_it_again(wire):
    ours, theirs = joined(wire, "in")
    with ours, theirs:
        ours.setsockopt(SOL_SOCKET, SO_RCVBUF, 16384)
        data = os.urandom(20_000_000)
        sender = threading.Thread(target=theirs.sendall, args=(data,))
        sender.start()
        time.sleep(1)
        assert sender.is_alive(), "Linux has to wait"
        received = []
        size = 0
        while size < len(data):
            received.append(ours.recv(1 << 18))
            size += len(received[-1])
        sender.join()
        assert b"".join(received) == data


def test_small_segments_both_ways(wire):
    ours, theirs = joined(wire, "out")
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with ours, theirs:
        for number in range(500):
            ours.sendall(b"%d\n" % number)
            assert theirs.recv(100) == b"%d\n" % number
            theirs.sendall(b"%d!" % number)
            assert ours.recv(100) == b"%d!" % number


# ICMP ------------------------------------------------------------------------------------------------------------


@pytest.mark.needs("ping")
@pytest.mark.parametrize("size", [0, 56, 1472, 8000, 60000])
def test_linux_pings_us(wire, size):
    for _ in range(3):  # of several, ping gives up those that take twice as long as another
        command = ["ping", "-c", "1", "-W", "5", "-s", str(size), OURS]
        done = subprocess.run(command, capture_output=True, text=True)
        assert " 0% packet loss" in done.stdout, done.stdout + done.stderr
    assert wire.count("icmp.echo_replies_out") == 3


def echo(identifier: int, sequence: int, data: bytes) -> bytes:
    return struct.pack(">BBHHH", 8, 0, 0, identifier, sequence) + data


@pytest.mark.parametrize("size", [0, 56, 1472, 8000, 60000])
def test_we_ping_linux(wire, size):
    process = wire.process
    fd = process.socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)
    data = bytes(range(256)) * 256
    for sequence in range(3):
        process.sendto(fd, echo(0, sequence, data[:size]), 0, (THEIRS, 0))
        answer, peer = process.recvfrom(fd, 65535)
        assert peer is not None and peer[0] == THEIRS
        assert (answer[0], answer[6:8], answer[8:]) == (0, sequence.to_bytes(2, "big"), data[:size])


def test_linux_hears_that_a_port_is_unreachable(wire):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.settimeout(5)
        theirs.connect((OURS, 9))
        theirs.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            theirs.recv(10)


def test_we_hear_that_a_port_is_unreachable(wire):
    with wire.process.socket("udp") as ours:
        ours.settimeout(5)
        ours.connect((THEIRS, 9))
        ours.send(b"anybody?")
        with raises(errno.ECONNREFUSED):
            ours.recv(10)
        assert ours.getsockopt(SOL_SOCKET, SO_ERROR) == 0


def test_an_address_that_nobody_has_is_unreachable_from_us(wire):
    with wire.process.socket("tcp") as ours:
        started = time.monotonic()
        with raises(errno.EHOSTUNREACH):
            ours.connect(("10.9.0.77", 80))
        assert time.monotonic() - started < 10
