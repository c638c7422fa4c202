"""One program: started on a kernel, with what it sees of it.  `supervise` has what becomes of a config's programs."""

import os
from typing import TYPE_CHECKING, cast

from ..guests.linux.guest import Guest
from ..guests.linux.plan import ProgramPlan, ShownMount
from ..guests.linux.root import Root
from ..hosts.posix.host import PosixHost
from ..hyper.time import SECOND
from ..kern.abi.errno import ENOENT
from .asked import Asked
from .errors import ConfigError, ProgramError
from .limits import allow as allowed
from .oci.program import defaults_for
from .roots import HOST, root_of

if TYPE_CHECKING:
    from ..net.dhcp.service import Dhcp
    from ..net.ip.service import Ip
    from .kernel import Kernel

ONLINE_TIMEOUT = 30.0
"""Seconds that DHCP servers have to give addresses before programs start without."""
RESOLV_CONF, HOSTS = "/etc/resolv.conf", "/etc/hosts"


def launch(kernel: "Kernel", asked: Asked) -> Guest:
    """Start one program, which the caller closes before the kernel.  Raises ConfigError, ProgramError, OSError, Missing."""
    host = kernel.host
    if not isinstance(host, PosixHost):
        raise ConfigError("programs need the posix host")
    plan = _plan(kernel, asked)
    allowance = allowed(asked.limits, asked.name)
    group = allowance.group
    plan = plan._replace(limits=allowance.resources, group=group, processors=allowance.processors)
    try:
        guest = Guest.start(kernel.core, host, plan)
    except BaseException as problem:
        if group is not None:
            group.remove()
        if not isinstance(problem, OSError) or problem.filename != plan.command[0]:
            raise
        text = problem.strerror or ""
        if problem.errno == ENOENT:
            text += _lacking(kernel, plan.root, plan.command[0])
        raise ProgramError(problem.errno, text, problem.filename) from None
    guest.notes = allowance.notes
    _require_mounts(kernel, guest)
    if RESOLV_CONF in guest.program.files:
        names = cast("Ip", kernel.core.service("Ip")).names
        guest.follow(RESOLV_CONF, names.changes, names.resolv_conf)
    return guest


def _plan(kernel: "Kernel", asked: Asked) -> ProgramPlan:
    """What was asked for, completed with what the kernel, its root and our own environment say.  Raises ConfigError."""
    source = asked.sees.root or kernel.spec.kernel.root
    said = defaults_for(kernel, source)
    environment = {**os.environ, **(said.env if said is not None else {}), **(asked.env or {})}
    where = asked.cwd or ("" if said is None else said.cwd or "/")
    if where:
        where = os.path.join(os.getcwd() if source in HOST else "/", where)
    root = root_of(kernel, asked.sees, asked.command, where or os.getcwd(), environment.get("PATH", os.defpath))
    descriptors = [default if given is None else given for default, given in enumerate(asked.stdio)]
    return ProgramPlan(
        asked.command,
        environment,
        where,
        (descriptors[0], descriptors[1], descriptors[2]),
        asked.terminal,
        asked.user,
        kernel.spec.kernel.hostname,
        _private_files(kernel, root),
        root,
        _shown_mounts(kernel),
        asked.allow,
        tracer=asked.tracer,
    )


def _lacking(kernel: "Kernel", root: Root | None, command: str) -> str:
    """Where a program isn't, or that it is there, and what it names is missing: the interpreter of a script, or the loader."""
    where = f" in {root.name}" if root is not None and root.foreign else ""
    if "/" not in command and " " not in command:
        return f"{where}: it is in no directory of its PATH"
    if command.startswith("/") and root is not None and root.kernel_path:
        there = kernel.has_file(root.kernel_path + command)
    else:
        there = os.path.isfile((root.source if root is not None and "/" in command else "") + command)
    if there:
        return f"{where} (not the program: the interpreter that it names)"
    return f"{where}: a program and its arguments are words of their own, not one" if " " in command else where


def status_of(problem: Exception) -> int:
    """What a shell gives for a program that can't be started: 127 if there is none, else 126."""
    return 127 if isinstance(problem, ProgramError) and problem.errno == ENOENT else 126


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
