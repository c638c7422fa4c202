"""The wait loop of plain calls on threads: wake-ups, interruptions, closes, nothing lost and nothing left."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from rumpkit.clients.local import new_process
from rumpkit.kern.abi.errno import EBADF, EINTR
from rumpkit.kern.abi.poll import EPOLL_CTL_ADD, EPOLLET, POLLIN
from rumpkit.kern.abi.socket import SO_RCVTIMEO, SOL_SOCKET
from tests.clients.helpers import Raises, threads, wait_until


@pytest.fixture
def world():
    world = threads()
    yield world
    world.finish()
    world.close()


@pytest.fixture
def p(world):
    return world.p


def test_threads_of_one_process_wait_at_the_same_time(world, p):
    pipes = [p.pipe2() for _ in range(8)]
    got = {}

    def read(number):
        got[number] = p.read(pipes[number][0], 10)

    for number in range(8):
        world.start(lambda number=number: read(number))
    wait_until(lambda: len(p._sleepers) == 8)
    for number in reversed(range(8)):
        p.write(pipes[number][1], b"%d" % number)
    world.finish()
    assert got == {number: b"%d" % number for number in range(8)}
    assert not p._sleepers


@pytest.mark.parametrize(
    ("call", "end"),
    [
        (call, end)
        for call in ("read", "accept", "recv", "epoll_wait", "poll")
        for end in ("interrupt", "close", "timeout")
        if (call, end) != ("read", "timeout")
    ],
)
def test_every_wait_ends(world, p, call, end):
    r, _w = p.pipe2()
    listener = p.listen("tcp", 80)
    client = p.connect("tcp", ("127.0.0.1", 80))
    epfd = p.epoll_create1()
    fd = {"read": r, "accept": p.listen("tcp", 81).fileno(), "recv": client.fileno(), "epoll_wait": epfd, "poll": r}[
        call
    ]
    limit = 0.05 if end == "timeout" else None
    if limit and call in ("accept", "recv"):
        p.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, bytes(8) + (50_000).to_bytes(8, "little"))
    seen = []

    def wait():
        calls = {
            "read": lambda: p.read(fd, 1),
            "accept": lambda: p.accept4(fd),
            "recv": lambda: p.recv(fd, 1),
            "epoll_wait": lambda: p.epoll_wait(fd, timeout=limit),
            "poll": lambda: p.poll([(fd, POLLIN)], limit),
        }
        try:
            seen.append(calls[call]())
        except OSError as problem:
            seen.append(problem.errno)

    world.start(wait)
    if end != "timeout":
        wait_until(p._sleepers.copy)
        p.interrupt() if end == "interrupt" else p.close(fd)
    world.finish()
    nothing_ready: dict[str, list[object]] = {"epoll_wait": [], "poll": []}
    expected = {
        "interrupt": EINTR,
        "close": [(fd, 0x20)] if call == "poll" else EBADF,
        "timeout": nothing_ready.get(call, 11),
    }
    assert seen == [expected[end]]
    assert not p._sleepers
    listener.close()


def test_a_wakeup_that_an_interrupted_waiter_had_goes_to_the_next(world, p):
    """Two processes wait on one edge-triggered set; the one that was woken is interrupted before it looks."""
    other = new_process(world.kernel)
    r, w = p.pipe2()
    epfd = p.epoll_create1()
    p.epoll_ctl(epfd, EPOLL_CTL_ADD, r, POLLIN | EPOLLET)
    shared = other.process.files.install(p.process.files.get(epfd))
    seen = []

    def interrupted():
        with Raises(EINTR):
            p.epoll_wait(epfd)

    world.start(interrupted)
    wait_until(p._sleepers.copy)
    world.start(lambda: seen.append(other.epoll_wait(shared)))
    wait_until(other._sleepers.copy)
    world.host.enter()
    try:
        world.kernel.service("KernCalls").write(p.process, w, b"x")
        for sleeper in p._sleepers:
            sleeper.interrupted = True
    finally:
        world.host.leave()
    world.finish()
    assert seen == [[(r, POLLIN)]]


def test_bytes_come_out_in_order_under_load(world, p):
    r, w = p.pipe2()
    data = bytes(range(256)) * 4000
    world.start(lambda: (p.write(w, data), p.close(w)))
    got = bytearray()
    while part := p.read(r, 10_007):
        got += part
    assert got == data


def test_ctrl_c_ends_a_wait(world, p):
    r, w = p.pipe2()
    ident = threading.get_ident()
    assert ident == threading.main_thread().ident, "signals come to the main thread"

    def later():
        wait_until(p._sleepers.copy)
        time.sleep(0.05)
        signal.pthread_kill(ident, signal.SIGINT)

    world.start(later)
    with pytest.raises(KeyboardInterrupt):
        p.read(r, 1)
    assert not p._sleepers
    p.write(w, b"goes on")
    assert p.read(r, 99) == b"goes on"


def test_a_child_can_be_interrupted_from_its_parent(world, p):
    child = p.fork()
    r, _ = child.pipe2()

    def read():
        with Raises(EINTR):
            child.read(r, 1)

    world.start(read)
    wait_until(child._sleepers.copy)
    child.interrupt()
    world.finish()
    child.exit()
