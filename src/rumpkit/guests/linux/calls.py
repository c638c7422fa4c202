"""The source that brings a program's calls to their handlers.

Between the handlers (`calls_*`) and `guest`.
"""

from collections.abc import Callable
from select import EPOLLIN
from typing import TYPE_CHECKING, Final, final

from ...hosts.posix.loop import Source
from ...hyper.time import Instant
from ...kern.abi.errno import EIO
from ...kern.abi.ioctl import SIOCOUTQ
from . import libc
from .calls_ending import call_ioctl, call_shutdown
from .calls_name import call_getpeername, call_getsockname
from .calls_option import call_getsockopt, call_setsockopt
from .calls_socket import call_accept, call_accept4, call_bind, call_connect, call_listen, call_socket
from .context import Context
from .listener import Notification
from .record import complain
from .refusals import Refusals

if TYPE_CHECKING:
    from .trace import CallTrace

Handler = Callable[[Context, Notification], "int | None"]

HANDLERS: Final[dict[str, Handler]] = {
    "socket": call_socket,
    "bind": call_bind,
    "listen": call_listen,
    "connect": call_connect,
    "accept": call_accept,
    "accept4": call_accept4,
    "getsockname": call_getsockname,
    "getpeername": call_getpeername,
    "setsockopt": call_setsockopt,
    "getsockopt": call_getsockopt,
    "shutdown": call_shutdown,
    "ioctl": call_ioctl,
}
"""System call to handler; what is notified besides is refused."""
LIMITED: Final = {"ioctl": SIOCOUTQ}
"""Of these, all are refused whose second argument is another."""


@final
class Calls(Source):
    """The notification descriptor: takes calls and has them handled."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.listener.fd, False)
        self._context: Context = context
        self._handlers: dict[int, Handler] = {libc.number(name): handler for name, handler in HANDLERS.items()}
        self._limited: dict[int, int] = {libc.number(name): request for name, request in LIMITED.items()}
        self.handled: int = 0
        """Calls so far."""
        self._trace: CallTrace | None = None
        self.refusals: Refusals = Refusals()

    def on_events(self, events: int, now: Instant) -> None:
        listener = self._context.listener
        if not events & EPOLLIN:
            self._context.host.loop.unregister(self)  # no program is left that could call
            return
        call = listener.receive()
        if call is None:
            return
        self.handled += 1
        handler = self._handlers.get(call.number)
        only = self._limited.get(call.number)
        if handler is None or (only is not None and only != call.arguments[1] & 0xFFFFFFFF):
            self.refusals.refuse(listener, call)
            return
        if self._context.kernel.trace.sink is not None:
            self._follow(call)
        try:
            value = handler(self._context, call)
        except OSError as problem:
            listener.fail(call.id, problem.errno or EIO)
            return
        except Exception as problem:
            listener.fail(call.id, EIO)
            complain(problem)
            return
        if value is not None:
            listener.answer(call.id, value)

    def _follow(self, call: Notification) -> None:
        if self._trace is None:
            from .trace import CallTrace

            self._trace = CallTrace(self._context, {libc.number(name): name for name in HANDLERS})
            self._context.listener.watcher = self._trace
        self._trace.begin(call)
