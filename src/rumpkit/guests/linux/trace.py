"""A guest's calls in the kernel's system-call trace (`rump run --trace`): the arguments as a reader wants them, and what came of
each, however much later.  Beside `guest`; costs nothing until somebody listens to the trace.
"""

from collections.abc import Callable
from typing import Final, final

from ...kern.abi.errno import error
from ...kern.abi.socket import AF_INET, AF_INET6, AF_NETLINK, AF_UNIX
from ...net.wire.address import format_ipv4
from .context import SOCKADDR_LIMIT, Context
from .listener import Notification
from .sockaddr import decode, family_of

_FAMILIES: Final = {AF_INET: "AF_INET", AF_INET6: "AF_INET6", AF_UNIX: "AF_UNIX", AF_NETLINK: "AF_NETLINK"}
_INT: Final = 0xFFFFFFFF
PENDING_LIMIT: Final = 4096
"""Calls that may wait for their outcome; the oldest are forgotten, as killed threads' calls have none."""


class _Word(str):
    """A string that is shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


@final
class CallTrace:
    """Notes calls when they come, and emits them when they are answered."""

    def __init__(self, context: Context, names: dict[int, str]) -> None:
        self._context = context
        self._names = names
        self._pending: dict[int, tuple[int, str, tuple[object, ...]]] = {}

    def begin(self, call: Notification) -> None:
        """A call has come.  Off the schedule."""
        name = self._names[call.number]
        if len(self._pending) >= PENDING_LIMIT:
            del self._pending[next(iter(self._pending))]
        self._pending[call.id] = (call.thread, name, _SHOWN[name](self._context, call))

    def end(self, id: int, result: int, number: int) -> None:
        """It has returned `result`, or failed with the errno `number`.  Off the schedule."""
        begun = self._pending.pop(id, None)
        if begun is not None:
            context = self._context
            outcome = error(number) if number else result
            context.run(context.kernel.trace.emit, context.host.now, *begun, outcome)

    def drop(self, id: int) -> None:
        """It is not the kernel's: Linux runs it."""
        self._pending.pop(id, None)


def _integer(call: Notification, index: int) -> int:
    value = call.arguments[index] & _INT
    return value - (1 << 32) if value >= 1 << 31 else value


def _address(context: Context, call: Notification) -> object:
    try:
        data = context.memory.read(call.thread, call.arguments[1], min(call.arguments[2] & _INT, SOCKADDR_LIMIT))
        address, port = decode(data, family_of(data))
    except OSError:
        return _Word("?")
    return _Word(f"{format_ipv4(address)}:{port}")


def _show_socket(context: Context, call: Notification) -> tuple[object, ...]:
    family = _integer(call, 0)
    return _Word(_FAMILIES.get(family, str(family))), _integer(call, 1), _integer(call, 2)


def _show_address(context: Context, call: Notification) -> tuple[object, ...]:
    return _integer(call, 0), _address(context, call)


def _show_integers(count: int) -> Callable[[Context, Notification], tuple[object, ...]]:
    return lambda context, call: tuple(_integer(call, index) for index in range(count))


def _show_setsockopt(context: Context, call: Notification) -> tuple[object, ...]:
    try:
        value = context.memory.read(call.thread, call.arguments[3], min(call.arguments[4] & _INT, 16))
    except OSError:
        return _show_integers(3)(context, call)
    shown = int.from_bytes(value, "little", signed=True) if len(value) == 4 else value
    return (*_show_integers(3)(context, call), shown)


_SHOWN: Final[dict[str, Callable[[Context, Notification], tuple[object, ...]]]] = {
    "socket": _show_socket,
    "bind": _show_address,
    "connect": _show_address,
    "listen": _show_integers(2),
    "accept": _show_integers(1),
    "accept4": _show_integers(1),
    "getsockname": _show_integers(1),
    "getpeername": _show_integers(1),
    "setsockopt": _show_setsockopt,
    "getsockopt": _show_integers(3),
}
