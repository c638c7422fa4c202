"""TCP sockets between two kernels: the calls, what poll says, and which error comes when (POSIX, tcp(7))."""

import pytest

from rumpkit.kern.abi.errno import (
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EALREADY,
    ECONNREFUSED,
    ECONNRESET,
    EHOSTUNREACH,
    EINVAL,
    EISCONN,
    ENETUNREACH,
    ENOTCONN,
    EPIPE,
    ETIMEDOUT,
)
from rumpkit.kern.abi.fcntl import O_NONBLOCK
from rumpkit.kern.abi.ioctl import FIONREAD, SIOCOUTQ
from rumpkit.kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP
from rumpkit.kern.abi.socket import (
    IPPROTO_TCP,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    TCP_CORK,
)
from rumpkit.kern.wait import Observer
from tests.net.tcp_world import World

BASIC = POLLIN | POLLOUT | POLLHUP | POLLERR | POLLRDHUP


def polled(socket):
    return socket.poll() & BASIC


class Bell(Observer):
    """Counts what a queue tells."""

    def __init__(self, socket):
        self.rings = 0
        socket.queue.subscribe(self)

    def notify(self):
        self.rings += 1

    def heard(self):
        rings = self.rings
        self.rings = 0
        return rings


def listening(world, port=80, backlog=16, node=None):
    listener = (node or world.b).socket()
    world.call(listener.bind, (bytes(4), port))
    world.call(listener.listen, backlog)
    return listener


# Transfers -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mtu", "features"), [(1500, 7), (1500, 0), (9000, 0), (576, 0)])
def test_a_megabyte_arrives_and_both_sides_close(mtu, features):
    world = World(mtu=mtu, features=features)
    client, server = world.pair()
    data = world.host.random(1 << 20)
    world.transfer(client, server, data)
    world.call(client.finish, world.now)
    assert world.receive_all(server) == b""
    world.call(server.finish, world.now)
    assert world.receive_all(client) == b""
    world.call(client.release, world.now)
    world.call(server.release, world.now)
    world.run()
    for node in (world.a, world.b):
        assert not node.tcp.channels
        assert node.tcp.orphans == node.tcp.time_waits == 0
        assert node.counter("retransmits") == node.counter("bad_checksums") == node.counter("malformed") == 0


def test_both_ways_at_once():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.send_all(client, b"question" * 1000)
    world.send_all(server, b"answer" * 1000)
    assert world.receive_all(server, 8000) == b"question" * 1000
    assert world.receive_all(client, 6000) == b"answer" * 1000


def test_loopback():
    world = World()
    listener = listening(world, node=world.a)
    client = world.a.socket()
    world.call(client.connect, (b"\x7f\0\0\1", 80), world.now)
    server = world.call(listener.accept, world.now)
    world.transfer(client, server, bytes(300_000))
    assert client.peer_address() == (b"\x7f\0\0\1", 80)


def test_a_socket_can_connect_to_itself():
    """A simultaneous open with oneself, as POSIX systems have it."""
    world = World()
    both = world.a.socket()
    world.call(both.bind, (world.a.address, 7000))
    world.call(both.connect, (world.a.address, 7000), world.now)
    world.send_all(both, b"echo")
    assert world.receive_all(both, 4) == b"echo"
    world.call(both.release, world.now)
    world.run()
    assert not world.a.tcp.channels


def test_connecting_to_nowhere_in_particular_is_loopback():
    world = World()
    listener = listening(world, node=world.a)
    client = world.a.socket()
    world.call(client.connect, (bytes(4), 80), world.now)
    assert world.call(listener.accept, world.now).peer_address()[0] == b"\x7f\0\0\1"


# Opening --------------------------------------------------------------------------------------------------------------------------


def test_names():
    world = World()
    client = world.a.socket()
    assert client.local_address() == (bytes(4), 0)
    with pytest.raises(OSError) as caught:
        client.peer_address()
    assert caught.value.errno == ENOTCONN
    client, server = world.pair(8080)
    assert client.peer_address() == (world.b.address, 8080)
    assert server.local_address() == (world.b.address, 8080)
    assert server.peer_address() == client.local_address()
    assert client.local_address()[0] == world.a.address
    assert client.describe().startswith("tcp 10.0.0.1:")


def test_refused():
    world = World()
    client = world.a.socket()
    with pytest.raises(OSError) as caught:
        world.call(client.connect, (world.b.address, 81), world.now)
    assert caught.value.errno == ECONNREFUSED
    assert client.take_error() == 0
    assert world.b.counter("resets_sent") == 1


def test_a_refused_socket_can_connect_again():
    world = World()
    client = world.a.socket()
    with pytest.raises(OSError):
        world.call(client.connect, (world.b.address, 80), world.now)
    listening(world)
    world.call(client.connect, (world.b.address, 80), world.now)
    assert polled(client) == POLLOUT


def test_no_route_and_nobody_there():
    world = World()
    client = world.a.socket()
    with pytest.raises(OSError) as caught:
        world.call(client.connect, (b"\x08\x08\x08\x08", 80), world.now)
    assert caught.value.errno == ENETUNREACH
    with pytest.raises(OSError) as caught:
        world.call(client.connect, (b"\x0a\0\0\x63", 80), world.now)
    assert caught.value.errno == EHOSTUNREACH


def test_time_out():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.switch.connected = False
    world.send_all(client, b"anybody?")
    with pytest.raises(OSError) as caught:
        world.call(client.receive, 10, 0, world.now)
    assert caught.value.errno in (ETIMEDOUT, EHOSTUNREACH)
    assert polled(server) == POLLOUT


def test_errors_of_connect():
    world = World(delay=1_000_000)
    client = world.a.socket()
    with pytest.raises(OSError) as caught:
        world.call(client.connect, (bytes(16), 80), world.now)
    assert caught.value.errno == EAFNOSUPPORT
    listener = listening(world)
    assert world.attempt(client.connect, (world.b.address, 80), world.now) is None
    client.flags |= O_NONBLOCK
    with pytest.raises(OSError) as caught:
        world.attempt(client.connect, (world.b.address, 80), world.now)
    assert caught.value.errno == EALREADY
    assert polled(client) == 0
    assert world.attempt(client.send, b"x", 0, 0, None, world.now) is None
    world.run(1)
    assert polled(client) == POLLOUT
    # The call that asks how it went succeeds once; the next one is too many (as on Linux).
    world.call(client.connect, (world.b.address, 80), world.now)
    with pytest.raises(OSError) as caught:
        world.call(client.connect, (world.b.address, 80), world.now)
    assert caught.value.errno == EISCONN
    with pytest.raises(OSError) as caught:
        world.call(listener.connect, (world.a.address, 80), world.now)
    assert caught.value.errno == EISCONN


@pytest.mark.rfc("9293", "MUST-10")
def test_simultaneous_open():
    world = World(delay=1_000_000)
    left, right = world.a.socket(), world.b.socket()
    world.call(left.bind, (world.a.address, 1000))
    world.call(right.bind, (world.b.address, 2000))
    world.attempt(left.connect, (world.b.address, 2000), world.now)
    world.attempt(right.connect, (world.a.address, 1000), world.now)
    world.run(1)
    world.send_all(left, b"hello")
    assert world.receive_all(right, 5) == b"hello"
    assert len(world.a.tcp.channels) == len(world.b.tcp.channels) == 1


def test_errors_of_bind_and_listen():
    world = World()
    listener = listening(world)
    other = world.b.socket()
    for address, errno in [
        ((bytes(4), 80), EADDRINUSE),
        ((b"\1\2\3\4", 80), EADDRNOTAVAIL),
        ((bytes(16), 80), EAFNOSUPPORT),
    ]:
        with pytest.raises(OSError) as caught:
            world.call(other.bind, address)
        assert caught.value.errno == errno
    with pytest.raises(OSError) as caught:
        world.call(listener.bind, (bytes(4), 81))
    assert caught.value.errno == EINVAL
    client, _ = world.pair(81)
    with pytest.raises(OSError) as caught:
        world.call(client.listen, 1)
    assert caught.value.errno == EINVAL
    with pytest.raises(OSError) as caught:
        world.call(client.accept, world.now)
    assert caught.value.errno == EINVAL


def test_listening_without_bind_takes_a_free_port():
    world = World()
    listener = world.b.socket()
    world.call(listener.listen, 1)
    port = listener.local_address()[1]
    assert port >= 32768
    client = world.a.socket()
    world.call(client.connect, (world.b.address, port), world.now)


# Data ------------------------------------------------------------------------------------------------------------------------------


def test_peek_truncate_and_low_water():
    world = World()
    client, server = world.pair()
    world.send_all(client, b"abcdef")
    world.run(0)
    assert world.call(server.receive, 4, MSG_PEEK, world.now).data == b"abcd"
    got = world.call(server.receive, 2, MSG_TRUNC, world.now)
    assert (got.data, got.size) == (b"", 2)
    assert world.call(server.receive, 100, 0, world.now).data == b"cdef"
    server.own_options().receive_low_water = 5
    world.send_all(client, b"four")
    world.run(0.01)
    assert polled(server) == POLLOUT
    assert world.attempt(server.receive, 100, 0, world.now) is None
    server.flags |= O_NONBLOCK
    assert world.attempt(server.receive, 100, MSG_PEEK, world.now).data == b"four"
    world.send_all(client, b"!")
    world.run(1)
    assert polled(server) == POLLIN | POLLOUT


def test_more():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.call(client.send, b"head", 0, MSG_MORE, None, world.now)
    world.run(0.1)
    assert server.readable() == 0
    world.call(client.send, b"body", 0, 0, None, world.now)
    world.run(0.1)
    assert server.readable() == 8


@pytest.mark.rfc("9293", "MUST-30", "MUST-33")
def test_out_of_band():
    """tcp(7): the urgent byte is set apart, reads stop at its place, and POLLPRI tells."""
    world = World(delay=1_000_000)
    client, server = world.pair()
    with pytest.raises(OSError) as caught:
        world.call(server.receive, 1, MSG_OOB, world.now)
    assert caught.value.errno == EINVAL
    world.send_all(client, b"before")
    world.call(client.send, b"ab!", 0, MSG_OOB, None, world.now)
    world.send_all(client, b"after")
    world.run(0.1)
    assert server.poll() & POLLPRI
    assert world.call(server.receive, 1, MSG_OOB, world.now).data == b"!"
    assert world.call(server.receive, 100, 0, world.now).data == b"beforeab"
    assert server.ioctl(0x8905, b"") == b"\1\0\0\0"
    assert world.call(server.receive, 100, 0, world.now).data == b"after"
    with pytest.raises(OSError) as caught:
        world.call(server.receive, 1, MSG_OOB, world.now)
    assert caught.value.errno == EINVAL, "who reads past the urgent byte has lost it"
    assert not server.poll() & POLLPRI
    server.own_options().oob_inline = True
    world.call(client.send, b"xy", 0, MSG_OOB, None, world.now)
    world.run(0.1)
    assert world.call(server.receive, 100, 0, world.now).data == b"x"
    assert world.call(server.receive, 100, 0, world.now).data == b"y"
    assert not server.poll() & POLLPRI


def test_out_of_band_without_calls():
    """What relays use: the same by plain methods."""
    world = World(delay=1_000_000)
    client, server = world.pair()
    assert client.until_urgent() == server.until_urgent() == -1
    assert client.put(b"ab", world.now) == 2
    assert client.put_urgent(b"!", world.now) == 1
    assert client.put(b"c", world.now) == 1
    world.run(0.1)
    assert (server.until_urgent(), server.readable()) == (2, 4)
    server.consume(2, world.now)
    assert server.until_urgent() == 0
    server.consume(1, world.now)
    assert (server.until_urgent(), server.readable()) == (-1, 1)


def test_ioctls():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.send_all(client, b"12345")
    assert client.ioctl(SIOCOUTQ, b"") == b"\5\0\0\0"
    world.run(0.1)
    assert client.ioctl(SIOCOUTQ, b"") == bytes(4)
    assert server.ioctl(FIONREAD, b"") == b"\5\0\0\0"
    with pytest.raises(OSError):
        server.ioctl(0x1234, b"")


def test_sending_too_much_blocks_until_a_third_is_free():
    world = World(delay=1_000_000)
    for node in (world.a, world.b):
        node.kernel.sysctl.set("net.tcp.send_buffer", 60_000)
        node.kernel.sysctl.set("net.tcp.send_buffer_max", 60_000)
        node.kernel.sysctl.set("net.tcp.receive_buffer", 30_000)
        node.kernel.sysctl.set("net.tcp.receive_buffer_max", 30_000)
    client, server = world.pair()
    data = world.host.random(200_000)
    bell = Bell(client)
    assert world.call(client.send, data, 0, 0, None, world.now) == 60_000
    assert world.attempt(client.send, data, 60_000, 0, None, world.now) is None
    assert polled(client) == 0
    world.run(1)
    assert client.unacknowledged() == pytest.approx(30_000, abs=1500)
    assert bell.heard() == 1
    assert polled(client) == POLLOUT
    assert 0 < client.space() < 60_000
    world.receive_all(server, 30_000)
    world.run(1)
    assert bell.heard() == 0


def test_front_and_consume_go_by_reference():
    world = World()
    client, server = world.pair()
    data = bytes(10_000)
    assert world.call(client.put, data, world.now) == 10_000
    world.run(0)
    chunks = server.front(1 << 20)
    assert sum(chunk.size for chunk in chunks) == 10_000
    assert chunks[0].body is data
    world.call(server.consume, 4000, world.now)
    assert server.readable() == 6000
    assert server.front(1)[0].start == 4000


@pytest.mark.parametrize("before", [0, 100, 1448, 5000, 70_001])
def test_what_fits_leaves_in_full_pieces(before):
    """Of bulk data that is put as it fits nothing stays behind, and only one piece is joined from two."""
    world = World()
    client, server = world.pair()
    world.transfer(client, server, bytes(1 << 20))  # windows grow
    world.run(0)
    world.call(client.set_option, IPPROTO_TCP, TCP_CORK, (1).to_bytes(4, "little"))
    assert world.call(client.put, bytes(before), world.now) == before
    fits = client.fitting(200_000)
    assert 130_000 < fits <= 200_000
    assert world.call(client.put, bytes(fits), world.now) == fits
    world.run(0)
    sizes = [chunk.size for chunk in server.front(1 << 20)]
    assert sum(sizes) == before + fits
    assert not any(size % 1448 for size in sizes)
    assert len(sizes) <= (before + fits) // 65160 + 3
    assert client.fitting(100) == 100


def test_observers_hear_what_changes_and_nothing_else():
    world = World(delay=1_000_000)
    listener = listening(world)
    door = Bell(listener)
    client = world.a.socket()
    ours = Bell(client)
    world.attempt(client.connect, (world.b.address, 80), world.now)
    world.run(0.1)
    assert (door.heard(), ours.heard()) == (1, 1)
    server = world.call(listener.accept, world.now)
    server.hold()
    theirs = Bell(server)
    world.call(client.put, b"data", world.now)
    world.run(1)
    assert (theirs.heard(), ours.heard()) == (1, 0)
    world.call(client.finish, world.now)
    world.run(1)
    assert (theirs.heard(), ours.heard()) == (1, 0)
    assert polled(server) == POLLIN | POLLOUT | POLLRDHUP
    world.call(server.consume, 4, world.now)
    assert server.at_end()
    world.call(server.abort, world.now)
    world.run(1)
    assert ours.heard() == 1
    assert client.reset_by() == ECONNRESET


def test_plain_methods_of_a_fresh_socket():
    world = World()
    fresh = world.a.socket()
    assert fresh.space() == fresh.readable() == fresh.unacknowledged() == fresh.reset_by() == 0
    assert fresh.put(b"x", 0) == 0
    assert fresh.fitting(100_000) == 100_000
    assert fresh.front(10) == []
    assert not fresh.at_end()
    fresh.consume(1, 0)
    fresh.finish(0)
    fresh.abort(0)
    assert polled(fresh) == POLLOUT | POLLHUP


# Closing ----------------------------------------------------------------------------------------------------------------------------


def test_half_close():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.send_all(client, b"request")
    world.call(client.shutdown, SHUT_WR, world.now)
    with pytest.raises(OSError) as caught:
        world.call(client.send, b"x", 0, 0, None, world.now)
    assert caught.value.errno == EPIPE
    assert world.receive_all(server) == b"request"
    assert polled(server) == POLLIN | POLLOUT | POLLRDHUP
    world.send_all(server, b"response")
    world.call(server.shutdown, SHUT_WR, world.now)
    assert world.receive_all(client) == b"response"
    assert polled(client) == POLLIN | POLLOUT | POLLHUP | POLLRDHUP


def test_shutting_down_reading():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.call(server.shutdown, SHUT_RD, world.now)
    assert polled(server) == POLLIN | POLLOUT | POLLRDHUP
    assert world.call(server.receive, 10, 0, world.now).data == b""
    world.send_all(client, b"late")
    world.run(1)
    assert world.call(server.receive, 10, 0, world.now).data == b"late"
    world.call(server.shutdown, SHUT_RDWR, world.now)
    assert polled(server) & POLLHUP
    fresh = world.a.socket()
    with pytest.raises(OSError) as caught:
        world.call(fresh.shutdown, SHUT_WR, world.now)
    assert caught.value.errno == ENOTCONN


@pytest.mark.rfc("9293", "MUST-12")
def test_a_reset_is_data_then_the_error_then_the_end():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.send_all(client, b"last words")
    world.run(1)
    world.call(client.abort, world.now)
    world.run(1)
    assert polled(server) == BASIC
    assert world.call(server.receive, 100, 0, world.now).data == b"last words"
    with pytest.raises(OSError) as caught:
        world.call(server.receive, 100, 0, world.now)
    assert caught.value.errno == ECONNRESET
    assert world.call(server.receive, 100, 0, world.now).data == b""
    with pytest.raises(OSError) as caught:
        world.call(server.send, b"x", 0, 0, None, world.now)
    assert caught.value.errno == EPIPE
    assert polled(server) == BASIC & ~POLLERR


def test_a_reset_is_reported_by_the_first_send():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.call(client.abort, world.now)
    world.run(1)
    for errno in (ECONNRESET, EPIPE):
        with pytest.raises(OSError) as caught:
            world.call(server.send, b"x", 0, 0, None, world.now)
        assert caught.value.errno == errno


def test_closing_with_unread_data_resets():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.send_all(client, b"unread")
    world.run(1)
    world.call(server.release, world.now)
    world.run(1)
    assert client.reset_by() == ECONNRESET
    assert not world.b.tcp.channels


def test_linger_zero_resets():
    world = World(delay=1_000_000)
    client, server = world.pair()
    client.own_options().linger = 0
    world.call(client.release, world.now)
    world.run(1)
    assert server.reset_by() == ECONNRESET


def test_an_orphan_delivers_what_is_queued():
    world = World(delay=1_000_000)
    client, server = world.pair()
    data = world.host.random(500_000)
    world.send_all(client, data)
    world.call(client.release, world.now)
    assert world.a.tcp.orphans == 1
    assert world.receive_all(server) == data
    world.call(server.release, world.now)
    world.run()
    assert world.a.tcp.orphans == world.b.tcp.orphans == 0
    assert not world.a.tcp.channels


def test_orphans_have_a_limit():
    world = World(delay=1_000_000)
    world.a.kernel.sysctl.set("net.tcp.max_orphans", 1)
    pairs = [world.pair(8000 + index) for index in range(3)]
    for client, _ in pairs:
        world.call(client.release, world.now)
    assert world.a.tcp.orphans == 1
    assert world.a.counter("orphan_overflows") == 2
    world.run(1)
    assert [server.reset_by() for _, server in pairs] == [0, ECONNRESET, ECONNRESET]


def test_sending_on_a_fresh_socket():
    world = World()
    fresh = world.a.socket()
    with pytest.raises(OSError) as caught:
        world.call(fresh.send, b"x", 0, 0, None, world.now)
    assert caught.value.errno == EPIPE
    with pytest.raises(OSError) as caught:
        world.call(fresh.receive, 1, 0, world.now)
    assert caught.value.errno == ENOTCONN
