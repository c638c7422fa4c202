"""What the tests of the base faction share: a kernel in a world of its own, waiters that count, and a socket family."""

from __future__ import annotations

from collections import deque

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.calls import Waiter
from rumpkit.hyper.time import Instant
from rumpkit.kern.abi.errno import EINVAL, ENOTCONN, EPIPE, NAMES, error
from rumpkit.kern.abi.poll import POLLHUP, POLLIN, POLLOUT
from rumpkit.kern.abi.socket import AF_UNIX, MSG_PEEK, SHUT_RD, SOCK_STREAM
from rumpkit.kern.file import OpenFile
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.socket import Received, Socket, SocketAddress
from rumpkit.kern.wait import Blocked, Observer


class Bell(Waiter):
    """Counts its wake-ups."""

    def __init__(self) -> None:
        self.rings = 0

    def wake(self) -> None:
        self.rings += 1


class Ear(Observer):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.heard = 0

    def notify(self) -> None:
        self.heard += 1


class Switchable(OpenFile):
    """A file whose readiness the test sets."""

    def __init__(self, bits: int = 0) -> None:
        super().__init__()
        self.bits = bits
        self.closes = 0

    def set(self, bits: int) -> None:
        self.bits = bits
        self.queue.wake_all()

    def poll(self) -> int:
        return self.bits

    def close(self, now: Instant) -> None:
        self.closes += 1


class Bounded(Socket):
    """A stream socket of a family of the test's own, with room for `limit` bytes at the receiver."""

    def __init__(self, family: int, kind: int, protocol: int, limit: int = 100) -> None:
        super().__init__(family, kind, protocol)
        self.limit = limit
        self.name: SocketAddress = (b"", 0)
        self.peer: Bounded | None = None
        self.pending: deque[Bounded] | None = None
        self.buffer = bytearray()
        self.ended = False
        self.dead = 0

    def join(self, other: Bounded) -> None:
        self.peer, other.peer = other, self
        self.queue.wake_all()
        other.queue.wake_all()

    def bind(self, address: SocketAddress) -> None:
        self.name = address

    def listen(self, backlog: int) -> None:
        self.pending = deque()

    def accepting(self) -> bool:
        return self.pending is not None

    def accept(self, now: Instant) -> Socket | Blocked:
        if self.pending is None:
            raise error(EINVAL)
        return self.pending.popleft() if self.pending else Blocked(self.queue)

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        """Always takes its time: it is the test that says `establish`."""
        return Blocked(self.queue, retry=lambda: None if self.peer else Blocked(self.queue, retry=self.connected))

    def connected(self) -> object:
        return None if self.peer else Blocked(self.queue, retry=self.connected)

    def establish(self, listener: Bounded) -> None:
        far = Bounded(self.family, self.kind, self.protocol)
        far.name = (b"far", 7)
        self.join(far)
        assert listener.pending is not None
        listener.pending.append(far)
        listener.queue.wake_all()

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        if self.dead:
            raise error(self.dead)
        if self.peer is None:
            raise error(ENOTCONN)
        if self.peer.ended:
            raise error(EPIPE)
        taken = min(self.peer.limit - len(self.peer.buffer), len(data) - start)
        if taken == 0 and len(data) > start:
            return Blocked(self.queue)
        self.peer.buffer += data[start : start + taken]
        self.peer.queue.wake_all()
        return taken

    def receive(self, size: int, flags: int, now: Instant) -> Received | Blocked:
        if self.dead:
            raise error(self.dead)
        if not self.buffer and not self.ended:
            return Blocked(self.queue)
        data = bytes(self.buffer[:size])
        if not flags & MSG_PEEK:
            del self.buffer[:size]
            if self.peer is not None:
                self.peer.queue.wake_all()
        return Received(data, None, 0, len(data))

    def shutdown(self, how: int, now: Instant) -> None:
        if self.peer is None:
            raise error(ENOTCONN)
        end = self if how == SHUT_RD else self.peer
        end.ended = True
        end.queue.wake_all()

    def die(self, number: int) -> None:
        self.dead = number
        self.queue.wake_all()

    def local_address(self) -> SocketAddress:
        return self.name

    def peer_address(self) -> SocketAddress:
        if self.peer is None:
            raise error(ENOTCONN)
        return self.peer.name

    def poll(self) -> int:
        bits = POLLIN if self.buffer or self.ended or self.pending else 0
        if self.peer is not None and len(self.peer.buffer) < self.peer.limit:
            bits |= POLLOUT
        return bits | POLLHUP if self.ended else bits


def make_pair(family: int, kind: int, protocol: int) -> tuple[Socket, Socket]:
    one, other = Bounded(family, kind, protocol), Bounded(family, kind, protocol)
    one.join(other)
    return one, other


def make_kernel(host: SimHost | None = None) -> RumpKernel:
    """A kernel without factions, but with a family of streams."""
    kernel = RumpKernel(host or SimHost())
    kernel.sockets.register(AF_UNIX, SOCK_STREAM, 0, Bounded)
    kernel.sockets.register_pairs(AF_UNIX, SOCK_STREAM, make_pair)
    return kernel


class Raises:
    """`with Raises(EBADF):` passes if the block raises OSError with that number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, problem: BaseException | None, traceback: object) -> bool:
        if not isinstance(problem, OSError):
            if problem is None:
                pytest.fail(f"nothing was raised; expected {NAMES[self.number]}")
            return False
        got = NAMES.get(problem.errno or 0, str(problem.errno))
        assert got == NAMES[self.number]
        return True
