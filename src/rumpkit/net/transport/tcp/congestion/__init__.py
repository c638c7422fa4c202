"""Congestion control (RFC 5681): how much may be in flight, chosen by name for each connection.

`control` says what one has to do, `registry` knows them by name, and each of the others is one: `reno`, `cubic`.  `hystart` ends
slow start for them.  Another one is a file with a subclass of `CongestionControl` and a call of `register`.
"""

from .control import UNLIMITED, CongestionControl, initial_window
from .registry import available, exchange, make, register

__all__ = ["UNLIMITED", "CongestionControl", "available", "exchange", "initial_window", "make", "register"]
