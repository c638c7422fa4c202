"""The simulated host: determinism, time that jumps, batches, deadlock, the schedule's rules."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import EPOCH, Deadlock, SimHost
from rumpkit.hosts.task import Task
from rumpkit.hyper.calls import AlarmTarget, Parker
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.link import Receiver
from rumpkit.hyper.time import FOREVER, MILLISECOND, SECOND


class Log(Receiver):
    """Notes what arrives, and when; may answer each flush with a frame to another."""

    def __init__(self, host: SimHost, name: str, events: list[tuple[int, str, bytes]]) -> None:
        self.host = host
        self.name = name
        self.events = events
        self.peer: Log | None = None
        self.answers = 0
        self.waker: Parker | None = None

    def receive(self, frame: Frame, now: int) -> None:
        assert now == self.host.now
        self.events.append((now, self.name, frame.linear()))
        if self.waker is not None:
            self.waker.wake()

    def flush(self, now: int) -> None:
        self.events.append((now, self.name, b"flush"))
        if self.peer is not None and self.answers > 0:
            self.answers -= 1
            jitter = int.from_bytes(self.host.random(2), "big")
            self.host.post(self.peer, Frame(b"answer"), jitter)


class Call(Task):
    def __init__(self, function) -> None:
        self.function = function

    def run(self, now: int) -> None:
        self.function(now)


class Ringer(AlarmTarget):
    def __init__(self) -> None:
        self.rings: list[int] = []

    def on_alarm(self, now: int) -> None:
        self.rings.append(now)


def post_all(host: SimHost, receiver: Receiver, frames: list[bytes], delay: int = 0) -> None:
    host.enter()
    for head in frames:
        host.post(receiver, Frame(head), delay)
    host.leave()


def ping_pong(seed: int) -> list[tuple[int, str, bytes]]:
    host = SimHost(seed)
    events: list[tuple[int, str, bytes]] = []
    a, b = Log(host, "a", events), Log(host, "b", events)
    a.peer, b.peer = b, a
    a.answers = b.answers = 50
    post_all(host, a, [b"first", b"second"])
    host.run()
    return events


def test_same_seed_same_frames_at_the_same_nanoseconds():
    assert ping_pong(7) == ping_pong(7)
    assert len(ping_pong(7)) > 200
    assert ping_pong(7) != ping_pong(8)


def test_leave_delivers_what_was_posted_and_never_moves_time():
    host = SimHost()
    events: list[tuple[int, str, bytes]] = []
    a = Log(host, "a", events)
    host.enter()
    host.post(a, Frame(b"now"))
    host.post(a, Frame(b"later"), 5)
    assert events == [], "no re-entry: nothing is delivered from within post"
    host.leave()
    assert events == [(0, "a", b"now"), (0, "a", b"flush")]
    assert host.now == 0
    host.run()
    assert events[2:] == [(5, "a", b"later"), (5, "a", b"flush")]
    assert host.now == 5


def test_frames_of_one_instant_come_in_batches_of_16_in_order():
    host = SimHost()
    events: list[tuple[int, str, bytes]] = []
    a = Log(host, "a", events)
    heads = [b"%02d" % number for number in range(40)]
    post_all(host, a, heads, delay=3)
    host.run()
    batches: list[list[bytes]] = [[]]
    for _, _, head in events:
        if head == b"flush":
            batches.append([])
        else:
            batches[-1].append(head)
    assert [len(batch) for batch in batches] == [16, 16, 8, 0]
    assert [head for batch in batches for head in batch] == heads


def test_every_receiver_of_a_mixed_batch_is_flushed_once():
    host = SimHost()
    events: list[tuple[int, str, bytes]] = []
    receivers = [Log(host, name, events) for name in "abc"]
    host.enter()
    for number in range(9):
        host.post(receivers[number % 3], Frame(b"x"))
    host.leave()
    assert [name for _, name, head in events if head == b"flush"] == ["a", "b", "c"]
    assert [name for _, name, head in events if head == b"x"] == list("abcabcabc")


def test_a_frame_with_a_delay_comes_before_one_posted_at_that_instant():
    host = SimHost()
    events: list[tuple[int, str, bytes]] = []
    a, b = Log(host, "a", events), Log(host, "b", events)
    b.peer, b.answers = a, 1
    post_all(host, b, [b"first"], delay=10)
    post_all(host, a, [b"second"], delay=10)
    host.run()
    assert [(name, head) for _, name, head in events if head != b"flush"][:2] == [("b", b"first"), ("a", b"second")]


def test_park_jumps_to_the_deadline_at_once():
    host = SimHost()
    parker = host.parker()
    host.enter()
    assert parker.park(3600 * SECOND) is False
    host.leave()
    assert host.now == 3600 * SECOND
    assert host.wall() == EPOCH + 3600 * SECOND


def test_park_returns_when_woken_and_leaves_no_trace_of_its_deadline():
    host = SimHost()
    a = Log(host, "a", [])
    a.waker = host.parker()
    host.enter()
    host.post(a, Frame(b"x"), 20 * MILLISECOND)
    assert a.waker.park(10 * SECOND) is True
    host.leave()
    assert host.now == 20 * MILLISECOND
    host.run()
    assert host.now == 20 * MILLISECOND, "a deadline nobody waits for does not move time"


def test_a_wake_before_the_park_is_not_lost():
    host = SimHost()
    parker = host.parker()
    host.enter()
    parker.wake()
    assert parker.park(FOREVER) is True
    assert parker.park(5) is False
    host.leave()
    assert host.now == 5


def test_a_caller_that_nothing_can_wake_is_a_deadlock():
    host = SimHost()
    host.enter()
    with pytest.raises(Deadlock, match="for ever"):
        host.parker().park(FOREVER)
    host.leave()
    host.enter()
    host.leave()


def test_alarms_ring_once_at_the_last_deadline_set():
    host = SimHost()
    ringer = Ringer()
    alarm = host.alarm(ringer)
    for deadline in (50, 20, 70, 30):
        alarm.set(deadline)
    host.run()
    assert ringer.rings == [30]
    assert host.now == 30, "superseded deadlines do not move time"
    alarm.set(10)
    host.run()
    assert ringer.rings == [30, 30], "a deadline in the past rings now"
    alarm.set(100)
    alarm.set(FOREVER)
    alarm.set(200)
    alarm.close()
    host.run()
    assert ringer.rings == [30, 30]


def test_run_until_stops_there():
    host = SimHost()
    ringer = Ringer()
    host.alarm(ringer).set(100)
    host.run(60)
    assert (host.now, ringer.rings) == (60, [])
    host.run(100)
    assert (host.now, ringer.rings) == (100, [100])


def test_deferred_tasks_run_on_the_schedule_after_the_frames():
    host = SimHost()
    events: list[tuple[int, str, bytes]] = []
    a = Log(host, "a", events)

    def work(now: int) -> None:
        with pytest.raises(RuntimeError, match="may block"):
            host.assert_unscheduled("work")
        events.append((now, "task", b""))
        host.post(a, Frame(b"from task"))

    host.enter()
    host.defer(Call(work))
    host.post(a, Frame(b"x"))
    host.leave()
    assert [name for _, name, _ in events] == ["a", "a", "task", "a", "a"]


def test_tasks_of_users_run_off_the_schedule_and_not_inside_others_calls():
    host = SimHost()
    ran: list[int] = []

    def user(now: int) -> None:
        host.assert_unscheduled("user code")
        host.enter()
        host.leave()
        ran.append(now)

    host.at(0, Call(user))
    host.at(7, Call(user))
    host.enter()
    host.leave()
    assert ran == []
    host.enter()
    host.parker().park(5)
    host.leave()
    assert ran == [0]
    host.run()
    assert ran == [0, 7]


def test_latency_of_a_block_device_is_charged_to_the_caller_while_others_go_on():
    host = SimHost()
    ringer = Ringer()
    alarm = host.alarm(ringer)
    alarm.set(MILLISECOND)
    host.enter()
    host.unschedule()
    host.assert_unscheduled("flush")
    host.schedule()
    host.charge(500 * MILLISECOND)
    host.leave()
    assert host.now == 500 * MILLISECOND
    assert ringer.rings == [MILLISECOND]


def test_misuse_of_the_schedule_is_an_error():
    host = SimHost()
    with pytest.raises(RuntimeError):
        host.leave()
    with pytest.raises(RuntimeError):
        host.unschedule()
    host.enter()
    with pytest.raises(RuntimeError):
        host.enter()
    with pytest.raises(RuntimeError):
        host.schedule()


def test_random_is_the_seed_s():
    assert SimHost(1).random(32) == SimHost(1).random(32)
    assert SimHost(1).random(32) != SimHost(2).random(32)
    assert len(SimHost().random(1000)) == 1000


def test_console():
    host = SimHost()
    host.console_write(b"hello ")
    host.console_write(b"world")
    assert bytes(host.console) == b"hello world"
