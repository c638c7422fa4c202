"""Socket and file objects, in a simulation."""

from __future__ import annotations

import io

import pytest

from rumpkit.clients.socketlike import SocketLike
from rumpkit.clients.suspend import SimTask
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import (
    EADDRINUSE,
    EAGAIN,
    EBADF,
    ECONNREFUSED,
    EEXIST,
    EINPROGRESS,
    ENOENT,
    ENOTCONN,
)
from rumpkit.kern.abi.poll import POLLOUT
from rumpkit.kern.abi.socket import (
    AF_INET,
    IPPROTO_TCP,
    MSG_PEEK,
    SHUT_WR,
    SO_KEEPALIVE,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
)
from tests.clients.helpers import Raises, sim


@pytest.fixture
def world():
    return sim()


@pytest.fixture
def p(world):
    return world.p


@pytest.fixture
def pair(p):
    listener = p.listen("tcp", 80)
    client = p.connect("tcp", ("127.0.0.1", 80))
    server, _ = listener.accept()
    return client, server


def test_a_connection(p):
    with p.listen("tcp", 80, "127.0.0.1") as listener:
        assert listener.getsockname() == ("127.0.0.1", 80)
        with p.connect("tcp", ("127.0.0.1", 80)) as client:
            server, peer = listener.accept()
            assert peer == client.getsockname() == server.getpeername()
            client.sendall(b"ping")
            assert server.recv(2, MSG_PEEK) == b"pi"
            assert server.recv(100) == b"ping"
            client.shutdown(SHUT_WR)
            assert server.recv(100) == b""
            assert server.send(memoryview(b"pong")) == 4
            buffer = bytearray(10)
            assert client.recv_into(buffer) == 4 and buffer[:4] == b"pong"
            server.close()
    assert client.fileno() == listener.fileno() == -1
    assert p.process.files.numbers() == []


def test_what_a_socket_is(p, pair):
    client, server = pair
    assert (client.family, client.type, client.proto) == (AF_INET, SOCK_STREAM, IPPROTO_TCP)
    assert p.socket("udp").type == SOCK_DGRAM
    assert f"fd={server.fileno()} of process {p.getpid()}" in repr(server)
    client.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    assert client.getsockopt(IPPROTO_TCP, TCP_NODELAY) == 1
    client.setsockopt(SOL_SOCKET, SO_KEEPALIVE, b"\1\0\0\0")
    assert client.getsockopt_bytes(SOL_SOCKET, SO_KEEPALIVE) == b"\1\0\0\0"
    assert client.take_error() == 0
    with pytest.raises(ValueError, match="no socket 'sctp'"):
        p.socket("sctp")


def test_a_large_transfer_goes_both_ways(world, pair):
    client, server = pair
    data = bytes(range(256)) * 8192
    got = bytearray()

    async def serve():
        while part := await world.p.aio.recv(server.fileno(), 100_000):
            got.extend(part)
        await world.p.aio.send(server.fileno(), b"done")

    SimTask(world.host, serve())
    client.sendall(bytearray(data))
    client.shutdown(SHUT_WR)
    assert client.recv(100) == b"done"
    assert got == data


def test_refused(p):
    with Raises(ECONNREFUSED):
        p.connect("tcp", ("127.0.0.1", 9))
    with p.socket("tcp") as socket:
        assert socket.connect_ex(("127.0.0.1", 9)) == ECONNREFUSED
    p.listen("tcp", 80)
    with Raises(EADDRINUSE):
        p.listen("tcp", 80)
    assert len(p.process.files.numbers()) == 1


def test_timeouts(world, p, pair):
    client, _ = pair
    assert client.gettimeout() is None and client.getblocking()
    client.settimeout(1.5)
    start = world.host.now
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert world.host.now == start + 3 * SECOND // 2
    listener = p.listen("tcp", 81)
    listener.settimeout(0.5)
    with pytest.raises(TimeoutError):
        listener.accept()
    with pytest.raises(TimeoutError):
        client.sendall(bytes(100_000_000))
    client.settimeout(None)
    assert client.gettimeout() is None
    with pytest.raises(ValueError, match="negative"):
        client.settimeout(-1)


def test_not_blocking(p, pair):
    client, server = pair
    client.setblocking(False)
    assert not client.getblocking() and client.gettimeout() == 0
    with Raises(EAGAIN):
        client.recv(1)
    server.send(b"x")
    assert client.recv(1) == b"x"
    client.setblocking(True)
    with p.socket("tcp") as other:
        other.setblocking(False)
        with Raises(EINPROGRESS):
            other.connect(("127.0.0.1", 80))
        assert p.poll([(other.fileno(), POLLOUT)]) == [(other.fileno(), POLLOUT)]
        assert other.connect_ex(("127.0.0.1", 80)) == 0


def test_datagrams(p):
    with p.socket("udp") as one, p.socket("udp") as other:
        one.bind(("127.0.0.1", 53))
        assert other.sendto(b"question", ("127.0.0.1", 53)) == 8
        data, source = one.recvfrom(100)
        assert data == b"question" and source is not None
        one.sendto(b"answer", 0, source)
        assert other.recv(100) == b"answer"
        other.connect(("127.0.0.1", 53))
        other.sendmsg([b"to", b"gether"])
        assert one.recv(100) == b"together"
        with pytest.raises(TypeError):
            other.sendto(b"x", 0)
        with Raises(ENOTCONN):
            one.getpeername()


def test_duplicates_and_detached_numbers(p, pair):
    client, server = pair
    other = client.dup()
    client.close()
    other.send(b"still there")
    assert server.recv(100) == b"still there"
    fd = other.detach()
    other.close()
    again = SocketLike(p, fd)
    again.close()
    assert server.recv(100) == b""
    with Raises(EBADF):
        again.recv(1)


def test_a_number_that_is_closed_already_is_no_error(p, pair):
    client, _ = pair
    p.close(client.fileno())
    client.close()


def test_files_over_sockets(pair):
    client, server = pair
    with client.makefile("rwb") as stream:
        stream.write(b"GET / HTTP/1.0\r\n\r\n")
        stream.flush()
        with server.makefile("rb") as reader:
            assert reader.readline() == b"GET / HTTP/1.0\r\n"
        with server.makefile("wb") as writer:
            writer.write(b"one\ntwo\n")
        server.close()
        assert stream.readlines() == [b"one\n", b"two\n"]
    client.send(b"")
    with pytest.raises(ValueError, match="mode must be"):
        client.makefile("x")


def test_file_objects(p):
    with p.open_file("/f", "wb") as file:
        assert file.write(b"hello world") == 11
        assert file.writable() and not file.readable() and file.seekable()
    with p.open_file("/f") as file:
        assert file.read(5) == b"hello"
        assert file.seek(-5, 2) == 6 and file.tell() == 6
        assert file.readall() == b"world"
        with pytest.raises(io.UnsupportedOperation):
            io.BufferedWriter(file)
    with p.open_file("/f", "a") as file:
        file.write(bytearray(b"!"))
    with p.open_file("/f", "r+") as file:
        file.seek(5)
        assert file.truncate() == 5
    text = io.TextIOWrapper(io.BufferedReader(p.open_file("/f")), "ascii")
    assert text.read() == "hello"
    text.close()
    for mode, number in [("x", EEXIST), ("r", ENOENT)]:
        with Raises(number):
            p.open_file("/f" if mode == "x" else "/nothing", mode)
    with pytest.raises(ValueError, match="mode must be"):
        p.open_file("/f", "rw")
    assert p.process.files.numbers() == []
