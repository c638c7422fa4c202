"""A guest: one unmodified Linux program on a kernel, from the outside.

The top of this package.  `Guest.start` launches the program and lets the host's event loop serve it; the methods may be called from
any thread.
"""

import itertools
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, final

from ...hosts.posix.host import PosixHost
from ...hosts.posix.loop import Source
from ...hyper.time import FOREVER, SECOND, Instant
from ...kern.abi.errno import ECHILD
from ...kern.kernel import RumpKernel
from ...kern.wait import WaitQueue
from . import sysctls
from .files import KernelFiles
from .following import FollowedFile
from .launcher import Share
from .mirror import Mirror
from .plan import KernelSide, ProgramPlan
from .procnet import ProcNet
from .record import guarded
from .refusals import Refusal
from .spawn import Program, spawn

if TYPE_CHECKING:
    from .calls import Calls
    from .context import Context

SETTLE_INTERVAL: Final = 0.01
STOP_TIMEOUT: Final = 5.0
"""Seconds that a program has to end after SIGTERM."""


@final
class _End(Source):
    """What init says last."""

    def __init__(self, guest: "Guest", fd: int) -> None:
        super().__init__(fd, False)
        self._guest = guest

    def on_events(self, events: int, now: Instant) -> None:
        guarded(self._guest.check)


@final
class Guest:
    """A running program.  Close it before its kernel; as a context manager it closes itself."""

    def __init__(
        self,
        kernel: RumpKernel,
        host: PosixHost,
        program: Program,
        plan: ProgramPlan,
        files: KernelFiles | None = None,
        mirror: Mirror | None = None,
        sockets: ProcNet | None = None,
        share: Share | None = None,
    ) -> None:
        self.name = os.fspath(plan.command[0])
        """The command, for messages."""
        self.plan = plan
        self.program = program
        self.group = plan.group
        """What all of it may use; None where that has no limits."""
        self.notes: list[str] = []
        """What this machine keeps otherwise than was asked for."""
        self._host = host
        calls, context = _servers()
        self._context: Context = context(kernel, host, program)
        self._calls: Calls = calls(self._context)
        self._end = _End(self, program.control.fileno())
        self._lock = threading.Lock()
        self._served = True
        self._files = files
        self.unseen: dict[str, str] = {**(files.refused if files else {}), **program.refused}
        """The kernel's mounts that the program should see and doesn't, and why."""
        self._share = share
        self.tracer = plan.tracer
        self._mirror = mirror
        self._sockets = sockets
        self._followed: list[FollowedFile] = []
        if sockets is not None:
            sockets.owners = self._context.owners
            sockets.collect = self._context.collect
            sockets.init = program.init
        if mirror is not None:
            self._context.carrier.native = mirror.native
            mirror.follow(self._context.work)
        host.loop.register(self._calls, select.EPOLLIN)
        host.loop.register(self._end, select.EPOLLIN)
        host.start_thread()
        host.take_the_lead()

    @classmethod
    def start(cls, kernel: RumpKernel, host: PosixHost, plan: ProgramPlan) -> "Guest":
        """Start a program on `kernel`; errors as of `spawn.spawn`.  Off the schedule.

        The plan's group is the guest's from its start on, which takes it away at its end; `unseen` says which mounts the program
        doesn't see."""
        files = KernelFiles(kernel, plan.shown, plan.user, plan.root)
        mirror = Mirror(kernel, host)
        sockets = ProcNet(kernel, host)
        host.enter()
        try:
            settings = sysctls.shown(kernel)
        finally:
            host.leave()
        if plan.tracer is not None:
            plan.tracer.allow = tuple(plan.allow)
        share = Share()
        mirror.discard = share.launcher.discard
        side = KernelSide(
            six=mirror.six(),
            sysctls=settings,
            mounts=files.mounts(),
            mirrored=files.mirrored,
            root_options=files.root_options(),
            serve=files.serve,
            devices=mirror.devices(),
            wire=mirror.wire,
            show_sockets=sockets.serve,
            attach=lambda process: _attach(process, plan, files),
            meanwhile=_servers,
            guard=host.assert_unscheduled,
        )
        try:
            program = spawn(plan, side, share.launcher)
        except BaseException:
            share.close()
            mirror.close()
            sockets.close()
            files.close()
            raise
        return cls(kernel, host, program, plan, files, mirror, sockets, share)

    @property
    def refusals(self) -> Mapping[Refusal, int]:
        """The system calls that it tried and may not make, and how often."""
        return self._calls.refusals.counts

    @property
    def lacked_network(self) -> bool:
        """Whether it asked for sockets that its kernel can't have, without a network."""
        return self._context.unnetworked > 0

    # Its end ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """See whether the program has ended.  Off the schedule."""
        with self._lock:
            if self._served and self.program.poll() is not None:
                self._stop_serving()

    def _stop_serving(self) -> None:
        self._served = False
        self._host.loop.unregister(self._end)
        self._host.loop.unregister(self._calls)
        if self._mirror is not None:
            self._mirror.close()
        if self._sockets is not None:
            self._sockets.close()
        while self._followed:
            self._followed.pop().close()
        self._context.forget()
        self._context.run(self._context.changes.wake_all)

    def follow(self, path: str, changes: WaitQueue, text: Callable[[], str]) -> None:
        """Write its private file `path` again with what `text` says on the schedule, whenever `changes` is woken."""
        with self._lock:
            if self._served:
                self._followed.append(FollowedFile(self._context, self.program, path, changes, text))

    @property
    def exit_code(self) -> int | None:
        """The exit code, or minus the signal that killed it; None while it runs."""
        status = self.program.status
        return None if status is None else os.waitstatus_to_exitcode(status)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the program ends; its exit code, or minus the signal that killed it.  Raises TimeoutError."""
        if not self._wait(lambda: not self._served, timeout):
            raise TimeoutError(f"{self.name} still runs after {timeout} s")
        assert self.exit_code is not None
        return self.exit_code

    def settle(self, timeout: float) -> bool:
        """After the end: wait until what the program has sent has reached its destination.  False if it takes longer."""
        end = time.monotonic() + timeout
        while not self._context.run(self._context.settled):
            if time.monotonic() > end:
                return False
            self._wait(lambda: False, SETTLE_INTERVAL)
        return True

    def wait_listening(self, port: int, timeout: float | None = None) -> None:
        """Wait until the program listens on a TCP port, or has bound a UDP socket to it.

        Raises TimeoutError, and ChildProcessError if the program ends without."""
        context = self._context
        if not self._wait(lambda: port in context.ports or not self._served, timeout):
            raise TimeoutError(f"{self.name} does not listen on port {port} after {timeout} s")
        if port not in context.ports:
            raise ChildProcessError(ECHILD, f"{self.name} ended with {self.exit_code} and never listened on {port}")

    def killed_for_memory(self) -> bool:
        """Whether Linux has ended it because it used all the memory of its group.  To be asked before `close`."""
        return self.group is not None and self.group.killed_for_memory()

    def _wait(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        host, changes = self._host, self._context.changes
        host.enter()
        try:
            deadline = FOREVER if timeout is None else host.now + int(timeout * SECOND)
            parker = host.parker()
            while not condition():
                changes.add(parker)
                try:
                    parker.park(deadline)
                finally:
                    changes.remove(parker)
                if host.now >= deadline and not condition():
                    return False
            return True
        finally:
            host.leave()

    # What can be done to it -------------------------------------------------------------------------------------

    def send(self, number: int) -> bool:
        """Send the program a signal, all of its process group; False if its first process has ended."""
        return self.program.send(number)

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """Ask the program to end (SIGTERM), and after `timeout` seconds kill it; its exit code as from `wait`."""
        self.send(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        """End the program and everything it has started at once; its exit code as from `wait`."""
        with self._lock:
            if self._served:
                self.program.kill()
        return self.wait()

    @property
    def changes(self) -> WaitQueue:
        """Woken when the program begins or ends to listen, and when it ends."""
        return self._context.changes

    def ports(self) -> frozenset[int]:
        """Where the program listens."""
        return self._context.ports

    def numbers(self) -> dict[str, int]:
        """What it has cost so far: system calls that were handed to us, its sockets, bytes over all of them."""
        relayed, carried = self._context.relay_pool.counters, self._context.carrier
        return {
            "calls": self._calls.handled,
            "sockets": len(self._context.records),
            "bytes_in": relayed.bytes_to_host + carried.bytes_in,
            "bytes_out": relayed.bytes_to_kernel + carried.bytes_out,
        }

    def close(self) -> None:
        """Kill what still runs, drop what is under way, let go of everything.  A second call does nothing."""
        self.kill()
        self._context.run(self._context.drop_relays)
        self.program.close()
        if self.tracer is not None:
            self.tracer.join(STOP_TIMEOUT)
        if self._files is not None:
            self._files.close()
        if self._share is not None:
            self._share.close()
        if self.group is not None:
            self.group.remove()

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _servers() -> "tuple[type[Calls], type[Context]]":
    """What answers a program's calls.  To load it takes as long as the starter and init need for the first program, so it is done beside
    them."""
    from .calls import Calls
    from .context import Context

    return Calls, Context


_turns: Final = itertools.count()


def _attach(process: int, plan: ProgramPlan, files: KernelFiles) -> None:
    """Before its first instruction."""
    files.keep()
    if plan.processors:
        ours = sorted(os.sched_getaffinity(0))
        start = next(_turns) * plan.processors % len(ours)  # others each time
        os.sched_setaffinity(process, (ours[start:] + ours[:start])[: plan.processors])
    if plan.tracer is not None:
        plan.tracer.attach(process)
