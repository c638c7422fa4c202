"""Our stock of sockets that belong to the program's network namespace: made there by `starter`, kept here to be injected.

They come in batches ahead of need, so that a system call seldom waits for them.
"""

import os
import socket
from collections.abc import Callable
from typing import Final, final

from ...kern.abi.errno import EPIPE, error
from .network import DATAGRAM, DATAGRAM6, DUAL, PAIR, PING, PING6, RAW, REACH, STREAM

BATCH: Final = {STREAM: 16, PAIR: 32, DATAGRAM: 8, DATAGRAM6: 8, PING: 1, DUAL: 8, PING6: 1, RAW: 1, REACH: 1}
"""How many are ordered at a time."""
_MOST_DESCRIPTORS: Final = 2 * max(BATCH.values())


@final
class Factory:
    """Hands out descriptors; the caller owns what it takes.  Not thread-safe."""

    def __init__(self, supply: socket.socket, guard: Callable[[str], None]) -> None:
        self._supply = supply
        self._guard = guard
        self._stock: dict[int, list[int]] = {kind: [] for kind in BATCH}
        self._ordered: set[int] = set()

    def take(self, kind: int) -> int:
        """One socket of a kind of `network`.  Raises EMFILE, ENFILE, EPIPE (the program has ended)."""
        stock = self._stock[kind]
        while not stock:
            self._order(kind)
            self._receive()
        fd = stock.pop()
        if len(stock) < BATCH[kind] // 4:
            self._order(kind)
        return fd

    def take_pair(self) -> tuple[int, int]:
        """Two connected stream sockets: ours, and the program's."""
        first = self.take(PAIR)
        return first, self._stock[PAIR].pop()

    def _order(self, kind: int) -> None:
        if kind not in self._ordered:
            self._ordered.add(kind)
            try:
                self._supply.send(bytes((kind, BATCH[kind])))
            except OSError:
                raise error(EPIPE) from None

    def _receive(self) -> None:
        self._guard("sockets from the namespace")
        try:
            note, fds, _, _ = socket.recv_fds(self._supply, 2, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
            if note:
                self._stock[note[0]][:0] = fds
                # While their maker has copies, a socket that the program closes isn't closed, and its port not free.
                note = note if self._supply.recv(1) else b""
        except ConnectionResetError:
            note = b""
        if not note:
            raise error(EPIPE)
        self._ordered.discard(note[0])
        if note[1] and not fds:
            raise error(note[1])

    def close(self) -> None:
        """Let go of the stock."""
        for stock in self._stock.values():
            for fd in stock:
                os.close(fd)
            stock.clear()
