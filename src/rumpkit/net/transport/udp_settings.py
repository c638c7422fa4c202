"""Settings, sysctls and counters of UDP."""

from typing import Final, final

from ...kern.counters import Counters
from ...kern.sysctl import Sysctl


@final
class UdpSettings:
    """Defaults of one kernel's UDP."""

    def __init__(self) -> None:
        self.receive_buffer: int = 212_992
        self.max_receive_buffer: int = 4 << 20
        self.send_buffer: int = 212_992


UDP_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("receive_buffer", 2304, 1 << 30, "bytes of datagrams that wait for a new socket's reader"),
    Sysctl("max_receive_buffer", 2304, 1 << 30, "the most that SO_RCVBUF gives"),
    Sysctl("send_buffer", 4608, 1 << 30, "SO_SNDBUF of a new socket"),
)


@final
class UdpCounters(Counters):
    """What UDP did with datagrams."""

    def __init__(self) -> None:
        self.datagrams_in: int = 0
        self.bad_in: int = 0
        self.bad_checksum: int = 0
        self.no_port: int = 0
        self.buffer_full: int = 0
        self.datagrams_out: int = 0
        self.errors_in: int = 0

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


_COUNTERS: Final = (
    "datagrams_in", "bad_in", "bad_checksum", "no_port", "buffer_full", "datagrams_out", "errors_in",
)  # fmt: skip
