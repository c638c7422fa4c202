"""Our stock of sockets that belong to the program's network namespace: made there by `starter`, kept here to be injected.

They come in batches ahead of need, so that a system call seldom waits for them.
"""

import os
import socket
from collections.abc import Callable
from typing import Final, final

from ...kern.abi.errno import EMFILE, EPIPE, error
from .network import DATAGRAM, DATAGRAM6, DUAL, PAIR, PING, PING6, RAW, RAW6, REACH, STREAM

BATCH: Final = {STREAM: 16, PAIR: 48, DATAGRAM: 8, DATAGRAM6: 8, PING: 1, DUAL: 8, PING6: 1, RAW: 1, RAW6: 1, REACH: 1}
"""How many are ordered at a time."""
FIRST_PAIRS: Final = 8
"""How many are ordered at first, as somebody waits for these; then twice as many each time, as who accepts few needs no stock, and a
user has few descriptors (RLIMIT_NOFILE), both open and under way."""
_MOST_DESCRIPTORS: Final = 2 * max(BATCH.values())
_TWO_BY_TWO: Final = (PAIR, RAW6)
_NOTE: Final = 2
_INODE: Final = 8


@final
class Factory:
    """Hands out descriptors; the caller owns what it takes.  Not thread-safe."""

    def __init__(self, supply: socket.socket, guard: Callable[[str], None]) -> None:
        self._supply = supply
        self._guard = guard
        self._stock: dict[int, list[int]] = {kind: [] for kind in BATCH if kind != PAIR}
        self._pairs: list[tuple[int, int, int]] = []
        self._pairs_ordered: int = FIRST_PAIRS
        self._ordered: set[int] = set()

    def take(self, kind: int) -> int:
        """One socket of a kind of `network`.  Raises EMFILE, ENFILE, EPIPE (the program has ended)."""
        stock = self._stock[kind]
        while not stock:
            self._order(kind, BATCH[kind])
            self._receive()
        fd = stock.pop()
        if len(stock) < BATCH[kind] // 4:
            self._order(kind, BATCH[kind])
        return fd

    def take_pair(self) -> tuple[int, int, int]:
        """Two connected stream sockets: the program's with its inode, and ours.  Raises as `take`."""
        pairs = self._pairs
        while not pairs:
            self._order(PAIR, self._pairs_ordered)
            self._receive()
        pair = pairs.pop()
        if len(pairs) < self._pairs_ordered >> 1:  # more are there before these are used up
            self._pairs_ordered = min(2 * self._pairs_ordered, BATCH[PAIR])
            self._order(PAIR, self._pairs_ordered)
        return pair

    def take_both(self, kind: int) -> tuple[int, int]:
        """Two of a kind whose sockets are made two by two, the second first.  Raises as `take`."""
        second = self.take(kind)
        return second, self._stock[kind].pop()

    def collect(self) -> bool:
        """Receive what has come by now; whether that is all that was ordered.  Raises OSError (EPIPE: the program has ended)."""
        while self._ordered:
            try:
                self._supply.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            self._receive()
        return True

    def _order(self, kind: int, count: int) -> None:
        if kind not in self._ordered:
            self._ordered.add(kind)
            try:
                self._supply.send(bytes((kind, count)))
            except OSError:
                raise error(EPIPE) from None

    def _receive(self) -> None:
        self._guard("sockets from the namespace")
        try:
            size = _NOTE + BATCH[PAIR] * _INODE
            note, fds, _, _ = socket.recv_fds(self._supply, size, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
            if note and note[0] in _TWO_BY_TWO and len(fds) & 1:
                os.close(fds.pop())  # this process may not have the other one
            if note and note[0] == PAIR:
                self._add_pairs(note, fds)
            elif note:
                self._stock[note[0]][:0] = fds
            # While their maker has copies, a socket that the program closes isn't closed, and its port not free.
            note = note if note and self._supply.recv(1) else b""
        except ConnectionResetError:
            note = b""
        if not note:
            raise error(EPIPE)
        self._ordered.discard(note[0])
        if not fds:  # where their maker had no trouble, it is we who may not open more
            raise error(note[1] or EMFILE)

    def _add_pairs(self, note: bytes, fds: list[int]) -> None:
        for number in range(len(fds) // 2):
            inode = int.from_bytes(note[_NOTE + number * _INODE : _NOTE + (number + 1) * _INODE], "little")
            self._pairs.append((fds[2 * number], inode, fds[2 * number + 1]))

    def close(self) -> None:
        """Let go of the stock."""
        while self._pairs:
            theirs, _, ours = self._pairs.pop()
            os.close(theirs)
            os.close(ours)
        for stock in self._stock.values():
            for fd in stock:
                os.close(fd)
            stock.clear()
