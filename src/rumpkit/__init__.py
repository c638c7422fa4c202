"""rumpkit: an anykernel in Python.

Kernel components (a TCP/IP stack, file systems, devices, POSIX system calls) that run as a *rump kernel* wherever they
are wanted: inside a Python process, around an unmodified Linux program, in simulated time for tests, in a browser tab.

    from rumpkit import Kernel, O_CREAT, O_WRONLY

    with Kernel(mounts={"/": "tmpfs"}) as kernel:
        p = kernel.process()
        fd = p.open("/hello", O_WRONLY | O_CREAT)
        p.write(fd, b"hi")

This package is a lazy face: a name is imported when it is used, so `import rumpkit` costs nothing.  The constants are the
kernel's own (Linux x86-64 numbers), which may differ from those of the machine's `os` and `socket` modules.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clients.local import LocalProcess as LocalProcess
    from .clients.socketlike import SocketLike as SocketLike
    from .compose.errors import ConfigError as ConfigError
    from .compose.kernel import Kernel as Kernel
    from .hosts.sim.host import Deadlock as Deadlock
    from .kern.abi.fcntl import *  # noqa: F403
    from .kern.abi.poll import *  # noqa: F403
    from .kern.abi.socket import *  # noqa: F403
    from .lab.switch import Switch as Switch
    from .lab.world import simulate as simulate

__version__ = "0.1.0.dev0"

_NAMES: dict[str, str] = {
    "Kernel": "rumpkit.compose.kernel",
    "Switch": "rumpkit.lab.switch",
    "simulate": "rumpkit.lab.world",
    "Deadlock": "rumpkit.hosts.sim.host",
    "LocalProcess": "rumpkit.clients.local",
    "AioProcess": "rumpkit.clients.aio",
    "SocketLike": "rumpkit.clients.socketlike",
    "ConfigError": "rumpkit.compose.errors",
}
"""The public classes and functions, and where they are."""

_CONSTANTS: dict[tuple[str, ...], str] = {
    ("O_", "F_", "FD_", "SEEK_", "AT_", "S_", "R_OK", "W_OK", "X_OK", "EFD_", "CLOCK_"): "rumpkit.kern.abi.fcntl",
    ("AF_", "SOCK_", "SO_", "SOL_", "IPPROTO_", "IP_", "IPV6_", "TCP_", "MSG_", "SHUT_", "SOMAXCONN"): (
        "rumpkit.kern.abi.socket"
    ),
    ("POLL", "EPOLL"): "rumpkit.kern.abi.poll",
    ("E",): "rumpkit.kern.abi.errno",
}
"""Prefixes of the constants, and where they are; the first that fits counts."""


def __getattr__(name: str) -> object:
    """Import what `name` stands for.  Raises AttributeError, with a suggestion where one is near."""
    module = _NAMES.get(name)
    if module is None:
        module = _constants_of(name)
    if module is not None:
        value: object = getattr(import_module(module), name, None)
        if value is not None:
            globals()[name] = value
            return value
    if name.startswith("__"):
        raise AttributeError(f"module 'rumpkit' has no attribute {name!r}")
    raise AttributeError(f"module 'rumpkit' has no attribute {name!r}{_suggestion(name)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_constants()})


def _constants_of(name: str) -> str | None:
    if not name.isupper():
        return None
    for prefixes, module in _CONSTANTS.items():
        if name.startswith(prefixes):
            return module
    return None


def _constants() -> list[str]:
    found = []
    for module in _CONSTANTS.values():
        found += [name for name in vars(import_module(module)) if _constants_of(name) == module]
    return found


def _suggestion(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [*_NAMES, *_constants()], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
