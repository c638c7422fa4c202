"""Worlds: the public face of simulation, with real kernels on bad links."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from rumpkit import O_CREAT, O_RDWR, Deadlock, Switch, simulate
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.kernel import Kernel
from rumpkit.hyper.frame import Frame
from rumpkit.lab.world import World
from rumpkit.net.ip.service import Ip
from rumpkit.net.link.tap import FrameTap
from rumpkit.net.wire.address import parse_address

PORT = 80


def serve(kernel: Kernel, connections: int = 1) -> int:
    """Echo what comes, upper case; how many bytes that was."""
    total = 0
    process = kernel.process()
    with process.listen("tcp", PORT) as listener:
        for _ in range(connections):
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(65536):
                    total += len(data)
                    connection.sendall(data.upper())
    return total


def ask(world: World, client: Kernel, server: Kernel, data: bytes) -> bytes:
    with client.process().socket("tcp") as connection:
        connection.connect((world.address(server), PORT))
        answer = bytearray()
        for at in range(0, len(data), 10000):
            part = data[at : at + 10000]
            connection.sendall(part)
            while len(answer) < at + len(part):
                answer += connection.recv(65536)
        return bytes(answer)


class Recorder(FrameTap):
    def __init__(self) -> None:
        self.frames: list[tuple[int, int, bytes]] = []

    def frame(self, interface: str, frame: Frame, direction: int, now: int) -> None:
        self.frames.append((now, direction, frame.linear()))


def record(kernel: Kernel) -> Recorder:
    recorder = Recorder()
    interfaces: Any = kernel.core.service("Interfaces")
    interfaces.get("vif0").add_tap(recorder)
    return recorder


def test_plain_code_on_both_sides():
    with simulate(seed=1) as world:
        lan = Switch()
        a, b = world.kernel(link=lan), world.kernel(link=lan)
        assert (world.address(a), world.address(b)) == ("10.0.0.1", "10.0.0.2")
        server = world.spawn(serve, b)
        assert ask(world, a, b, b"hello" * 10000) == b"HELLO" * 10000
        assert server.join() == 50000
        assert world.now < 0.1


def test_a_delay_is_one_way():
    with simulate() as world:
        lan = Switch(delay="20ms")
        a, b = world.kernel(link=lan), world.kernel(link=lan)
        world.spawn(serve, b)
        world.run("1s")
        started = world.now
        ask(world, a, b, b"x")
        # Three round trips: ARP, the handshake, the question.
        assert world.now - started == pytest.approx(0.12, abs=0.001)


@pytest.mark.parametrize(
    "trouble",
    [
        {"loss": 0.02, "delay": "5ms"},
        {"duplicate": 0.1, "delay": "1ms"},
        {"corrupt": 0.02, "delay": "1ms"},
        {"reorder": 0.1, "reorder_delay": "3ms", "delay": "1ms"},
        {"jitter": "4ms", "delay": "5ms", "loss": 0.01},
        {"rate": 10_000_000},
        {"offload": False},
    ],
    ids=lambda trouble: next(iter(trouble)),
)
def test_every_byte_arrives_whatever_the_link_does(trouble):
    with simulate(seed=3) as world:
        lan = Switch(**trouble)
        a, b = world.kernel(link=lan), world.kernel(link=lan)
        server = world.spawn(serve, b)
        data = world.random.randbytes(300_000)
        assert ask(world, a, b, data) == data.upper()
        assert server.join() == len(data)
        assert world.now < 120
        for cable in world.lan(lan).cables:
            if "loss" in trouble:
                assert cable.lost > 0
            if "duplicate" in trouble:
                assert cable.duplicated > 0
            if "corrupt" in trouble:
                assert cable.corrupted > 0
            if "reorder" in trouble:
                assert cable.reordered > 0


def test_a_rate_takes_its_time():
    with simulate() as world:
        lan = Switch(rate=8_000_000)
        a, b = world.kernel(link=lan), world.kernel(link=lan)
        world.spawn(serve, b)
        ask(world, a, b, bytes(500_000))
        assert 0.5 < world.now < 1.5


def run_once(seed: int) -> list[tuple[int, int, bytes]]:
    with simulate(seed) as world:
        lan = Switch(loss=0.03, delay="3ms", jitter="1ms", reorder=0.02)
        a, b, c = (world.kernel(link=lan) for _ in range(3))
        recorder = record(c)
        server = world.spawn(serve, c, 2)

        async def other() -> None:
            process = b.process().aio
            await world.pause("1ms")
            connection = await process.socket("tcp")
            await connection.connect((world.address(c), PORT))
            await connection.sendall(b"y" * 50000)
            got = 0
            while got < 50000:
                got += len(await connection.recv(65536))
            await connection.close()

        world.spawn(other)
        ask(world, a, c, b"x" * 50000)
        assert server.join() == 100_000
        return recorder.frames


def test_same_seed_same_frames_at_the_same_nanoseconds_with_three_callers():
    first = run_once(5)
    assert len(first) > 100
    assert first == run_once(5)
    assert first != run_once(6)


def test_a_cut_cable_heals_and_the_transfer_ends():
    with simulate(seed=2) as world:
        lan = Switch(delay="10ms")
        a, b = world.kernel(link=lan), world.kernel(link=lan)
        world.spawn(serve, b)
        world.cut(lan, after="0.1s", heal="5s")
        assert ask(world, a, b, b"z" * 200_000) == b"Z" * 200_000
        assert 5 < world.now < 60
        assert world.lan(lan).switch.drops > 0


def test_a_cut_cable_that_never_heals():
    with simulate() as world:
        lan = Switch()
        a, b = world.kernel(link=lan), world.kernel(link=lan)
        world.cut(lan)
        world.run("1ms")
        with pytest.raises(OSError):
            ask(world, a, b, b"x")


def test_nobody_answers_is_a_deadlock_not_a_hang():
    with simulate() as world:
        a = world.kernel(link=Switch())

        def forever() -> None:
            a.process().listen("tcp", 81).accept()

        world.spawn(forever)
        with pytest.raises(Deadlock, match=r"so do forever"), a.process().listen("tcp", PORT) as listener:
            listener.accept()


def test_a_deadlock_that_another_caller_runs_into():
    with simulate() as world:
        a = world.kernel(link=Switch())

        def forever() -> None:
            world.sleep(1)
            a.process().listen("tcp", 81).accept()

        task = world.spawn(forever)
        with pytest.raises(Deadlock, match=r"1000000000 ns; so do forever"):
            task.join()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_interrupt_while_another_caller_runs_ends_both(elsewhere: bool) -> None:
    """Also one that Linux gives to another thread, so that nothing ends the first one's sleep."""
    cleaned: list[str] = []
    interrupts = {signal.SIGINT}

    def interrupted() -> None:
        try:
            world.sleep(1)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts)
            os.kill(os.getpid(), signal.SIGINT)
            while not world._lockstep.closing:  # until the other thread has heard of it, in its own time
                time.sleep(0.001)
            world.sleep(1)
            cleaned.append("went on")
        finally:
            cleaned.append("ended")

    before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts if elsewhere else ())
    try:
        with pytest.raises(KeyboardInterrupt), simulate() as world:
            world.spawn(interrupted)
            world.sleep(5)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert cleaned == ["ended"]


def test_callers_wait_their_turn_in_time():
    with simulate() as world:
        order: list[tuple[str, float]] = []

        def sleeper(name: str, *spans: float) -> None:
            for span in spans:
                world.sleep(span)
                order.append((name, world.now))

        async def dozer() -> None:
            await world.pause("2.5s")
            order.append(("c", world.now))

        world.spawn(sleeper, "a", 1, 3)
        world.spawn(sleeper, "b", 2, 1)
        world.spawn(dozer)
        world.after("2.2s", lambda: order.append(("call", world.now)))
        world.sleep("3.5s")
        order.append(("main", world.now))
        world.run("3.8s")
        assert world.now == 3.8
        world.run()
        assert order == [
            ("a", 1), ("b", 2), ("call", 2.2), ("c", 2.5), ("b", 3), ("main", 3.5), ("a", 4),
        ]  # fmt: skip
        assert world.now == 4


def test_plain_callers_run_one_at_a_time():
    with simulate() as world:
        running = 0
        most = 0

        def busy() -> None:
            nonlocal running, most
            for _ in range(50):
                running += 1
                most = max(most, running)
                for _ in range(1000):
                    pass
                running -= 1
                world.sleep("1ms")

        tasks = [world.spawn(busy) for _ in range(5)]
        for task in tasks:
            task.join()
        assert most == 1


def test_tasks_can_be_joined_awaited_and_give_results():
    with simulate() as world:

        def plain(number: int) -> int:
            world.sleep(number)
            return number * 2

        async def awaiting() -> int:
            first: int = await world.spawn(plain, 3)
            second: int = await world.spawn(plain, 1)
            return first + second

        assert world.spawn(awaiting).join() == 8
        assert world.now == 4
        with pytest.raises(TimeoutError):
            world.spawn(plain, 10).join(world.host.now + 1)


def test_a_spawned_function_has_run_until_its_first_wait():
    with simulate() as world:
        order: list[str] = []

        def plain() -> None:
            order.append("plain")
            world.sleep(1)
            order.append("plain again")

        async def coroutine() -> None:
            order.append("coroutine")
            world.spawn(plain)
            order.append("coroutine again")

        world.spawn(coroutine)
        order.append("main")
        world.sleep(2)
        assert order == ["coroutine", "plain", "coroutine again", "main", "plain again"]


def test_what_a_task_raises_is_raised_where_it_is_joined():
    with simulate() as world:

        def fails() -> None:
            raise ValueError("plain")

        async def fails_too() -> None:
            raise ValueError("coroutine")

        for function in (fails, fails_too):
            with pytest.raises(ValueError):
                world.spawn(function).join()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_nobody_asked_about_is_raised_at_the_end(asynchronous):
    def fails() -> None:
        raise ValueError("unheard")

    async def fails_too() -> None:
        raise ValueError("unheard")

    with pytest.raises(ValueError, match="unheard"), simulate() as world:
        world.spawn(fails_too if asynchronous else fails)
        world.sleep(1)


def test_a_problem_of_the_block_itself_is_what_is_raised():
    def fails() -> None:
        raise ValueError("unheard")

    with pytest.raises(KeyError), simulate() as world:
        world.spawn(fails)
        world.sleep(1)
        raise KeyError("the block's own")


def test_closing_ends_callers_that_wait_and_runs_their_finally_clauses():
    threads = threading.active_count()
    cleaned: list[str] = []
    with simulate() as world:
        kernel = world.kernel(link=Switch())

        def waits() -> None:
            try:
                kernel.process().listen("tcp", PORT).accept()
            finally:
                cleaned.append("accept")

        def sleeps() -> None:
            try:
                world.sleep(1000)
            finally:
                cleaned.append("sleep")

        world.spawn(waits)
        world.spawn(sleeps)
        world.sleep(1)
    assert cleaned == ["accept", "sleep"]
    assert threading.active_count() == threads
    world.close()


def test_files_and_pipes_in_a_world():
    with simulate() as world:
        kernel = world.kernel()
        process = kernel.process()
        fd = process.open("/note", O_CREAT | O_RDWR)
        process.write(fd, b"hello")
        assert process.pread(fd, 10, 0) == b"hello"
        reader, writer = process.pipe2()
        task = world.spawn(process.read, reader, 100)
        world.sleep("1s")
        process.write(writer, b"through the pipe")
        assert task.join() == b"through the pipe"


def test_a_router_between_two_switches():
    with simulate() as world:
        left, right = Switch(delay="1ms"), Switch(network="10.1.0", delay="1ms")
        router = world.kernel(link=[left, right], sysctl={"net.ip.forwarding": 1})
        a = world.kernel(link=left, gateway="10.0.0.1")
        b = world.kernel(link=right, gateway="10.1.0.1")
        assert (world.address(router), world.address(a), world.address(b)) == ("10.0.0.1", "10.0.0.2", "10.1.0.2")
        world.spawn(serve, b)
        assert ask(world, a, b, b"over the hill") == b"OVER THE HILL"


def test_descriptions_that_make_no_sense():
    with simulate() as world:
        with pytest.raises(ValueError, match="loss"):
            world.kernel(link=Switch(loss=2))
        with pytest.raises(ConfigError, match="not a duration"):
            world.kernel(link=Switch(delay="soon"))


def test_one_description_in_two_worlds():
    lan = Switch(delay="1ms")
    for _ in range(2):
        with simulate() as world:
            a, b = world.kernel(link=lan), world.kernel(link=lan)
            world.spawn(serve, b)
            assert ask(world, a, b, b"x") == b"X"


def test_ipv6_addresses_are_there_at_once():
    with simulate() as world:
        switch = Switch()
        kernel = world.kernel(switch, address="fd00::1/64", gateway="fd00::9")
        ip = kernel.core.service("Ip")
        assert isinstance(ip, Ip) and ip.v6 is not None
        assert world.address(kernel) == "fd00::1"
        assert ip.v6.is_local(parse_address("fd00::1")) and not ip.v6.is_detecting()
        assert [row.gateway for row in ip.route_rows() if row.prefix == "::/0"] == ["fd00::9"]
