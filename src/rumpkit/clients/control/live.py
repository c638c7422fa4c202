"""What goes on by itself until it is stopped: captures and pings; between a session and the kernel."""

from abc import ABC, abstractmethod
from typing import Any

from ...hyper.time import Instant


class Outlet(ABC):
    """Where the answer to one request goes.  All methods are called on the schedule."""

    @abstractmethod
    def room(self) -> int:
        """Bytes that may be given now.  Whoever has more leaves it out, and counts."""

    @abstractmethod
    def part(self, value: Any) -> None:
        """Give a JSON value."""

    @abstractmethod
    def data(self, data: bytes) -> None:
        """Give bytes."""

    @abstractmethod
    def finish(self, result: Any) -> None:
        """The end, with a last JSON value; what is given after it goes nowhere."""

    @abstractmethod
    def fail(self, failure: OSError) -> None:
        """The same, with an error."""


class Live(ABC):
    """Something that goes on.  All methods are called on the schedule."""

    @abstractmethod
    def start(self, outlet: Outlet, now: Instant) -> None:
        """Begin.  Raises OSError."""

    @abstractmethod
    def stop(self, now: Instant) -> None:
        """Leave the kernel alone from now on, and say what there is to say at the end (`Outlet.finish`).  A second call does
        nothing."""
