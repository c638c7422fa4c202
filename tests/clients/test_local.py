"""The local client in a simulation: results, waits, deadlines, traces."""

from __future__ import annotations

import pytest

from rumpkit.clients.convert import to_timeval
from rumpkit.clients.local import LocalProcess, new_process
from rumpkit.hosts.sim.host import Deadlock
from rumpkit.hosts.task import Task
from rumpkit.hyper.time import SECOND, Instant
from rumpkit.kern.abi.errno import EAGAIN, EBADF, EINPROGRESS, EINTR, EINVAL, ENOENT, ENOSYS, EPIPE
from rumpkit.kern.abi.fcntl import F_GETFL, O_CREAT, O_NONBLOCK, O_RDWR, S_IFDIR, S_IFMT, SEEK_END
from rumpkit.kern.abi.poll import EPOLL_CTL_ADD, EPOLL_CTL_MOD, POLLHUP, POLLIN, POLLNVAL, POLLOUT
from rumpkit.kern.abi.socket import (
    AF_INET,
    MSG_DONTWAIT,
    MSG_WAITALL,
    SHUT_WR,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
)
from rumpkit.kern.trace import TraceEvent, TraceSink
from rumpkit.kern.wait import Blocked
from tests.clients.helpers import Raises, World, bare, sim


@pytest.fixture
def world():
    return sim()


@pytest.fixture
def p(world):
    return world.p


class Do(Task):
    def __init__(self, function):
        self.function = function

    def run(self, now: Instant) -> None:
        self.function()


def after(world: World, seconds: float, function) -> None:
    """Call `function` in that many seconds of the simulation, as another program would."""
    world.host.at(world.host.now + int(seconds * SECOND), Do(function))


def test_a_read_waits_for_a_write(world, p):
    r, w = p.pipe2()
    after(world, 2, lambda: p.write(w, b"late"))
    assert p.read(r, 10) == b"late"
    assert world.host.now == 2 * SECOND
    assert not world.waiting()


def test_a_write_waits_until_all_is_through(world, p):
    r, w = p.pipe2()
    got = []
    for second in range(1, 5):
        after(world, second, lambda: got.append(p.read(r, 65536)))
    data = bytes(range(256)) * 1000
    assert p.write(w, data) == len(data)
    after(world, 10, lambda: p.close(w))
    while part := p.read(r, 1 << 20):
        got.append(part)
    assert b"".join(got) == data


def test_an_error_ends_a_wait(world, p):
    r, w = p.pipe2()
    p.write(w, bytes(65536))
    after(world, 1, lambda: p.close(r))
    with Raises(EPIPE):
        p.write(w, b"more")
    assert world.kernel.processes


def full_listener(p: LocalProcess) -> int:
    """The port of a listener that has no room for a further connection, so that connecting takes long."""
    listener = p.socket("tcp")
    listener.bind(("", 99))
    listener.listen(1)
    for _ in range(4):
        fd = p.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK)
        with Raises(EINPROGRESS):
            p.connect(fd, ("127.0.0.1", 99))
        p.poll([(fd, POLLOUT)], 0.1)
    return 99


def full_socket(p: LocalProcess) -> int:
    """A connected socket with no room for a further byte."""
    p.listen("tcp", 98)
    fd = p.connect("tcp", ("127.0.0.1", 98)).detach()
    refused = 0
    while refused < 2:
        try:
            p.sendto(fd, bytes(1 << 20), MSG_DONTWAIT)
            refused = 0
        except OSError as problem:
            assert problem.errno == EAGAIN
            refused += 1
        p.nanosleep(5)
    return fd


def waiting_call(p: LocalProcess, call: str) -> tuple[int, tuple[object, ...]]:
    """A descriptor on which `call` would wait, and the call's arguments."""
    if call == "read":
        fd, _ = p.pipe2()
        return fd, (fd, 1)
    if call == "epoll_wait":
        fd = p.epoll_create1()
        return fd, (fd,)
    if call == "accept4":
        fd = p.listen("tcp", 80).fileno()
        return fd, (fd,)
    if call == "connect":
        address = ("127.0.0.1", full_listener(p))
        fd = p.socket(AF_INET, SOCK_STREAM)
        return fd, (fd, address)
    if call == "sendto":
        fd = full_socket(p)
        return fd, (fd, b"x")
    if call == "recvfrom":
        fd = p.socket(AF_INET, SOCK_DGRAM)
        p.bind(fd, ("", 53))
        return fd, (fd, 100)
    fd, _ = p.pipe2()
    return fd, {"poll": ([(fd, POLLIN)],), "select": ([fd], [], []), "nanosleep": (1000,)}[call]


ON_FILES = ["read", "epoll_wait", "accept4", "connect", "sendto", "recvfrom", "poll", "select"]


@pytest.mark.parametrize("call", ON_FILES)
def test_waits_end_when_the_file_closes(world, p, call):
    fd, arguments = waiting_call(p, call)
    start = world.host.now
    after(world, 0.5, lambda: p.close(fd))
    if call == "poll":
        assert p.poll([(fd, POLLIN)]) == [(fd, POLLNVAL)]
    else:
        with Raises(EBADF):
            getattr(p, call)(*arguments)
    assert world.host.now == start + SECOND // 2
    assert not world.waiting()


@pytest.mark.parametrize("call", [*ON_FILES, "nanosleep"])
def test_waits_end_when_they_are_interrupted(world, p, call):
    _, arguments = waiting_call(p, call)
    start = world.host.now
    after(world, 0.5, p.interrupt)
    with Raises(EINTR):
        getattr(p, call)(*arguments)
    assert world.host.now == start + SECOND // 2
    assert not world.waiting()


@pytest.mark.parametrize("call", ["read", "accept4", "connect", "sendto", "recvfrom"])
def test_waits_end_at_the_sockets_timeout(world, p, call):
    fd, arguments = waiting_call(p, call)
    if call == "read":
        fd = p.connect("tcp", ("127.0.0.1", p.listen("tcp", 97).getsockname()[1])).fileno()
        arguments = (fd, 1)
    for option in (SO_RCVTIMEO, SO_SNDTIMEO):
        p.setsockopt(fd, SOL_SOCKET, option, to_timeval(0.5))
    start = world.host.now
    with Raises(EINPROGRESS if call == "connect" else EAGAIN):
        getattr(p, call)(*arguments)
    assert world.host.now == start + SECOND // 2


def test_an_interrupted_write_gives_what_went(world, p):
    _, w = p.pipe2()
    after(world, 1, p.interrupt)
    assert p.write(w, bytes(100_000)) == 65536


def test_an_interruption_ends_waits_of_that_process_only(world, p):
    other = new_process(world.kernel)
    r, w = p.pipe2()
    after(world, 1, other.interrupt)
    after(world, 2, lambda: p.write(w, b"x"))
    assert p.read(r, 1) == b"x"


@pytest.mark.parametrize("timeout", [0, 0.5, 7])
def test_polls_time_out(world, p, timeout):
    r, _ = p.pipe2()
    epfd = p.epoll_create1()
    p.epoll_ctl(epfd, EPOLL_CTL_ADD, r)
    assert p.poll([(r, POLLIN)], timeout) == []
    assert p.select([r], [], [], timeout) == ([], [], [])
    assert p.epoll_wait(epfd, timeout=timeout) == []
    assert world.host.now == 3 * timeout * SECOND


def test_the_first_deadline_holds_over_retries(world, p):
    """Every second something happens that is not what the poll waits for."""
    r, w = p.pipe2()
    for second in range(1, 9):
        after(world, second, lambda: p.write(w, b"x"))
    assert p.poll([(r, POLLHUP)], 5.5) == []
    assert world.host.now == int(5.5 * SECOND)


def test_a_receive_timeout_holds_over_parts(world, p):
    listener = p.listen("tcp", 80)
    client = p.connect("tcp", ("127.0.0.1", 80))
    server, _ = listener.accept()
    start = world.host.now
    for second in range(1, 9):
        after(world, second, lambda: client.send(b"x"))
    p.setsockopt(server.fileno(), SOL_SOCKET, SO_RCVTIMEO, (4).to_bytes(8, "little") + (500_000).to_bytes(8, "little"))
    assert server.recv(100, MSG_WAITALL) == b"xxxx"
    assert world.host.now - start == int(4.5 * SECOND)


def test_a_wait_for_nothing_is_a_deadlock(p):
    r, _w = p.pipe2()
    with pytest.raises(Deadlock):
        p.read(r, 1)
    assert p.getpid() == 1


def test_sleeping_takes_time(world, p):
    p.nanosleep(1.5)
    assert world.host.now == int(1.5 * SECOND)
    with Raises(EINVAL):
        p.nanosleep(-1)


def test_processes(world, p):
    r, w = p.pipe2()
    with p.fork() as child:
        assert (child.getpid(), child.getppid()) == (2, 1)
        child.write(w, b"from the child")
        child.setuid(1000)
        assert (child.getuid(), p.getuid()) == (1000, 0)
    p.close(w)
    assert p.read(r, 99) == b"from the child"
    assert p.read(r, 99) == b""
    assert list(world.kernel.processes) == [1]


def test_new_processes_start_where_they_are_told(world):
    world.p.mkdir("/home")
    process = new_process(world.kernel, 1000, 100, (5,), "/home")
    assert (process.getuid(), process.getgid(), process.getgroups()) == (1000, 100, [5])
    assert process.getcwd() == "/home"
    count = len(world.kernel.processes)
    with Raises(ENOENT):
        new_process(world.kernel, cwd="/nowhere")
    assert len(world.kernel.processes) == count


def test_files(p):
    fd = p.open("/f", O_RDWR | O_CREAT, 0o640)
    assert p.write(fd, bytearray(b"hello world")) == 11
    assert p.pread(fd, 5, 6) == b"world"
    assert p.pwrite(fd, b"W", 6) == 1
    assert p.lseek(fd, -5, SEEK_END) == 6
    assert p.read(fd, 99) == b"World"
    p.ftruncate(fd, 5)
    assert p.fstat(fd).st_size == p.stat("/f").st_size == 5
    p.close(fd)
    p.rename("/f", "/g")
    p.symlink("g", "/s")
    assert p.readlink("/s") == "g" and p.stat("/s").st_size == 5
    p.mkdir("/d")
    assert p.stat("/d").st_mode & S_IFMT == S_IFDIR
    root = p.open("/")
    assert {entry.d_name for entry in p.readdir(root)} == {".", "..", "d", "g", "s"}
    p.unlink("/g")
    with Raises(ENOENT):
        p.open("/g")


def test_the_kernel_may_lack_a_faction():
    p = bare().p
    with Raises(ENOSYS):
        p.open("/f")
    with Raises(ENOSYS):
        p.aio.vfs_calls
    with Raises(ENOSYS):
        p.service("VfsCalls")


def test_sockets_with_calls_alone(p):
    listener = p.socket(AF_INET, SOCK_STREAM)
    p.bind(listener, ("", 8080))
    p.listen(listener, 3)
    client = p.socket(AF_INET, SOCK_STREAM)
    p.connect(client, ("127.0.0.1", 8080))
    server, peer = p.accept4(listener, O_NONBLOCK)
    assert peer == p.getsockname(client) and p.getpeername(client) == ("127.0.0.1", 8080)
    assert p.fcntl(server, F_GETFL) & O_NONBLOCK
    assert p.send(client, memoryview(b"ping")) == 4
    assert p.recvfrom(server, 10) == (b"ping", None)
    assert p.writev(server, [b"po", b"ng"]) == 4
    p.shutdown(server, SHUT_WR)
    assert p.recv(client, 10) == b"pong"
    assert p.recv(client, 10) == b""


def test_datagrams_with_calls_alone(p):
    one, other = p.socket(AF_INET, SOCK_DGRAM), p.socket(AF_INET, SOCK_DGRAM)
    p.bind(other, ("127.0.0.1", 53))
    assert p.sendto(one, b"question", 0, ("127.0.0.1", 53)) == 8
    data, source = p.recvfrom(other, 100)
    assert data == b"question" and source[0] == "127.0.0.1"
    p.sendto(other, b"answer", 0, source)
    assert p.recv(one, 100) == b"answer"


def test_epoll_over_sockets(world, p):
    listener = p.listen("tcp", 80)
    epfd = p.epoll_create1()
    p.epoll_ctl(epfd, EPOLL_CTL_ADD, listener.fileno(), POLLIN, 1234)
    after(world, 1, lambda: p.connect("tcp", ("127.0.0.1", 80)))
    assert p.epoll_wait(epfd) == [(1234, POLLIN)]
    p.epoll_ctl(epfd, EPOLL_CTL_MOD, listener.fileno(), POLLIN, 5)
    assert p.epoll_wait(epfd, 1) == [(5, POLLIN)]


class Log(TraceSink):
    def __init__(self) -> None:
        self.events: list[TraceEvent] = []

    def event(self, event: TraceEvent) -> None:
        self.events.append(event)


def test_the_trace_tells_of_every_call(world, p):
    r, w = p.pipe2()
    log = world.kernel.trace.sink = Log()
    after(world, 1, lambda: p.write(w, b"x"))
    p.read(r, 5)
    with Raises(EBADF):
        p.close(77)
    p.getpid()
    told = [(event.when, event.call, event.arguments) for event in log.events]
    assert told == [
        (0, "read", (r, 5)),
        (SECOND, "write", (w, b"x")),
        (SECOND, "read", (r, 5)),
        (SECOND, "close", (77,)),
        (SECOND, "getpid", ()),
    ]
    results = [event.result for event in log.events]
    assert isinstance(results[0], Blocked) and results[1:3] == [1, b"x"] and results[4] == 1
    assert isinstance(results[3], OSError) and results[3].errno == EBADF
    world.kernel.trace.sink = None
    p.getpid()
    assert len(log.events) == 5


def test_the_same_seed_gives_the_same_run():
    def run(seed: int) -> tuple[bytes, list[TraceEvent]]:
        world = sim(seed)
        log = world.kernel.trace.sink = Log()
        listener = world.p.listen("tcp", 80)
        client = world.p.connect("tcp", ("127.0.0.1", 80))
        server, _ = listener.accept()
        client.sendall(world.p.getrandom(1000))
        return server.recv(1000), [event._replace(result=repr(event.result)[:4]) for event in log.events]

    assert run(3) == run(3)
    assert run(3) != run(4)
