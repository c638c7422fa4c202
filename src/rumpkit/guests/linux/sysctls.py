"""What a program sees below /proc/sys/net: the kernel's settings, where programs look at them and Linux lets us set its copies.

Used by `guest` before the start; `network.prepare` writes them.  They mean nothing there, as no TCP of Linux's is in use, but for
somaxconn, which bounds unix sockets, too.
"""

from typing import Final

from ...hyper.named import NamedTuple
from ...kern.kernel import RumpKernel


class _Shown(NamedTuple):
    path: str
    name: str
    divisor: int
    usual: int
    """Linux's default, which need not be written."""


_TCP: Final = (
    _Shown("core/somaxconn", "net.tcp.max_backlog", 1, 4096),
    _Shown("ipv4/tcp_window_scaling", "net.tcp.window_scaling", 1, 1),
    _Shown("ipv4/tcp_timestamps", "net.tcp.timestamps", 1, 1),
    _Shown("ipv4/tcp_sack", "net.tcp.sack", 1, 1),
    _Shown("ipv4/tcp_ecn", "net.tcp.ecn", 1, 2),
    _Shown("ipv4/tcp_syn_retries", "net.tcp.syn_retries", 1, 6),
    _Shown("ipv4/tcp_synack_retries", "net.tcp.synack_retries", 1, 5),
    _Shown("ipv4/tcp_retries2", "net.tcp.retries", 1, 15),
    _Shown("ipv4/tcp_max_tw_buckets", "net.tcp.max_time_wait", 1, 0),
    _Shown("ipv4/tcp_max_syn_backlog", "net.tcp.max_syn_backlog", 1, 0),
    _Shown("ipv4/tcp_keepalive_time", "net.tcp.keepalive_time", 1000, 7200),
    _Shown("ipv4/tcp_keepalive_intvl", "net.tcp.keepalive_interval", 1000, 75),
    _Shown("ipv4/tcp_keepalive_probes", "net.tcp.keepalive_probes", 1, 9),
    _Shown("ipv4/tcp_fin_timeout", "net.tcp.fin_timeout", 1000, 60),
    _Shown("ipv4/tcp_mtu_probing", "net.tcp.mtu_probing", 1, 0),
)
_BUFFERS: Final = (("ipv4/tcp_rmem", "receive"), ("ipv4/tcp_wmem", "send"))
_LEAST_BUFFER: Final = 4096
_LEAST_BACKLOG: Final = 128
"""Less would leave the program's own unix sockets, and those that stand for TCP, too little."""


def shown(kernel: RumpKernel) -> dict[str, bytes]:
    """The files to write, and what.  On the schedule."""
    if kernel.service("Tcp") is None:
        return {}
    get = kernel.sysctl.get
    found = {}
    for path, name, divisor, usual in _TCP:
        value = get(name) // divisor
        if value != usual and (path != "core/somaxconn" or value >= _LEAST_BACKLOG):
            found[path] = b"%d" % value
    for path, way in _BUFFERS:
        usual, most = get(f"net.tcp.{way}_buffer"), get(f"net.tcp.{way}_buffer_max")
        found[path] = b"%d %d %d" % (min(_LEAST_BUFFER, usual), usual, max(usual, most))
    return found
