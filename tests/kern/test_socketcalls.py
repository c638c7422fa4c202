"""Socket calls over a family of the test's own: who waits, for how long, and what a part of the work gives."""

from __future__ import annotations

from typing import Any

import pytest

from rumpkit.hyper.time import FOREVER, MILLISECOND, SECOND
from rumpkit.kern.abi.errno import (
    EAFNOSUPPORT,
    EAGAIN,
    EBADF,
    ECONNRESET,
    EDOM,
    EINPROGRESS,
    EINTR,
    EINVAL,
    EMFILE,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTSOCK,
    EOPNOTSUPP,
    EPIPE,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
)
from rumpkit.kern.abi.fcntl import F_GETFD, F_GETFL, FD_CLOEXEC, O_NONBLOCK, O_RDWR
from rumpkit.kern.abi.socket import (
    AF_INET,
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_PEEK,
    MSG_WAITALL,
    SHUT_RD,
    SHUT_WR,
    SO_ACCEPTCONN,
    SO_DOMAIN,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_PROTOCOL,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SO_TYPE,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
)
from rumpkit.kern.calls import KernCalls
from rumpkit.kern.socketcalls import SocketCalls
from rumpkit.kern.wait import Blocked
from tests.kern.helpers import Bell, Bounded, Raises, make_kernel

LISTENER = (b"listener", 1)
TIMEVAL = (2).to_bytes(8, "little") + (500_000).to_bytes(8, "little")


class Caller:
    def __init__(self) -> None:
        self.kernel = make_kernel()
        sockets, calls = self.kernel.service("SocketCalls"), self.kernel.service("KernCalls")
        assert isinstance(sockets, SocketCalls) and isinstance(calls, KernCalls)
        self.sockets, self.calls = sockets, calls
        self.process = self.kernel.process()

    def __getattr__(self, name: str):
        calls = self.sockets if hasattr(self.sockets, name) else self.calls
        return lambda *arguments: getattr(calls, name)(self.process, *arguments)

    def get(self, fd: int) -> Bounded:
        socket = self.process.files.get(fd)
        assert isinstance(socket, Bounded)
        return socket

    def pair(self, flags: int = 0) -> tuple[int, int]:
        return self.sockets.socketpair(self.process, AF_UNIX, SOCK_STREAM | flags)

    def listener(self, flags: int = 0) -> int:
        fd = self.sockets.socket(self.process, AF_UNIX, SOCK_STREAM | flags)
        self.bind(fd, LISTENER)
        self.listen(fd, 5)
        return fd


@pytest.fixture
def it():
    return Caller()


def blocked(result: object) -> Any:
    assert isinstance(result, Blocked)
    return result


def test_sockets_are_made_by_family_kind_and_protocol(it):
    for arguments, number in [
        ((AF_INET, SOCK_STREAM), EAFNOSUPPORT),
        ((AF_UNIX, SOCK_DGRAM), ESOCKTNOSUPPORT),
        ((AF_UNIX, SOCK_STREAM, 99), EPROTONOSUPPORT),
        ((AF_UNIX, SOCK_STREAM | 1 << 20), EINVAL),
    ]:
        with Raises(number):
            it.socket(*arguments)
    fd = it.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    assert it.fcntl(fd, F_GETFD) == FD_CLOEXEC
    assert it.fcntl(fd, F_GETFL) == O_RDWR | O_NONBLOCK


def test_families_without_pairs(it):
    it.kernel.sockets.register(AF_INET, SOCK_STREAM, 0, Bounded)
    with Raises(EOPNOTSUPP):
        it.socketpair(AF_INET, SOCK_STREAM)
    with Raises(EAFNOSUPPORT):
        it.socketpair(77, SOCK_STREAM)


def test_calls_want_sockets(it):
    r, _ = it.pipe2()
    for name, arguments in [
        ("bind", (LISTENER,)),
        ("listen", (1,)),
        ("accept4", ()),
        ("connect", (LISTENER,)),
        ("sendto", (b"",)),
        ("recvfrom", (1,)),
        ("shutdown", (SHUT_WR,)),
        ("getsockname", ()),
        ("getpeername", ()),
        ("getsockopt", (SOL_SOCKET, SO_TYPE)),
        ("setsockopt", (SOL_SOCKET, SO_TYPE, b"")),
    ]:
        with Raises(ENOTSOCK):
            getattr(it, name)(r, *arguments)
        with Raises(EBADF):
            getattr(it, name)(99, *arguments)


def test_accept_waits_for_a_connection(it):
    listener = it.listener()
    wait = blocked(it.accept4(listener))
    bell = Bell()
    wait.queue.add(bell)
    client = Bounded(AF_UNIX, SOCK_STREAM, 0)
    client.name = (b"client", 3)
    client.establish(it.get(listener))
    assert bell.rings == 1
    fd, peer = wait.retry()
    assert peer == (b"client", 3)
    assert it.getsockname(fd) == (b"far", 7)


def test_accept_flags_and_what_it_refuses(it):
    listener = it.listener(SOCK_NONBLOCK)
    with Raises(EAGAIN):
        it.accept4(listener)
    Bounded(AF_UNIX, SOCK_STREAM, 0).establish(it.get(listener))
    fd, _ = it.accept4(listener, SOCK_NONBLOCK | SOCK_CLOEXEC)
    assert it.fcntl(fd, F_GETFD) == FD_CLOEXEC
    assert it.fcntl(fd, F_GETFL) & O_NONBLOCK
    with Raises(EINVAL):
        it.accept4(listener, 1)
    with Raises(EINVAL):
        it.accept4(fd)


def test_an_accept_without_a_free_number_leaves_the_connection_where_it_is(it):
    listener = it.listener()
    Bounded(AF_UNIX, SOCK_STREAM, 0).establish(it.get(listener))
    it.process.files.limit = 1
    with Raises(EMFILE):
        it.accept4(listener)
    it.process.files.limit = 2
    assert it.accept4(listener)[0] == 1


def test_connect_finishes_when_it_is_retried(it):
    fd = it.socket(AF_UNIX, SOCK_STREAM)
    wait = blocked(it.connect(fd, LISTENER))
    assert wait.retry() is wait
    it.get(fd).establish(it.get(it.listener()))
    assert wait.retry() is None


def test_connect_of_a_socket_that_does_not_wait(it):
    fd = it.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK)
    with Raises(EINPROGRESS):
        it.connect(fd, LISTENER)


def test_connect_with_a_timeout_goes_on_in_the_background(it):
    fd = it.socket(AF_UNIX, SOCK_STREAM)
    it.setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, TIMEVAL)
    wait = blocked(it.connect(fd, LISTENER))
    assert wait.deadline == it.kernel.hyper.now + 2500 * MILLISECOND
    with Raises(EINPROGRESS):
        wait.expired()
    with Raises(EINTR):
        wait.interrupted()


def test_a_send_goes_on_until_all_is_through(it):
    one, other = it.pair()
    data = bytes(range(250))
    wait = blocked(it.sendto(one, data))
    got = b""
    result: object = wait
    while isinstance(result, Blocked):
        assert result.so_far() == len(got) + 100
        got += it.recvfrom(other, 33).data
        while len(it.get(other).buffer):
            got += it.recvfrom(other, 33).data
        result = wait.retry()
    assert result == 250
    while len(got) < 250:
        got += it.recvfrom(other, 99).data
    assert got == data


def test_write_is_send(it):
    one, other = it.pair()
    wait = blocked(it.write(one, bytes(130)))
    assert wait.so_far() == 100
    assert it.read(other, 1000) == bytes(100)
    assert wait.retry() == 130
    assert it.read(other, 1000) == bytes(30)


@pytest.mark.parametrize("name", ["sendto", "write"])
def test_a_send_that_does_not_wait_takes_what_fits(it, name):
    one, _ = it.pair(SOCK_NONBLOCK)
    assert getattr(it, name)(one, bytes(130)) == 100
    with Raises(EAGAIN):
        getattr(it, name)(one, b"x")


def test_one_call_may_choose_not_to_wait(it):
    one, other = it.pair()
    with Raises(EAGAIN):
        it.recvfrom(other, 5, MSG_DONTWAIT)
    assert it.sendto(one, bytes(130), MSG_DONTWAIT) == 100
    with Raises(EAGAIN):
        it.sendto(one, bytes(130), MSG_DONTWAIT)


def test_an_error_after_a_part_gives_the_part(it):
    one, _ = it.pair()
    some = blocked(it.sendto(one, bytes(130)))
    none = blocked(it.sendto(one, b"x"))
    it.get(one).die(ECONNRESET)
    assert some.retry() == 100
    with Raises(ECONNRESET):
        none.retry()


@pytest.mark.parametrize("name", ["recvfrom", "read"])
def test_a_receive_waits_for_the_first_bytes(it, name):
    one, other = it.pair()
    wait = blocked(getattr(it, name)(other, 10))
    it.sendto(one, b"abc")
    result = wait.retry()
    assert (result if name == "read" else result.data) == b"abc"


def test_waitall_gathers(it):
    one, other = it.pair()
    it.sendto(one, b"ab")
    wait = blocked(it.recvfrom(other, 5, MSG_WAITALL))
    assert it.get(other).buffer == b""
    it.sendto(one, b"cd")
    assert wait.retry() is wait
    assert wait.interrupted().data == b"abcd"
    it.sendto(one, b"efg")
    assert wait.retry().data == b"abcde"
    assert it.recvfrom(other, 9).data == b"fg"


def test_waitall_ends_with_the_stream_or_an_error(it):
    for end in ("shutdown", "die"):
        one, other = it.pair()
        wait = blocked(it.recvfrom(other, 5, MSG_WAITALL))
        it.sendto(one, b"ab")
        assert wait.retry() is wait
        if end == "die":
            it.get(other).die(ECONNRESET)
        else:
            it.shutdown(one, SHUT_WR)
        assert wait.retry().data == b"ab"


def test_waitall_does_not_gather_what_it_only_peeks_at_nor_without_waiting(it):
    one, other = it.pair()
    it.sendto(one, b"ab")
    assert it.recvfrom(other, 5, MSG_WAITALL | MSG_PEEK).data == b"ab"
    assert it.recvfrom(other, 5, MSG_WAITALL | MSG_DONTWAIT).data == b"ab"


@pytest.mark.parametrize("name", ["accept4", "recvfrom", "read", "sendto", "write", "connect"])
def test_every_wait_has_a_deadline_and_ends_when_its_socket_closes(it, name):
    arguments: tuple[object, ...] = ()
    if name == "accept4":
        fd = it.listener()
    elif name == "connect":
        fd, arguments = it.socket(AF_UNIX, SOCK_STREAM), (LISTENER,)
    else:
        fd, _ = it.pair()
        it.sendto(fd, bytes(100))
        arguments = (b"x",) if name in ("sendto", "write") else (1,)
    assert blocked(getattr(it, name)(fd, *arguments)).deadline == FOREVER
    for option in (SO_RCVTIMEO, SO_SNDTIMEO):
        it.setsockopt(fd, SOL_SOCKET, option, TIMEVAL)
    wait = blocked(getattr(it, name)(fd, *arguments))
    assert wait.deadline == it.kernel.hyper.now + 2500 * MILLISECOND
    with Raises(EINPROGRESS if name == "connect" else EAGAIN):
        wait.expired()
    bell = Bell()
    wait.queue.add(bell)
    it.close(fd)
    assert bell.rings == 1
    with Raises(EBADF):
        wait.retry()


def test_shutdown(it):
    one, other = it.pair()
    with Raises(EINVAL):
        it.shutdown(one, 3)
    it.shutdown(one, SHUT_WR)
    assert it.recvfrom(other, 5).data == b""
    it.shutdown(one, SHUT_RD)
    with Raises(EPIPE):
        it.sendto(other, b"x")
    with Raises(ENOTCONN):
        it.shutdown(it.socket(AF_UNIX, SOCK_STREAM), SHUT_WR)


def test_options_of_every_socket(it):
    fd = it.listener()
    number = lambda name: int.from_bytes(it.getsockopt(fd, SOL_SOCKET, name), "little")  # noqa: E731
    assert (number(SO_DOMAIN), number(SO_TYPE), number(SO_PROTOCOL)) == (AF_UNIX, SOCK_STREAM, 0)
    assert number(SO_ACCEPTCONN) == 1
    it.get(fd).error = ECONNRESET
    assert (number(SO_ERROR), number(SO_ERROR)) == (ECONNRESET, 0)
    with Raises(ENOPROTOOPT):
        it.getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE)
    with Raises(ENOPROTOOPT):
        it.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, b"\1\0\0\0")
    with Raises(ENOPROTOOPT):
        it.getsockopt(fd, 6, SO_TYPE)


def test_timeouts_are_kept_to_the_microsecond(it):
    fd, _ = it.pair()
    for option in (SO_RCVTIMEO, SO_SNDTIMEO):
        assert it.getsockopt(fd, SOL_SOCKET, option) == bytes(16)
        it.setsockopt(fd, SOL_SOCKET, option, TIMEVAL)
        assert it.getsockopt(fd, SOL_SOCKET, option) == TIMEVAL
    it.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, (-1).to_bytes(8, "little", signed=True) + bytes(8))
    assert it.get(fd).receive_timeout == 0
    it.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, b"\xff" * 7 + b"\x7f" + bytes(8))
    assert it.get(fd).receive_timeout == (1 << 30) * SECOND
    with Raises(EDOM):
        it.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, bytes(8) + (1_000_000).to_bytes(8, "little"))
    with Raises(EINVAL):
        it.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, b"\1\0\0\0")


def test_a_receive_of_a_negative_size(it):
    with Raises(EINVAL):
        it.recvfrom(it.pair()[0], -1)
