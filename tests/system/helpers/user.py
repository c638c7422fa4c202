"""A kernel behind a `user` link, with the machine's loopback as its world, and nothing left of it afterwards."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

from rumpkit import Kernel
from rumpkit.clients.socketlike import SocketLike
from rumpkit.compose.spec import InterfaceSpec, KernelSpec, Spec
from rumpkit.compose.user.link import UserLink
from rumpkit.hosts.posix.host import PosixHost
from tests.house.descriptors import descriptors_before, open_descriptors

LOOPBACK = "10.0.2.2"
NAME_SERVER = "10.0.2.3"
PORT = 7000


class User:
    """Made by `user_link`."""

    def __init__(self, kernel: Kernel, link: UserLink) -> None:
        self.kernel = kernel
        self.link = link
        self.process = kernel.process()
        self._listening: SocketLike | None = None

    def accept(self) -> SocketLike:
        """A connection that came through the forward, from the gateway's address."""
        ours, peer = self.listen().accept()
        assert peer[0] == LOOPBACK
        return ours

    def listen(self) -> SocketLike:
        """The socket that listens where the forward goes to."""
        if self._listening is None:
            self._listening = self.process.listen("tcp", PORT)
        return self._listening

    def forward(self, protocol: str = "tcp") -> tuple[str, int]:
        """The host's address of the first forward of this protocol."""
        one = next(one for one in self.link.forwards() if one.protocol == protocol)
        return one.host_address, one.host_port

    def scheduled(self, call: Callable[[], int]) -> int:
        """Look at something on the schedule."""
        self.kernel.host.enter()
        try:
            return call()
        finally:
            self.kernel.host.leave()


@contextlib.contextmanager
def user_link(
    forward: tuple[str, ...] = (f"0 -> {PORT}",),
    dns: tuple[str, ...] = (),
    host_loopback: bool = True,
    sysctl: dict[str, int] | None = None,
    allowed: int = 0,
    components: tuple[str, ...] = (),
) -> Iterator[User]:
    """A kernel with a loop thread; at the end no descriptor (but the `allowed` ones of the test) and no thread may be left."""
    before = len(descriptors_before()), threading.active_count()
    interface = InterfaceSpec("user", forward=list(forward), dns=list(dns), host_loopback=host_loopback)
    spec = Spec(kernel=KernelSpec("ours", list(components)), interface=[interface], sysctl=sysctl or {})
    host = PosixHost()
    try:
        with Kernel(spec, host=host) as kernel:
            host.start_thread()
            link = kernel._booted.links[0].user
            assert link is not None
            yield User(kernel, link)
    finally:
        host.close()
    assert threading.active_count() <= before[1]
    assert descriptors() <= before[0] + allowed, "descriptors are left"


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(open_descriptors())


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Wait until something holds that happens elsewhere."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.005)


def reset(connection: socket.socket) -> None:
    """Close a socket of the machine so that its peer gets a RST."""
    import struct

    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
