"""Impairment: what a bad link does to frames — loss, duplication, corruption, reordering, delay, jitter, a low rate.

A wrapper around one end of any link, for labs and hosts: it stands where the link's port or receiver would stand.
Frames are split and completed first, so that loss costs one segment and a flipped bit meets a checksum.  All chances are
drawn from the host's randomness, all delays are the host's: in simulation the same seed gives the same trouble.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import CHECKSUM_PARTIAL, CHECKSUM_UNVERIFIED, GSO_NONE, Frame
from ...hyper.link import LinkPort, Receiver
from ...hyper.time import MILLISECOND, SECOND, Duration, Instant
from ..wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_SIZE, ethertype
from ..wire.field import read_u32
from ..wire.offload import finish

_CERTAIN: Final = 1 << 32
_BLOCK: Final = 1024
"""Random bytes that are drawn at once: there may be several chances to a frame."""
MAX_DELAY: Final = 3600 * SECOND
DROP: Final = 0
PASS: Final = 1
PLAN: Final = 2


@final
class ImpairmentConfig:
    """How bad a link is.  Raises ValueError for what makes no sense.

    `loss`, `duplicate`, `corrupt` and `reorder` are chances from 0 to 1 that it happens to a frame; `delay`, `jitter`
    (at most so much more or less than `delay`) and `reorder_delay` (how long a reordered frame is held back) are in
    nanoseconds; `rate` is in bits a second (0: no limit), before which at most `queue_bytes` wait.
    """

    def __init__(
        self,
        loss: float = 0.0,
        duplicate: float = 0.0,
        corrupt: float = 0.0,
        reorder: float = 0.0,
        delay: Duration = 0,
        jitter: Duration = 0,
        reorder_delay: Duration = 10 * MILLISECOND,
        rate: int = 0,
        queue_bytes: int = 1 << 20,
    ) -> None:
        self.loss: int = _chance("loss", loss)
        self.duplicate: int = _chance("duplicate", duplicate)
        self.corrupt: int = _chance("corrupt", corrupt)
        self.reorder: int = _chance("reorder", reorder)
        self.delay: Duration = _within("delay", delay, 0, MAX_DELAY)
        self.jitter: Duration = _within("jitter", jitter, 0, MAX_DELAY)
        self.reorder_delay: Duration = _within("reorder_delay", reorder_delay, 0, MAX_DELAY)
        self.rate: int = _within("rate", rate, 0, 1 << 50)
        self.queue_bytes: int = _within("queue_bytes", queue_bytes, 1, 1 << 40)
        self.only_loses: bool = not (
            self.duplicate or self.corrupt or self.reorder or self.delay or self.jitter or self.rate
        )
        """Whether what gets through does so at once, and as it was."""


def _chance(name: str, value: float) -> int:
    """A chance as a threshold for 32 random bits."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is a chance from 0 to 1, not {value}")
    return int(value * _CERTAIN)


def _within(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}")
    return value


@final
class Passage:
    """A frame that gets through, and how much later."""

    __slots__ = ("delay", "frame")

    def __init__(self, frame: Frame, delay: Duration) -> None:
        self.frame: Frame = frame
        self.delay: Duration = delay


@final
class Impairment:
    """One direction of a bad link: decides what becomes of each frame."""

    def __init__(self, hyper: Hypercalls, config: ImpairmentConfig) -> None:
        self.config: ImpairmentConfig = config
        """May be replaced while frames are under way."""
        self.cut: bool = False
        """Nothing gets through at all."""
        self.passed: int = 0
        self.lost: int = 0
        self.duplicated: int = 0
        self.corrupted: int = 0
        self.reordered: int = 0
        self.overflowed: int = 0
        self._hyper: Hypercalls = hyper
        self._idle_at: Instant = 0
        """When the last bit that waits for the rate has left."""
        self._last_at: Instant = 0
        """When the last frame arrives: jitter alone reorders nothing."""
        self._random: bytes = b""
        self._used: int = 0
        """How much of it was used."""

    def decide(self, frame: Frame, now: Instant) -> int:
        """What becomes of a frame, where that is simple (DROP, PASS); else PLAN, and `plan` says.  The same chances are drawn.

        Links that only lose, and rarely, are common in tests of speed: this takes a tenth of the time of `plan`."""
        config = self.config
        if (
            not config.only_loses
            or self._last_at > now
            or frame.gso_type != GSO_NONE
            or frame.checksum == CHECKSUM_PARTIAL
        ):
            return PLAN
        if self.cut or self._happens(config.loss):
            self.lost += 1
            return DROP
        self.passed += 1
        return PASS

    def plan(self, frame: Frame, now: Instant) -> list[Passage]:
        """What gets through of a frame, in order; fewer or more than it stands for."""
        passages: list[Passage] = []
        for finished in finish(frame, 0):
            self._plan_one(finished, now, passages)
        return passages

    def _plan_one(self, frame: Frame, now: Instant, passages: list[Passage]) -> None:
        config = self.config
        if self.cut or self._happens(config.loss):
            self.lost += 1
            return
        if self._happens(config.corrupt):
            damaged = self._damage(frame)
            if damaged is None:
                self.lost += 1
                return
            self.corrupted += 1
            frame = damaged
        copies = 1
        if self._happens(config.duplicate):
            self.duplicated += 1
            copies = 2
        for _ in range(copies):
            delay = self._delay(len(frame), now)
            if delay < 0:
                self.overflowed += 1
            else:
                self.passed += 1
                passages.append(Passage(frame, delay))

    def _delay(self, size: int, now: Instant) -> Duration:
        """When a frame of `size` bytes arrives, from now; -1 if the queue for the rate is full."""
        config = self.config
        leaves_at = now
        if config.rate:
            waiting = max(self._idle_at - now, 0)
            if waiting * config.rate > config.queue_bytes * 8 * SECOND:
                return -1
            leaves_at = now + waiting + size * 8 * SECOND // config.rate
            self._idle_at = leaves_at
        arrives_at = leaves_at + config.delay
        if config.jitter:
            arrives_at += self._below(2 * config.jitter + 1) - config.jitter
        if self._happens(config.reorder):
            self.reordered += 1
            return max(arrives_at - now, 0) + config.reorder_delay
        self._last_at = max(arrives_at, self._last_at, now)
        return self._last_at - now

    def _damage(self, frame: Frame) -> Frame | None:
        """A copy with one bit of the IP packet flipped.  None for frames that only Ethernet's check sequence protects:
        that catches the damage, and the frame is lost."""
        data = frame.linear()
        if ethertype(data) not in (ETHERTYPE_IPV4, ETHERTYPE_IPV6) or len(data) == HEADER_SIZE:
            return None
        bit = self._below((len(data) - HEADER_SIZE) * 8)
        at = HEADER_SIZE + (bit >> 3)
        damaged = Frame(data[:at] + bytes([data[at] ^ (1 << (bit & 7))]) + data[at + 1 :])
        damaged.checksum = CHECKSUM_UNVERIFIED
        return damaged

    def _happens(self, chance: int) -> bool:
        return chance > 0 and self._draw() < chance

    def _below(self, limit: int) -> int:
        return (self._draw() << 32 | self._draw()) % limit

    def _draw(self) -> int:
        """32 random bits."""
        at = self._used
        if at >= len(self._random):
            self._random = self._hyper.random(_BLOCK)
            at = 0
        self._used = at + 4
        return int(read_u32(self._random, at))


@final
class ImpairedPort(LinkPort):
    """A port whose link is bad in the direction of sending and, with `inbound`, of receiving."""

    def __init__(
        self, hyper: Hypercalls, port: LinkPort, outbound: Impairment | None, inbound: Impairment | None = None
    ) -> None:
        super().__init__(port.mtu, port.features)
        self.outbound: Impairment | None = outbound
        self.inbound: Impairment | None = inbound
        self._hyper: Hypercalls = hyper
        self._port: LinkPort = port
        self._exit: _Exit = _Exit(port)

    def attach(self, receiver: Receiver) -> None:
        inbound = self.inbound
        self._port.attach(receiver if inbound is None else ImpairedReceiver(self._hyper, receiver, inbound))

    def transmit(self, frame: Frame) -> None:
        outbound = self.outbound
        if outbound is None:
            self._port.transmit(frame)
            return
        now = self._hyper.now
        verdict = outbound.decide(frame, now)
        if verdict == PASS:
            self._port.transmit(frame)
        if verdict != PLAN:
            return
        for passage in outbound.plan(frame, now):
            if passage.delay > 0:
                self._hyper.post(self._exit, passage.frame, passage.delay)
            else:
                self._port.transmit(passage.frame)

    def close(self) -> None:
        self._port.close()


@final
class _Exit(Receiver):
    """Where delayed frames leave into the real link."""

    def __init__(self, port: LinkPort) -> None:
        self._port: LinkPort = port

    def receive(self, frame: Frame, now: Instant) -> None:
        self._port.transmit(frame)


@final
class ImpairedReceiver(Receiver):
    """A receiver behind a bad link."""

    def __init__(self, hyper: Hypercalls, receiver: Receiver, impairment: Impairment) -> None:
        self.impairment: Impairment = impairment
        self._hyper: Hypercalls = hyper
        self._receiver: Receiver = receiver

    def receive(self, frame: Frame, now: Instant) -> None:
        verdict = self.impairment.decide(frame, now)
        if verdict == PASS:
            self._receiver.receive(frame, now)
        if verdict != PLAN:
            return
        for passage in self.impairment.plan(frame, now):
            if passage.delay > 0:
                self._hyper.post(self._receiver, passage.frame, passage.delay)
            else:
                self._receiver.receive(passage.frame, now)

    def flush(self, now: Instant) -> None:
        self._receiver.flush(now)
