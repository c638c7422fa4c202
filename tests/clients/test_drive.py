"""The asynchronous client under asyncio, which drives the host; and its plain callers beside it."""

from __future__ import annotations

import asyncio

import pytest

from rumpkit.clients import drive
from rumpkit.kern.abi.errno import EBADF, EINTR
from tests.clients.helpers import Raises, threads


@pytest.fixture
def world():
    world = threads()
    yield world
    world.finish()
    world.close()
    assert not drive._drives


@pytest.fixture
def p(world):
    return world.p.aio


def test_calls_wait_side_by_side(world, p):
    async def main():
        server = await p.listen("tcp", 80)

        async def serve():
            for _ in range(20):
                connection, _ = await server.accept()
                asyncio.get_running_loop().create_task(echo(connection))

        async def echo(connection):
            async with connection:
                await connection.sendall(await connection.recv(100))

        async def ask(number):
            async with await p.connect("tcp", ("127.0.0.1", 80)) as socket:
                await socket.sendall(b"%d" % number)
                return int(await socket.recv(100))

        serving = asyncio.create_task(serve())
        answers = await asyncio.gather(*(ask(number) for number in range(20)))
        await serving
        return answers

    assert asyncio.run(main()) == list(range(20))


def test_sleeping_takes_its_time_and_others_go_on(p):
    async def main():
        order = []

        async def sleep(seconds):
            await p.nanosleep(seconds)
            order.append(seconds)

        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.gather(sleep(0.06), sleep(0.02), sleep(0.04))
        assert loop.time() - start >= 0.06
        return order

    assert asyncio.run(main()) == [0.02, 0.04, 0.06]


def test_a_cancelled_call_leaves_nothing_behind(world, p):
    r, _w = world.p.pipe2()

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await p.read(r, 1)

    asyncio.run(main())
    assert world.p.process.files.get(r).queue.idle() and not p.waits


def test_waits_end_on_interrupt_and_close(world, p):
    r, _w = world.p.pipe2()

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(0.02, p.interrupt)
        with Raises(EINTR):
            await p.read(r, 1)
        loop.call_later(0.02, world.p.close, r)
        with Raises(EBADF):
            await p.read(r, 1)

    asyncio.run(main())


def test_the_loop_gives_the_host_back(world, p):
    asyncio.run(p.nanosleep(0.001))
    assert not world.host.claimed()
    r, w = world.p.pipe2()
    world.start(lambda: world.p.write(w, b"x"))
    assert world.p.read(r, 1) == b"x"
    world.p.nanosleep(0.001)


def test_a_plain_caller_on_a_thread_beside_the_loop(world, p):
    r, w = world.p.pipe2()
    r2, w2 = world.p.pipe2()

    def thread():
        for _ in range(50):
            world.p.write(w2, world.p.read(r, 100))

    async def main():
        for number in range(50):
            await p.write(w, b"%d" % number)
            assert await p.read(r2, 100) == b"%d" % number

    world.start(thread)
    asyncio.run(main())


def test_a_host_with_a_thread_of_its_own_needs_no_drive(world, p):
    world.host.start_thread()
    try:

        async def main():
            listener = await p.listen("tcp", 80)
            waiting = asyncio.create_task(listener.accept())
            async with await p.connect("tcp", ("127.0.0.1", 80)):
                connection, _ = await waiting
                await connection.close()
            await p.nanosleep(0.01)

        asyncio.run(main())
    finally:
        world.host.stop()


def test_a_held_drive_serves_the_kernel_while_the_program_waits_for_other_things(world, p):
    listener = world.p.listen("tcp", 80)

    async def main():
        held = drive.drive(world.host, asyncio.get_running_loop())
        held.hold()
        try:
            world.start(lambda: world.p.connect("tcp", ("127.0.0.1", 80)).close())
            await asyncio.sleep(0.05)
            (connection, _) = await asyncio.to_thread(listener.accept)
            connection.close()
        finally:
            held.finish()
        assert not world.host.claimed()

    asyncio.run(main())


def test_without_a_loop_nobody_runs_a_coroutine(p):
    with pytest.raises(RuntimeError, match="nobody runs this coroutine"):
        p.nanosleep(1).send(None)


def test_a_call_goes_wherever_a_coroutine_goes(world, p):
    """Tasks are made of calls that are no coroutine functions: run, gathered, cancelled, given up."""

    async def main():
        near, far = await p.socket("udp"), await p.socket("udp")
        await far.bind(("127.0.0.1", 7))
        await near.connect(("127.0.0.1", 7))
        receiving = asyncio.create_task(far.recv(100))
        sending = asyncio.create_task(near.send(b"hello"))
        assert list(await asyncio.gather(receiving, sending)) == [b"hello", 5]
        forsaken = asyncio.create_task(far.recv(100))
        await asyncio.sleep(0)
        assert len(p.waits) == 1
        forsaken.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forsaken
        assert not p.waits
        call = near.send(b"once")
        assert await call == 4
        with pytest.raises(RuntimeError, match="awaited already"):
            await call
        far.recv(100).close()
        assert await far.recv(100) == b"once"

    asyncio.run(main())
    assert not p.waits
