"""A kernel with files for tests: system calls as methods, entered and left as a client does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import rumpkit.dev.components
import rumpkit.fs.components
import rumpkit.kern.components
import rumpkit.vfs.components  # noqa: F401
from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.calls import Hypercalls
from rumpkit.kern.abi.fcntl import O_CREAT, O_DIRECTORY, O_RDONLY, O_TRUNC, O_WRONLY
from rumpkit.kern.calls import KernCalls
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.process import Credentials, Process
from rumpkit.vfs.calls import VfsCalls
from rumpkit.vfs.types import check_format_options
from rumpkit.vfs.vfs import Vfs
from tests.vfs.locked import LockedTmpfs

COMPONENTS = (
    "calls",
    "vfs",
    "vfs_calls",
    "tmpfs",
    "devfs",
    "mem",
    "random",
    "console",
    "disks",
    "nullfs",
    "union",
    "ext",
)

DISK_TYPES = ("ext2", "ext4")


class Files:
    """A kernel with a tmpfs root (unless told otherwise) and one process of the superuser."""

    def __init__(
        self,
        options: Mapping[str, Any] | None = None,
        root: str = "tmpfs",
        host: Hypercalls | None = None,
        components: tuple[str, ...] = COMPONENTS,
    ):
        self.host: Any = SimHost() if host is None else host
        self.host.enter()
        self.kernel = RumpKernel(self.host, components)
        vfs, calls, base = (self.kernel.service(name) for name in ("Vfs", "VfsCalls", "KernCalls"))
        assert isinstance(vfs, Vfs) and isinstance(calls, VfsCalls) and isinstance(base, KernCalls)
        self.vfs, self.calls, self.base = vfs, calls, base
        self.locked = LockedTmpfs()
        vfs.types.register(self.locked)
        source = self._format(root) if root in DISK_TYPES else ""
        vfs.mount(root, "/", options, source)
        self.host.leave()
        self.root = self.process()
        if source:
            self.root.rmdir("/lost+found")

    def _format(self, kind: str) -> str:
        """A disk with a new, empty file system."""
        disks: Any = self.kernel.service("Disks")
        disk = disks.attach_ram("root", 16 << 20)
        maker = self.vfs.types.find(kind)
        options = {"block_size": 4096} if kind == "ext4" else {}
        maker.format(self.vfs, disk, check_format_options(maker, options))
        return "root"

    def mount(self, kind: str, path: str, source: str = "", **options: Any) -> None:
        """Mount a file system on `path`, which is made where it is missing."""
        self.entered(self.vfs.make_directories, path)
        self.entered(self.vfs.mount, kind, path, options, source)

    def service(self, interface: str) -> Any:
        """What provides `interface`."""
        return self.kernel.service(interface)

    def process(self, uid: int = 0, gid: int | None = None, groups: tuple[int, ...] = ()) -> Client:
        """A process of its own, with its system calls."""
        return Client(self, self.entered(self.kernel.process, Credentials(uid, uid if gid is None else gid, groups)))

    def entered(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Call `function` on the schedule."""
        self.host.enter()
        try:
            return function(*arguments, **more)
        finally:
            self.locked.check_unlocked()
            self.host.leave()


class Client:
    """One process: `client.open(...)` is the system call."""

    def __init__(self, files: Files, process: Process):
        self.files = files
        self.process = process

    def __getattr__(self, name: str) -> Callable[..., Any]:
        calls = self.files.calls if hasattr(self.files.calls, name) else self.files.base
        call = getattr(calls, name)
        return lambda *arguments, **more: self.files.entered(call, self.process, *arguments, **more)

    def put(self, path: str | bytes, data: bytes = b"", mode: int = 0o644) -> None:
        """Write a whole file."""
        fd = self.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode)
        assert self.write(fd, data) == len(data)
        self.close(fd)

    def get(self, path: str) -> bytes:
        """Read a whole file."""
        fd = self.open(path, O_RDONLY)
        data = b""
        while piece := self.read(fd, 1 << 20):
            data += piece
        self.close(fd)
        return data

    def names(self, path: str = ".") -> list[str]:
        """What is in a directory, without "." and ".."."""
        fd = self.open(path, O_RDONLY | O_DIRECTORY)
        names = []
        while entries := self.readdir(fd):
            names += [entry.d_name for entry in entries]
        self.close(fd)
        assert names[:2] == [".", ".."]
        return names[2:]


def fails(number: int, call: Callable[..., Any], *arguments: Any, **more: Any) -> None:
    """Assert that the call raises OSError with this errno."""
    try:
        result = call(*arguments, **more)
    except OSError as problem:
        assert problem.errno == number, problem
    else:
        raise AssertionError(f"returned {result!r}")
