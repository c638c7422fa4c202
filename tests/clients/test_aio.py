"""The asynchronous client in a simulation, as tasks: the same waits as the plain client's, and who goes on when."""

from __future__ import annotations

import asyncio

import pytest

from rumpkit.clients.local import new_process
from rumpkit.clients.suspend import SimTask
from rumpkit.hosts.sim.host import Deadlock
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EBADF, ECONNREFUSED, EINTR, EPIPE
from rumpkit.kern.abi.poll import EPOLL_CTL_ADD, EPOLLET, POLLIN
from rumpkit.kern.trace import TraceEvent, TraceSink
from tests.clients.helpers import Raises, sim


@pytest.fixture
def world():
    return sim()


@pytest.fixture
def p(world):
    return world.p.aio


@pytest.fixture
def spawn(world):
    return lambda coroutine: SimTask(world.host, coroutine)


def test_tasks_take_turns_in_the_order_of_events(world, p, spawn):
    r, w = world.p.pipe2()

    async def reader():
        return [(await p.read(r, 10), world.host.now // SECOND) for _ in range(3)]

    async def writer():
        for number in range(3):
            await p.nanosleep(number + 1)
            await p.write(w, b"%d" % number)

    one, other = spawn(reader()), spawn(writer())
    assert one.join() == [(b"0", 1), (b"1", 3), (b"2", 6)]
    assert other.done() and other.result() is None


def test_a_plain_caller_beside_a_task(world, p, spawn):
    listener = world.p.listen("tcp", 7)

    async def echo():
        async with await p.socket("udp"):
            pass
        fd, _ = await p.accept4(listener.fileno())
        while data := await p.recv(fd, 1000):
            await p.send(fd, data)
        await p.close(fd)

    task = spawn(echo())
    client = world.p.connect("tcp", ("127.0.0.1", 7))
    for size in (1, 1000, 50_000):
        sent = bytes(range(256)) * (size // 256) + bytes(size % 256)
        client.sendall(sent)
        got = b""
        while len(got) < size:
            got += client.recv(65536)
        assert got == sent
    client.close()
    task.join()


def test_a_task_that_raises(world, p, spawn):
    async def fail():
        await p.close(99)

    task = spawn(fail())
    with Raises(EBADF):
        task.join()
    assert task.done() and isinstance(task.problem(), OSError)


def test_tasks_can_be_awaited(world, p, spawn):
    async def inner(seconds):
        await p.nanosleep(seconds)
        return seconds

    async def outer():
        tasks = [spawn(inner(3)), spawn(inner(1))]
        return [await task for task in tasks], world.host.now

    assert spawn(outer()).join() == ([3, 1], 3 * SECOND)


def test_a_join_with_a_deadline(world, p, spawn):
    task = spawn(p.nanosleep(10))
    with pytest.raises(TimeoutError):
        task.join(2 * SECOND)
    with pytest.raises(RuntimeError, match="has not ended"):
        task.result()
    assert world.host.now == 2 * SECOND
    task.join()
    assert world.host.now == 10 * SECOND


def test_a_task_that_waits_for_nothing_is_a_deadlock(world, p, spawn):
    r, _w = world.p.pipe2()
    task = spawn(p.read(r, 1))
    with pytest.raises(Deadlock):
        task.join()


def test_a_cancelled_task_leaves_nothing_behind(world, p, spawn):
    r, w = world.p.pipe2()
    task = spawn(p.poll([(r, POLLIN)], 50))
    spawn(p.nanosleep(1)).join()
    task.cancel()
    assert world.p.process.files.get(r).queue.idle()
    world.host.run()
    assert world.host.now == SECOND, "its deadline is forgotten"
    assert task.done()
    world.p.write(w, b"x")


def test_a_wakeup_that_a_cancelled_task_had_goes_to_the_next(world, p, spawn):
    r, w = world.p.pipe2()
    epfd = world.p.epoll_create1()
    world.p.epoll_ctl(epfd, EPOLL_CTL_ADD, r, POLLIN | EPOLLET)
    first, second = spawn(p.epoll_wait(epfd)), spawn(p.epoll_wait(epfd))
    spawn(p.nanosleep(1)).join()
    world.p.write(w, b"x")
    first.cancel()
    assert second.join() == [(r, POLLIN)]


def test_a_wakeup_that_an_interrupted_task_had_goes_to_the_next(world, p, spawn):
    other = new_process(world.kernel)
    r, w = world.p.pipe2()
    epfd = world.p.epoll_create1()
    world.p.epoll_ctl(epfd, EPOLL_CTL_ADD, r, POLLIN | EPOLLET)
    shared = other.process.files.install(world.p.process.files.get(epfd))
    first, second = spawn(p.epoll_wait(epfd)), spawn(other.aio.epoll_wait(shared))
    spawn(p.nanosleep(1)).join()
    world.p.write(w, b"x")
    p.interrupt()
    with Raises(EINTR):
        first.join()
    assert second.join() == [(r, POLLIN)]


def test_deadlines_and_closes_end_waits(world, p, spawn):
    r, w = world.p.pipe2()
    assert spawn(p.poll([(r, POLLIN)], 2.5)).join() == []
    assert world.host.now == int(2.5 * SECOND)
    read = spawn(p.read(r, 1))
    spawn(p.nanosleep(1)).join()
    world.p.close(r)
    with Raises(EBADF):
        read.join()
    with Raises(EPIPE):
        spawn(p.write(w, b"x")).join()


def test_socket_objects(world, p, spawn):
    async def server():
        async with await p.listen("tcp", 80, "127.0.0.1") as listener:
            connection, peer = await listener.accept()
            async with connection:
                assert peer == await connection.getpeername()
                await connection.sendall(await connection.recv(100) * 100_000)

    async def client():
        async with await p.connect("tcp", ("127.0.0.1", 80)) as socket:
            await socket.sendall(bytearray(b"ab"))
            size = 0
            while data := await socket.recv(1 << 20):
                size += len(data)
            return size

    async def refused():
        with Raises(ECONNREFUSED):
            await p.connect("tcp", ("127.0.0.1", 81))
        async with await p.socket("udp") as socket:
            await socket.bind(("", 53))
            await socket.sendto(b"hi", ("127.0.0.1", 53))
            return (await socket.recvfrom(10))[0], (await socket.getsockname())[1]

    spawn(server())
    assert spawn(client()).join() == 200_000
    assert spawn(refused()).join() == (b"hi", 53)


def test_files(world, p, spawn):
    async def work():
        await p.mkdir("/d")
        fd = await p.creat("/d/f")
        await p.write(fd, b"hello")
        await p.close(fd)
        return (await p.stat("/d/f")).st_size

    assert spawn(work()).join() == 5


def test_leaving_a_process_ends_it(world, p, spawn):
    async def work():
        child = await p.fork()
        async with child.aio as c:
            return await c.getppid()

    assert spawn(work()).join() == 1
    assert list(world.kernel.processes) == [1]


def test_the_trace_tells_of_awaited_calls(world, p, spawn):
    events: list[TraceEvent] = []

    class Log(TraceSink):
        def event(self, event: TraceEvent) -> None:
            events.append(event)

    world.kernel.trace.sink = Log()
    spawn(p.nanosleep(2)).join()
    with Raises(EBADF):
        spawn(p.close(99)).join()
    assert [(event.call, event.when // SECOND) for event in events] == [
        ("nanosleep", 0),
        ("nanosleep", 2),
        ("close", 2),
    ]
    assert events[1].result is None and isinstance(events[2].result, OSError)


def test_a_task_may_not_await_what_belongs_elsewhere(world, p, spawn):
    class Strange:
        def __await__(self):
            yield "something"

    async def work():
        await Strange()

    with pytest.raises(RuntimeError, match="can only await calls"):
        spawn(work()).join()


def test_asyncio_does_not_drive_a_simulation(world, p):
    with pytest.raises(RuntimeError, match="asyncio can't drive a SimHost"):
        asyncio.run(p.nanosleep(1))
    assert not p.waits
