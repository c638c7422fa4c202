"""The POSIX host: parking with and without a loop thread, handing the driver's seat over, alarms, the checked schedule."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from select import EPOLLET, EPOLLIN

import pytest

from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.loop import Source
from rumpkit.hosts.task import Task
from rumpkit.hyper.calls import AlarmTarget, Parker
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.link import Receiver
from rumpkit.hyper.time import FOREVER, MILLISECOND, SECOND
from tests.house.descriptors import descriptors_before, open_descriptors

SOON = 20 * MILLISECOND


@pytest.fixture(params=["driven by callers", "driven by a thread"])
def host(request):
    descriptors = len(descriptors_before())
    threads = threading.active_count()
    host = PosixHost()
    if request.param == "driven by a thread":
        host.start_thread()
    yield host
    host.close()
    assert threading.active_count() == threads
    assert len(open_descriptors()) == descriptors


class Note(Receiver):
    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.flushes = 0
        self.parker: Parker | None = None

    def receive(self, frame: Frame, now: int) -> None:
        self.frames.append(frame.linear())
        if self.parker is not None:
            self.parker.wake()

    def flush(self, now: int) -> None:
        self.flushes += 1


class Ringer(AlarmTarget):
    def __init__(self, parker: Parker | None = None) -> None:
        self.rings: list[int] = []
        self.parker = parker

    def on_alarm(self, now: int) -> None:
        self.rings.append(now)
        if self.parker is not None:
            self.parker.wake()


class PipeSource(Source):
    """Wakes a parker for each byte of a pipe."""

    def __init__(self, parkers: dict[int, Parker], scheduled: bool = True) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        super().__init__(self.reader, scheduled)
        self.parkers = parkers

    def on_events(self, events: int, now: int) -> None:
        for number in os.read(self.reader, 100):
            self.parkers[number].wake()

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


def park(host: PosixHost, parker: Parker, deadline: int = FOREVER) -> bool:
    host.enter()
    try:
        return parker.park(deadline)
    finally:
        host.leave()


def wake(host: PosixHost, parker: Parker) -> None:
    host.enter()
    parker.wake()
    host.leave()


def later(seconds: float, function, *arguments) -> threading.Thread:
    def run() -> None:
        time.sleep(seconds)
        function(*arguments)

    return start(run)


def start(function, *arguments) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def test_a_park_ends_at_its_deadline(host):
    started = time.monotonic_ns()
    assert park(host, host.parker(), started + SOON) is False
    assert SOON <= time.monotonic_ns() - started < SECOND


def test_a_wake_before_the_park_is_not_lost(host):
    parker = host.parker()
    wake(host, parker)
    assert park(host, parker) is True
    assert park(host, parker, time.monotonic_ns() + MILLISECOND) is False


def test_a_wake_from_another_thread(host):
    parker = host.parker()
    thread = later(0.02, wake, host, parker)
    assert park(host, parker, time.monotonic_ns() + 5 * SECOND) is True
    thread.join()


def test_frames_posted_before_a_park_are_delivered_and_may_wake(host):
    note = Note()
    note.parker = host.parker()
    host.enter()
    for number in range(20):
        host.post(note, Frame(b"%d" % number))
    assert note.frames == []
    assert note.parker.park(time.monotonic_ns() + 5 * SECOND) is True
    host.leave()
    assert note.frames == [b"%d" % number for number in range(20)]
    assert note.flushes == 2


def test_a_delayed_frame_wakes_a_parked_caller(host):
    note = Note()
    note.parker = host.parker()
    host.enter()
    started = host.now
    host.post(note, Frame(b"x"), SOON)
    assert note.parker.park(started + 5 * SECOND) is True
    assert host.now - started >= SOON
    host.leave()


def test_an_alarm_wakes_a_parked_caller(host):
    parker = host.parker()
    ringer = Ringer(parker)
    alarm = host.alarm(ringer)
    host.enter()
    deadline = host.now + SOON
    alarm.set(deadline)
    assert parker.park(deadline + 5 * SECOND) is True
    host.leave()
    assert len(ringer.rings) == 1 and ringer.rings[0] >= deadline


def test_an_alarm_set_earlier_ends_the_driver_s_sleep(host):
    parker = host.parker()
    alarm = host.alarm(Ringer(parker))

    def set_alarm() -> None:
        time.sleep(0.02)
        host.enter()
        alarm.set(host.now + SOON)
        host.leave()

    thread = start(set_alarm)
    started = time.monotonic_ns()
    assert park(host, parker, started + 10 * SECOND) is True
    assert time.monotonic_ns() - started < 5 * SECOND
    thread.join()


def test_many_parked_threads_are_woken_in_any_order(host):
    parkers = {number: host.parker() for number in range(8)}
    source = PipeSource(parkers)
    host.loop.register(source, EPOLLIN)
    woken: list[int] = []

    def sleeper(number: int) -> None:
        if park(host, parkers[number], time.monotonic_ns() + 20 * SECOND):
            woken.append(number)

    threads = [start(sleeper, number) for number in range(8)]
    order = [3, 0, 7, 1, 2, 6, 5, 4]
    for number in order:
        os.write(source.writer, bytes([number]))
        threads[number].join(10)
    assert woken == order, "whoever drove handed the seat over when its own wait ended"
    host.loop.unregister(source)
    source.close()


def test_timeouts_of_many_threads_while_one_drives(host):
    late: dict[int, int] = {}
    started = time.monotonic_ns()

    def sleeper(number: int) -> None:
        deadline = started + (number + 1) * 30 * MILLISECOND
        assert park(host, host.parker(), deadline) is False
        late[number] = time.monotonic_ns() - deadline

    for thread in [start(sleeper, number) for number in (4, 1, 3, 0, 2)]:
        thread.join(10)
    assert sorted(late) == [0, 1, 2, 3, 4]
    assert all(0 <= delay < SECOND for delay in late.values())


def test_a_stress_of_wakes_loses_none(host):
    rounds = 300
    parkers = {0: host.parker(), 1: host.parker()}
    counts = [0, 0]

    def player(number: int) -> None:
        for _ in range(rounds):
            host.enter()
            assert parkers[number].park(host.now + 20 * SECOND)
            counts[number] += 1
            parkers[1 - number].wake()
            host.leave()

    threads = [start(player, number) for number in (0, 1)]
    wake(host, parkers[0])
    for thread in threads:
        thread.join()
    assert counts == [rounds, rounds]


def test_a_keyboard_interrupt_ends_a_park_and_leaves_the_host_whole(host):
    parker = host.parker()
    thread = later(0.05, os.kill, os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        park(host, parker, time.monotonic_ns() + 10 * SECOND)
    thread.join()
    other = later(0.02, wake, host, parker)
    assert park(host, parker, time.monotonic_ns() + 10 * SECOND) is True
    other.join()


def test_sources_are_called_on_the_schedule_or_off_it(host):
    parkers = {1: host.parker(), 2: host.parker()}
    seen: list[bool] = []

    class Probe(PipeSource):
        def on_events(self, events: int, now: int) -> None:
            seen.append(self.scheduled)
            if self.scheduled:
                super().on_events(events, now)
            else:
                os.read(self.reader, 100)
                wake(host, self.parkers[2])

    on, off = Probe(parkers, True), Probe(parkers, False)
    for source, number in ((on, 1), (off, 2)):
        host.loop.register(source, EPOLLIN)
        os.write(source.writer, bytes([number]))
    assert park(host, parkers[1], time.monotonic_ns() + 5 * SECOND)
    assert park(host, parkers[2], time.monotonic_ns() + 5 * SECOND)
    assert sorted(seen) == [False, True]
    assert host.loop.sources() == [on, off]
    for source in (on, off):
        host.loop.unregister(source)
        source.close()
    assert host.loop.sources() == []


class Errand(Task):
    """Notes that it was run, off the schedule; `again` times."""

    def __init__(self, host: PosixHost, again: int = 0) -> None:
        self.host = host
        self.again = again
        self.done = threading.Event()

    def run(self, now):
        self.host.assert_unscheduled("an errand")
        if not self.again:
            self.done.set()
            return
        self.again -= 1
        self.host.enter()
        self.host.outside(self)
        self.host.leave()


@pytest.mark.parametrize("again", [0, 3])
def test_what_is_to_be_done_off_the_schedule_is_done_by_who_drives(host, again):
    errand = Errand(host, again)
    parker = host.parker()
    waiting = start(lambda: park(host, parker))
    host.enter()
    host.outside(errand)
    host.leave()
    assert errand.done.wait(30)
    wake(host, parker)
    waiting.join()


def test_an_errand_that_raises_is_reported_and_others_are_run(monkeypatch):
    reported = []
    monkeypatch.setattr(threading, "excepthook", lambda what: reported.append(what.exc_type))
    host = PosixHost()
    host.claim()
    errand = Errand(host)
    host.enter()
    host.outside(Failing())
    host.outside(errand)
    host.leave()
    host.run_once()
    host.unclaim()
    host.close()
    assert errand.done.is_set() and len(reported) == 1


def test_modify_and_edge_triggered_sources(host):
    parkers = {1: host.parker()}
    source = PipeSource(parkers)
    host.loop.register(source, 0)
    os.write(source.writer, b"\x01")
    assert park(host, parkers[1], time.monotonic_ns() + SOON) is False
    host.loop.modify(source, EPOLLIN | EPOLLET)
    assert park(host, parkers[1], time.monotonic_ns() + 5 * SECOND) is True
    host.loop.unregister(source)
    host.loop.modify(source, EPOLLIN)
    host.loop.unregister(source)
    source.close()


def test_deferred_tasks_run_once_at_the_end_of_the_entry(host):
    ran: list[int] = []

    class Work(Task):
        def run(self, now: int) -> None:
            ran.append(now)

    host.enter()
    host.defer(Work())
    assert ran == []
    now = host.now
    host.leave()
    assert ran == [now]


def test_the_thread_can_take_the_seat_from_a_parked_caller_and_give_it_back():
    host = PosixHost()
    parkers = {number: host.parker() for number in range(3)}
    source = PipeSource(parkers)
    host.loop.register(source, EPOLLIN)
    threads = [start(park, host, parkers[number], time.monotonic_ns() + 20 * SECOND) for number in range(3)]
    time.sleep(0.02)
    interval = sys.getswitchinterval()
    for number in range(3):
        host.start_thread()
        host.start_thread()
        assert host.claimed()
        assert sys.getswitchinterval() < interval
        os.write(source.writer, bytes([number]))
        threads[number].join(10)
        assert not threads[number].is_alive()
        host.stop()
        host.stop()
        assert not host.claimed()
        assert sys.getswitchinterval() == interval
    source.close()
    host.close()


def test_no_wake_is_lost_while_the_seat_changes_hands():
    """Rings of threads pass tokens on by waking each other, while a loop thread comes and goes and alarms ring."""
    host = PosixHost()
    size, rounds = 6, 60
    parkers = [host.parker() for _ in range(size)]
    tokens = [0] * size
    passed = [0] * size
    alarm = host.alarm(Ringer())

    def member(number: int) -> None:
        dice = random.Random(number)
        next_one = (number + 1) % size
        while passed[number] < rounds:
            host.enter()
            while not tokens[number]:
                if dice.random() < 0.3:
                    parkers[number].park(host.now + dice.randrange(3) * MILLISECOND)
                elif not parkers[number].park(host.now + 20 * SECOND):
                    host.leave()
                    return
            tokens[number] -= 1
            tokens[next_one] += 1
            passed[number] += 1
            alarm.set(host.now + dice.randrange(2 * MILLISECOND))
            parkers[next_one].wake()
            host.leave()

    threads = [start(member, number) for number in range(size)]
    host.enter()
    for number in (0, 3):
        tokens[number] += 1
        parkers[number].wake()
    host.leave()
    dice = random.Random(0)
    while any(thread.is_alive() for thread in threads):
        host.start_thread()
        time.sleep(dice.random() / 300)
        host.stop()
        time.sleep(dice.random() / 300)
    assert passed == [rounds] * size
    host.close()


def test_another_event_loop_can_drive():
    import select

    host = PosixHost()
    host.claim()
    with pytest.raises(RuntimeError, match="somebody else"):
        host.claim()
    ringer = Ringer()
    alarm = host.alarm(ringer)
    assert host.poll_once() == FOREVER
    poller = select.poll()
    poller.register(host.fileno(), select.POLLIN)
    assert poller.poll(0) == []
    host.enter()
    deadline = host.now + SOON
    alarm.set(deadline)
    host.leave()
    assert poller.poll(1000) != [], "an earlier deadline shows at the descriptor"
    assert host.poll_once() == deadline
    assert poller.poll(0) == []
    time.sleep(SOON / 1e9)
    assert host.poll_once() == FOREVER
    assert len(ringer.rings) == 1
    parker = host.parker()
    thread = start(park, host, parker, time.monotonic_ns() + 20 * SECOND)
    time.sleep(0.01)
    wake(host, parker)
    thread.join()
    host.unclaim()
    assert park(host, parker, time.monotonic_ns() + MILLISECOND) is False
    host.close()


def test_a_source_that_raises_in_the_thread_is_reported_and_the_rest_goes_on(monkeypatch):
    reports: list[type] = []
    monkeypatch.setattr(threading, "excepthook", lambda what: reports.append(what.exc_type))
    host = PosixHost()
    good = PipeSource({1: host.parker()})
    bad = PipeSource({})
    host.loop.register(bad, EPOLLIN)
    host.loop.register(good, EPOLLIN)
    os.write(bad.writer, b"\x09")
    host.start_thread()
    os.write(good.writer, b"\x01")
    assert park(host, good.parkers[1], time.monotonic_ns() + 5 * SECOND)
    deadline = time.monotonic() + 5
    while not reports and time.monotonic() < deadline:
        time.sleep(0.001)
    assert reports == [KeyError]
    assert host.loop.sources() == [good]
    host.close()
    good.close()
    bad.close()


def drive_as_a_caller(host: PosixHost) -> None:
    host.enter()
    assert not host.parker().park(host.now + SOON)
    host.leave()


def drive_as_another_loop(host: PosixHost) -> None:
    host.claim()
    host.poll_once()
    host.run_once(SOON)
    host.unclaim()


@pytest.mark.parametrize("drive", [drive_as_a_caller, drive_as_another_loop])
def test_a_source_that_raises_is_nothing_to_whoever_drives(monkeypatch, drive):
    class Broken(Source):
        def on_events(self, events: int, now: int) -> None:
            raise ValueError("a bug")

    reports: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda what: reports.append(str(what.exc_value)))
    reader, writer = os.pipe()
    host = PosixHost()
    try:
        host.loop.register(Broken(reader), EPOLLIN)
        os.write(writer, b"x")
        drive(host)
        assert reports == ["a bug"]
        assert host.loop.sources() == []
    finally:
        host.close()
        os.close(reader)
        os.close(writer)


class Failing(Task):
    """A bug in what others have asked for."""

    def run(self, now: int) -> None:
        raise ValueError("a bug of somebody else's")


class Later(Task):
    def __init__(self) -> None:
        self.ran = 0

    def run(self, now: int) -> None:
        self.ran += 1


class Deferring(Source):
    """Reads a byte, and defers what it was given."""

    def __init__(self, fd: int, host: PosixHost, tasks: list[Task], scheduled: bool = True) -> None:
        super().__init__(fd, scheduled)
        self.host = host
        self.tasks = tasks
        self.calls = 0

    def on_events(self, events: int, now: int) -> None:
        self.calls += 1
        os.read(self.fd, 1)
        for task in self.tasks:
            self.host.defer(task)


@pytest.mark.parametrize("drive", [drive_as_a_caller, drive_as_another_loop])
def test_what_raises_after_a_source_was_called_does_not_cost_it_its_place(monkeypatch, drive):
    reports: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda what: reports.append(str(what.exc_value)))
    host = PosixHost()
    later = Later()
    pipes = [os.pipe() for _ in range(3)]
    # The one in the middle is called off the schedule, so that the agenda runs between the first and the last.
    sources = [
        Deferring(pipes[0][0], host, [Failing(), later]),
        Deferring(pipes[1][0], host, [], False),
        Deferring(pipes[2][0], host, []),
    ]
    try:
        for source in sources:
            host.loop.register(source, EPOLLIN | EPOLLET)
        for _, writer in pipes:
            os.write(writer, b"x")
        drive(host)
        assert reports == ["a bug of somebody else's"]
        assert host.loop.sources() == sources
        assert [source.calls for source in sources] == [1, 1, 1]
        assert later.ran == 1, "what was deferred behind it runs all the same"
    finally:
        host.close()
        for pipe in pipes:
            os.close(pipe[0])
            os.close(pipe[1])


def test_what_raises_in_the_work_of_others_is_nothing_to_a_caller(monkeypatch):
    reports: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda what: reports.append(str(what.exc_value)))

    class Bad(Receiver):
        def receive(self, frame: Frame, now: int) -> None:
            raise ValueError("a bug of a receiver's")

        def flush(self, now: int) -> None:
            pass

    host = PosixHost()
    try:
        note, later = Note(), Later()
        host.enter()
        for receiver, data in ((note, b"one"), (Bad(), b"lost"), (note, b"two"), (Bad(), b"lost"), (note, b"three")):
            host.post(receiver, Frame(data))
        host.defer(Failing())
        host.defer(later)
        host.leave()
        assert reports == ["a bug of a receiver's"] * 2 + ["a bug of somebody else's"]
        assert note.frames == [b"one", b"two", b"three"] and note.flushes >= 1
        assert later.ran == 1
    finally:
        host.close()


def test_a_source_that_raises_does_not_cost_others_their_events(monkeypatch):
    class Broken(Source):
        def on_events(self, events: int, now: int) -> None:
            raise ValueError("a bug")

    reports: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda what: reports.append(str(what.exc_value)))
    host = PosixHost()
    pipes = [os.pipe() for _ in range(2)]
    good = Deferring(pipes[1][0], host, [])
    try:
        host.loop.register(Broken(pipes[0][0]), EPOLLIN | EPOLLET)
        host.loop.register(good, EPOLLIN | EPOLLET)
        for _, writer in pipes:
            os.write(writer, b"x")
        host.claim()
        host.poll_once()
        assert (good.calls, reports, host.loop.sources()) == (1, ["a bug"], [good])
        host.unclaim()
    finally:
        host.close()
        for pipe in pipes:
            os.close(pipe[0])
            os.close(pipe[1])


def test_random_is_fresh_and_of_the_size_asked_for(host):
    drawn = [host.random(size) for size in [4] * 3000 + [1000] * 20 + [5000, 0, 1]]
    assert [len(data) for data in drawn] == [4] * 3000 + [1000] * 20 + [5000, 0, 1]
    assert len(set(drawn[:3000])) > 2990


def test_wall_is_the_time_of_day(host):
    assert abs(host.wall() - time.time_ns()) < SECOND


def test_the_console_is_written_after_the_schedule_is_given_up():
    reader, writer = os.pipe()
    host = PosixHost(console=writer)
    host.enter()
    host.console_write(b"hello ")
    host.console_write(b"world")
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    host.leave()
    assert os.read(reader, 100) == b"hello world"
    host.enter()
    host.console_write(bytes(1 << 20))
    host.leave()
    assert host.console_drops == 1 << 20
    host.close()
    os.close(reader)
    os.close(writer)


def test_a_mutex_is_waited_for_off_the_schedule(host):
    mutex = host.mutex()
    host.enter()
    mutex.acquire()
    host.unschedule()
    order: list[str] = []

    def other() -> None:
        host.enter()
        order.append("waits")
        mutex.acquire()
        order.append("has it")
        mutex.release()
        host.leave()

    thread = start(other)
    deadline = time.monotonic() + 5
    while order != ["waits"] and time.monotonic() < deadline:
        time.sleep(0.001)
    host.enter()
    host.leave()
    assert order == ["waits"], "others may be on the schedule while somebody waits for the mutex"
    host.schedule()
    mutex.release()
    host.leave()
    thread.join()
    assert order == ["waits", "has it"]


def test_frames_of_a_call_that_takes_long_are_delivered_meanwhile():
    host = PosixHost()
    host.start_thread()
    note = Note()
    host.enter()
    host.post(note, Frame(b"sent before the disk was read"))
    host.unschedule()
    deadline = time.monotonic() + 5
    while not note.flushes and time.monotonic() < deadline:
        time.sleep(0.001)
    assert note.frames == [b"sent before the disk was read"]
    host.schedule()
    host.leave()
    host.close()


class TestCheckedSchedule:
    @pytest.fixture
    def host(self, monkeypatch):
        monkeypatch.setenv("RUMPKIT_DEBUG", "lock")
        host = PosixHost()
        yield host
        host.close()

    def test_taking_it_twice(self, host):
        host.enter()
        with pytest.raises(RuntimeError, match="has it"):
            host.enter()
        with pytest.raises(RuntimeError, match="has it"):
            host.schedule()
        host.leave()

    def test_giving_up_what_one_does_not_hold(self, host):
        for call in (host.leave, host.unschedule):
            with pytest.raises(RuntimeError, match="does not have it"):
                call()
        host.enter()
        failures: list[str] = []

        def thief() -> None:
            try:
                host.leave()
            except RuntimeError as error:
                failures.append(str(error))

        start(thief).join()
        assert len(failures) == 1
        host.leave()

    def test_a_call_that_may_block(self, host):
        host.assert_unscheduled("read")
        host.enter()
        with pytest.raises(RuntimeError, match="read may block"):
            host.assert_unscheduled("read")
        host.unschedule()
        host.assert_unscheduled("read")
        host.schedule()
        host.leave()
        host.enter()
        start(host.assert_unscheduled, "read of another thread").join()
        host.leave()

    def test_off_unless_asked_for(self, monkeypatch):
        monkeypatch.setenv("RUMPKIT_DEBUG", "")
        host = PosixHost()
        host.enter()
        host.assert_unscheduled("read")
        host.leave()
        host.close()


def test_ctrl_c_ends_a_program_that_waits_in_the_host():
    program = (
        "from rumpkit.hosts.posix.host import PosixHost\n"
        "host = PosixHost()\n"
        "host.start_thread()\n"
        "host.enter()\n"
        "print('parked', flush=True)\n"
        "try:\n"
        "    host.parker().park(1 << 61)\n"
        "finally:\n"
        "    host.leave()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"parked\n"
    time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=10)
    assert child.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in errors


LEADING = """
import os
from rumpkit.hosts.posix.host import LEAD, PosixHost

def lead() -> int:
    "By how much the loop thread is less nice than its process."
    host = PosixHost()
    host.take_the_lead()  # there is no thread
    host.start_thread()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    host.take_the_lead()
    host.take_the_lead()  # nothing adds up
    there = os.getpriority(os.PRIO_PROCESS, host._loop_thread.native_id)
    host.close()
    return own - there

def allowed() -> int:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, own - LEAD)
    except OSError:
        return 0
    os.setpriority(os.PRIO_PROCESS, 0, own)
    return LEAD

os.nice(10)
assert lead() == allowed()
os.setresuid(65534, 65534, 65534)
assert lead() == allowed() == 0
"""


@pytest.mark.once
@pytest.mark.needs("root")
def test_the_loop_thread_takes_the_lead_where_it_may():
    subprocess.run([sys.executable, "-c", LEADING], check=True)
