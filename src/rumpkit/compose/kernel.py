"""`rumpkit.Kernel`: the public face of one kernel, from a config file or from keywords."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..clients.local import LocalProcess
from ..hyper.calls import Hypercalls
from ..kern.kernel import RumpKernel
from ..kern.process import Credentials
from .boot import Booted, boot
from .check import check
from .errors import ConfigError
from .hosts import SHARED
from .spec import DiskSpec, InterfaceSpec, KernelSpec, MountSpec, Spec
from .storage import complete

if TYPE_CHECKING:
    from pathlib import Path

    from ..clients.control.programs import ProgramService
    from ..clients.control.server import ControlServer
    from ..clients.drive import Drive
    from ..clients.fuse import FuseOptions
    from ..clients.fuse.session import FuseMount
    from ..guests.linux.guest import Guest
    from ..guests.linux.root import Scratch
    from .capture import Capture
    from .links import OpenedLink
    from .oci.layout import Defaults


ST_RDONLY = 1
Entry = TypeVar("Entry", DiskSpec, MountSpec)
DiskLike: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"
"""A host file, or the keys of a [[disk]]."""


class Kernel:
    """A rump kernel that is booted by the constructor and closed by `close`, `with` or `async with`.

    From a file::

        with Kernel("cache.toml") as kernel:
            ...

    or from keywords, which are the keys of the file::

        with Kernel(net="user", forward=["8080 -> 80"], mounts={"/": "tmpfs"}) as kernel:
            ...

    The programs of a file's [[run]] are not started: `run` does that.
    """

    def __init__(
        self,
        config: str | Path | Spec | None = None,
        *,
        net: str = "",
        address: str | Sequence[str] = (),
        gateway: str | Sequence[str] = "",
        forward: Sequence[str] = (),
        disks: Mapping[str, DiskLike] | None = None,
        mounts: Mapping[str, str | Mapping[str, Any]] | None = None,
        hostname: str = "rump",
        components: Sequence[str] = (),
        sysctl: Mapping[str, int] | None = None,
        host: Hypercalls | None = None,
        thread: bool = True,
        control: bool = False,
    ) -> None:
        """`net` is a link ("user", "tap:NAME", "switch:NAME"); `disks` maps names to host files, `mounts` paths to file
        system types; a mapping instead has further keys of a file's [[disk]] and [[mount]]: {"source": "a.img", "read_only": True}.

        Where a link leads out of the process, a thread answers for the kernel while your code does other things (under
        asyncio its loop does); `thread=False` leaves that to your blocked calls, which is faster for one busy caller.
        With `control` the kernel listens on a control socket, so that `rump net` can look into it while the program runs;
        the thread answers there, too.
        Raises ConfigError for a config that can't be used, OSError where the host refuses (a port in use, no TAP).
        """
        started = time.monotonic_ns()
        if config is None:
            spec = _spec(net, address, gateway, forward, disks, mounts, hostname, components, sysctl)
            check(spec)
        else:
            spec = _load(config)
        self._shared = host is None
        self.host: Hypercalls = SHARED.acquire() if host is None else host
        """What drives the kernel; kernels that share one can share a switch."""
        try:
            self._booted: Booted = boot(self.host, spec)
        except BaseException as problem:
            if self._shared:
                SHARED.release()
            if isinstance(problem, ConfigError) and config is not None and not isinstance(config, Spec):
                from .load import located

                raise located(problem, config) from None
            raise
        self.core: RumpKernel = self._booted.kernel
        """The kernel itself, for code that extends it.  Its methods want the schedule (`host.enter`)."""
        self.spec: Spec = spec
        self.boot_time: float = (time.monotonic_ns() - started) / 1e9
        """Seconds that the constructor took to boot, config file included."""
        self.images: dict[str, Defaults | None] = {}
        """What container images that are roots say of their programs, as far as somebody has asked."""
        self.scratch: Scratch | None = None
        """What its programs have in memory, once there are any."""
        self._closed = False
        self._drive: Drive | None = None
        self._control: ControlServer | None = None
        if control:
            try:
                self.listen()
            except BaseException:
                self.close()
                raise
        if thread and (control or any(link.external for link in self._booted.links)):
            self._start_thread()

    # Processes and programs ------------------------------------------------------------------------------

    def process(self, uid: int = 0, gid: int | None = None, cwd: str = "/", groups: Sequence[int] = ()) -> LocalProcess:
        """A new process, whose methods are the system calls (and, awaited, those of its `aio`).

        Raises ENOENT, ENOTDIR, EACCES for `cwd`.
        """
        credentials = Credentials(uid, uid if gid is None else gid, tuple(groups))
        self.host.enter()
        try:
            process = LocalProcess(self.core, self.core.process(credentials))
        finally:
            self.host.leave()
        if cwd != "/":
            process.chdir(cwd)
        return process

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        allow: Sequence[str] = (),
        root: str | Path = "",
        root_writable: bool | None = None,
        writable: Sequence[str | Path] = (),
        visible: Sequence[str | Path] = (),
        user: str = "",
        limits: Mapping[str, object] | None = None,
    ) -> Guest:
        """Start an unmodified Linux program on this kernel; its sockets are the kernel's, its files the host's, read-only.

        `env` is added to the environment; the descriptors default to ours; `allow` names system calls that it may make though they
        reach beyond itself; `root`, `root_writable`, `writable` and `visible` are the keys of a [[run]] (an image can be a root if the
        kernel's config names it); `user` is whom to run as, with HOME and the like of theirs; `limits` has the keys of a file's
        [run.limits], {"memory": "64M", "files": 1024}, and what the machine keeps otherwise is in the guest's `notes`.
        Raises ConfigError for these; `rumpkit.guests.linux.check.Missing`
        where the machine lacks something, `rumpkit.compose.errors.ProgramError` for the program (ENOENT, EACCES, ENOEXEC).
        """
        from .asked import by_call
        from .programs import launch
        from .roots import Sees

        sees = Sees(
            os.path.abspath(root) if root else "",
            root_writable,
            [os.path.abspath(path) for path in writable],
            [os.path.abspath(path) for path in visible],
        )
        guest = launch(self, by_call(self, command, env, cwd, (stdin, stdout, stderr), allow, sees, user, limits))
        self.on_close(guest.close)
        return guest

    def fuse_mount(self, directory: str | Path, path: str = "/", options: FuseOptions | None = None) -> FuseMount:
        """Show the kernel's files from `path` on at `directory` of the host, until it is unmounted or the kernel closes.

        Raises `rumpkit.clients.fuse.attach.FuseUnavailable` where the machine doesn't allow it, with a text that says how to.
        """
        from ..clients.fuse import FuseOptions, mount

        mounted = mount(self.core, path, str(directory), options or FuseOptions())
        self._booted.on_close(mounted.close)
        return mounted

    def online(self, timeout: float = 30.0) -> bool:
        """Wait until every interface with `address = "dhcp"` has an address; False if `timeout` seconds pass first."""
        from .programs import wait_online

        return wait_online(self, timeout)

    # Looking in ------------------------------------------------------------------------------------------

    def capture(self, path: str | Path, interface: str = "", comments: bool = True) -> Capture:
        """Record every frame of an interface (default: all of them) in a pcapng file until `close`; with `comments`, each
        packet of a TCP connection bears that connection's state as a comment."""
        from .capture import Capture

        capture = Capture(self, path, interface, comments)
        self._booted.on_close(capture.close)
        return capture

    def counters(self) -> dict[str, int]:
        """All counters by name, such as `tcp.segments_in`."""
        self.host.enter()
        try:
            return dict(self.core.counters)
        finally:
            self.host.leave()

    def sysctl(self, name: str, value: int | None = None) -> int:
        """A sysctl's value, after setting it where `value` is given.  The name may be in NetBSD's spelling, too:
        `net.inet.tcp.send_buffer`.  Raises ENOENT, EINVAL."""
        self.host.enter()
        try:
            if value is not None:
                self.core.sysctl.set(name, value)
            return self.core.sysctl.get(name)
        finally:
            self.host.leave()

    def listen(self, programs: Callable[[], ProgramService] | None = None) -> str:
        """Listen on a control socket from now on; the name under which `rump net -k NAME` finds the kernel.  `programs` makes who answers
        for what runs on it, when somebody comes.  Where nothing drives the
        kernel's host (no link leads out of the process, no call waits), nobody is answered.  Raises OSError, ConfigError."""
        if self._control is None:
            from ..clients.control.server import ControlServer
            from ..hosts.posix.host import PosixHost

            if not isinstance(self.host, PosixHost):
                raise ConfigError("a control socket needs the posix host")
            self._control = ControlServer(self.host, self.core, programs)
            self._booted.on_close(self._control.close)
        return self._control.name

    def has_file(self, path: str) -> bool:
        """Whether the kernel has something at this path."""
        try:
            self.process().stat(path)
        except OSError:
            return False
        return True

    def is_read_only(self, path: str) -> bool:
        """Whether what is mounted there refuses every change.  Raises ENOENT."""
        return bool(self.process().statvfs(path).f_flag & ST_RDONLY)

    def graph(self) -> str:
        """The components and how they are wired, one line each, in the order they were built."""
        lines = []
        for built in self.core.built:
            uses = f" <- {', '.join(built.uses)}" if built.uses else ""
            lines.append(f"{built.component.faction}/{built.component.name}: {built.component.provides}{uses}")
        return "\n".join(lines)

    def links(self) -> list[OpenedLink]:
        """The links that the interfaces are on, in the order of the config."""
        return list(self._booted.links)

    def forwards(self) -> list[str]:
        """What is forwarded, with the ports that the host chose, as "127.0.0.1:43211 -> 80"."""
        return [str(forward) for link in self._booted.links if link.user for forward in link.user.forwards()]

    # Life ------------------------------------------------------------------------------------------------

    def on_close(self, call: object) -> None:
        """Call this when the kernel closes, before its links go."""
        assert callable(call)
        self._booted.on_close(call)

    def close(self) -> None:
        """End guests, processes, links and mounts.  A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._booted.close()
        finally:
            if self._shared:
                SHARED.release()

    def _start_thread(self) -> None:
        from ..hosts.posix.host import PosixHost

        if isinstance(self.host, PosixHost) and not _under_asyncio():
            self.host.start_thread()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Kernel:
        from ..clients.suspend import running_loop

        loop = running_loop()
        if loop is not None:
            from ..clients.drive import drive

            self._drive = drive(self.host, loop)
            self._drive.hold()
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._drive is not None:
            self._drive.finish()
            self._drive = None
        self.close()


def _under_asyncio() -> bool:
    """Whether an asyncio loop runs on this thread; without asyncio nothing is loaded to find out."""
    if "asyncio" not in sys.modules:
        return False
    from ..clients.suspend import running_loop

    return running_loop() is not None


def _load(config: str | Path | Spec) -> Spec:
    if isinstance(config, Spec):
        check(config, runs=False)  # which a kernel does not start, and which may speak of other kernels' programs
        return config
    from .load import load_checked

    return load_checked(config)


def _spec(
    net: str,
    address: str | Sequence[str],
    gateway: str | Sequence[str],
    forward: Sequence[str],
    disks: Mapping[str, DiskLike] | None,
    mounts: Mapping[str, str | Mapping[str, Any]] | None,
    hostname: str,
    components: Sequence[str],
    sysctl: Mapping[str, int] | None,
) -> Spec:
    spec = Spec(kernel=KernelSpec(hostname, list(components)), sysctl=dict(sysctl or {}))
    if net:
        addresses = [address] if isinstance(address, str) else list(address)
        gateways = gateway if isinstance(gateway, str) else list(gateway)
        spec.interface.append(InterfaceSpec(net, address=addresses, gateway=gateways, forward=list(forward)))
    for name, disk in (disks or {}).items():
        spec.disk.append(
            _keyed(DiskSpec, "disks", name, disk if isinstance(disk, Mapping) else {"source": os.fspath(disk)})
        )
    for path, mount in (mounts or {}).items():
        spec.mount.append(_keyed(MountSpec, "mounts", path, {"type": mount} if isinstance(mount, str) else mount))
    complete("", spec)
    return spec


def _keyed(make: Callable[..., Entry], argument: str, name: str, keys: Mapping[str, Any]) -> Entry:
    try:
        return make(name, **keys)
    except TypeError:
        raise ConfigError(f"has an unknown key among {', '.join(keys)}", key=f"{argument}[{name!r}]") from None
