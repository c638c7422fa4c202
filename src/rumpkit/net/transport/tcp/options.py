"""What a socket may set on its connection (tcp(7), socket(7)), between `net.socket` and a connection."""

from typing import final

from mypy_extensions import mypyc_attr

from .congestion.registry import available
from .settings import TcpSettings


@final
@mypyc_attr(acyclic=True)
class TcpOptions:
    """Options of one socket; an accepted socket starts with a copy of its listener's.

    0 means "as the sysctl says" for times (milliseconds), counts and buffer sizes.
    """

    def __init__(self) -> None:
        self.shared: bool = False
        """Others have it too: who wants to change something makes a copy first."""
        self.reuse_address: bool = False
        self.reuse_port: bool = False
        self.nodelay: bool = False
        self.cork: bool = False
        self.quickack: bool = False
        self.keepalive: bool = False
        self.keepalive_time: int = 0
        self.keepalive_interval: int = 0
        self.keepalive_probes: int = 0
        self.user_timeout: int = 0
        """How long sent data may stay unacknowledged, or unsent in a closed window (RFC 5482), ms."""
        self.syn_retries: int = 0
        self.fin_timeout: int = 0
        """TCP_LINGER2; -1 closes without FIN-WAIT-2."""
        self.max_segment: int = 0
        """TCP_MAXSEG: a limit to the MSS both ways."""
        self.send_buffer: int = 0
        """SO_SNDBUF as it takes effect; 0 lets the buffer grow by itself."""
        self.receive_buffer: int = 0
        self.window_clamp: int = 0
        self.receive_low_water: int = 1
        self.oob_inline: bool = False
        self.linger: int = -1
        """SO_LINGER in seconds: -1 is off, 0 resets the connection at close."""
        self.fast_open: int = 0
        """TCP_FASTOPEN: how many connections with data on their SYN a listener takes before their handshakes are done."""
        self.fast_open_connect: bool = False
        """TCP_FASTOPEN_CONNECT: the first write sends the SYN."""
        self.defer_accept: int = 0
        """TCP_DEFER_ACCEPT in seconds."""
        self.congestion: str = ""
        self.max_pacing_rate: int = 0
        """SO_MAX_PACING_RATE, bytes a second."""
        self.ttl: int = -1
        """IP_TTL; -1 leaves it to the network."""
        self.tos: int = 0
        self.hops: int = -1
        """IPV6_UNICAST_HOPS; -1 leaves it to the network."""
        self.notsent_low_water: int = 0
        """TCP_NOTSENT_LOWAT: writable only with fewer unsent bytes than this."""
        self.extras: dict[tuple[int, int], int] | None = None
        """Other options of the socket (`kern.socket.Socket.extras`)."""

    def share(self) -> "TcpOptions":
        """The options of an accepted socket, until it or its listener changes some."""
        self.shared = True
        return self

    def copy(self) -> "TcpOptions":
        """The same options, to be changed."""
        other = TcpOptions()
        other.reuse_address = self.reuse_address
        other.reuse_port = self.reuse_port
        other.nodelay = self.nodelay
        other.cork = self.cork
        other.quickack = self.quickack
        other.keepalive = self.keepalive
        other.keepalive_time = self.keepalive_time
        other.keepalive_interval = self.keepalive_interval
        other.keepalive_probes = self.keepalive_probes
        other.user_timeout = self.user_timeout
        other.syn_retries = self.syn_retries
        other.fin_timeout = self.fin_timeout
        other.max_segment = self.max_segment
        other.send_buffer = self.send_buffer
        other.receive_buffer = self.receive_buffer
        other.window_clamp = self.window_clamp
        other.receive_low_water = self.receive_low_water
        other.oob_inline = self.oob_inline
        other.linger = self.linger
        other.fast_open = self.fast_open
        other.fast_open_connect = self.fast_open_connect
        other.defer_accept = self.defer_accept
        other.congestion = self.congestion
        other.max_pacing_rate = self.max_pacing_rate
        other.ttl = self.ttl
        other.tos = self.tos
        other.hops = self.hops
        other.notsent_low_water = self.notsent_low_water
        other.extras = self.extras
        return other

    def congestion_name(self, settings: TcpSettings) -> str:
        """The congestion control that a connection with these options uses."""
        if self.congestion:
            return self.congestion
        names = available()
        return names[min(settings.congestion, len(names) - 1)]
