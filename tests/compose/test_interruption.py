"""A signal ends a wait and nothing else."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from rumpkit.compose.interruption import Interruption
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hyper.time import SECOND
from tests.house.descriptors import descriptors_before, open_descriptors


@pytest.fixture(params=["a thread drives", "the caller drives"])
def host(request: pytest.FixtureRequest) -> Iterator[PosixHost]:
    made = PosixHost()
    if request.param == "a thread drives":
        made.start_thread()
    yield made
    made.close()


def by_alarm() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.2)


def by_another_thread() -> None:
    """It takes the signal, so that nothing interrupts the main thread, which alone runs handlers."""

    def take() -> None:
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGALRM)

    threading.Thread(target=take).start()


@pytest.mark.parametrize("send", [by_alarm, by_another_thread])
def test_a_signal_wakes_who_waits(host: PosixHost, send: Callable[[], None]) -> None:
    interruption = Interruption(host)
    ran: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        ran.append(number)
        interruption.set(number)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        host.enter()
        parker = host.parker()
        interruption.queue.add(parker)
        send()
        started = time.monotonic()
        woken = parker.park(host.now + 20 * SECOND)
        host.leave()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert woken and time.monotonic() - started < 10
    assert ran == [signal.SIGALRM]
    assert (interruption.take(), interruption.take()) == (signal.SIGALRM, 0)
    interruption.close()


def test_closing_lets_go_of_everything(host: PosixHost) -> None:
    before = len(descriptors_before())
    interruption = Interruption(host)
    interruption.set(2)
    interruption.close()
    assert len(open_descriptors()) == before
    assert interruption not in host.loop.sources()
