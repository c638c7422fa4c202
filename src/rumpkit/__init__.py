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

from ._finder import install as _install

_install(__path__[0])

TYPE_CHECKING = False  # what type checkers take for true; importing typing for it takes longer than all the rest
if TYPE_CHECKING:
    from .clients.aio import AioProcess as AioProcess
    from .clients.local import LocalProcess as LocalProcess
    from .clients.socketlike import SocketLike as SocketLike
    from .compose.errors import ConfigError as ConfigError
    from .compose.image.opened import OpenedImage as OpenedImage
    from .compose.image.opened import open_image as open_image
    from .compose.image.path import ImagePath as ImagePath
    from .compose.kernel import Kernel as Kernel
    from .hosts.sim.host import Deadlock as Deadlock
    from .kern.abi.errno import *  # noqa: F403
    from .kern.abi.fcntl import *  # noqa: F403
    from .kern.abi.inotify import *  # noqa: F403
    from .kern.abi.poll import *  # noqa: F403
    from .kern.abi.socket import *  # noqa: F403
    from .lab.switch import Switch as Switch
    from .lab.world import simulate as simulate

__version__ = "0.1.0.dev0"

_NAMES: dict[str, str] = {
    "Kernel": "rumpkit.compose.kernel",
    "open_image": "rumpkit.compose.image.opened",
    "OpenedImage": "rumpkit.compose.image.opened",
    "ImagePath": "rumpkit.compose.image.path",
    "Switch": "rumpkit.lab.switch",
    "simulate": "rumpkit.lab.world",
    "Deadlock": "rumpkit.hosts.sim.host",
    "LocalProcess": "rumpkit.clients.local",
    "AioProcess": "rumpkit.clients.aio",
    "SocketLike": "rumpkit.clients.socketlike",
    "ConfigError": "rumpkit.compose.errors",
}
"""The public classes and functions, and where they are."""

_CONSTANTS = (
    "rumpkit.kern.abi.fcntl",
    "rumpkit.kern.abi.socket",
    "rumpkit.kern.abi.poll",
    "rumpkit.kern.abi.errno",
    "rumpkit.kern.abi.inotify",
)
"""Where the constants are: O_*, S_*, AF_*, SO_*, POLL*, E* and so on."""


def __getattr__(name: str) -> object:
    """Import what `name` stands for.  Raises AttributeError, with a suggestion where one is near."""
    from importlib import import_module

    modules = (_NAMES[name],) if name in _NAMES else _CONSTANTS if name.isupper() else ()
    for module in modules:
        value: object = getattr(import_module(module), name, None)
        if value is not None:
            globals()[name] = value
            return value
    if name.startswith("__"):
        raise AttributeError(f"module 'rumpkit' has no attribute {name!r}")
    raise AttributeError(f"module 'rumpkit' has no attribute {name!r}{_suggestion(name)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_constants()})


def _constants() -> list[str]:
    from importlib import import_module

    return [name for module in _CONSTANTS for name in vars(import_module(module)) if name.isupper() and name[0] != "_"]


def _suggestion(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [*_NAMES, *_constants()], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
