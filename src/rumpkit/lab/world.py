"""Worlds: kernels, links and their users in simulated time.

    with simulate(seed=7) as world:
        lan = Switch(loss=0.01, delay="20ms")
        a, b = world.kernel(link=lan), world.kernel(link=lan)
        world.cut(lan, after="3s", heal="10s")
        server = world.spawn(serve, b)
        download(a, world.address(b))
        assert world.now < 60

Time stands still while code runs and jumps when everybody waits, so a minute takes milliseconds.  The code in the `with`
block and the plain functions that are spawned run one at a time, each until it waits; coroutines take turns with them.
The same seed and the same code give the same frames at the same nanoseconds.
"""

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from ..clients.suspend import Expiry, SimSuspension, SimTask
from ..compose.boot import NET, WITH_IPV6
from ..compose.kernel import Kernel
from ..hosts.sim.host import Deadlock, SimHost
from ..hosts.task import Task
from ..hyper.time import FOREVER, SECOND, Instant
from ..net.ip.service import Ip
from .lockstep import Lockstep, Outcome
from .switch import Lan, Span, Switch, nanoseconds


def simulate(seed: int = 0) -> "World":
    """A new world, in which nothing has happened yet."""
    return World(seed)


class _Call(Task):
    """A function to be called at an instant."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def run(self, now: Instant) -> None:
        self._function()


class World:
    """Kernels on one simulated host.  Close it, or use it with `with`: that ends everything that still waits in it."""

    def __init__(self, seed: int = 0) -> None:
        self.host = SimHost(seed)
        self.random = random.Random(seed)
        """For the users' own dice."""
        self.kernels: list[Kernel] = []
        self._lockstep = Lockstep(self.host)
        self._lans: dict[Switch, Lan] = {}
        self._addresses: dict[Kernel, str] = {}
        self._tasks: list[SimTask[Any]] = []
        self._outcomes: list[tuple[SimTask[Any], Outcome]] = []
        self._closed = False

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.host.now / SECOND

    # What there is in it ---------------------------------------------------------------------------------

    def kernel(
        self,
        link: Switch | Sequence[Switch] = (),
        *,
        address: str | Sequence[str] = (),
        gateway: str = "",
        mounts: Mapping[str, str] | None = None,
        hostname: str = "",
        components: Sequence[str] = (),
        sysctl: Mapping[str, int] | None = None,
    ) -> Kernel:
        """A new kernel with files and an interface (vif0, vif1, ...) on each switch in `link`.

        `address` has one "ADDRESS/PREFIX" for each; by default the n-th kernel on a switch gets 10.0.0.n/24. The rest is as
        of `Kernel`. Raises ConfigError.
        """
        switches = [link] if isinstance(link, Switch) else list(link)
        addresses = [address] if isinstance(address, str) else list(address)
        kernel = Kernel(
            host=self.host,
            hostname=hostname or f"kernel{len(self.kernels)}",
            mounts=mounts,
            components=(*(WITH_IPV6 if any(":" in text for text in (*addresses, gateway)) else NET), *components),
            sysctl=sysctl,
        )
        self.kernels.append(kernel)
        for index, switch in enumerate(switches):
            port, default = self.lan(switch).port()
            prefix = addresses[index] if index < len(addresses) else default
            kernel.on_close(port.close)
            self.host.enter()
            try:
                ip = kernel.core.service("Ip")
                assert isinstance(ip, Ip)
                ip.add_interface(port, f"vif{index}")
                ip.add_address(f"vif{index}", prefix, detect=False)  # nobody else has it: the world is ours
                if gateway and index == 0:
                    ip.add_route("default", gateway, "vif0")
            finally:
                self.host.leave()
            self._addresses.setdefault(kernel, prefix.partition("/")[0])
        return kernel

    def address(self, kernel: Kernel) -> str:
        """The address of a kernel's first interface, such as "10.0.0.2".  Raises KeyError if it has none."""
        return self._addresses[kernel]

    def lan(self, switch: Switch) -> Lan:
        """What a switch is in this world."""
        lan = self._lans.get(switch)
        if lan is None:
            lan = self._lans[switch] = Lan(self.host, switch)
        return lan

    # What happens in it ----------------------------------------------------------------------------------

    def cut(self, switch: Switch, after: Span = 0, heal: Span | None = None) -> None:
        """Cut all cables of a switch `after` a while, and heal them at `heal`, counted from now too (None: never)."""
        lan = self.lan(switch)
        self.after(after, lambda: lan.connect(False, self.host.now))
        if heal is not None:
            self.after(heal, lambda: lan.connect(True, self.host.now))

    def after(self, delay: Span, function: Callable[[], object]) -> None:
        """Call `function` after a while.  It must not wait; `spawn` what does."""
        self.host.at(self.host.now + nanoseconds(delay), _Call(function))

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> SimTask[Any]:
        """Let a plain function or a coroutine function run beside the caller, from this instant on: it has run until it
        waits for the first time when this returns.

        What it returns has `join()`, for its result, and can be awaited. What it raises is raised there or, if nobody asks,
        when the world closes. Plain functions need threads, so coroutines are what works in the browser.
        """
        if inspect.iscoroutinefunction(function):
            task = SimTask(self.host, function(*arguments))
        else:
            name = getattr(function, "__name__", "caller")
            outcome = self._lockstep.start(name, lambda: function(*arguments))
            task = SimTask(self.host, outcome.get())
            self._outcomes.append((task, outcome))
        self._tasks.append(task)
        self._let_others_run()
        return task

    def sleep(self, span: Span) -> None:
        """Let a while pass for this caller.  For plain functions; coroutines await `pause`."""
        self._park(self.host.now + nanoseconds(span))

    async def pause(self, span: Span) -> None:
        """Let a while pass for this coroutine."""
        suspension = SimSuspension(self.host)
        expiry = Expiry(self.host, suspension, self.host.now + nanoseconds(span))
        try:
            await suspension
        finally:
            expiry.close()

    def run(self, until: Span | None = None) -> None:
        """Let everything happen that is going to, or what happens up to `until` (since the world began, or in text such as
        "5s")."""
        try:
            self._park(FOREVER if until is None else nanoseconds(until))
        except Deadlock:
            return

    def _let_others_run(self) -> None:
        """Give everybody a turn who can go on at this instant."""
        parker = self.host.parker()

        def wake() -> None:
            self.host.enter()
            parker.wake()
            self.host.leave()

        self.host.at(self.host.now, _Call(wake))
        self.host.enter()
        try:
            parker.park(FOREVER)
        finally:
            self.host.leave()

    def _park(self, deadline: Instant) -> None:
        self.host.enter()
        try:
            self.host.parker().park(deadline)
        finally:
            self.host.leave()

    # Its end ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End what still waits, and close the kernels.  A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._lockstep.close()
        for task in self._tasks:
            if not task.done():
                task.cancel()
        for kernel in reversed(self.kernels):
            kernel.close()

    def __enter__(self) -> "World":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        unasked = [task for task in self._tasks if not task.looked_at]
        self.close()
        if problem is not None:
            return
        for task in unasked:
            found = task.problem()
            if found is not None and not task.looked_at:
                raise found
        for task, outcome in self._outcomes:
            if task in unasked and outcome.problem is not None:
                raise outcome.problem
