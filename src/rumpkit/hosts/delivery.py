"""Delivery of posted frames, in batches.  Shared by all hosts; below it are receivers (interfaces of kernels).

Nothing is delivered from within `add`: a kernel is never entered from inside its own transmit.  `drain` hands over what
had been posted when it was called, in order, and flushes every receiver it touched after at most BATCH frames,
so that TCP acknowledges per batch and not per frame.  What is posted meanwhile waits for the next `drain`.
"""

from typing import Final, final

from ..hyper.frame import Frame
from ..hyper.link import Receiver
from ..hyper.time import Instant

BATCH: Final = 16
"""Frames between two flushes."""


@final
class DeliveryQueue:
    """Frames on their way to receivers."""

    def __init__(self) -> None:
        self._receivers: list[Receiver] = []
        self._frames: list[Frame] = []
        self.delivered: int = 0

    def add(self, receiver: Receiver, frame: Frame) -> None:
        """Queue `frame` for `receiver`."""
        self._receivers.append(receiver)
        self._frames.append(frame)

    def waiting(self) -> int:
        """How many frames are queued."""
        return len(self._frames)

    def drain(self, now: Instant) -> None:
        """Deliver what is queued.  Where a receiver raises, its frame is lost, and the next call goes on behind it."""
        receivers = self._receivers
        frames = self._frames
        self._receivers = []
        self._frames = []
        size = len(frames)
        self.delivered += size
        start = 0
        index = 0
        try:
            while start < size:
                end = min(start + BATCH, size)
                first = receivers[start]
                others: list[Receiver] | None = None
                for index in range(start, end):
                    receiver = receivers[index]
                    receiver.receive(frames[index], now)
                    if receiver is not first:
                        if others is None:
                            others = [receiver]
                        elif receiver not in others:
                            others.append(receiver)
                first.flush(now)
                if others is not None:
                    for receiver in others:
                        receiver.flush(now)
                start = end
        except BaseException:
            rest = index + 1
            self._receivers = receivers[rest:] + self._receivers
            self._frames = frames[rest:] + self._frames
            self.delivered -= size - rest
            # What the others have got before is acknowledged now; who has raised in its flush gets another.
            for receiver in _distinct(receivers[start:rest]):
                receiver.flush(now)
            raise

    def clear(self) -> None:
        """Drop what is queued."""
        self._receivers = []
        self._frames = []


def _distinct(receivers: list[Receiver]) -> list[Receiver]:
    found: list[Receiver] = []
    for receiver in receivers:
        if receiver not in found:
            found.append(receiver)
    return found
