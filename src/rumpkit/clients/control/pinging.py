"""Pings from inside a kernel: echo requests at intervals, and what comes back."""

from errno import EADDRINUSE, EAFNOSUPPORT, EINVAL, ENOENT
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, final

from ...hyper.frame import Frame
from ...hyper.time import FOREVER, MICROSECOND, MILLISECOND, Instant
from ...kern.abi.errno import MESSAGES
from ...kern.timer import Timer
from ...net.ip.icmp import Icmp, Pinger
from ...net.wire.address import format_address, parse_address
from ...net.wire.icmp import ECHO, HEADER_SIZE, IcmpMessage
from ...net.wire.icmpv6 import ECHO_REQUEST, Icmp6Message
from .live import Live, Outlet
from .protocol import ControlError

if TYPE_CHECKING:
    from ...net.ip6.icmp import Icmp6
    from ...net.ip6.service import Ip6
    from .server import ControlServer

LIMITS: Final = {
    "count": (0, 1 << 40),
    "interval": (10, 86_400_000),
    "size": (0, 65_507),
    "timeout": (10, 86_400_000),
    "ttl": (1, 255),
}
MAX_PENDING: Final = 65536
MAX_PART: Final = 512
"""Bytes that one part takes at most."""
_IDENTIFIERS: Final = 65536


class Echo(Protocol):
    """ICMP of one version of IP."""

    def open(self, pinger: Pinger) -> int:
        """Take an identifier.  Raises EADDRINUSE."""

    def send(self, identifier: int, sequence: int, destination: bytes, payload: bytes, ttl: int, now: Instant) -> None:
        """Send a request.  Raises OSError."""

    def close(self, identifier: int) -> None:
        """Give the identifier back."""


def ping(server: "ControlServer", parameters: dict[str, Any]) -> Live:
    """Pings that begin when they are started."""
    for name, (low, high) in LIMITS.items():
        if not low <= parameters[name] <= high:
            raise ControlError(EINVAL, f"{name} must be from {low} to {high}, not {parameters[name]}")
    try:
        destination = parse_address(parameters["destination"])
    except ValueError as problem:
        raise ControlError(EINVAL, str(problem)) from None
    return Ping(server, _echo(server, destination), destination, parameters)


def _echo(server: "ControlServer", destination: bytes) -> Echo:
    if len(destination) != 4:
        sixth = server.kernel.service("Ip6")
        if sixth is None:
            raise ControlError(EAFNOSUPPORT, "this kernel has no IPv6 to ping by")
        return EchoV6(cast("Ip6", sixth).icmp, server.host.random(2))
    icmp = server.kernel.service("Icmp")
    if icmp is None:
        raise ControlError(ENOENT, "this kernel has no ICMP to ping by")
    return EchoV4(cast(Icmp, icmp), server.host.random(2))


def _take_identifier(pingers: dict[int, Pinger], pinger: Pinger, chance: bytes) -> int:
    """An identifier that nobody pings under, from a random one on.  Raises EADDRINUSE."""
    first = int.from_bytes(chance, "big")
    for step in range(_IDENTIFIERS):
        identifier = (first + step) % _IDENTIFIERS
        if identifier and identifier not in pingers:
            pingers[identifier] = pinger
            return identifier
    raise ControlError(EADDRINUSE, "too many are pinging already")


@final
class EchoV4:
    """Echo of ICMP."""

    def __init__(self, icmp: Icmp, chance: bytes) -> None:
        self._icmp = icmp
        self._chance = chance

    def open(self, pinger: Pinger) -> int:
        """Take an identifier."""
        return _take_identifier(self._icmp.pingers, pinger, self._chance)

    def send(self, identifier: int, sequence: int, destination: bytes, payload: bytes, ttl: int, now: Instant) -> None:
        """Send a request."""
        message = IcmpMessage(ECHO, 0, identifier << 16 | sequence, payload)
        self._icmp.send(Frame(message.emit()), None, destination, ttl, 0, now)
        self._icmp.counters.echo_requests_out += 1

    def close(self, identifier: int) -> None:
        """Give it back."""
        self._icmp.pingers.pop(identifier, None)


@final
class EchoV6:
    """Echo of ICMPv6."""

    def __init__(self, icmp: "Icmp6", chance: bytes) -> None:
        self._icmp = icmp
        self._chance = chance

    def open(self, pinger: Pinger) -> int:
        """Take an identifier."""
        return _take_identifier(self._icmp.pingers, pinger, self._chance)

    def send(self, identifier: int, sequence: int, destination: bytes, payload: bytes, ttl: int, now: Instant) -> None:
        """Send a request."""
        message = Icmp6Message(ECHO_REQUEST, 0, identifier << 16 | sequence, payload)
        self._icmp.send(message, None, destination, ttl, 0, now)
        self._icmp.counters.echo_requests_out += 1

    def close(self, identifier: int) -> None:
        """Give it back."""
        self._icmp.pingers.pop(identifier, None)


@final
class _Inbox(Pinger):
    """Hands on what comes."""

    def __init__(self, ping: "Ping") -> None:
        self._ping = ping

    def reply(self, source: bytes, message: bytes, ttl: int, now: Instant) -> None:
        self._ping.reply(source, message, ttl)

    def failed(self, destination: bytes, errno: int, now: Instant) -> None:
        self._ping.failed(errno)


@final
class _Beat(Timer):
    """The next request, or the end of patience."""

    def __init__(self, ping: "Ping") -> None:
        super().__init__()
        self._ping = ping

    def expire(self, now: Instant) -> None:
        self._ping.beat(now)


@final
class Ping(Live):
    """One run."""

    def __init__(self, server: "ControlServer", echo: Echo, destination: bytes, parameters: dict[str, Any]) -> None:
        self._timers = server.kernel.timers
        self._echo = echo
        self._destination = destination
        self._count: int = parameters["count"]
        self._interval: int = parameters["interval"] * MILLISECOND
        self._timeout: int = parameters["timeout"] * MILLISECOND
        self._ttl: int = parameters["ttl"]
        self._payload = bytes(at & 0xFF for at in range(parameters["size"]))
        self._beat = _Beat(self)
        self._outlet: Outlet | None = None
        self._identifier = 0
        self._pending: dict[int, tuple[int, int]] = {}
        """Requests without an answer: number, and when it was sent, by the sequence number on the wire."""
        self._began = self._sent = self._received = self._duplicates = self._errors = self._skipped = 0
        self._least = self._most = self._sum = self._squares = 0

    def start(self, outlet: Outlet, now: Instant) -> None:
        self._identifier = self._echo.open(_Inbox(self))
        self._outlet = outlet
        self._began = monotonic_ns()
        self.beat(now)

    def beat(self, now: Instant) -> None:
        """Send the next request; after the last one, wait for the rest of the answers, then end."""
        if self._count and self._sent >= self._count:
            self.stop(now)
            return
        self._sent += 1
        if len(self._pending) >= MAX_PENDING // 2:
            del self._pending[next(iter(self._pending))]
        sequence = self._sent % MAX_PENDING
        # Set first: over loopback the answer may end the run from within the send.
        last = self._count and self._sent >= self._count
        self._timers.set(self._beat, now + (self._timeout if last else self._interval))
        self._pending[sequence] = self._sent, monotonic_ns()
        try:
            self._echo.send(self._identifier, sequence, self._destination, self._payload, self._ttl, now)
        except OSError as problem:
            del self._pending[sequence]
            self.failed(problem.errno or 0)

    def reply(self, source: bytes, message: bytes, ttl: int) -> None:
        """An answer has come."""
        outlet = self._outlet
        if outlet is None or len(message) < HEADER_SIZE:
            return
        sequence = message[6] << 8 | message[7]
        found = self._pending.pop(sequence, None)
        said: dict[str, Any] = {"from": format_address(source), "bytes": len(message), "ttl": ttl}
        if found is None:
            self._duplicates += 1
            self._tell(outlet, {**said, "sequence": sequence, "duplicate": True})
            return
        number, sent_at = found
        taken = max(monotonic_ns() - sent_at, 0) // MICROSECOND
        self._received += 1
        self._least = taken if self._received == 1 else min(self._least, taken)
        self._most = max(self._most, taken)
        self._sum += taken
        self._squares += taken * taken
        intact = message[HEADER_SIZE:] == self._payload
        self._tell(outlet, {**said, "sequence": number, "time": taken, "intact": intact})
        self._end_early()

    def _tell(self, outlet: Outlet, part: dict[str, Any]) -> None:
        """Whoever asked need not read, and strangers can make up answers."""
        if outlet.room() < MAX_PART:
            self._skipped += 1
        else:
            outlet.part(part)

    def _end_early(self) -> None:
        """There is nothing to wait for any more once each request has its answer or its error."""
        if self._count and self._sent >= self._count and self._received + self._errors >= self._count:
            self._timers.set(self._beat, 0)

    def failed(self, errno: int) -> None:
        """A request could not be sent, or somebody says that it failed."""
        self._errors += 1
        if self._outlet is not None:
            error = MESSAGES.get(errno, f"error {errno}")
            self._tell(self._outlet, {"sequence": self._sent, "errno": errno, "error": error})
            self._end_early()

    def stop(self, now: Instant) -> None:
        outlet = self._outlet
        if outlet is None:
            return
        self._outlet = None
        self._timers.set(self._beat, FOREVER)
        self._echo.close(self._identifier)
        result: dict[str, Any] = {
            "transmitted": self._sent,
            "received": self._received,
            "duplicates": self._duplicates,
            "errors": self._errors,
            "skipped": self._skipped,
            "time": (monotonic_ns() - self._began) // MICROSECOND,
        }
        if self._received:
            mean = self._sum / self._received
            deviation = max(self._squares / self._received - mean * mean, 0.0) ** 0.5
            result |= {"min": self._least, "avg": round(mean), "max": self._most, "mdev": round(deviation)}
        outlet.finish(result)
