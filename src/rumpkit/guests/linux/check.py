"""What the machine must offer for Linux programs to run on a kernel, and what to do where it does not.

Above `libc`, below `spawn`.  Each requirement is probed by trying the thing itself where that is cheap and leaves no trace.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Final, final

from ...hyper.named import NamedTuple
from ...kern.abi.errno import EACCES, EBADF, EFAULT, EINVAL, ENOSPC, EPERM, ESRCH
from . import abi, libc
from .capabilities import privileged as privileged


class Requirement(NamedTuple):
    """One thing that guests need."""

    name: str
    purpose: str
    remedy: str
    probe: Callable[[], str]
    """Why it is not there, in a few words; "" if it is."""


@final
class Missing(RuntimeError):
    """The machine lacks something: which, what for, and how to allow it."""

    def __init__(self, requirement: Requirement, reason: str) -> None:
        super().__init__(
            f"{requirement.name} is not available ({reason}); it is needed {requirement.purpose}. {requirement.remedy}"
        )
        self.name = requirement.name
        self.purpose = requirement.purpose
        self.remedy = requirement.remedy
        self.reason = reason


def _setting(name: str) -> int | None:
    """A number under /proc/sys, or None where the kernel has no such setting."""
    try:
        with open(f"/proc/sys/{name}") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _errno_of(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as problem:
        return problem.errno or 0
    return 0


def _machine() -> str:
    if sys.platform != "linux":
        return f"this is {sys.platform}"
    name = os.uname().machine
    return "" if name in abi.SYSCALLS else f"no system call table for {name}"


def _python() -> str:
    return "" if sys.executable and os.access(sys.executable, os.X_OK) else "sys.executable names no program"


def _seccomp() -> str:
    sizes = ctypes.create_string_buffer(6)
    try:
        libc.syscall("seccomp", abi.SECCOMP_GET_NOTIF_SIZES, 0, ctypes.addressof(sizes))
    except OSError as problem:
        return problem.strerror or str(problem)
    got = tuple(int.from_bytes(sizes.raw[i : i + 2], sys.byteorder) for i in (0, 2, 4))
    if got != abi.NOTIFICATION_SIZES:
        return f"its structures have sizes {got}, not {abi.NOTIFICATION_SIZES}"
    release = os.uname().release
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    return "" if version >= (5, 14) else f"Linux {release} cannot inject a descriptor and answer in one step"


def _descriptors() -> str:
    code = _errno_of(lambda: libc.pidfd_getfd(-1, 0))
    return "" if code == EBADF else os.strerror(code)


def _memory() -> str:
    # Nobody has process 0: without the permission or the call the answer is another.
    library = libc.library()
    library.process_vm_readv(0, None, ctypes.c_ulong(0), None, ctypes.c_ulong(0), ctypes.c_ulong(0))
    code = ctypes.get_errno()
    return "" if code in (0, ESRCH, EFAULT, EINVAL, EBADF) else os.strerror(code)


def _tracing() -> str:
    return "kernel.yama.ptrace_scope is 3" if _setting("kernel/yama/ptrace_scope") == 3 else ""


def _namespaces() -> str:
    if privileged():
        return ""
    if _setting("kernel/unprivileged_userns_clone") == 0:
        return "kernel.unprivileged_userns_clone is 0"
    if _setting("user/max_user_namespaces") == 0:
        return "user.max_user_namespaces is 0"
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == 1 and _confined_by_apparmor():
        return "kernel.apparmor_restrict_unprivileged_userns is 1"
    return "" if os.path.exists("/proc/self/ns/user") else "the kernel was built without them"


def _confined_by_apparmor() -> bool:
    """Whether no profile allows this program user namespaces; an unconfined program falls under the restriction."""
    try:
        with open("/proc/self/attr/apparmor/current") as file:
            return file.read().strip() == "unconfined"
    except OSError:
        return False


REQUIREMENTS: Final = (
    Requirement(
        "Linux on x86-64 or aarch64",
        "to know the numbers of its system calls",
        "Use Python scripts or WASI modules as guests here.",
        _machine,
    ),
    Requirement(
        "a Python interpreter",
        "to start the program's init process",
        "Run rumpkit with a python3 program, not embedded.",
        _python,
    ),
    Requirement(
        "seccomp user notification",
        "to answer the program's socket calls",
        "It takes Linux 5.14 with CONFIG_SECCOMP_FILTER; a container's seccomp profile must allow seccomp(2).",
        _seccomp,
    ),
    Requirement(
        "pidfd_getfd",
        "to share the program's sockets",
        "A container needs it in its seccomp profile, or --cap-add=SYS_PTRACE.",
        _descriptors,
    ),
    Requirement(
        "process_vm_readv",
        "to read the addresses that the program passes",
        "A container needs it in its seccomp profile, or --cap-add=SYS_PTRACE.",
        _memory,
    ),
    Requirement(
        "permission to trace one's own processes",
        "to read the program's memory and share its descriptors",
        "Restart with kernel.yama.ptrace_scope at most 2 (see /etc/sysctl.d).",
        _tracing,
    ),
    Requirement(
        "user namespaces for ordinary users",
        "to give the program a network of its own",
        "Allow them with: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=65536"
        " kernel.apparmor_restrict_unprivileged_userns=0 (those of the three that exist); in a container, allow"
        " unshare(2), or run as root with CAP_SYS_ADMIN.",
        _namespaces,
    ),
)

NAMESPACES: Final = REQUIREMENTS[-1]
TRACING: Final = REQUIREMENTS[-2]


def requirements() -> list[tuple[Requirement, str]]:
    """Every requirement, with the reason why it is missing, or ""."""
    found: list[tuple[Requirement, str]] = []
    for requirement in REQUIREMENTS:
        reason = requirement.probe()
        found.append((requirement, reason))
        if requirement.probe is _machine and reason:
            break  # the other probes would make calls of another system
    return found


def require() -> None:
    """Raises Missing for the first requirement that is not met."""
    for requirement, reason in requirements():
        if reason:
            raise Missing(requirement, reason)


SANDBOX_STAGES: Final = ("namespaces", "user ids", "host name", "mounts", "network")
"""Steps of the starter at which a refusal means that the machine forbids the sandbox."""


def explain(stage: str, code: int, text: str) -> Missing | OSError:
    """The error for a start that failed at `stage`: where it means that something is forbidden, say what."""
    if stage in SANDBOX_STAGES and code in (EPERM, EACCES, ENOSPC, EINVAL):
        return Missing(NAMESPACES, f"{stage}: {text}")
    return OSError(code, f"{text} (while starting a program: {stage})")
