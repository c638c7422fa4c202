"""Kernels with everything for the tests of clients: in a simulation, or on threads of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rumpkit.clients.local import LocalProcess, new_process
from rumpkit.dev import components as _dev
from rumpkit.fs import components as _fs
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.calls import Hypercalls
from rumpkit.kern.kernel import RumpKernel
from rumpkit.net import components as _net
from rumpkit.vfs import components as _vfs
from rumpkit.vfs.vfs import Vfs
from tests.kern.helpers import Raises

__all__ = ["World", "Raises", "bare", "sim", "threads", "wait_until"]

FACTIONS = (_dev, _fs, _net, _vfs)
FILES = ("vfs", "vfs_calls", "tmpfs")
NET = ("ethernet", "ipv4", "loopback", "icmp", "udp", "tcp")


class World:
    """A host, a kernel with a tmpfs root and a network of its own, and one process."""

    def __init__(self, host: Hypercalls, components: tuple[str, ...] = (*FILES, *NET)) -> None:
        self.host: Any = host
        host.enter()
        try:
            self.kernel = RumpKernel(host, components)
            vfs = self.kernel.service("Vfs")
            if isinstance(vfs, Vfs):
                vfs.mount("tmpfs", "/")
        finally:
            host.leave()
        self.p: LocalProcess = new_process(self.kernel)
        self.threads: list[tuple[threading.Thread, list[BaseException]]] = []

    def start(self, function: Callable[[], Any]) -> threading.Thread:
        """Run `function` on a thread; `finish` raises what it raises."""
        problems: list[BaseException] = []

        def run() -> None:
            try:
                function()
            except BaseException as problem:
                problems.append(problem)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append((thread, problems))
        thread.start()
        return thread

    def finish(self) -> None:
        """Wait for the threads."""
        for thread, problems in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a thread hangs"
            for problem in problems:
                raise problem
        self.threads.clear()

    def waiting(self, process: LocalProcess | None = None) -> bool:
        """Whether a call of the process waits."""
        return bool((process or self.p)._sleepers)

    def close(self) -> None:
        """Close the kernel and, on threads, the host."""
        self.host.enter()
        try:
            self.kernel.close()
        finally:
            self.host.leave()
        if isinstance(self.host, PosixHost):
            self.host.close()


def sim(seed: int = 0) -> World:
    """In a simulation."""
    return World(SimHost(seed))


def bare() -> World:
    """In a simulation, without files and network."""
    return World(SimHost(), ())


def threads() -> World:
    """On threads of this process."""
    return World(PosixHost(-1))


def wait_until(condition: Callable[[], object]) -> None:
    """Sleep until the condition holds, at most 30 s."""
    for _ in range(30_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("the condition never held")
