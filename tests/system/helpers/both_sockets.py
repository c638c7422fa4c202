"""The same socket calls on Linux and on a rumpkit kernel, compared: results, errnos, readiness and its edges.

Both sides have a loopback interface of their own (a network namespace, a simulated kernel).  Sockets never block.  Ephemeral
ports differ, so they are compared by the order in which they came up.  Linux may be slow to let loopback packets arrive
on a busy machine: what differs is played again, with pauses, before it is believed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from rumpkit.clients.local import LocalProcess, new_process
from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.kernel import RumpKernel
from rumpkit.net import components as _net

__all__ = ["Difference", "Run", "PORTS"]

NET = _net and ("ethernet", "ipv4", "ipv6", "loopback", "icmp", "udp", "tcp")
PORTS = (0, 1, 2, 3)
"""What programs bind; 0 stands for any.  Each run has ports of its own for the others: connections of earlier runs may still be in
TIME-WAIT."""
_FIRST_PORT = 1024
EVERYTHING = 0x3FFF & ~0x400
EDGE = 1 << 31
LIBC = ctypes.CDLL(None, use_errno=True)
_EPHEMERAL = 32768
_PAUSE = 0.03
_TOLD = EVERYTHING & ~0x200  # Linux's datagram sockets say POLLWRBAND, which nobody asks for


class Difference(AssertionError):
    """The two sides differ."""


class Linux:
    """Sockets of the calling thread's network namespace."""

    def __init__(self) -> None:
        self.sockets: dict[int, socket.socket] = {}
        self.epoll = select.epoll()
        self.slow = False

    def open(self, number: int, family: int, kind: int, protocol: int) -> None:
        self._add(number, socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol))

    def _add(self, number: int, one: socket.socket) -> None:
        self.sockets[number] = one
        self.epoll.register(one, EVERYTHING | EDGE)

    def close(self, number: int) -> None:
        self.sockets.pop(number).close()

    def end(self) -> None:
        for one in self.sockets.values():
            # Nothing of this run may linger into the next one.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
            one.close()
        self.epoll.close()

    def bind(self, number: int, address: Any) -> None:
        self.sockets[number].bind(address)

    def listen(self, number: int, backlog: int) -> None:
        if LIBC.listen(self.sockets[number].fileno(), backlog):  # Python makes 0 of negative ones
            raise OSError(ctypes.get_errno(), "")

    def accept(self, number: int, new: int) -> Any:
        one, peer = self.sockets[number].accept()
        one.setblocking(False)
        self._add(new, one)
        return peer

    def connect(self, number: int, address: Any) -> None:
        self.sockets[number].connect(address)

    def disconnect(self, number: int) -> None:
        if LIBC.connect(self.sockets[number].fileno(), bytes(16), 16):
            raise OSError(ctypes.get_errno(), "")

    def send(self, number: int, data: bytes, flags: int) -> int:
        return self.sockets[number].send(data, flags)

    def sendto(self, number: int, data: bytes, flags: int, address: Any) -> int:
        return self.sockets[number].sendto(data, flags, address)

    def sendmsg(self, number: int, parts: list[bytes], control: list[Any], flags: int, address: Any) -> int:
        return self.sockets[number].sendmsg(parts, control, flags, address)

    def recv(self, number: int, size: int, flags: int) -> bytes:
        return self.sockets[number].recv(size, flags)

    def recvfrom(self, number: int, size: int, flags: int) -> Any:
        return self.sockets[number].recvfrom(size, flags)

    def recvmsg(self, number: int, size: int, flags: int) -> Any:
        return self.sockets[number].recvmsg(size, 512, flags)

    def shutdown(self, number: int, how: int) -> None:
        self.sockets[number].shutdown(how)

    def getsockname(self, number: int) -> Any:
        return self.sockets[number].getsockname()

    def getpeername(self, number: int) -> Any:
        return self.sockets[number].getpeername()

    def getsockopt(self, number: int, level: int, name: int, size: int) -> bytes:
        return self.sockets[number].getsockopt(level, name, size)

    def setsockopt(self, number: int, level: int, name: int, value: bytes) -> None:
        self.sockets[number].setsockopt(level, name, value)

    def ioctl(self, number: int, request: int) -> bytes:
        return fcntl.ioctl(self.sockets[number], request, bytes(4))

    def poll(self) -> dict[int, int]:
        poll = select.poll()
        numbers = {}
        for number, one in self.sockets.items():
            numbers[one.fileno()] = number
            poll.register(one, EVERYTHING)
        return {numbers[fd]: bits for fd, bits in poll.poll(0)}

    def edges(self) -> dict[int, int]:
        numbers = {one.fileno(): number for number, one in self.sockets.items()}
        return {numbers[fd]: bits for fd, bits in self.epoll.poll(0, 64)}

    def rest(self) -> None:
        if self.slow:
            time.sleep(_PAUSE)


class Ours:
    """Sockets of a kernel in simulated time, through the local client."""

    def __init__(self) -> None:
        self.host = SimHost(1)
        self.host.enter()
        try:
            kernel = RumpKernel(self.host, NET)  # type: ignore[arg-type]
        finally:
            self.host.leave()
        self.p: LocalProcess = new_process(kernel)
        self.fds: dict[int, int] = {}
        self.epoll = self.p.epoll_create1()
        self.slow = False

    def open(self, number: int, family: int, kind: int, protocol: int) -> None:
        self._add(number, self.p.socket(family, kind | socket.SOCK_NONBLOCK, protocol))

    def _add(self, number: int, fd: int) -> None:
        self.fds[number] = fd
        self.p.epoll_ctl(self.epoll, 1, fd, EVERYTHING | EDGE, number)

    def close(self, number: int) -> None:
        self.p.close(self.fds.pop(number))

    def end(self) -> None:
        self.p.exit()

    def accept(self, number: int, new: int) -> Any:
        fd, peer = self.p.accept4(self.fds[number], socket.SOCK_NONBLOCK)
        self._add(new, fd)
        return peer

    def disconnect(self, number: int) -> None:
        self.p.connect(self.fds[number], (b"", 0))

    def getsockopt(self, number: int, level: int, name: int, size: int) -> bytes:
        return self.p.getsockopt(self.fds[number], level, name)[:size]

    def sendmsg(self, number: int, parts: list[bytes], control: list[Any], flags: int, address: Any) -> int:
        return self.p.sendmsg(self.fds[number], parts, control, flags, address)

    def ioctl(self, number: int, request: int) -> bytes:
        return self.p.ioctl(self.fds[number], request, bytes(4))

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.p, name)
        return lambda number, *arguments: call(self.fds[number], *arguments)

    def poll(self) -> dict[int, int]:
        numbers = {fd: number for number, fd in self.fds.items()}
        found = self.p.poll([(fd, EVERYTHING) for fd in self.fds.values()], 0)
        return {numbers[fd]: bits for fd, bits in found}

    def edges(self) -> dict[int, int]:
        return dict(self.p.epoll_wait(self.epoll, 64, 0))

    def rest(self) -> None:
        if self.slow:
            self.host.run(self.host.now + int(_PAUSE * 1e9))


Side = Linux | Ours


class Names:
    """One side's ephemeral ports, in the order in which they came up."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}

    def shown(self, value: Any) -> Any:
        """The value with its ports made comparable."""
        if (
            isinstance(value, tuple)
            and len(value) in (2, 4)
            and isinstance(value[0], str)
            and isinstance(value[1], int)
        ):
            port = value[1]
            if port >= _EPHEMERAL:
                port = -1 - self.seen.setdefault(port, len(self.seen))
            elif port >= _FIRST_PORT:
                port = (port - _FIRST_PORT) % len(PORTS)
            return (value[0], port, *value[2:])
        if isinstance(value, (tuple, list)):
            return tuple(self.shown(part) for part in value)
        if isinstance(value, dict):
            return {key: bits & _TOLD for key, bits in value.items()}
        return value


Step = tuple[str, tuple[Any, ...]]


class Run:
    """One sequence of calls on both sides."""

    runs = 0

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.log: list[str] = []
        self._start(False)

    def _start(self, slow: bool) -> None:
        self.sides: tuple[Side, Side] = (Linux(), Ours())
        self.names = (Names(), Names())
        self.families: dict[int, int] = {}
        Run.runs = (Run.runs + 1) % ((_EPHEMERAL - _FIRST_PORT) // len(PORTS))
        self.base = _FIRST_PORT + Run.runs * len(PORTS)
        for side in self.sides:
            side.slow = slow

    def end(self) -> None:
        """Close everything."""
        for side in self.sides:
            side.end()

    def do(self, name: str, *arguments: Any) -> Any:
        """Make one call on both sides; the result, which is the same.  Raises Difference."""
        self.steps.append((name, arguments))
        try:
            return self._do(name, arguments)
        except Difference:
            return self._again()

    def _again(self) -> Any:
        """All of it once more, with pauses after each call."""
        self.end()
        self.log.clear()
        self._start(True)
        result = None
        try:
            for name, arguments in self.steps:
                result = self._do(name, arguments)
        finally:
            for side in self.sides:
                side.slow = False
        return result

    def _do(self, name: str, arguments: tuple[Any, ...]) -> Any:
        found = []
        for side, names in zip(self.sides, self.names, strict=True):
            # Where a socket's own name is meant, it is that side's.
            family = self.families.get(arguments[0] if arguments else -1, 0)
            own = tuple(self._resolve(side, argument, family) for argument in arguments)
            result = _outcome(lambda side=side, own=own: getattr(side, name)(*own))  # type: ignore[misc]
            side.rest()
            found.append((names.shown(result), names.shown(side.poll())))
        if name == "open":
            self.families[arguments[0]] = arguments[1]
        elif name == "accept":
            self.families[arguments[1]] = self.families[arguments[0]]
        (theirs, ready), (ours, readable) = found
        self.log.append(f"{name}{arguments} = {theirs} {_bits(ready)}")
        if ours != theirs:
            raise Difference("\n".join([*self.log, f"rumpkit says {ours}"]))
        if readable != ready:
            raise Difference("\n".join([*self.log, f"rumpkit shows {_bits(readable)}"]))
        return theirs

    def _resolve(self, side: Side, argument: Any, family: int) -> Any:
        if not isinstance(argument, tuple) or len(argument) != 2:
            return argument
        host, port = argument
        if host == "name of":
            found = _outcome(lambda: side.getsockname(port))
            host, port = found[:2] if isinstance(found, tuple) and found[1] else ("127.0.0.1", 9)
        elif port in PORTS[1:]:
            port += self.base
        elif not isinstance(host, str):
            return argument
        return _in_family(host, family), port


def _in_family(host: str, family: int) -> str:
    """The nearest to an address that a socket of the family can be given."""
    if family == socket.AF_INET6 and ":" not in host:
        return f"::ffff:{host}"
    if family == socket.AF_INET and ":" in host:
        return {"::": "0.0.0.0", "::1": "127.0.0.1"}.get(host, host.removeprefix("::ffff:"))
    return host


def _bits(ready: dict[int, int]) -> str:
    return "{" + ", ".join(f"{number}: {bits:#x}" for number, bits in sorted(ready.items())) + "}"


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]
