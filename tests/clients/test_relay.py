"""Relays between host sockets and TCP connections of two real kernels on a switch."""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

import rumpkit.kern.components
import rumpkit.net.components
from rumpkit.clients.relay import Relay, RelayPool
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.kern.abi.socket import AF_INET, SO_SNDBUF, SOCK_STREAM, SOL_SOCKET
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.socket import StreamSocket
from rumpkit.kern.wait import Blocked
from rumpkit.net.ip.service import Ip
from rumpkit.net.transport.tcp.layer import Tcp
from tests.house.descriptors import descriptors_before, open_descriptors

PORT = 80


class NotedRelay(Relay):
    """Notes what happened to it."""

    def __init__(self, pool: RelayPool, fd: int, side: StreamSocket, keeps_open: bool = False) -> None:
        super().__init__(pool, fd, side)
        self.notes: list[str] = []
        self.keeps_open = keeps_open
        self.over = threading.Event()

    def on_host_reset(self, now: int) -> None:
        self.notes.append("host reset")
        super().on_host_reset(now)

    def on_kernel_reset(self, number: int, now: int) -> None:
        self.notes.append(f"kernel reset {errno.errorcode[number]}")
        super().on_kernel_reset(number, now)

    def on_refused(self, now: int) -> bool:
        self.notes.append("gone" if self.host_gone() else "refused")
        return self.keeps_open and not self.host_gone()

    def on_end(self, now: int) -> None:
        self.notes.append("end")
        self.over.set()


class World:
    """Two kernels, a connection between them, and a relay at each end of it: user - relay - A - B - relay - user."""

    def __init__(self, family: str = "unix", threaded: bool = True) -> None:
        self.host = PosixHost()
        self.pool = RelayPool(self.host)
        self.family = family
        self.kernels: list[RumpKernel] = []
        self.host.enter()
        for number in (1, 2):
            components = (*rumpkit.kern.components.BASE, "ethernet", "ipv4", "icmp", "tcp")
            kernel = RumpKernel(self.host, components, f"kernel{number}")
            ip = kernel.service("Ip")
            assert isinstance(ip, Ip)
            ip.add_interface(self.host.switches.named("lan").port(), "vif0", bytes([2, 0, 0, 0, 0, number]))
            ip.add_address("vif0", f"10.0.0.{number}/24")
            self.kernels.append(kernel)
        self.host.leave()
        if threaded:
            self.host.start_thread()
        self.listener = self.do(self._listen)
        self.relays: list[NotedRelay] = []

    def do(self, call: Callable, *arguments):
        self.host.enter()
        try:
            return call(*arguments)
        finally:
            self.host.leave()

    def _stream(self, kernel: RumpKernel) -> StreamSocket:
        made = kernel.sockets.make(AF_INET, SOCK_STREAM, 0)
        assert isinstance(made, StreamSocket)
        made.hold()
        return made

    def _listen(self) -> StreamSocket:
        listener = self._stream(self.kernels[1])
        listener.bind((bytes(4), PORT))
        listener.listen(100)
        return listener

    def wait(self, call: Callable):
        """Make a call, parking as the local client does."""
        self.host.enter()
        try:
            result = call()
            while isinstance(result, Blocked):
                parker = self.host.parker()
                result.queue.add(parker)
                assert parker.park(self.host.now + 10**10)
                result.queue.remove(parker)
                result = result.retry() if result.action else call()
            return result
        finally:
            self.host.leave()

    def connect(self) -> tuple[StreamSocket, StreamSocket]:
        """A connection from kernel 1 to kernel 2."""
        client = self.do(self._stream, self.kernels[0])
        self.wait(lambda: client.connect((bytes([10, 0, 0, 2]), PORT), self.host.now))
        server = self.wait(lambda: self.listener.accept(self.host.now))
        self.do(server.hold)
        return client, server

    def host_pair(self) -> tuple[socket.socket, socket.socket]:
        if self.family == "unix":
            return socket.socketpair()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        return ours, theirs

    def relay(self, side: StreamSocket, keeps_open: bool = False) -> tuple[NotedRelay, socket.socket]:
        """Join a kernel's socket with a host socket; the user's end of that."""
        ours, user = self.host_pair()
        user.settimeout(10)
        relay = NotedRelay(self.pool, ours.detach(), side, keeps_open)
        self.do(relay.start, self.host.now)
        self.do(side.release, self.host.now)  # the relay holds it from now on
        self.relays.append(relay)
        return relay, user

    def joint(self, keeps_open: bool = False) -> tuple[NotedRelay, NotedRelay, socket.socket, socket.socket]:
        client, server = self.connect()
        left, left_user = self.relay(client, keeps_open)
        right, right_user = self.relay(server)
        return left, right, left_user, right_user

    def close(self) -> None:
        for relay in self.relays:
            self.do(relay.close, self.host.now)
        self.do(lambda: self.listener.release(self.host.now))
        for kernel in self.kernels:
            self.do(kernel.close)
        assert self.host.loop.sources() == []
        self.host.close()


@pytest.fixture(params=["unix", "tcp"])
def world(request):
    descriptors = len(descriptors_before())
    world = World(request.param)
    yield world
    world.close()
    assert len(open_descriptors()) == descriptors


def receive_all(user: socket.socket) -> bytes:
    parts = []
    while data := user.recv(1 << 20):
        parts.append(data)
    return b"".join(parts)


def receive(user: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = user.recv(size - len(data))
        assert more, "ended early"
        data += more
    return data


def test_small_messages_back_and_forth(world):
    left, right, a, b = world.joint()
    for number in range(200):
        message = b"message %d" % number
        a.sendall(message)
        assert receive(b, len(message)) == message
        b.sendall(message.upper())
        assert receive(a, len(message)) == message.upper()
    assert left.bytes_to_kernel == right.bytes_to_host > 1000
    a.close()
    b.close()
    assert left.over.wait(5) and right.over.wait(5)
    assert left.notes == right.notes == ["end"]


def test_urgent_data_stays_urgent_where_it_is(world):
    """MSG_OOB of one user is that of the other: it does not overtake, and reads end where it is."""
    _, _, a, b = world.joint()
    for sender, receiver in ((a, b), (b, a)):
        poller = select.poll()
        poller.register(receiver, select.POLLPRI)
        sender.send(b"before")
        sender.send(b"!", socket.MSG_OOB)
        sender.send(b"after")
        assert poller.poll(10_000)
        assert receive(receiver, 6) == b"before"
        assert receiver.recv(1, socket.MSG_OOB) == b"!"
        assert receive(receiver, 5) == b"after"
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        for step in range(50):
            sender.send(b"%d" % (step % 10), socket.MSG_OOB if step % 3 == 0 else 0)
        assert receive(receiver, 50) == b"0123456789" * 5


def test_what_is_unsent_is_counted_on_both_sides_of_a_relay(world):
    left, _, a, b = world.joint()
    a.setblocking(False)
    sent = 0
    for _ in range(1000):
        try:
            sent += a.send(bytes(65536))
        except BlockingIOError:
            time.sleep(0.001)
    assert 0 < world.do(left.unsent) <= sent
    receive(b, sent)
    end = time.monotonic() + 10
    while world.do(left.unsent):
        assert time.monotonic() < end


@pytest.mark.parametrize("seed", range(3))
def test_bulk_both_ways_at_once_with_half_close(world, seed):
    left, right, a, b = world.joint()
    chance = random.Random(seed)
    payloads = [chance.randbytes(3_000_000 + chance.randrange(1000)) for _ in range(2)]
    received: dict[int, bytes] = {}

    def send(user: socket.socket, payload: bytes) -> None:
        dice = random.Random(seed)
        at = 0
        while at < len(payload):
            size = dice.choice((1, 100, 1460, 5000, 70000, 300000))
            user.sendall(payload[at : at + size])
            at += size
        user.shutdown(socket.SHUT_WR)

    def get(number: int, user: socket.socket) -> None:
        received[number] = receive_all(user)

    threads = [
        threading.Thread(target=send, args=(a, payloads[0])),
        threading.Thread(target=send, args=(b, payloads[1])),
        threading.Thread(target=get, args=(0, b)),
        threading.Thread(target=get, args=(1, a)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert received[0] == payloads[0] and received[1] == payloads[1]
    assert left.over.wait(5) and right.over.wait(5)
    assert left.notes == right.notes == ["end"]
    a.close()
    b.close()


@pytest.mark.parametrize("end", ["close", "shutdown"])
def test_an_end_that_is_known_goes_with_the_data_before_it(end):
    """A server that answers and closes costs one segment, not two."""
    world = World(threaded=False)
    left, right, left_user, right_user = world.joint()
    world.host.claim()
    tcp = world.kernels[0].service("Tcp")
    assert isinstance(tcp, Tcp)
    before = tcp.environment.counters.segments_out
    left_user.sendall(b"answer")
    left_user.close() if end == "close" else left_user.shutdown(socket.SHUT_WR)
    while left.bytes_to_kernel < 6:
        world.host.run_once()
    assert tcp.environment.counters.segments_out == before + 1
    while right.bytes_to_host < 6:
        world.host.run_once()
    assert receive_all(right_user) == b"answer"
    world.host.unclaim()
    left_user.close()
    right_user.close()
    world.close()


def test_half_close_leaves_the_other_direction_open(world):
    _, _, a, b = world.joint()
    a.sendall(b"request")
    a.shutdown(socket.SHUT_WR)
    assert receive_all(b) == b"request"
    time.sleep(0.02)
    b.sendall(b"reply" * 100_000)
    b.shutdown(socket.SHUT_WR)
    assert receive_all(a) == b"reply" * 100_000
    a.close()
    b.close()


def test_back_pressure_reaches_the_sender_and_nothing_is_lost(world):
    left, right, a, b = world.joint()
    a.setblocking(False)
    sent = 0
    quiet = time.monotonic() + 0.3
    while time.monotonic() < quiet:
        try:
            sent += a.send(sent.to_bytes(8, "big") * 512)
            quiet = time.monotonic() + 0.3
        except BlockingIOError:
            time.sleep(0.005)
        assert sent < 64 << 20, "nobody holds the sender back"
    busy = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - busy < 0.1, "a blocked relay does not spin"
    a.setblocking(True)
    a.shutdown(socket.SHUT_WR)
    data = receive_all(b)
    assert len(data) == sent
    assert left.bytes_to_kernel == right.bytes_to_host == sent
    a.close()
    b.close()


def reset(user: socket.socket) -> None:
    user.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    user.close()


def test_a_reset_of_a_host_socket_crosses_to_the_other_host_socket():
    world = World("tcp")
    left, right, a, b = world.joint()
    a.sendall(b"x")
    assert b.recv(10) == b"x"
    reset(a)
    assert left.over.wait(5) and right.over.wait(5)
    assert left.notes == ["host reset", "end"]
    assert right.notes == ["kernel reset ECONNRESET", "end"]
    with pytest.raises(ConnectionResetError):
        b.recv(10)
    assert world.pool.counters.host_resets == world.pool.counters.kernel_resets == 1
    b.close()
    world.close()


def test_a_unix_peer_that_closes_with_unread_data_is_a_reset():
    world = World("unix")
    left, right, a, b = world.joint()
    b.sendall(b"never read")
    select.select([a], [], [], 5)
    a.close()
    assert left.over.wait(5) and right.over.wait(5)
    assert left.notes == ["host reset", "end"]
    assert right.notes == ["kernel reset ECONNRESET", "end"]
    b.close()
    world.close()


def test_a_kernel_that_resets_ends_both(world):
    left, right, a, b = world.joint()
    a.sendall(b"x")
    assert b.recv(1) == b"x"
    world.do(lambda: right.kernel_side.abort(world.host.now))
    assert left.over.wait(5) and right.over.wait(5)
    assert left.notes[0] == "kernel reset ECONNRESET"
    a.close()
    b.close()


def test_a_reset_while_the_host_side_is_stuck(world):
    """The reader reads nothing, the pipe is full, and the sender's side is reset: that must not wait for the reader."""
    left, right, a, b = world.joint()
    fill(a)
    world.do(lambda: left.kernel_side.abort(world.host.now))
    assert right.over.wait(5)
    assert right.notes == ["kernel reset ECONNRESET", "end"]
    a.close()
    b.close()


def fill(user: socket.socket) -> None:
    """Send until nothing moves any more."""
    user.setblocking(False)
    quiet = time.monotonic() + 0.2
    while time.monotonic() < quiet:
        try:
            user.send(bytes(65536))
            quiet = time.monotonic() + 0.2
        except BlockingIOError:
            time.sleep(0.005)


def test_a_reset_of_a_sender_whose_data_is_stuck():
    """The kernel takes no more, so the host socket is not read; its reset is heard all the same."""
    world = World("tcp")
    left, right, a, b = world.joint()
    fill(a)
    reset(a)
    assert left.over.wait(5) and right.over.wait(5)
    assert left.notes == ["host reset", "end"]
    assert right.notes == ["kernel reset ECONNRESET", "end"]
    b.close()
    world.close()


def test_a_small_send_buffer_still_lets_everything_through(world):
    """Less room than a relay likes to see is all the room there ever is."""
    client, server = world.connect()
    world.do(client.set_option, SOL_SOCKET, SO_SNDBUF, (2048).to_bytes(4, "little"))
    _, a = world.relay(client)
    _, b = world.relay(server)
    payload = os.urandom(200_000)
    thread = threading.Thread(target=lambda: (a.sendall(payload), a.shutdown(socket.SHUT_WR)))
    thread.start()
    assert receive_all(b) == payload
    thread.join()
    a.close()
    b.close()


def test_a_program_that_refuses_bytes_is_a_reset_unless_its_guest_says_otherwise():
    world = World("unix")
    left, right, a, b = world.joint(keeps_open=False)
    a.shutdown(socket.SHUT_RD)
    b.sendall(b"for nobody")
    assert left.over.wait(5) and right.over.wait(5)
    assert left.notes == ["refused", "host reset", "end"]
    assert right.notes == ["kernel reset ECONNRESET", "end"]
    a.close()
    b.close()
    world.close()


def test_the_pool_counts(world):
    _, _, a, b = world.joint()
    a.sendall(b"12345")
    receive(b, 5)
    wanted = {
        "started": 2, "ended": 0, "bytes_to_kernel": 5, "bytes_to_host": 5, "discarded": 0, "host_resets": 0,
        "kernel_resets": 0,
    }  # fmt: skip
    deadline = time.monotonic() + 5
    while True:  # the bytes may be here before the loop's thread has counted them
        counters = {name: getattr(world.pool.counters, name) for name in world.pool.counters.names()}
        if counters == wanted or time.monotonic() > deadline:
            break
        time.sleep(0.001)
    assert counters == wanted
    a.close()
    b.close()


def test_a_program_that_shuts_its_reading_side_goes_on_sending():
    world = World("unix")
    left, right, a, b = world.joint(keeps_open=True)
    a.shutdown(socket.SHUT_RD)
    b.sendall(b"for nobody" * 1000)
    deadline = time.monotonic() + 5
    while world.pool.counters.discarded < 10000 and time.monotonic() < deadline:
        time.sleep(0.005)
    a.sendall(b"still here")
    a.shutdown(socket.SHUT_WR)
    assert receive_all(b) == b"still here"
    b.close()
    assert left.over.wait(5) and right.over.wait(5)
    assert left.notes == ["refused", "end"]
    assert world.pool.counters.discarded == 10000
    a.close()
    world.close()


def test_data_for_a_program_that_has_closed_is_a_reset():
    world = World("unix")
    left, right, a, b = world.joint(keeps_open=True)
    a.close()
    assert left.over.wait(5)
    assert left.notes == ["end"], "it closed for both directions, so the relay is over"
    assert b.recv(10) == b""
    b.sendall(b"too late")
    assert right.over.wait(5)
    assert right.notes == ["kernel reset EPIPE", "end"]
    b.close()
    world.close()


def test_abort_resets_both_sides(world):
    left, right, a, b = world.joint()
    world.do(left.abort, world.host.now)
    world.do(left.abort, world.host.now)
    assert left.ended and right.over.wait(5)
    assert right.notes == ["kernel reset ECONNRESET", "end"]
    if world.family == "tcp":
        for user in (a, b):
            with pytest.raises(ConnectionResetError):
                user.recv(10)
    a.close()
    b.close()


def test_many_relays_at_once(world):
    joints = [world.joint() for _ in range(50)]
    for number, (_, _, a, b) in enumerate(joints):
        a.sendall(b"%d" % number * 1000)
        b.sendall(b"-%d" % number * 1000)
    for number, (_, _, a, b) in enumerate(joints):
        expected = b"%d" % number * 1000
        assert receive(b, len(expected)) == expected
        expected = b"-%d" % number * 1000
        assert receive(a, len(expected)) == expected
        a.close()
        b.close()
    for left, right, _, _ in joints:
        assert left.over.wait(5) and right.over.wait(5)
    assert world.pool.counters.started == world.pool.counters.ended == 100


def test_a_transfer_between_two_relays_of_one_host_does_not_keep_others_out(world):
    """Both ends are served in one entry into the kernel; another caller must get its turn while they are busy."""
    _, _, a, b = world.joint()
    stop = threading.Event()

    def pump() -> None:
        try:
            while not stop.is_set():
                a.sendall(bytes(1 << 20))
        except OSError:
            pass

    def sink() -> None:
        try:
            while b.recv(1 << 20):
                pass
        except OSError:
            pass

    threads = [threading.Thread(target=target) for target in (pump, sink)]
    for thread in threads:
        thread.start()
    worst = 0.0
    for _ in range(100):
        started = time.perf_counter()
        world.do(lambda: None)
        worst = max(worst, time.perf_counter() - started)
    stop.set()
    assert worst < 2
    for user in (a, b):
        user.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)
    a.close()
    b.close()


def test_reads_grow_with_bursts_and_end_where_a_super_segment_does():
    world = World(threaded=False)
    try:
        client, server = world.connect()
        world.do(client.set_option, SOL_SOCKET, SO_SNDBUF, struct.pack("<i", 4 << 20))
        relay, user = world.relay(client)
        user.setsockopt(SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

        def burst(size: int) -> int:
            user.sendall(bytes(size))
            world.do(relay.on_events, select.EPOLLIN, world.host.now)
            return relay._read_size

        assert [burst(size) for size in (1000, 60_000, 100_000)] == [16 << 10, 64 << 10, 128 << 10]
        fits = world.do(client.fitting, 128 << 10)
        assert 100_000 < fits < (128 << 10) - 200
        assert burst(fits + 100) == 256 << 10  # a full read, and a bit more
        assert burst(100) == 16 << 10
    finally:
        world.do(lambda: server.release(world.host.now))
        world.close()


def test_driven_by_a_parked_caller():
    world = World("unix", threaded=False)
    client, server = world.connect()
    relay, user = world.relay(client)
    user.sendall(b"hello")
    received = world.wait(lambda: server.receive(100, 0, world.host.now))
    assert received.data == b"hello"
    world.do(lambda: server.put(b"world", world.host.now))
    assert user.recv(10) == b"world"
    user.close()
    assert world.wait(lambda: server.receive(100, 0, world.host.now)).data == b""
    assert relay.notes == ["end"]
    world.do(lambda: server.release(world.host.now))
    world.close()
