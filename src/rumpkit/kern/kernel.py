"""A rump kernel: the components that a config selected, around one set of timers, counters and processes."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, final

from ..hyper.calls import Hypercalls
from . import components as _components
from .abi.errno import EAGAIN, EINVAL, error
from .component import Component
from .counters import CounterRegistry
from .descriptors import DescriptorTable
from .process import Credentials, PathContext, Process
from .resolver import plan
from .socket import SocketFactories
from .sysctl import Sysctl, SysctlRegistry
from .timer import TimerQueue
from .trace import Trace

HOST_NAME_MAX: Final = 64


@final
class KernelSettings:
    """Limits of the base faction."""

    def __init__(self) -> None:
        self.max_processes: int = 32768
        self.max_open_files: int = 1024
        self.pipe_size: int = 65536
        self.pipe_max_size: int = 1 << 20
        self.max_watches: int = 1 << 20


KERNEL_SYSCTLS: tuple[Sysctl, ...] = (
    Sysctl("max_processes", 1, 4194304, "processes that may exist at once"),
    Sysctl("max_open_files", 3, 1 << 20, "descriptors of a new process (RLIMIT_NOFILE)"),
    Sysctl("pipe_size", 4096, 1 << 30, "bytes that a new pipe holds"),
    Sysctl("pipe_max_size", 4096, 1 << 30, "bytes up to which users other than root may enlarge a pipe"),
    Sysctl("max_watches", 1, 1 << 30, "files that one epoll set may watch"),
)


class Built(NamedTuple):
    """A component of a kernel: what was built, and from which interfaces."""

    component: Component
    instance: Any  # mypyc does not find `object` here
    uses: tuple[str, ...]


@final
class RumpKernel:
    """One instance.  Built by its host's schedule holder; all methods are called on the schedule."""

    def __init__(self, hyper: Hypercalls, components: Sequence[str] = (), hostname: str = "rump") -> None:
        self.hyper: Hypercalls = hyper
        self.hostname: str = hostname
        self.timers: TimerQueue = TimerQueue(hyper)
        self.counters: CounterRegistry = CounterRegistry()
        self.sysctl: SysctlRegistry = SysctlRegistry()
        self.settings: KernelSettings = KernelSettings()
        self.sysctl.register("kern", self.settings, KERNEL_SYSCTLS)
        self.trace: Trace = Trace()
        self.sockets: SocketFactories = SocketFactories()
        self.paths: PathContext | None = None
        """The path context that new processes get a fork of; the vfs faction sets it."""
        self.processes: dict[int, Process] = {}
        self._last_pid: int = 0
        self._services: dict[str, object] = {"RumpKernel": self, "Hypercalls": hyper}
        self.built: list[Built] = []
        for step in plan((*_components.BASE, *components), ("RumpKernel", "Hypercalls")):
            arguments = {parameter: self._services[interface] for parameter, interface in step.arguments}
            instance = step.component.factory(**arguments)
            self._services[step.component.provides] = instance
            self.built.append(Built(step.component, instance, tuple(interface for _, interface in step.arguments)))

    def service(self, interface: str) -> object | None:
        """What provides `interface` in this kernel, or None: `kernel.service("Ip")`."""
        return self._services.get(interface)

    def rename(self, hostname: str) -> None:
        """Change the host name.  Raises EINVAL where it is longer than 64 bytes."""
        if len(hostname.encode()) > HOST_NAME_MAX:
            raise error(EINVAL)
        self.hostname = hostname

    def process(self, credentials: Credentials | None = None, parent: Process | None = None) -> Process:
        """A new process; a child of `parent` shares its open files and starts from its paths.

        Raises EAGAIN where there are too many.
        """
        pid = self._free_pid()
        if parent is None:
            paths = self.paths
            files = DescriptorTable(self.settings.max_open_files)
            process = Process(pid, 0, credentials or Credentials(), files)
        else:
            paths = parent.paths
            process = Process(pid, parent.pid, credentials or parent.credentials, parent.files.fork())
        process.paths = None if paths is None else paths.fork()
        self.processes[pid] = process
        return process

    def exit(self, process: Process) -> None:
        """End a process: its descriptors close, its number becomes free, its children have no parent any more.  Nothing
        happens if it has ended."""
        if self.processes.get(process.pid) is process:
            del self.processes[process.pid]
            for child in self.processes.values():
                if child.parent == process.pid:
                    child.parent = 0
            process.exit(self.hyper.now)

    def close(self) -> None:
        """End all processes and forget all timers.  Links are the caller's to close."""
        for process in list(self.processes.values()):
            self.exit(process)
        self.timers.close()

    def _free_pid(self) -> int:
        limit = self.settings.max_processes
        if len(self.processes) >= limit:
            raise error(EAGAIN)
        pid = self._last_pid
        while True:
            pid = pid % limit + 1
            if pid not in self.processes:
                self._last_pid = pid
                return pid
