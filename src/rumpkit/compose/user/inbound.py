"""Forwarded host ports: what connects to them is connected to a port of the kernel, from the gateway's address."""

import errno
import os
import socket
from select import EPOLLIN
from typing import final

from ...hosts.posix.host import PosixHost
from ...hosts.posix.loop import Source
from ...hosts.task import Task
from ...hyper.time import MILLISECOND, Duration, Instant
from ...kern.abi.socket import AF_INET, IPPROTO_TCP, SOCK_STREAM
from ...kern.kernel import RumpKernel
from ...kern.socket import StreamSocket
from ..values import Forward
from .flows import Flows, reset
from .plan import Plan

BACKLOG = 1024
MAX_ACCEPTS = 64
"""Connections taken from the host's queue in one go."""
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE: Duration = 100 * MILLISECOND
"""How long nothing is accepted once the host has no descriptors left."""


def bound_socket(forward: Forward, kind: int) -> socket.socket:
    """A host socket on the forward's address.  Raises OSError that names the forward, and what to do."""
    host_socket = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            host_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host_socket.bind((forward.host_address, forward.host_port))
        if kind == socket.SOCK_STREAM:
            host_socket.listen(BACKLOG)
    except OSError as problem:
        host_socket.close()
        raise _explain(forward, problem) from None
    return host_socket


def _explain(forward: Forward, problem: OSError) -> OSError:
    remedies = {
        errno.EADDRINUSE: "is another program using the port? `0 -> PORT` lets the host choose one",
        errno.EACCES: "ports below 1024 need root on the host: take a higher one",
        errno.EADDRNOTAVAIL: "the host has no such address",
    }
    remedy = remedies.get(problem.errno or 0, "")
    text = f"cannot forward {forward}: {os.strerror(problem.errno or 0)}"
    return OSError(problem.errno, f"{text} ({remedy})" if remedy else text)


@final
class Inbound(Source):
    """One forwarded TCP port."""

    def __init__(self, host: PosixHost, kernel: RumpKernel, plan: Plan, forward: Forward, flows: Flows) -> None:
        self._listener = bound_socket(forward, socket.SOCK_STREAM)
        super().__init__(self._listener.fileno())
        self._host = host
        self._kernel = kernel
        self._plan = plan
        self._flows = flows
        self.forward = forward._replace(host_port=self._listener.getsockname()[1])
        self._resume = _Resume(self, host)
        host.loop.register(self, EPOLLIN)

    def on_events(self, events: int, now: Instant) -> None:
        """Somebody has connected."""
        for _ in range(MAX_ACCEPTS):
            try:
                host_socket, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in OUT_OF_DESCRIPTORS:
                    # What waits would be reported again and again.
                    self._host.loop.modify(self, 0)
                    self._host.later(self._resume, PAUSE)
                return
            host_socket.setblocking(False)
            host_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connect(host_socket, now)

    def _connect(self, host_socket: socket.socket, now: Instant) -> None:
        if self._flows.full():
            reset(host_socket)
            return
        kernel_socket = self._kernel.sockets.make(AF_INET, SOCK_STREAM, IPPROTO_TCP)
        assert isinstance(kernel_socket, StreamSocket)
        try:
            kernel_socket.bind((self._plan.gateway, 0))
            kernel_socket.connect((self._plan.address, self.forward.port), now)
        except OSError:
            kernel_socket.abort(now)
            reset(host_socket)
            return
        self._flows.join(host_socket, kernel_socket)

    def close(self) -> None:
        """Stop listening."""
        self._host.loop.unregister(self)
        self._listener.close()


@final
class _Resume(Task):
    """Looks at a listener again."""

    def __init__(self, inbound: Inbound, host: PosixHost) -> None:
        self._inbound = inbound
        self._host = host

    def run(self, now: Instant) -> None:
        """The pause is over."""
        self._host.loop.modify(self._inbound, EPOLLIN)
