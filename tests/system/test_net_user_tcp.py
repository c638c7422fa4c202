"""TCP through the `user` link, with real sockets of the machine at the other end: errors, ends, back-pressure, crowds."""

from __future__ import annotations

import errno
import hashlib
import socket
import struct
import threading
import time

import pytest

from rumpkit import SHUT_WR, SO_LINGER, SOL_SOCKET
from rumpkit.clients.socketlike import SocketLike
from tests.hosts.posix.netns import ip, network_namespace
from tests.house.descriptors import descriptors_before
from tests.system.helpers.peer import blocks, digest
from tests.system.helpers.user import LOOPBACK, User, descriptors, reset, user_link, wait_for

MB = 1_000_000
WAYS = pytest.mark.parametrize("way", ["out", "in"])


@pytest.fixture
def user():
    with user_link() as user:
        yield user


def joined(user: User, way: str) -> tuple[SocketLike, socket.socket]:
    """The kernel's and the machine's end of one connection, made by the kernel ("out") or by the machine ("in")."""
    if way == "out":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = user.process.connect("tcp", (LOOPBACK, listener.getsockname()[1]))
            theirs, _ = listener.accept()
    else:
        user.listen()
        theirs = socket.create_connection(user.forward())
        ours = user.accept()
    theirs.settimeout(10)
    ours.settimeout(10)
    return ours, theirs


def raises(number: int):
    return pytest.raises(OSError, check=lambda problem: problem.errno == number)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# Connecting ------------------------------------------------------------------------------------------------------


def test_a_closed_port_of_the_machine_refuses(user):
    with user.process.socket("tcp") as ours, raises(errno.ECONNREFUSED):
        ours.connect((LOOPBACK, closed_port()))


def test_a_closed_port_of_the_kernel_resets_who_was_forwarded(user):
    with socket.create_connection(user.forward()) as theirs:
        theirs.settimeout(10)
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)


@pytest.mark.needs("root", "netns", "ip")
@pytest.mark.parametrize(
    ("kind", "number"),
    [("", errno.ENETUNREACH), ("unreachable", errno.EHOSTUNREACH), ("prohibit", errno.EHOSTUNREACH)],
)
def test_what_the_machine_cannot_reach_the_kernel_cannot_either(kind, number):
    with network_namespace():
        if kind:
            ip(f"route add {kind} 198.51.100.0/24")
        with user_link() as user, user.process.socket("tcp") as ours:
            started = time.monotonic()
            with raises(number):
                ours.connect(("198.51.100.7", 80))
            assert time.monotonic() - started < 2, "told at once, not by a timeout"


@pytest.mark.needs("root", "netns", "ip")
def test_a_silent_world_is_given_up_in_time_and_the_machines_socket_with_it():
    with network_namespace():
        ip("link add silent0 type veth peer name silent1")
        ip("addr add 198.51.100.1/24 dev silent0")
        ip("link set silent0 up")
        ip("link set silent1 up")
        ip("neigh add 198.51.100.7 lladdr 02:00:00:00:00:07 dev silent0 nud permanent")
        with user_link() as user:
            user.link.gateway.sysctl.set("net.tcp.pending_timeout", 300)
            before = len(descriptors_before())
            with user.process.socket("tcp") as ours:
                ours.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    ours.connect(("198.51.100.7", 80))
                assert descriptors() == before + 1
            wait_for(lambda: descriptors() == before, "the machine's connect is given up")


def test_the_loopback_can_be_closed_off():
    with user_link(host_loopback=False) as user, socket.create_server(("127.0.0.1", 0)) as listener:
        with user.process.socket("tcp") as ours, raises(errno.ECONNREFUSED):
            ours.connect((LOOPBACK, listener.getsockname()[1]))
        for other in ("127.0.0.1", "10.0.2.77", "0.0.0.0", "224.0.0.1", "255.255.255.255"):
            with user.process.socket("tcp") as ours, pytest.raises(OSError):
                ours.settimeout(0.5)
                ours.connect((other, listener.getsockname()[1]))
        listener.settimeout(0.1)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_port_in_use_is_named_and_nothing_stays_open():
    before = len(descriptors_before())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        text = rf"cannot forward 127.0.0.1:{port} -> 80: Address already in use \(.*`0 -> PORT`"
        with raises(errno.EADDRINUSE) as caught, user_link(forward=("0 -> 79", f"{port} -> 80")):
            pass
        assert __import__("re").search(text, str(caught.value)), str(caught.value)
    assert descriptors() == before


# Ending ----------------------------------------------------------------------------------------------------------


@WAYS
def test_each_direction_ends_alone(user, way):
    ours, theirs = joined(user, way)
    with ours, theirs:
        ours.sendall(b"question")
        ours.shutdown(SHUT_WR)
        assert theirs.recv(100) == b"question"
        assert theirs.recv(100) == b""
        time.sleep(0.05)
        theirs.sendall(b"a late answer")
        assert ours.recv(100) == b"a late answer"
        theirs.shutdown(socket.SHUT_WR)
        assert ours.recv(100) == b""
    wait_for(lambda: len(user.link.flows) == 0, "the flow is over")


@WAYS
def test_the_machines_direction_ends_first(user, way):
    ours, theirs = joined(user, way)
    with ours, theirs:
        theirs.shutdown(socket.SHUT_WR)
        assert ours.recv(100) == b""
        for block in blocks(MB, 1):
            ours.sendall(block)
        ours.shutdown(SHUT_WR)
        total = hashlib.sha256()
        while data := theirs.recv(65536):
            total.update(data)
        assert total.hexdigest() == digest(MB, 1)
    wait_for(lambda: len(user.link.flows) == 0, "the flow is over")


@WAYS
def test_a_reset_by_the_machine_reaches_the_kernel(user, way):
    ours, theirs = joined(user, way)
    with ours:
        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"
        reset(theirs)
        with raises(errno.ECONNRESET):
            ours.recv(1)
    wait_for(lambda: len(user.link.flows) == 0, "the flow is over")


@WAYS
def test_a_reset_by_the_kernel_reaches_the_machine(user, way):
    ours, theirs = joined(user, way)
    with theirs:
        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"
        ours.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("<ii", 1, 0))
        ours.close()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
    wait_for(lambda: len(user.link.flows) == 0, "the flow is over")


@WAYS
def test_the_kernels_end_resets_who_was_connected(way):
    with user_link(allowed=1) as user:
        _, theirs = joined(user, way)
    with theirs, pytest.raises(ConnectionResetError):
        theirs.recv(1)


# Back-pressure ---------------------------------------------------------------------------------------------------


def test_a_reader_on_the_kernel_that_does_not_read_stalls_the_machine(user):
    ours, theirs = joined(user, "in")
    with ours, theirs:
        queued = fill(lambda block: theirs.send(block), theirs.setblocking)
        # The machine's send and receive buffers, the gateway's, the kernel's: each has its limit.
        assert 100_000 < queued < 32 * MB
        rest = drain(queued, lambda: ours.recv(1 << 18))
        assert rest == digest(queued, 1)
        theirs.sendall(b"goes on")
        assert ours.recv(100) == b"goes on"


def test_a_reader_on_the_machine_that_does_not_read_stalls_the_kernel(user):
    ours, theirs = joined(user, "out")
    with ours, theirs:
        queued = fill(lambda block: ours.send(block), ours.setblocking)
        assert 100_000 < queued < 32 * MB
        assert drain(queued, lambda: theirs.recv(1 << 18)) == digest(queued, 1)
        ours.sendall(b"goes on")
        assert theirs.recv(100) == b"goes on"


def fill(send, set_blocking) -> int:
    """Send what `blocks(…, 1)` yields until nothing more is taken for a while; how much was."""
    set_blocking(False)
    sent, idle = 0, 0
    for block in blocks(200 * MB, 1):
        while block:
            try:
                size = send(block)
            except OSError as problem:
                assert problem.errno == errno.EAGAIN
                idle += 1
                if idle == 20:
                    set_blocking(True)
                    return sent
                time.sleep(0.02)
                continue
            idle = 0
            sent += size
            block = block[size:]
    raise AssertionError("nothing ever stalled")


def drain(size: int, receive) -> str:
    total, seen = hashlib.sha256(), 0
    while seen < size:
        data = receive()
        assert data
        seen += len(data)
        total.update(data)
    return total.hexdigest()


# Crowds ----------------------------------------------------------------------------------------------------------


def test_fifty_megabytes_there_and_back(user):
    ours, theirs = joined(user, "out")

    def echo() -> None:
        with theirs:
            while data := theirs.recv(1 << 18):
                theirs.sendall(data)

    def send() -> None:
        for block in blocks(50 * MB, 5):
            ours.sendall(block)
        ours.shutdown(SHUT_WR)

    threads = [threading.Thread(target=one) for one in (echo, send)]
    for thread in threads:
        thread.start()
    with ours:
        total = hashlib.sha256()
        while data := ours.recv(1 << 18):
            total.update(data)
    for thread in threads:
        thread.join()
    assert total.hexdigest() == digest(50 * MB, 5)


@WAYS
def test_two_hundred_flows_at_once(user, way):
    before = len(descriptors_before())
    pairs = [joined(user, way) for _ in range(200)]
    assert len(user.link.flows) == 200
    for number, (ours, theirs) in enumerate(pairs):
        ours.sendall(b"%d to the world" % number)
        theirs.sendall(b"%d from the world" % number)
    for number, (ours, theirs) in enumerate(pairs):
        assert ours.recv(100) == b"%d from the world" % number
        assert theirs.recv(100) == b"%d to the world" % number
    for ours, theirs in pairs:
        ours.close()
        assert theirs.recv(1) == b""
        theirs.close()
    wait_for(lambda: len(user.link.flows) == 0, "the flows are over")
    wait_for(lambda: descriptors() == before, "all descriptors are given back")


def test_more_flows_than_allowed_are_turned_away_and_the_others_go_on(user):
    user.link.flows.limit = 3
    pairs = [joined(user, "out") for _ in range(3)]
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        user.process.socket("tcp") as ours,
        raises(errno.EHOSTUNREACH),
    ):
        ours.connect((LOOPBACK, listener.getsockname()[1]))
    user.listen()
    with socket.create_connection(user.forward()) as theirs, pytest.raises(ConnectionResetError):
        theirs.recv(1)
    assert user.link.flows.refused == 2
    for ours, theirs in pairs:
        ours.sendall(b"still here")
        assert theirs.recv(100) == b"still here"
        ours.close()
        theirs.close()
    wait_for(lambda: len(user.link.flows) == 0, "the flows are over")
    ours, theirs = joined(user, "in")
    ours.close()
    theirs.close()


def test_connections_that_come_and_go(user):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        before = len(descriptors_before())
        for number in range(300):
            with user.process.connect("tcp", (LOOPBACK, listener.getsockname()[1])) as ours:
                theirs, _ = listener.accept()
                with theirs:
                    ours.sendall(b"%d" % number)
                    assert theirs.recv(10) == b"%d" % number
        wait_for(lambda: len(user.link.flows) == 0, "the flows are over")
        wait_for(lambda: descriptors() == before, "all descriptors are given back")


@pytest.mark.needs("processes")
def test_no_descriptors_left_pauses_accepting_and_does_not_spin(user):
    import resource

    user.listen()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.socket() for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        for client in clients:
            client.connect(user.forward())
        used = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - used < 0.25, "the loop must not spin"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for client in clients:
        user.accept().close()
        client.close()
