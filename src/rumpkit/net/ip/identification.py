"""Identifications of IPv4 packets that may be fragmented (RFC 6864): each of 65536 once, in an order nobody can guess.

A counter run through a small keyed permutation (a Feistel network over two bytes): unique as a counter is, yet an
outsider who sees one value learns neither the next nor how many packets went by.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls

_ROUNDS: Final = 4


@final
class Identifications:
    """The sequence of one kernel; its key is drawn when first needed."""

    def __init__(self, hyper: Hypercalls) -> None:
        self._hyper: Hypercalls = hyper
        self._table: bytes = b""
        self._count: int = 0

    def next(self) -> int:
        """The next identification."""
        table = self._table
        if not table:
            table = self._table = self._hyper.random(256 + _ROUNDS)
        self._count += 1
        left = (self._count >> 8) & 0xFF
        right = self._count & 0xFF
        for turn in range(_ROUNDS):
            left, right = right, left ^ table[right ^ table[256 + turn]]
        return left << 8 | right
