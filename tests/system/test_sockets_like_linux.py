"""Linux judges our sockets: the same random calls on its loopback and on a kernel's, errno for errno, edge for edge."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.hosts.posix.netns import network_namespace
from tests.system.helpers.both_sockets import PORTS, Run
from tests.system.helpers.socket_options import OPTIONS

LIMIT = 8
"""Sockets open at once."""
ELSEWHERE = "10.9.9.9"
HOSTS = st.sampled_from(["127.0.0.1", "127.0.0.1", "0.0.0.0", "127.0.0.2", ELSEWHERE])
ADDRESSES = st.tuples(HOSTS, st.sampled_from(PORTS))
NUMBERS = st.integers(0, LIMIT - 1)
DATA = st.sampled_from([b"", b"x", b"hello", b"0123456789" * 10, b"y" * 3000])
SIZES = st.sampled_from([1, 4, 100, 5000])
SEND_FLAGS = st.sampled_from([0, 0, 0, 0, socket.MSG_OOB, socket.MSG_MORE, socket.MSG_DONTROUTE])
RECEIVE_FLAGS = st.sampled_from(
    [0, 0, 0, 0, socket.MSG_PEEK, socket.MSG_TRUNC, socket.MSG_OOB, socket.MSG_WAITALL, socket.MSG_ERRQUEUE]
)


class Machine(RuleBasedStateMachine):
    """Calls on sockets that are named by number; what a rule needs, it looks up in the run."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Run()
        self.open: list[int] = []
        self.next = 0
        self.kinds: dict[int, int] = {}

    def teardown(self) -> None:
        self.run.end()

    def pick(self, which: int) -> int:
        return self.open[which % len(self.open)]

    def added(self, kind: int) -> None:
        self.open.append(self.next)
        self.kinds[self.next] = kind
        self.next += 1

    @precondition(lambda self: len(self.open) < LIMIT)
    @rule(kind=st.sampled_from([socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM]))
    def socket(self, kind: int) -> None:
        if not isinstance(self.run.do("open", self.next, socket.AF_INET, kind, 0), str):
            self.added(kind)

    @precondition(lambda self: len(self.open) < LIMIT - 2)
    @rule(port=st.sampled_from(PORTS), backlog=st.sampled_from([0, 1, 5]))
    def listener(self, port: int, backlog: int) -> None:
        """What random calls seldom put together."""
        number = self.next
        self.run.do("open", number, socket.AF_INET, socket.SOCK_STREAM, 0)
        self.added(socket.SOCK_STREAM)
        self.run.do("setsockopt", number, socket.SOL_SOCKET, socket.SO_REUSEADDR, b"\1\0\0\0")
        self.run.do("bind", number, ("127.0.0.1", port))
        self.run.do("listen", number, backlog)

    @precondition(lambda self: 0 < len(self.open) < LIMIT - 1)
    @rule(which=NUMBERS)
    def pair(self, which: int) -> None:
        """A connection to a socket, and its accepted end, if that one listens."""
        number = self.next
        self.run.do("open", number, socket.AF_INET, socket.SOCK_STREAM, 0)
        self.added(socket.SOCK_STREAM)
        self.run.do("connect", number, ("name of", self.pick(which)))
        self.accept(which)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS)
    def close(self, which: int) -> None:
        number = self.pick(which)
        self.open.remove(number)
        self.run.do("close", number)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, address=ADDRESSES)
    def bind(self, which: int, address: Any) -> None:
        self.run.do("bind", self.pick(which), address)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, backlog=st.sampled_from([-1, 0, 1, 5]))
    def listen(self, which: int, backlog: int) -> None:
        self.run.do("listen", self.pick(which), backlog)

    @precondition(lambda self: 0 < len(self.open) < LIMIT)
    @rule(which=NUMBERS)
    def accept(self, which: int) -> None:
        if isinstance(self.run.do("accept", self.pick(which), self.next), tuple):
            self.added(socket.SOCK_STREAM)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, address=ADDRESSES)
    def connect(self, which: int, address: Any) -> None:
        if self.kinds[self.pick(which)] == socket.SOCK_DGRAM and (address[0] == ELSEWHERE or address[1] == 0):
            # After a connect that fails, Linux sends every second datagram to where it failed to connect; port 0 stands for
            # any when receiving, and for 0 when sending.
            return
        self.run.do("connect", self.pick(which), address)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, other=NUMBERS)
    def connect_to(self, which: int, other: int) -> None:
        self.run.do("connect", self.pick(which), ("name of", self.pick(other)))

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS)
    def disconnect(self, which: int) -> None:
        self.run.do("disconnect", self.pick(which))

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, data=DATA, flags=SEND_FLAGS)
    def send(self, which: int, data: bytes, flags: int) -> None:
        self.run.do("send", self.pick(which), data, flags)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, data=DATA, flags=SEND_FLAGS, address=ADDRESSES)
    def sendto(self, which: int, data: bytes, flags: int, address: Any) -> None:
        self.run.do("sendto", self.pick(which), data, flags, address)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, data=DATA, other=NUMBERS)
    def send_to(self, which: int, data: bytes, other: int) -> None:
        self.run.do("sendto", self.pick(which), data, 0, ("name of", self.pick(other)))

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, size=SIZES, flags=RECEIVE_FLAGS)
    def recv(self, which: int, size: int, flags: int) -> None:
        number = self.pick(which)
        if flags & socket.MSG_TRUNC:
            return  # what Python leaves in the buffer then is chance
        self.run.do("recv", number, size, flags)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, size=SIZES)
    def recvfrom(self, which: int, size: int) -> None:
        number = self.pick(which)
        if self.kinds[number] == socket.SOCK_DGRAM:
            self.run.do("recvfrom", number, size, 0)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, how=st.integers(-1, 3))
    def shutdown(self, which: int, how: int) -> None:
        number = self.pick(which)
        if self.run.do("shutdown", number, how) == "ENOTCONN" and self.kinds[number] == socket.SOCK_STREAM:
            # What Linux makes of a connection that was shut down before there was one, nobody should rely on.
            self.close(which)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS)
    def names(self, which: int) -> None:
        self.run.do("getsockname", self.pick(which))
        self.run.do("getpeername", self.pick(which))

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, option=st.sampled_from(OPTIONS), data=st.data())
    def set_option(self, which: int, option: Any, data: Any) -> None:
        number = self.pick(which)
        self.run.do("setsockopt", number, option.level, option.name, data.draw(option.values))
        self.get_option(which, option)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, option=st.sampled_from(OPTIONS))
    def get_option(self, which: int, option: Any) -> None:
        if option.comparable(self.kinds[self.pick(which)]):
            self.run.do("getsockopt", self.pick(which), option.level, option.name, option.size)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS)
    def unread(self, which: int) -> None:
        self.run.do("ioctl", self.pick(which), 0x541B)

    @rule()
    def edges(self) -> None:
        self.run.do("edges")


@pytest.fixture
def namespace() -> Iterator[None]:
    with network_namespace():
        yield


@pytest.mark.needs("root", "ip", "linux")
def test_same_calls_have_the_same_outcome(namespace: None, request: pytest.FixtureRequest) -> None:
    many = request.config.getoption("--long")
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=2000 if many else 120,
            stateful_step_count=40,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
