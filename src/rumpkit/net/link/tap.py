"""Frame taps: observers of an interface that see every frame on its way in and out, before anything judges it.

Between an interface and whoever watches (captures, tests, statistics).  What a tap sees leaving is what the link gets:
super-segments and unfinished checksums included, where the link takes them.
"""

from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import mypyc_attr

from ...hyper.frame import Frame
from ...hyper.time import Instant

INBOUND: Final = 1
OUTBOUND: Final = 2
"""Directions, numbered as pcapng does."""


@mypyc_attr(allow_interpreted_subclasses=True)
class FrameTap(ABC):
    """Somebody who watches.  The frame is shared: look, keep a reference, change nothing, never enter the kernel."""

    @abstractmethod
    def frame(self, interface: str, frame: Frame, direction: int, now: Instant) -> None:
        """One Ethernet frame that came in or goes out through the interface of that name."""
