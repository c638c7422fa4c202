"""Linux judges our sockets: the same random calls on its loopback and on a kernel's, errno for errno, edge for edge."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.hosts.posix.netns import network_namespace
from tests.system.helpers.both_sockets import PORTS, Run
from tests.system.helpers.socket_options import OPTIONS, OPTIONS6

LIMIT = 8
"""Sockets open at once."""
ELSEWHERE = "10.9.9.9"
HERE = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::")
HOSTS = st.sampled_from(["127.0.0.1", "127.0.0.1", "0.0.0.0", "127.0.0.2", ELSEWHERE])
HOSTS6 = st.sampled_from(["::1", "::1", "::", "::ffff:127.0.0.1", "2001:db8::9", "::ffff:" + ELSEWHERE])
ADDRESSES = st.tuples(HOSTS, st.sampled_from(PORTS))
ADDRESSES6 = st.tuples(HOSTS6, st.sampled_from(PORTS))
NUMBERS = st.integers(0, LIMIT - 1)
DATA = st.sampled_from([b"", b"x", b"hello", b"0123456789" * 10, b"y" * 3000])
SIZES = st.sampled_from([1, 4, 100, 5000])
SEND_FLAGS = st.sampled_from([0, 0, 0, 0, socket.MSG_OOB, socket.MSG_MORE, socket.MSG_DONTROUTE])
RECEIVE_FLAGS = st.sampled_from(
    [0, 0, 0, 0, socket.MSG_PEEK, socket.MSG_TRUNC, socket.MSG_OOB, socket.MSG_WAITALL, socket.MSG_ERRQUEUE]
)


class Machine(RuleBasedStateMachine):
    """Calls on sockets that are named by number; what a rule needs, it looks up in the run."""

    families: tuple[socket.AddressFamily, ...] = (socket.AF_INET,)
    options: tuple[Any, ...] = tuple(OPTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.run = Run()
        self.open: list[int] = []
        self.next = 0
        self.kinds: dict[int, int] = {}
        self.tried: set[int] = set()
        self.corked: set[int] = set()
        """Datagram sockets that may be gathering a datagram."""

    def teardown(self) -> None:
        self.run.end()

    def pick(self, which: int) -> int:
        return self.open[which % len(self.open)]

    def note_cork(self, which: int, flags: int) -> None:
        number = self.pick(which)
        if flags & socket.MSG_MORE and self.kinds[number] == socket.SOCK_DGRAM:
            self.corked.add(number)

    def may_connect(self, which: int) -> bool:
        """Whether Linux can be relied on: what has tried a v4-mapped address never reaches one of IPv6."""
        number = self.pick(which)
        if number in self.corked:
            return False
        if self.run.families[number] != socket.AF_INET6:
            return True
        first = number not in self.tried
        self.tried.add(number)
        return first

    def address(self, which: int, four: Any, six: Any) -> Any:
        """The address for a socket's family."""
        return six if self.run.families.get(self.pick(which)) == socket.AF_INET6 else four

    def family(self, which: int) -> int:
        return self.families[which % len(self.families)]

    def added(self, kind: int) -> None:
        self.open.append(self.next)
        self.kinds[self.next] = kind
        self.next += 1

    @precondition(lambda self: len(self.open) < LIMIT)
    @rule(kind=st.sampled_from([socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM]), which=NUMBERS)
    def socket(self, kind: int, which: int) -> None:
        if not isinstance(self.run.do("open", self.next, self.family(which), kind, 0), str):
            self.added(kind)

    @precondition(lambda self: len(self.open) < LIMIT - 2)
    @rule(port=st.sampled_from(PORTS), backlog=st.sampled_from([0, 1, 5]), which=NUMBERS)
    def listener(self, port: int, backlog: int, which: int) -> None:
        """What random calls seldom put together."""
        number = self.next
        self.run.do("open", number, self.family(which), socket.SOCK_STREAM, 0)
        self.added(socket.SOCK_STREAM)
        self.run.do("setsockopt", number, socket.SOL_SOCKET, socket.SO_REUSEADDR, b"\1\0\0\0")
        self.run.do("bind", number, ("::1" if which % 2 and len(self.families) > 1 else "127.0.0.1", port))
        self.run.do("listen", number, backlog)

    @precondition(lambda self: 0 < len(self.open) < LIMIT - 1)
    @rule(which=NUMBERS, other=NUMBERS)
    def pair(self, which: int, other: int) -> None:
        """A connection to a socket, and its accepted end, if that one listens."""
        number = self.next
        self.run.do("open", number, self.family(other), socket.SOCK_STREAM, 0)
        self.added(socket.SOCK_STREAM)
        self.tried.add(number)
        self.run.do("connect", number, ("name of", self.pick(which)))
        self.accept(which)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS)
    def close(self, which: int) -> None:
        number = self.pick(which)
        self.open.remove(number)
        self.run.do("close", number)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, address=ADDRESSES, six=ADDRESSES6)
    def bind(self, which: int, address: Any, six: Any) -> None:
        self.run.do("bind", self.pick(which), self.address(which, address, six))

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
    @rule(which=NUMBERS, address=ADDRESSES, six=ADDRESSES6)
    def connect(self, which: int, address: Any, six: Any) -> None:
        address = self.address(which, address, six)
        if not self.may_connect(which):
            return
        if self.kinds[self.pick(which)] == socket.SOCK_DGRAM and (address[0] not in HERE or address[1] == 0):
            # After a connect that fails, Linux sends every second datagram to where it failed to connect; port 0 stands for
            # any when receiving, and for 0 when sending.
            return
        self.run.do("connect", self.pick(which), address)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, other=NUMBERS)
    def connect_to(self, which: int, other: int) -> None:
        if not self.may_connect(which):
            return
        self.run.do("connect", self.pick(which), ("name of", self.pick(other)))

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS)
    def disconnect(self, which: int) -> None:
        self.run.do("disconnect", self.pick(which))

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, data=DATA, flags=SEND_FLAGS)
    def send(self, which: int, data: bytes, flags: int) -> None:
        self.note_cork(which, flags)
        self.run.do("send", self.pick(which), data, flags)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, data=DATA, flags=SEND_FLAGS, address=ADDRESSES, six=ADDRESSES6)
    def sendto(self, which: int, data: bytes, flags: int, address: Any, six: Any) -> None:
        if self.kinds[self.pick(which)] == socket.SOCK_DGRAM:
            # One that is connected and has gathered a datagram for somebody else hears of no errors on Linux any more.
            flags &= ~socket.MSG_MORE
        self.run.do("sendto", self.pick(which), data, flags, self.address(which, address, six))

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
    @rule(which=NUMBERS, choice=st.integers(0, 999), data=st.data())
    def set_option(self, which: int, choice: int, data: Any) -> None:
        number = self.pick(which)
        option = self.options[choice % len(self.options)]
        self.run.do("setsockopt", number, option.level, option.name, data.draw(option.values))
        self.get_option(which, choice)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS, choice=st.integers(0, 999))
    def get_option(self, which: int, choice: int) -> None:
        option = self.options[choice % len(self.options)]
        if option.comparable(self.kinds[self.pick(which)]):
            self.run.do("getsockopt", self.pick(which), option.level, option.name, option.size)

    @precondition(lambda self: self.open)
    @rule(which=NUMBERS)
    def unread(self, which: int) -> None:
        self.run.do("ioctl", self.pick(which), 0x541B)

    @rule()
    def edges(self) -> None:
        self.run.do("edges")


class Machine6(Machine):
    """Sockets of both versions side by side."""

    families = (socket.AF_INET6, socket.AF_INET6, socket.AF_INET)
    options = (*OPTIONS[:8], *OPTIONS6)


@pytest.fixture
def namespace() -> Iterator[None]:
    with network_namespace():
        yield


@pytest.mark.needs("root", "ip", "linux")
@pytest.mark.parametrize("machine", [Machine, pytest.param(Machine6, marks=pytest.mark.needs("ipv6"))])
def test_same_calls_have_the_same_outcome(
    namespace: None, request: pytest.FixtureRequest, machine: type[Machine]
) -> None:
    many = request.config.getoption("--long")
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=2000 if many else 80,
            stateful_step_count=40,
            # A difference is replayed with pauses before it counts, so that shrinking may take for ever.
            phases=[Phase.explicit, Phase.reuse, Phase.generate] if not many else list(Phase),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
