"""The congestion controls by name, between those who choose (TCP_CONGESTION, the sysctl) and the algorithms."""

from collections.abc import Callable
from typing import Final

from .control import CongestionControl
from .cubic import Cubic
from .reno import NewReno

CongestionMaker = Callable[[int, int], CongestionControl]
"""Makes a congestion control from (MSS, initial window in segments)."""

_makers: Final[dict[str, CongestionMaker]] = {"cubic": Cubic, "reno": NewReno}


def register(name: str, maker: CongestionMaker) -> None:
    """Offer a congestion control under `name` (TCP_CONGESTION, and the sysctl by its place in `available`)."""
    _makers[name] = maker


def available() -> tuple[str, ...]:
    """The names that TCP_CONGESTION takes; the first is the default."""
    return tuple(_makers)


def make(name: str, mss: int, initial_segments: int) -> CongestionControl:
    """A new congestion control.  Raises KeyError."""
    made = _makers[name](mss, initial_segments)
    made.name = name
    return made


def exchange(old: CongestionControl, name: str) -> CongestionControl:
    """Another congestion control in the place of `old`, with its windows.  Raises KeyError."""
    made = make(name, int(old.mss), 1)
    made.initial = old.initial
    made.window = old.window
    made.threshold = old.threshold
    return made
