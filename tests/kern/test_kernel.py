"""Kernels: what they are built of, their processes, and their end."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import Instant
from rumpkit.kern.abi.errno import EAGAIN, EINVAL
from rumpkit.kern.calls import KernCalls
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.pollcalls import PollCalls
from rumpkit.kern.process import Credentials, PathContext
from rumpkit.kern.socketcalls import SocketCalls
from rumpkit.kern.timer import Timer
from tests.kern.helpers import Raises, Switchable


@pytest.fixture
def kernel():
    return RumpKernel(SimHost())


def test_every_kernel_has_the_base_calls(kernel):
    assert isinstance(kernel.service("KernCalls"), KernCalls)
    assert isinstance(kernel.service("SocketCalls"), SocketCalls)
    assert isinstance(kernel.service("PollCalls"), PollCalls)
    assert kernel.service("RumpKernel") is kernel
    assert kernel.service("Nothing") is None
    assert {built.component.name for built in kernel.built} >= {"calls", "socket_calls", "poll_calls"}


def test_numbers_of_processes_are_reused_last(kernel):
    kernel.sysctl.set("kern.max_processes", 3)
    processes = [kernel.process() for _ in range(3)]
    assert [process.pid for process in processes] == [1, 2, 3]
    with Raises(EAGAIN):
        kernel.process()
    kernel.exit(processes[1])
    assert kernel.process().pid == 2
    kernel.exit(processes[0])
    assert kernel.process().pid == 1


def test_exit_closes_descriptors_once(kernel):
    process = kernel.process()
    file = Switchable()
    process.files.install(file)
    process.files.install(file)
    kernel.exit(process)
    kernel.exit(process)
    assert file.closes == 1


def test_exit_of_what_has_ended_does_not_end_who_got_its_number(kernel):
    kernel.sysctl.set("kern.max_processes", 1)
    first = kernel.process()
    kernel.exit(first)
    second = kernel.process()
    assert second.pid == first.pid
    kernel.exit(first)
    assert kernel.processes == {1: second}


def test_orphans_have_no_parent(kernel):
    parent = kernel.process()
    child = kernel.process(parent=parent)
    kernel.exit(parent)
    assert child.parent == 0


def test_files_that_close_each_other_at_exit(kernel):
    process = kernel.process()

    class Closing(Switchable):
        def close(self, now: Instant) -> None:
            super().close(now)
            others = process.files.numbers()
            if others:
                process.files.close(others[-1], now)

    files = [Closing() for _ in range(3)]
    for file in files:
        process.files.install(file, True)
    process.files.close_for_exec(0)
    assert [file.closes for file in files] == [1, 1, 1]
    for file in files:
        process.files.install(file)
    kernel.exit(process)
    assert [file.closes for file in files] == [2, 2, 2]


def test_a_child_has_its_parents_files_and_credentials_unless_told_otherwise(kernel):
    parent = kernel.process(Credentials(5, 6, (7,)))
    file = Switchable()
    parent.files.install(file)
    child = kernel.process(parent=parent)
    other = kernel.process(Credentials(8), parent)
    assert child.credentials is parent.credentials
    assert other.credentials.uid == 8
    assert child.files.get(0) is other.files.get(0) is file
    assert file.references == 3


class Paths(PathContext):
    def __init__(self) -> None:
        self.forks = 0
        self.closes = 0

    def fork(self) -> PathContext:
        self.forks += 1
        return self

    def close(self) -> None:
        self.closes += 1


def test_processes_start_from_the_kernels_paths_and_give_them_back(kernel):
    kernel.paths = paths = Paths()
    process = kernel.process()
    child = kernel.process(parent=process)
    assert child.paths is paths and paths.forks == 2
    kernel.exit(process)
    kernel.exit(child)
    assert paths.closes == 2


def test_close_ends_processes_and_timers():
    host = SimHost()
    kernel = RumpKernel(host)
    file = Switchable()
    kernel.process().files.install(file)
    fired = []

    class Late(Timer):
        def expire(self, now: Instant) -> None:
            fired.append(now)

    kernel.timers.set(Late(), 5)
    kernel.close()
    host.run(10)
    assert file.closes == 1 and not kernel.processes and not fired


def test_kernels_of_one_host_share_nothing_but_the_host():
    host = SimHost()
    one, other = RumpKernel(host, hostname="one"), RumpKernel(host, hostname="other")
    one.sysctl.set("kern.pipe_size", 4096)
    one.process()
    assert other.settings.pipe_size == 65536
    assert not other.processes
    assert (one.hostname, other.hostname) == ("one", "other")


def test_groups():
    credentials = Credentials(1, 2, (3, 4))
    assert [credentials.in_group(group) for group in (1, 2, 3, 4)] == [False, True, True, True]


def test_host_names_have_a_limit(kernel):
    kernel.rename("x" * 64)
    with Raises(EINVAL):
        kernel.rename("x" * 65)
