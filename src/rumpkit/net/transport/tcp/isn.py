"""Initial sequence numbers (RFC 6528) and where the timestamp clocks start (RFC 7323 section 7.1)."""

from typing import TYPE_CHECKING, Final, final

from ....hyper.time import Instant
from ...wire.sequence import SEQ_MASK

if TYPE_CHECKING:
    from hashlib import blake2s

_TICK: Final = 4096
"""ISNs move on by one every so many nanoseconds: the 4 µs clock of RFC 9293 3.4.1, as a shift would have it."""

_MAX_CLOCKS: Final = 256


@final
class SequenceNumbers:
    """ISNs of one kernel: a clock plus a keyed hash of who talks to whom."""

    def __init__(self, secret: bytes) -> None:
        """`secret` is 32 random bytes that nobody else knows."""
        self._secret: bytes = secret
        self._keyed: blake2s | None = None
        """The hash with the secret in it, to be copied."""
        self._clocks: dict[bytes, int] = {}
        """What was hashed before, for speed."""

    def initial(self, key: bytes, now: Instant) -> int:
        """The ISN for a connection; `key` is addresses and ports."""
        return (now // _TICK + self._hash(b"isn" + key)) & SEQ_MASK

    def clock(self, addresses: bytes) -> int:
        """Where the timestamp clock starts: the same for all connections between two hosts, so that timestamps tell old
        segments from new ones across connections (RFC 6191)."""
        start = self._clocks.get(addresses)
        if start is None:
            if len(self._clocks) >= _MAX_CLOCKS:
                self._clocks.clear()
            self._clocks[addresses] = start = self._hash(b"ts" + addresses)
        return start

    def _hash(self, data: bytes) -> int:
        keyed = self._keyed
        if keyed is None:
            from hashlib import blake2s  # which loads OpenSSL: not before there is a connection

            keyed = self._keyed = blake2s(digest_size=4, key=self._secret)
        state = keyed.copy()
        state.update(data)
        return int.from_bytes(state.digest(), "big")
