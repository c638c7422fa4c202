"""TCP Fast Open (RFC 7413): data with the SYN, for peers that have shown that they are where they say.

The cookies of both sides, and what one connection's attempt remembers; below `block`.  `layer` asks, `send` puts data and cookie
into the SYN, `arrival` takes them out.
"""

from collections.abc import Callable
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from ....hyper.time import MILLISECOND, SECOND, Instant
from .settings import TcpSettings

CLIENT: Final = 0x1
"""net.tcp.fastopen, with Linux's bits: sockets may send data with their SYN, ..."""
SERVER: Final = 0x2
"""... and listeners that say so (TCP_FASTOPEN) take it, ..."""
CLIENT_NO_COOKIE: Final = 0x4
"""... data is sent even where no cookie is known, ..."""
SERVER_NO_COOKIE: Final = 0x200
"""... data is taken without a cookie, ..."""
SERVER_ALL: Final = 0x400
"""... and by all listeners."""

COOKIE_SIZE: Final = 8
"""Bytes of the cookies that we make; we take those of 4 to 16."""
MAX_DOUBLINGS: Final = 6
"""How often the time doubles for which a server gets no data with a SYN, as it does on Linux."""
_PERIOD: Final = 3600 * SECOND
"""How long cookies are made with one secret; they are good for one more (RFC 7413 section 4.1.2)."""


@final
@mypyc_attr(acyclic=True)
class Attempt:
    """One connection's use of the option, from our SYN or the peer's until the handshake is done."""

    def __init__(self, cookie: bytes | None, mss: i64) -> None:
        self.cookie: bytes | None = cookie
        """What our SYN or SYN-ACK carries: a cookie, b"" to ask for one, None for no option."""
        self.mss: i64 = mss
        """The peer's MSS as far as it is known: the limit for data with the SYN."""
        self.with_data: bool = False
        """Data may go with the SYN."""
        self.size: i64 = 0
        """Bytes that went with it, ..."""
        self.taken: i64 = 0
        """... and how many of them the peer has taken."""
        self.lost: bool = False
        """The SYN had to be sent again."""
        self.received: bytes = b""
        """The cookie that came with the SYN-ACK."""


@final
class _Known:
    """What a client knows of one server."""

    def __init__(self, cookie: bytes, mss: int) -> None:
        self.cookie: bytes = cookie
        self.mss: int = mss


@final
class _Suspect:
    """A server to which data with a SYN did not get through."""

    def __init__(self, until: Instant, times: int) -> None:
        self.until: Instant = until
        self.times: int = times
        """How often it has happened again."""


@final
class FastOpen:
    """The cookies of one kernel: those that it gives, and those that it was given."""

    def __init__(self, random: Callable[[int], bytes], settings: TcpSettings) -> None:
        self._random: Callable[[int], bytes] = random
        self._settings: TcpSettings = settings
        self._secrets: dict[int, bytes] = {}
        self._known: dict[bytes, _Known] = {}
        """By the server's address, those that were heard of last at the end."""
        self._suspects: dict[bytes, _Suspect] = {}
        """By address, those that lost or refused a SYN with data, the latest at the end."""

    # The server's side

    def cookie(self, addresses: bytes, now: Instant) -> bytes:
        """The cookie for a client; `addresses` is its address and ours."""
        period = now // _PERIOD
        secret = self._secrets.get(period)
        if secret is None:
            self._secrets = {old: kept for old, kept in self._secrets.items() if old == period - 1}
            self._secrets[period] = secret = self._random(32)
        return _hash(secret, addresses)

    def valid(self, cookie: bytes, addresses: bytes, now: Instant) -> bool:
        """Whether we gave this client this cookie, not too long ago."""
        if len(cookie) != COOKIE_SIZE:
            return False
        period = now // _PERIOD
        for some in (period, period - 1):
            secret = self._secrets.get(some)
            if secret is not None and _hash(secret, addresses) == cookie:
                return True
        return False

    # The client's side

    def attempt(self, server: bytes, now: Instant) -> Attempt:
        """How to open a connection to `server`: with its cookie and data, or with a question for one."""
        suspect = self._suspects.get(server)
        if suspect is not None and now < suspect.until:
            return Attempt(None, 0)
        known = self._known.get(server)
        attempt = Attempt(b"", 0) if known is None else Attempt(known.cookie, known.mss)
        attempt.with_data = known is not None or self._settings.fastopen & CLIENT_NO_COOKIE != 0
        if known is None and attempt.with_data:
            attempt.cookie = None
        return attempt

    def knows(self, server: bytes, now: Instant) -> bool:
        """Whether data may go to `server` with a SYN."""
        return self.attempt(server, now).with_data

    def learn(self, server: bytes, cookie: bytes, mss: int) -> None:
        """A server gave us a cookie."""
        self._known.pop(server, None)
        limit = self._settings.fastopen_cache
        while self._known and len(self._known) >= limit:
            del self._known[next(iter(self._known))]
        if limit:
            self._known[server] = _Known(cookie, mss)

    def suspect(self, server: bytes, now: Instant) -> None:
        """A SYN with data was lost, and one without it was not, or it was answered with a reset: something on the way may not
        like it (RFC 7413 section 7.1).  Each time it gets none for twice as long, until one gets through."""
        before = self._suspects.pop(server, None)
        times = 0 if before is None else min(before.times + 1, MAX_DOUBLINGS)
        if len(self._suspects) >= max(self._settings.fastopen_cache, 1):
            del self._suspects[next(iter(self._suspects))]
        period = self._settings.fastopen_blackhole << times
        self._suspects[server] = _Suspect(now + period * MILLISECOND, times)

    def trust(self, server: bytes) -> None:
        """Data with a SYN has got through."""
        self._suspects.pop(server, None)

    def size(self) -> int:
        """Servers whose cookies are known."""
        return len(self._known)


def _hash(secret: bytes, addresses: bytes) -> bytes:
    from hashlib import blake2s  # which loads OpenSSL: not before there is a connection

    return blake2s(addresses, digest_size=COOKIE_SIZE, key=secret).digest()
