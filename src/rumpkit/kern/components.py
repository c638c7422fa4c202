"""Components of the base faction: the system calls that every kernel has.  Interpreted; see kern/component.py."""

from typing import TYPE_CHECKING, Final

from .component import component

if TYPE_CHECKING:
    from .calls import KernCalls
    from .device import DeviceSwitch
    from .kernel import RumpKernel
    from .pollcalls import PollCalls
    from .socketcalls import SocketCalls

BASE: Final = ("calls", "socket_calls", "poll_calls")
"""What every kernel is built with."""


@component("calls", faction="base")
def calls(kernel: "RumpKernel") -> "KernCalls":
    """System calls over descriptors and processes."""
    from .calls import KernCalls

    return KernCalls(kernel)


@component("socket_calls", faction="base")
def socket_calls(kernel: "RumpKernel") -> "SocketCalls":
    """System calls over sockets of all families."""
    from .socketcalls import SocketCalls

    return SocketCalls(kernel)


@component("poll_calls", faction="base")
def poll_calls(kernel: "RumpKernel") -> "PollCalls":
    """The calls poll, select and epoll."""
    from .pollcalls import PollCalls

    return PollCalls(kernel)


@component("devices", faction="base")
def devices() -> "DeviceSwitch":
    """All devices of the kernel, by number; empty until components attach theirs."""
    from .device import DeviceSwitch

    return DeviceSwitch()
