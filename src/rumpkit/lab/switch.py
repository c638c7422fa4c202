"""The switch of a laboratory: a description of a link, which becomes real in the world whose kernels are put on it."""

from dataclasses import dataclass

from ..compose.values import parse_duration
from ..hosts.sim.host import SimHost
from ..hosts.switch import Switch as HostSwitch
from ..hyper.frame import FEATURES_ALL
from ..hyper.link import LinkPort
from ..hyper.time import SECOND, Duration, Instant
from ..net.link.impairment import ImpairedPort, Impairment, ImpairmentConfig

Span = str | int | float
"""A duration as users write it: "20ms", "3s", or a number of seconds."""


def nanoseconds(span: Span) -> Duration:
    """A duration in nanoseconds.  Raises ConfigError for text that is none."""
    return parse_duration(span) if isinstance(span, str) else round(span * SECOND)


@dataclass(frozen=True, eq=False)
class Switch:
    """A learning switch whose cables may be bad.

    All chances are from 0 to 1 and are drawn once for each frame (each segment of a super-segment) that a kernel sends;
    `delay` is one way, so a round trip takes twice as long; `rate` is in bits a second for each sender, 0 for no
    limit; `offload=False` makes every kernel send finished frames of at most `mtu` bytes, as onto a real wire.

    The same description may be used in several worlds: it is only a description.
    """

    loss: float = 0.0
    delay: Span = 0
    jitter: Span = 0
    reorder: float = 0.0
    reorder_delay: Span = "10ms"
    duplicate: float = 0.0
    corrupt: float = 0.0
    rate: int = 0
    mtu: int = 1500
    offload: bool = True
    network: str = "10.0.0"
    """The first three numbers of the addresses that kernels get when they are given none."""

    def config(self) -> ImpairmentConfig:
        """The impairment of one cable.  Raises ValueError and ConfigError for what makes no sense."""
        return ImpairmentConfig(
            loss=self.loss,
            duplicate=self.duplicate,
            corrupt=self.corrupt,
            reorder=self.reorder,
            delay=nanoseconds(self.delay),
            jitter=nanoseconds(self.jitter),
            reorder_delay=nanoseconds(self.reorder_delay),
            rate=self.rate,
        )

    def perfect(self) -> bool:
        """Whether frames arrive at once and whole."""
        chances = (self.loss, self.reorder, self.duplicate, self.corrupt)
        return not any(chances) and not self.rate and not nanoseconds(self.delay) and not nanoseconds(self.jitter)


class Lan:
    """A switch in one world: the real one, and the cables to it."""

    def __init__(self, host: SimHost, description: Switch) -> None:
        self.host = host
        self.description = description
        self.switch = HostSwitch(host, description.mtu, FEATURES_ALL if description.offload else 0)
        self.cables: list[Impairment] = []
        """One for each port, in the order the kernels were put on the switch; none on a perfect switch."""
        self._members = 0

    def port(self) -> tuple[LinkPort, str]:
        """A new port, and the address for who comes without one."""
        self._members += 1
        address = f"{self.description.network}.{self._members}/24"
        if self.description.perfect():
            return self.switch.port(), address
        cable = Impairment(self.host, self.description.config())
        self.cables.append(cable)
        return ImpairedPort(self.host, self.switch.port(), cable), address

    def connect(self, connected: bool, now: Instant) -> None:
        """Cut all cables, or heal them.  Frames that are under way arrive."""
        self.switch.connected = connected
