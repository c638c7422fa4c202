"""A DHCPv4 client without I/O (RFC 2131 section 4.4): messages and the time come in, messages and leases go out.

`states` has the table; here is what its actions do.  The owner (`service`) carries messages to and from UDP, ARP probes to
the link, and the lease to the interface.
"""

from collections.abc import Callable
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.time import FOREVER, MILLISECOND, SECOND, Duration, Instant
from ...kern.counters import Counters
from ...kern.sysctl import Sysctl
from ..wire import dhcp as wire
from ..wire.dhcp import DhcpMessage
from . import states
from .lease import Lease, lease_of, offered

WANTED: Final = bytes(
    (
        wire.CLASSLESS_ROUTES,  # must come before the router (RFC 3442)
        wire.SUBNET_MASK,
        wire.ROUTER,
        wire.NAME_SERVER,
        wire.DOMAIN_NAME,
        wire.INTERFACE_MTU,
        wire.LEASE_TIME,
        wire.RENEWAL_TIME,
        wire.REBINDING_TIME,
        wire.DOMAIN_SEARCH,
    )
)
MAX_SIZE: Final = 1472
"""The longest message that we take: what fits into one packet of an Ethernet link."""
MAX_BACKOFF: Final = 64
REQUESTS: Final = 4
"""How often an offer is asked for before the search starts anew."""
MIN_RENEWAL_WAIT: Final = 60 * SECOND
DECLINE_WAIT: Final = 10 * SECOND
"""After a conflict (RFC 2131 section 3.1, 5.)."""
MAX_CONFLICTS: Final = 10
"""From this many conflicts on the search slows down (RFC 5227 section 2.1.1)."""
SLOW_DOWN: Final = 60 * SECOND


@final
class DhcpSettings:
    """Times of one kernel's DHCP clients."""

    def __init__(self) -> None:
        self.probes: int = 3
        self.probe_milliseconds: int = 250
        self.retry_milliseconds: int = 4000


DHCP_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("probes", 0, 10, "ARP probes for an address before it is used (RFC 5227)"),
    Sysctl("probe_milliseconds", 1, 10_000, "the least time between them; RFC 5227 has 1000 for slow links"),
    Sysctl(
        "retry_milliseconds", 100, 60_000, "wait for a first answer; each further wait is twice as long, up to 16 times"
    ),
)


@final
class DhcpCounters(Counters):
    """What all DHCP clients of a kernel did."""

    def __init__(self) -> None:
        self.messages_in: int = 0
        self.bad_in: int = 0
        self.ignored_in: int = 0
        self.messages_out: int = 0
        self.leases: int = 0
        self.naks: int = 0
        self.declined: int = 0
        self.expired: int = 0

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


_COUNTERS: Final = (
    "messages_in", "bad_in", "ignored_in", "messages_out", "leases", "naks", "declined", "expired",
)  # fmt: skip

_HOLDING: Final = (states.BOUND, states.RENEWING, states.REBINDING, states.REBOOTING)
"""States in which a lease holds."""


@mypyc_attr(allow_interpreted_subclasses=True)
class DhcpOwner:
    """Who carries out what a client decides."""

    def send(self, message: bytes, source: bytes, server: bytes, now: Instant) -> None:
        """Send to a server from `source`; `server` b"" is everybody on the link, `source` 0.0.0.0 is nobody yet."""
        raise NotImplementedError

    def probe(self, address: bytes, now: Instant) -> None:
        """Ask by ARP whether somebody has the address (sender 0.0.0.0), and tell the client's `conflict` if so, from now
        until the client lets go of it."""
        raise NotImplementedError

    def configure(self, lease: Lease, now: Instant) -> None:
        """The lease holds from now on, or has changed."""
        raise NotImplementedError

    def release(self, address: bytes, now: Instant) -> None:
        """The address is no longer ours to use or to probe."""
        raise NotImplementedError


@final
class DhcpClient:
    """The client of one interface."""

    def __init__(
        self,
        owner: DhcpOwner,
        mac: bytes,
        hostname: str,
        random: Callable[[int], bytes],
        settings: DhcpSettings,
        counters: DhcpCounters,
    ) -> None:
        self.state: str = states.INIT
        self.lease: Lease | None = None
        """What was acknowledged last; it holds in BOUND, RENEWING, REBINDING and REBOOTING."""
        self.deadline: Instant = FOREVER
        """When `on_deadline` is wanted."""
        self._owner: DhcpOwner = owner
        self._mac: bytes = mac
        self._hostname: bytes = hostname.encode()[:63]
        self._random: Callable[[int], bytes] = random
        self._settings: DhcpSettings = settings
        self._counters: DhcpCounters = counters
        self._transaction: int = 0
        self._began: Instant = 0
        """When the search began: messages tell for how long it has gone on."""
        self._asked: Instant = 0
        """When the request was sent first that the next ACK answers: leases count from then."""
        self._tries: int = 0
        self._conflicts: int = 0
        self._offer: DhcpMessage | None = None

    def start(self, now: Instant) -> None:
        """Look for a lease."""
        self._step(states.START, now)

    def stop(self, now: Instant) -> None:
        """Give the lease back and do nothing more."""
        lease = self.lease
        if lease is not None and self.bound():
            message = self._message(wire.RELEASE, now)
            message.client = lease.address
            message.options[wire.SERVER_IDENTIFIER] = lease.server
            self._send(message, lease.address, lease.server, now)
        if lease is not None:
            self._owner.release(lease.address, now)
        self.lease = None
        self.state = states.INIT
        self.deadline = FOREVER

    def bound(self) -> bool:
        """Whether a lease holds."""
        return self.state in _HOLDING

    # Events ----------------------------------------------------------------------------------------------

    def receive(self, message: DhcpMessage, now: Instant) -> bool:
        """Take a server's message; False if it is about somebody else or nothing that was asked for."""
        if message.operation != wire.BOOTREPLY or message.transaction != self._transaction:
            return False
        if message.hardware != self._mac:
            return False
        kind = message.kind()
        if kind == wire.OFFER and self.state == states.SELECTING and offered(message):
            self._offer = message
            self._step(states.OFFERED, now)
        elif kind == wire.ACK and self._expected(message):
            lease = lease_of(message, self._asked)
            if lease is None:
                return False
            self._acknowledged(lease, now)
        elif kind == wire.NAK and self._expected(message):
            self._counters.naks += 1
            self._step(states.REFUSED, now)
        else:
            return False
        return True

    def conflict(self, address: bytes, now: Instant) -> None:
        """Somebody else answers for an address that `DhcpOwner.probe` was asked about."""
        lease = self.lease
        if lease is not None and lease.address == address:
            self._step(states.CONFLICT, now)

    def link_up(self, now: Instant) -> None:
        """The interface has come up: this may be another network, on which the lease is worth nothing (RFC 2131 section 3.2)."""
        self._step(states.LINK_UP, now)

    def on_deadline(self, now: Instant) -> None:
        """The deadline has passed."""
        self.deadline = FOREVER
        lease = self.lease
        if self.state == states.INIT:
            self._step(states.START, now)
        elif self.state == states.BOUND:
            self._step(states.T1, now)
        elif self.state == states.RENEWING and lease is not None and now >= lease.rebind_at:
            self._step(states.T2, now)
        elif self.state in (states.REBINDING, states.REBOOTING) and lease is not None and now >= lease.end:
            self._counters.expired += 1
            self._step(states.EXPIRED, now)
        elif self.state in (states.REQUESTING, states.REBOOTING) and self._tries >= REQUESTS:
            self._step(states.GIVEN_UP, now)
        elif self.state == states.PROBING and self._tries >= self._settings.probes:
            self._step(states.CLEAR, now)
        else:
            self._step(states.AGAIN, now)

    def _expected(self, message: DhcpMessage) -> bool:
        """Whether the server is one that was asked."""
        if self.state == states.REQUESTING and self._offer is not None:
            server = message.address(wire.SERVER_IDENTIFIER)
            return server == self._offer.address(wire.SERVER_IDENTIFIER)
        return self.state in (states.RENEWING, states.REBINDING, states.REBOOTING)

    def _acknowledged(self, lease: Lease, now: Instant) -> None:
        """A lease for another address than the one we use starts all over (a server must not do that)."""
        old = self.lease
        if self.bound() and old is not None and old.address != lease.address:
            self._step(states.REFUSED, now)
            return
        self.lease = lease
        self._step(states.ACKED, now)

    def _step(self, event: str, now: Instant) -> None:
        step = states.STEPS.get((self.state, event))
        if step is not None:
            self.state = step.state
            _ACTIONS[step.action](self, now)

    # Actions: named in `states.STEPS` ----------------------------------------------------------------------

    def _discover(self, now: Instant) -> None:
        self._transaction = int.from_bytes(self._random(4), "big")
        self._began = now
        self._tries = 0
        self._discover_again(now)

    def _discover_again(self, now: Instant) -> None:
        message = self._message(wire.DISCOVER, now)
        message.flags = wire.BROADCAST_FLAG
        self._ask_for(message)
        self._send(message, bytes(4), b"", now)
        self._back_off(now)

    def _request(self, now: Instant) -> None:
        self._tries = 0
        self._asked = now
        self._request_again(now)

    def _request_again(self, now: Instant) -> None:
        offer = self._offer
        assert offer is not None
        message = self._message(wire.REQUEST, now)
        message.flags = wire.BROADCAST_FLAG
        message.options[wire.REQUESTED_ADDRESS] = offer.yours
        message.options[wire.SERVER_IDENTIFIER] = offer.address(wire.SERVER_IDENTIFIER)
        self._ask_for(message)
        self._send(message, bytes(4), b"", now)
        self._back_off(now)

    def _probe(self, now: Instant) -> None:
        """Wait a little at first, so that hosts that start together don't probe together (RFC 5227 section 2.1.1)."""
        self._tries = 0
        step = self._settings.probe_milliseconds * MILLISECOND
        if self._settings.probes == 0:
            self._step(states.CLEAR, now)
        else:
            self.deadline = now + self._some(step)

    def _probe_again(self, now: Instant) -> None:
        lease = self.lease
        assert lease is not None
        self._tries += 1
        step = self._settings.probe_milliseconds * MILLISECOND
        self._owner.probe(lease.address, now)
        self.deadline = now + (2 * step if self._tries >= self._settings.probes else step + self._some(step))

    def _bind(self, now: Instant) -> None:
        self._conflicts = 0
        self._extend(now)

    def _extend(self, now: Instant) -> None:
        lease = self.lease
        assert lease is not None
        self._counters.leases += 1
        self._tries = 0
        # Not all clients of a server at the same moment: up to a sixteenth earlier (RFC 2131 section 4.4.5).
        early = self._some((lease.renew_at - self._asked) // 16) if lease.renew_at < FOREVER else 0
        self.deadline = lease.renew_at - early if lease.renew_at < FOREVER else FOREVER
        self._owner.configure(lease, now)

    def _renew(self, now: Instant) -> None:
        """Ask the server that gave the lease."""
        lease = self.lease
        assert lease is not None
        self._extend_by(lease.server, lease.rebind_at, now)

    def _rebind(self, now: Instant) -> None:
        """Ask any server."""
        lease = self.lease
        assert lease is not None
        self._extend_by(b"", lease.end, now)

    def _extend_by(self, server: bytes, until: Instant, now: Instant) -> None:
        lease = self.lease
        assert lease is not None
        if self._tries == 0:
            self._began = now
        self._tries += 1
        # Each attempt is a transaction, so that a lease counts from the request that was answered.
        self._transaction = int.from_bytes(self._random(4), "big")
        self._asked = now
        message = self._message(wire.REQUEST, now)
        message.client = lease.address
        self._ask_for(message)
        self._send(message, lease.address, server, now)
        # Half of what is left, but not more often than each minute (RFC 2131 section 4.4.5).
        self.deadline = min(until, now + max((until - now) // 2, MIN_RENEWAL_WAIT))

    def _reboot(self, now: Instant) -> None:
        """Ask whether the lease still holds; the address stays in use meanwhile."""
        self._transaction = int.from_bytes(self._random(4), "big")
        self._began = now
        self._tries = 0
        self._reboot_again(now)

    def _reboot_again(self, now: Instant) -> None:
        lease = self.lease
        assert lease is not None
        self._asked = now
        message = self._message(wire.REQUEST, now)
        message.flags = wire.BROADCAST_FLAG
        message.options[wire.REQUESTED_ADDRESS] = lease.address
        self._ask_for(message)
        self._send(message, bytes(4), b"", now)
        self._back_off(now)
        self.deadline = min(self.deadline, lease.end)

    def _resume(self, now: Instant) -> None:
        """No server has said anything: the lease holds for as long as it did."""
        lease = self.lease
        assert lease is not None
        self._tries = 0
        self.deadline = max(lease.renew_at, now)

    def _decline(self, now: Instant) -> None:
        lease = self.lease
        assert lease is not None
        self._counters.declined += 1
        message = self._message(wire.DECLINE, now)
        message.options[wire.REQUESTED_ADDRESS] = lease.address
        message.options[wire.SERVER_IDENTIFIER] = lease.server
        self._send(message, bytes(4), b"", now)
        self._forget(now)
        self._conflicts += 1
        self.deadline = now + (SLOW_DOWN if self._conflicts >= MAX_CONFLICTS else DECLINE_WAIT)

    def _lose_to_another(self, now: Instant) -> None:
        """Another host insists on the address that we use."""
        self._decline(now)

    def _lose(self, now: Instant) -> None:
        self._forget(now)
        self._restart(now)

    def _restart(self, now: Instant) -> None:
        """Begin again at once, or, where a server does nothing but refuse, after a while."""
        self.deadline = now + self._settings.retry_milliseconds * MILLISECOND // 4

    # Inside ----------------------------------------------------------------------------------------------

    def _forget(self, now: Instant) -> None:
        lease = self.lease
        self.lease = None
        if lease is not None:
            self._owner.release(lease.address, now)

    def _message(self, kind: int, now: Instant) -> DhcpMessage:
        message = DhcpMessage(wire.BOOTREQUEST, self._transaction, self._mac)
        message.seconds = (now - self._began) // SECOND
        message.options[wire.MESSAGE_TYPE] = bytes((kind,))
        message.options[wire.CLIENT_IDENTIFIER] = b"\x01" + self._mac
        return message

    def _ask_for(self, message: DhcpMessage) -> None:
        message.options[wire.MAX_MESSAGE_SIZE] = MAX_SIZE.to_bytes(2, "big")
        message.options[wire.PARAMETER_LIST] = WANTED
        if self._hostname:
            message.options[wire.HOST_NAME] = self._hostname

    def _send(self, message: DhcpMessage, source: bytes, server: bytes, now: Instant) -> None:
        self._counters.messages_out += 1
        self._owner.send(message.emit(), source, server, now)

    def _back_off(self, now: Instant) -> None:
        """Wait 4, 8, ... 64 seconds for an answer, give or take one (RFC 2131 section 4.1)."""
        first = self._settings.retry_milliseconds * MILLISECOND
        wait = first * min(1 << self._tries, MAX_BACKOFF // 4)
        self._tries += 1
        self.deadline = now + wait - first // 4 + self._some(first // 2)

    def _some(self, limit: Duration) -> Duration:
        """A random time up to `limit`."""
        return int.from_bytes(self._random(4), "big") * limit >> 32


_ACTIONS: Final[dict[str, Callable[[DhcpClient, Instant], None]]] = {
    "discover": DhcpClient._discover,
    "discover_again": DhcpClient._discover_again,
    "request": DhcpClient._request,
    "request_again": DhcpClient._request_again,
    "probe": DhcpClient._probe,
    "probe_again": DhcpClient._probe_again,
    "bind": DhcpClient._bind,
    "extend": DhcpClient._extend,
    "renew": DhcpClient._renew,
    "rebind": DhcpClient._rebind,
    "decline": DhcpClient._decline,
    "lose": DhcpClient._lose,
    "lose_to_another": DhcpClient._lose_to_another,
    "restart": DhcpClient._restart,
    "reboot": DhcpClient._reboot,
    "reboot_again": DhcpClient._reboot_again,
    "resume": DhcpClient._resume,
}
