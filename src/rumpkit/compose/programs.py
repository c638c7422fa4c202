"""One program: started on a kernel, with what it sees of it.  `supervise` has what becomes of a config's programs."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from ..guests.linux.files import ShownMount
from ..guests.linux.guest import Guest
from ..guests.linux.root import Root
from ..hosts.posix.host import PosixHost
from ..hyper.time import SECOND
from ..kern.abi.errno import ENOENT
from .errors import ConfigError, ProgramError
from .limits import allow as allowed
from .limits import limits_from
from .oci.program import defaults_for
from .roots import ALIKE, HOST, Sees, root_of
from .spec import LimitsSpec, RunSpec
from .users import Identity, identity_in, user_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..guests.linux.tracing.tracer import Tracing
    from ..net.dhcp.service import Dhcp
    from ..net.ip.service import Ip
    from .kernel import Kernel

ONLINE_TIMEOUT = 30.0
"""Seconds that DHCP servers have to give addresses before programs start without."""
RESOLV_CONF, HOSTS = "/etc/resolv.conf", "/etc/hosts"


def start(
    kernel: "Kernel",
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: "str | Path | None",
    stdio: tuple[int | None, int | None, int | None],
    allow: Sequence[str] = (),
    program: Sees = ALIKE,
    user: str = "",
    limits: Mapping[str, object] | None = None,
) -> Guest:
    """Start one program (see `Kernel.run`); it ends with its kernel at the latest."""
    spec = limits_from(limits) if limits else None
    who, told = identity_in(kernel, user, program.root or kernel.spec.kernel.root)
    guest = launch(kernel, command, {**told, **env}, cwd, stdio, who, allow=allow, limits=spec, program=program)
    kernel.on_close(guest.close)
    return guest


def launch(
    kernel: "Kernel",
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: "str | Path | None",
    stdio: tuple[int | None, int | None, int | None],
    user: Identity | None = None,
    terminal: bool = False,
    allow: Sequence[str] = (),
    limits: LimitsSpec | None = None,
    name: str = "",
    tracer: "Tracing | None" = None,
    program: Sees = ALIKE,
) -> Guest:
    """Start one program, which the caller closes before the kernel.  `terminal`: its standard input is a terminal, which becomes
    that of a session of its own; `name` is for its control group; `tracer` looks at it from outside; `program` says what it sees of
    files.  Raises ConfigError, ProgramError, OSError, Missing."""
    host = kernel.host
    if not isinstance(host, PosixHost):
        raise ConfigError("programs need the posix host")
    source = program.root or kernel.spec.kernel.root
    said = defaults_for(kernel, source)
    environment = {**os.environ, **(said.env if said is not None else {}), **env}
    where = str(cwd) if cwd is not None else None
    if said is not None and where is None:
        where = said.cwd or "/"
    if where is not None:
        where = os.path.join(os.getcwd() if source in HOST else "/", where)
    root = root_of(kernel, program, command, where or os.getcwd(), environment.get("PATH", os.defpath))
    descriptors = [default if given is None else given for default, given in enumerate(stdio)]
    allowance = allowed(limits, name or "program")
    try:
        guest = Guest.start(
            kernel.core,
            host,
            command,
            environment=environment,
            directory=where,
            files=_private_files(kernel, root),
            hostname=kernel.spec.kernel.hostname,
            stdio=(descriptors[0], descriptors[1], descriptors[2]),
            shown=_shown_mounts(kernel),
            user=user,
            terminal=terminal,
            allow=allow,
            limits=allowance.resources,
            group=allowance.group,
            processors=allowance.processors,
            tracer=tracer,
            root=root,
        )
    except BaseException as problem:
        if allowance.group is not None:
            allowance.group.remove()
        if not isinstance(problem, OSError):
            raise
        if problem.filename != command[0]:
            raise
        text = problem.strerror or ""
        if problem.errno == ENOENT:
            text += _lacking(kernel, root, command[0])
        raise ProgramError(problem.errno, text, problem.filename) from None
    guest.notes = allowance.notes
    _require_mounts(kernel, guest)
    if RESOLV_CONF in guest.program.files:
        names = cast("Ip", kernel.core.service("Ip")).names
        guest.follow(RESOLV_CONF, names.changes, names.resolv_conf)
    return guest


def _lacking(kernel: "Kernel", root: Root | None, command: str) -> str:
    """Where a program isn't, or that it is there, and what it names is missing: the interpreter of a script, or the loader."""
    where = f" in {root.name}" if root is not None and root.foreign else ""
    if command.startswith("/") and root is not None and root.kernel_path:
        there = kernel.has_file(root.kernel_path + command)
    else:
        there = os.path.isfile((root.source if root is not None and "/" in command else "") + command)
    return f"{where} (not the program: the interpreter that it names)" if there else where


def status_of(problem: Exception) -> int:
    """What a shell gives for a program that can't be started: 127 if there is none, else 126."""
    return 127 if isinstance(problem, ProgramError) and problem.errno == ENOENT else 126


def as_image_says(kernel: "Kernel", run: RunSpec, source: str) -> tuple[list[str], Identity | None, dict[str, str]]:
    """A program's command, user, and what the environment says of him: as its [[run]] has them, else as the container image says that is
    its root (`source`).  Raises ConfigError."""
    said = defaults_for(kernel, source)
    command = run.command or (said.command if said is not None else [])
    if not command:
        raise ConfigError("is empty", key="command", hint='write ["program", "argument"], or: rump run ... -- CMD')
    return command, *user_of(kernel, run.user, source)


def _shown_mounts(kernel: "Kernel") -> list[ShownMount]:
    """The config's mounts that programs see, at the same paths."""
    shown = []
    for spec in kernel.spec.mount:
        if spec.path.strip("/") and spec.programs != "hide" and spec.kind != "devfs":
            shown.append(ShownMount(spec.path, spec.read_only))
    return shown


def _require_mounts(kernel: "Kernel", guest: Guest) -> None:
    """End the program where it lacks a mount that it can't be without.  Raises ConfigError."""
    for index, spec in enumerate(kernel.spec.mount):
        reason = guest.unseen.get(os.path.normpath(spec.path), "")
        if reason and spec.programs == "require":
            guest.close()
            raise ConfigError(f"programs can't see {spec.path}: {reason}", key=f"mount[{index}].programs")


def _private_files(kernel: "Kernel", root: Root | None) -> dict[str, bytes]:
    """What the program sees instead of its root's files: the kernel's name servers, and its own host name."""
    files = {HOSTS: _hosts(kernel.spec.kernel.hostname, root is not None and root.foreign)}
    service = kernel.core.service("Ip")
    text = cast("Ip", service).names.resolv_conf() if service is not None else ""
    if text or kernel.core.service("Dhcp") is not None:  # which may tell of some later
        files[RESOLV_CONF] = text.encode()
    return files


def _hosts(hostname: str, bare: bool) -> bytes:
    """The host's, but for a root of its own, and the kernel's own name."""
    text = b"127.0.0.1 localhost\n"
    if bare:
        text += b"::1 localhost ip6-localhost ip6-loopback\n"
    else:
        try:
            with open(HOSTS, "rb") as file:
                text = file.read()
        except OSError:
            pass
    return text + (b"" if text.endswith(b"\n") else b"\n") + f"127.0.1.1 {hostname}\n".encode()


def address_clients(kernel: "Kernel") -> "list[Dhcp]":
    """Who gets addresses for the kernel: one or none."""
    service = kernel.core.service("Dhcp")
    return [] if service is None else [cast("Dhcp", service)]


def wait_online(kernel: "Kernel", timeout: float) -> bool:
    """See `Kernel.online`."""
    service = kernel.core.service("Dhcp")
    if service is None:
        return True
    dhcp = cast("Dhcp", service)
    host = kernel.host
    host.enter()
    try:
        deadline = host.now + int(timeout * SECOND)
        parker = host.parker()
        while not dhcp.bound() and host.now < deadline:
            dhcp.changes.add(parker)
            try:
                parker.park(deadline)
            finally:
                dhcp.changes.remove(parker)
        return dhcp.bound()
    finally:
        host.leave()
