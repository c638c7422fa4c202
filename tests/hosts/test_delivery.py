"""Batches of frames on their way to receivers."""

from __future__ import annotations

import pytest

from rumpkit.hosts.delivery import BATCH, DeliveryQueue
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.link import Receiver


class Log(Receiver):
    """Notes what it gets; raises at a frame b"bad", and at a flush behind a frame b"late"."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.flushes: list[int] = []

    def receive(self, frame: Frame, now: int) -> None:
        if frame.linear() == b"bad":
            raise ValueError("bad")
        self.heard.append(frame.linear())

    def flush(self, now: int) -> None:
        if self.heard and self.heard[-1] == b"late":
            self.heard.append(b"raised")
            raise ValueError("late")
        self.flushes.append(len(self.heard))


def test_a_receiver_is_flushed_after_a_batch():
    queue, log = DeliveryQueue(), Log()
    for number in range(BATCH + 3):
        queue.add(log, Frame(b"%d" % number))
    queue.drain(0)
    assert log.heard == [b"%d" % number for number in range(BATCH + 3)]
    assert log.flushes == [BATCH, BATCH + 3]
    assert queue.delivered == BATCH + 3


@pytest.mark.parametrize("place", [0, 1, 15, 16, 20, 39])
def test_what_is_behind_a_frame_that_raises_is_kept_in_its_order(place):
    queue, one, other = DeliveryQueue(), Log(), Log()
    wanted = []
    for number in range(40):
        data = b"bad" if number == place else b"%d" % number
        wanted += [] if number == place else [data]
        queue.add(one if number % 2 == place % 2 else other, Frame(data))
    with pytest.raises(ValueError, match="bad"):
        queue.drain(0)
    assert queue.waiting() == 39 - place
    assert len(other.heard) == 0 or other.flushes[-1] == len(other.heard), "what came before has been flushed"
    queue.drain(0)
    assert sorted(one.heard + other.heard) == sorted(wanted)
    assert one.heard == sorted(one.heard, key=int) and other.heard == sorted(other.heard, key=int)
    assert one.flushes[-1] == len(one.heard) and other.flushes[-1] == len(other.heard)


def test_a_flush_that_raises_costs_nobody_a_frame():
    queue, one, other = DeliveryQueue(), Log(), Log()
    for receiver, data in ((one, b"late"), (other, b"kept"), *((other, b"%d" % number) for number in range(BATCH))):
        queue.add(receiver, Frame(data))
    with pytest.raises(ValueError, match="late"):
        queue.drain(0)
    assert other.flushes == [BATCH - 1]
    queue.drain(0)
    assert len(other.heard) == BATCH + 1
