"""Who has which local port: one `PortAllocator` for each transport protocol, below its sockets.

The rules are those of bind(2) on Linux: two bindings of one port conflict if their addresses overlap (equal, or one is
the wildcard), unless both say SO_REUSEADDR and neither listens, or both say SO_REUSEPORT and one user owns them.
Ephemeral ports are drawn at random (RFC 6056 section 3.3.1).
"""

from collections.abc import Callable
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.calls import Hypercalls
from ...kern.abi.errno import EADDRINUSE, EADDRNOTAVAIL, error
from ...kern.sysctl import Sysctl

EPHEMERAL_FIRST: Final = 32768
EPHEMERAL_LAST: Final = 60999


@final
class PortSettings:
    """The range of ephemeral ports, shared by a kernel's transports."""

    def __init__(self) -> None:
        self.ephemeral_first: int = EPHEMERAL_FIRST
        self.ephemeral_last: int = EPHEMERAL_LAST


PORT_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("ephemeral_first", 1, 65535, "lowest port given to sockets that don't choose one"),
    Sysctl("ephemeral_last", 1, 65535, "highest port given to sockets that don't choose one"),
)


@final
@mypyc_attr(acyclic=True)
class PortBinding:
    """A hold on one local port.  A listener's connections share its binding (`PortAllocator.hold`)."""

    def __init__(
        self, address: bytes, port: int, reuse_address: bool, reuse_port: bool, uid: int, dual: bool = False
    ) -> None:
        self.address: bytes = address
        """All zero for the wildcard."""
        self.dual: bool = dual
        """The wildcard of IPv6 that stands for IPv4's, too."""
        self.port: int = port
        self.reuse_address: bool = reuse_address
        self.reuse_port: bool = reuse_port
        self.uid: int = uid
        self.listening: bool = False
        self.references: int = 1

    def overlaps(self, other: "PortBinding") -> bool:
        """Whether a packet could be for both, as far as the addresses say (the ports are known to be equal)."""
        if len(self.address) != len(other.address):
            return self.dual or other.dual
        return self.address == other.address or not any(self.address) or not any(other.address)

    def conflicts(self, other: "PortBinding") -> bool:
        """Whether the two can't hold one port at the same time."""
        if not self.overlaps(other):
            return False
        if self.reuse_port and other.reuse_port and self.uid == other.uid:
            return False
        return not (self.reuse_address and other.reuse_address) or self.listening or other.listening


@final
class PortAllocator:
    """The ports of one protocol in one kernel."""

    def __init__(self, hyper: Hypercalls, settings: PortSettings | None = None) -> None:
        self.settings: PortSettings = settings if settings is not None else PortSettings()
        self._hyper: Hypercalls = hyper
        self._bindings: dict[int, list[PortBinding]] = {}

    def bind(
        self,
        address: bytes,
        port: int,
        reuse_address: bool = False,
        reuse_port: bool = False,
        uid: int = 0,
        dual: bool = False,
    ) -> PortBinding:
        """Take `port` (0: any free ephemeral one) on `address`.  Raises EADDRINUSE."""
        wanted = PortBinding(address, port, reuse_address, reuse_port, uid, dual)
        if port == 0:
            wanted.port = self._free(wanted)
        elif self._conflict(wanted):
            raise error(EADDRINUSE)
        self._bindings.setdefault(wanted.port, []).append(wanted)
        return wanted

    def hold(self, binding: PortBinding) -> None:
        """One more user of `binding`, such as an accepted connection."""
        binding.references += 1

    def release(self, binding: PortBinding) -> None:
        """One user less; the last one frees the port."""
        binding.references -= 1
        if binding.references:
            return
        bindings = self._bindings[binding.port]
        bindings.remove(binding)
        if not bindings:
            del self._bindings[binding.port]

    def listen(self, binding: PortBinding) -> None:
        """Mark `binding` as a listener's.  Raises EADDRINUSE where another listener is in the way."""
        for other in self._bindings[binding.port]:
            if other is not binding and other.listening and other.conflicts(binding):
                raise error(EADDRINUSE)
        binding.listening = True

    def unlisten(self, binding: PortBinding) -> None:
        """The listener has closed; its connections may go on to hold the binding."""
        binding.listening = False

    def choose(self, taken: Callable[[int], bool]) -> int:
        """A port for a connection that was never bound: nobody has bound it, and `taken(port)` (whether the four-tuple
        is in use) is false.  Such connections share ports and reserve nothing here.  Raises EADDRNOTAVAIL."""
        first, count = self._range()
        offset = self._random(count)
        for step in range(count):
            port = first + (offset + step) % count
            if port not in self._bindings and not taken(port):
                return port
        raise error(EADDRNOTAVAIL)

    def bound(self, port: int) -> bool:
        """Whether anybody holds `port`, on whatever address."""
        return port in self._bindings

    def _conflict(self, wanted: PortBinding) -> bool:
        bindings = self._bindings.get(wanted.port)
        if bindings is not None:
            for other in bindings:
                if wanted.conflicts(other):
                    return True
        return False

    def _free(self, wanted: PortBinding) -> int:
        """A port that no overlapping binding holds, not even a sharing one."""
        first, count = self._range()
        offset = self._random(count)
        for step in range(count):
            port = first + (offset + step) % count
            if not any(wanted.overlaps(other) for other in self._bindings.get(port, ())):
                return port
        raise error(EADDRINUSE)

    def _range(self) -> tuple[int, int]:
        first = self.settings.ephemeral_first
        return first, max(self.settings.ephemeral_last - first + 1, 1)

    def _random(self, limit: int) -> int:
        return int.from_bytes(self._hyper.random(4), "big") % limit
