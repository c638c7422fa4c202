"""Link I/O: how frames leave a kernel and come back in."""

from abc import ABC, abstractmethod

from mypy_extensions import mypyc_attr

from .frame import Frame
from .time import Instant


@mypyc_attr(allow_interpreted_subclasses=True)
class Receiver(ABC):
    """Takes frames from a link: a kernel's interface, or a port of a switch."""

    @abstractmethod
    def receive(self, frame: Frame, now: Instant) -> None:
        """Take one frame.  Never raises for what the frame holds; bad frames are counted and dropped."""

    def flush(self, now: Instant) -> None:
        """A batch of frames has ended: send what was held back for it, such as acknowledgements."""
        return None


@mypyc_attr(allow_interpreted_subclasses=True)
class LinkPort(ABC):
    """One end of a link, as a kernel's interface sees it."""

    def __init__(self, mtu: int = 1500, features: int = 0) -> None:
        self.mtu: int = mtu
        """Largest network-layer packet in bytes; the Ethernet header is not counted."""
        self.features: int = features
        """FEATURE_* bits: which unfinished frames the link takes."""
        self.slow_start: bool = False
        """Whether answers to the first frames after a start may be lost, as the far side is not quite up."""

    @abstractmethod
    def attach(self, receiver: Receiver) -> None:
        """Deliver what arrives on this port to `receiver` from now on."""

    @abstractmethod
    def transmit(self, frame: Frame) -> None:
        """Send one Ethernet frame.  Never delivers within the call (no re-entry); drops when it can't keep up."""

    def close(self) -> None:
        """Give the port up; later transmits are dropped."""
        return None
