"""The supervisor's machine in simulated time: programs are scripts, and no process is started."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import pytest

from rumpkit.compose.spec import HealthSpec, RunSpec
from rumpkit.compose.supervise import states
from rumpkit.compose.supervise.machine import Owner, Supervisor
from rumpkit.compose.supervise.plan import Placed, plans
from rumpkit.hyper.time import FOREVER, SECOND

MS = 1_000_000


class World(Owner):
    """Programs that do what a test says, and a clock that jumps to what is next."""

    def __init__(self, *runs: RunSpec) -> None:
        self.now = SECOND
        self.machine = Supervisor(self, plans([Placed("", run) for run in runs]))
        self.events: list[tuple[int, int, Callable[[], None]]] = []
        self.story: list[str] = []
        self.lives: dict[str, list[float | None]] = {}
        """Seconds that each life of a program lasts; None, or beyond the list: until it is asked to end."""
        self.statuses: dict[str, list[int]] = {}
        self.deaf: set[str] = set()
        """They end by no signal."""
        self.stops_in = 0.0
        self.checks: dict[str, list[bool | None]] = {}
        """What health checks find; None: they hang.  Beyond the list: well."""
        self.refused: dict[str, int] = {}
        self.said: list[str] = []
        self.alive: dict[str, int] = {}
        self._count = 0

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self.events, (self.now + int(seconds * SECOND), self._count, call))

    def run(self, until: float = 1000.0) -> None:
        """Up to that many seconds from the start, or until nothing is to come."""
        end = int(until * SECOND) + SECOND
        self.machine.advance(self.now)
        while True:
            due = self.events[0][0] if self.events else FOREVER
            when = min(due, self.machine.next_deadline())
            if when > end or when >= FOREVER:
                return
            self.now = max(when, self.now)
            if due <= self.now:
                heapq.heappop(self.events)[2]()
            self.machine.advance(self.now)

    def tell(self, text: str) -> None:
        self.story.append(f"{(self.now - SECOND) / SECOND:g} {text}")

    def start(self, name: str) -> None:
        self.tell(f"start {name}")
        if self.refused.pop(name, 0):
            self.machine.refused(name, 127, self.now)
            return
        self.machine.started(name, self.now)
        self.alive[name] = self.alive.get(name, 0) + 1
        lives = self.lives.get(name, [])
        seconds = lives.pop(0) if lives else None
        if seconds is not None:
            life = self.alive[name]
            self.after(seconds, lambda: self.end(name, life, (self.statuses.get(name) or [0]).pop(0)))

    def end(self, name: str, life: int, status: int) -> None:
        if self.alive[name] == life:
            self.alive[name] += 1
            self.tell(f"end {name}")
            self.machine.exited(name, status, self.now)

    def signal(self, name: str, number: int) -> None:
        self.tell(f"signal {name} {number}")
        life = self.alive[name]
        if name not in self.deaf:
            self.after(self.stops_in, lambda: self.end(name, life, -number))

    def kill(self, name: str) -> None:
        self.tell(f"kill {name}")
        life = self.alive[name]
        self.after(0, lambda: self.end(name, life, -9))

    def probe(self, name: str) -> None:
        checks = self.checks.get(name, [])
        well = checks.pop(0) if checks else True
        if well is not None:
            self.after(0.001, lambda: self.machine.probed(name, bool(well), "no answer", self.now))

    def drop_probe(self, name: str) -> None:
        self.tell(f"drop {name}")

    def finished(self, name: str) -> None:
        self.tell(f"finished {name}")

    def say(self, name: str, text: str) -> None:
        self.said.append(f"{name} {text}")

    def state(self, name: str) -> str:
        return self.machine.programs[name].state


def run(name: str, **keys: object) -> RunSpec:
    return RunSpec([name], name, **keys)  # type: ignore[arg-type]


PORT = HealthSpec(port=80)


def test_programs_start_in_the_order_of_the_file_and_the_run_ends_with_the_last() -> None:
    world = World(run("a"), run("b"))
    world.lives = {"a": [2.0], "b": [1.0]}
    world.statuses = {"a": [3], "b": [0]}
    world.run()
    assert world.story == ["0 start a", "0 start b", "1 end b", "1 finished b", "2 end a", "2 finished a"]
    assert world.machine.done() and world.machine.status() == 3


def test_the_end_of_the_main_program_ends_the_others_and_is_the_status() -> None:
    world = World(run("server", stop_signal="INT"), run("client", main=True))
    world.lives, world.statuses = {"client": [1.0]}, {"client": [7]}
    world.run()
    assert world.story[2:] == [
        "1 end client",
        "1 finished client",
        "1 signal server 2",
        "1 end server",
        "1 finished server",
    ]
    assert world.machine.status() == 7


def test_a_run_does_not_last_for_what_is_in_the_background() -> None:
    world = World(run("logger", background=True), run("job"))
    world.lives = {"job": [1.0]}
    world.run()
    assert world.machine.done() and world.machine.status() == 0
    assert "1 signal logger 15" in world.story


def test_after_waits_for_a_start_for_health_and_for_an_end() -> None:
    world = World(
        run("client", after=["db", "setup:ended"]),
        run("setup", after=["db:started"]),
        run("db", health=PORT),
    )
    world.checks = {"db": [False, False]}
    world.lives = {"setup": [0.1]}
    world.run(until=2)
    starts = [line for line in world.story if "start" in line]
    assert starts == ["0 start db", "0 start setup", "0.503 start client"]  # the third check, 250 ms apart


@pytest.mark.parametrize(
    ("keys", "condition", "said"),
    [
        ({}, "other:ended", "it is not started, as other has ended with 1"),
        ({"health": PORT}, "other:healthy", "it is not started, as other has ended with 1"),
    ],
)
def test_what_waits_for_what_never_comes_is_not_started(keys: dict[str, object], condition: str, said: str) -> None:
    world = World(run("other", **keys), run("it", after=[condition]))
    world.lives, world.statuses, world.checks = {"other": [1.0]}, {"other": [1]}, {"other": [None]}
    world.run()
    assert world.state("it") == states.SKIPPED
    assert world.said == [said]
    assert world.machine.status() == 1 and "it was not started" in world.machine.failed()


def test_an_unhealthy_program_keeps_others_from_starting() -> None:
    sick = HealthSpec(port=80, start_period="0s", retries=2, start_interval="1s")
    world = World(run("db", health=sick), run("web", after=["db"]))
    world.checks = {"db": [False] * 3}
    world.run(until=1.5)
    assert world.state("db") == states.UNHEALTHY and world.state("web") == states.SKIPPED
    assert world.said == ["db is unhealthy: no answer", "web is not started, as db is unhealthy: no answer"]
    world.run(until=60)
    assert world.state("db") == states.HEALTHY  # it has come round; nobody had told it to end


def test_restarts_back_off_and_are_given_up() -> None:
    world = World(run("flaky", restart="on-failure", restart_limit=3, restart_delay="1s", restart_delay_max="3s"))
    world.lives, world.statuses = {"flaky": [0.5] * 4}, {"flaky": [1, 1, 1, 5]}
    world.run()
    starts = [line for line in world.story if "start" in line]
    assert starts == ["0 start flaky", "1.5 start flaky", "4 start flaky", "7.5 start flaky"]
    assert world.said[0] == "flaky has ended with 1; it is restarted in 1 s"
    assert world.said[-1] == "flaky is given up after 3 restarts"
    assert world.machine.status() == 5 and world.machine.programs["flaky"].restarts == 3


def test_who_has_run_steadily_begins_anew() -> None:
    world = World(run("flaky", restart="always", restart_limit=1, restart_delay="1s"))
    world.lives, world.statuses = {"flaky": [0.5, 20.0, 0.5, 0.5]}, {"flaky": [0] * 4}
    world.run()
    assert [line for line in world.story if "start" in line] == ["0 start flaky", "1.5 start flaky", "22.5 start flaky"]


def test_success_is_no_failure_to_restart() -> None:
    world = World(run("job", restart="on-failure"))
    world.lives = {"job": [1.0]}
    world.run()
    assert world.machine.done() and world.machine.programs["job"].restarts == 0


def test_an_unhealthy_program_with_a_policy_is_restarted() -> None:
    health = HealthSpec(port=80, interval="1s", timeout="500ms", retries=2)
    world = World(run("web", health=health, restart="on-failure", stop_timeout="2s"))
    world.checks, world.deaf = {"web": [True, None, None, True]}, {"web"}
    world.run(until=20)
    # well at 0; checks at 1 and 2.5 hang for half a second each; asked to end at 3, killed at 5
    assert [line for line in world.story if "drop" not in line] == [
        "0 start web", "3.001 signal web 15", "5.001 kill web", "5.001 end web", "5.101 start web",
    ]  # fmt: skip
    assert world.state("web") == states.HEALTHY


def test_failures_in_the_start_period_do_not_count() -> None:
    slow = HealthSpec(port=80, start_period="10s", start_interval="1s", retries=1)
    world = World(run("slow", health=slow))
    world.checks = {"slow": [False] * 9}
    world.run(until=12)
    assert world.state("slow") == states.HEALTHY
    late = World(run("slow", health=slow))
    late.checks = {"slow": [False] * 50}
    late.run(until=12)
    assert late.state("slow") == states.UNHEALTHY


def test_a_stop_ends_who_came_last_first() -> None:
    world = World(run("db"), run("web", after=["db"]), run("proxy", after=["web"]))
    world.stops_in = 1.0
    world.run(until=1)
    world.machine.stop_all(world.now)
    world.run()
    stops = [line for line in world.story if "signal" in line]
    assert stops == ["0 signal proxy 15", "1 signal web 15", "2 signal db 15"]
    assert world.machine.status() == 128 + 15


def test_what_does_not_end_is_killed_after_its_own_time() -> None:
    world = World(run("stubborn", stop_timeout="3s"), run("other", stop_timeout="1s"))
    world.deaf = {"stubborn", "other"}
    world.run(until=1)
    world.machine.stop_all(world.now, number=2)
    world.run()
    assert [line for line in world.story if "signal" in line or "kill" in line] == [
        "0 signal stubborn 2", "0 signal other 2", "1 kill other", "3 kill stubborn",
    ]  # fmt: skip


def test_a_terminal_has_sent_its_signal_itself() -> None:
    world = World(run("db"), run("web", after=["db"]))
    world.run(until=1)
    world.machine.stop_all(world.now, silent=True)
    world.run()
    assert [line for line in world.story if "signal" in line or "kill" in line] == ["5 kill db", "5 kill web"]


def test_one_program_is_stopped_and_not_started_again() -> None:
    world = World(run("web", restart="always"), run("other"))
    world.run(until=1)
    world.machine.stop("web", world.now)
    world.run(until=10)
    assert world.state("web") == states.ENDED and world.state("other") == states.RUNNING
    assert not world.machine.over()


def test_a_stop_in_the_back_off_and_before_the_start() -> None:
    world = World(run("flaky", restart="always", restart_delay="10s"), run("late", after=["flaky:ended"]))
    world.lives = {"flaky": [1.0]}
    world.run(until=2)
    assert (world.state("flaky"), world.state("late")) == (states.BACKOFF, states.WAITING)
    world.machine.stop_all(world.now)
    world.run()
    assert (world.state("flaky"), world.state("late")) == (states.ENDED, states.SKIPPED)
    assert [line for line in world.story if "start" in line] == ["0 start flaky"]


def test_a_restart_that_is_refused_is_tried_again() -> None:
    world = World(run("tool", restart="on-failure"))
    world.lives, world.statuses = {"tool": [1.0]}, {"tool": [1]}
    world.run(until=1)
    world.refused = {"tool": 1}
    world.run(until=5)
    assert [line for line in world.story if "start" in line] == ["0 start tool", "1.1 start tool", "1.3 start tool"]


def test_settled_means_started_and_well() -> None:
    world = World(run("db", health=PORT), run("setup"))
    world.checks, world.lives = {"db": [False, True]}, {"setup": [0.1]}
    world.run(until=0.2)
    world.now = SECOND + SECOND // 5
    assert not world.machine.settled(world.now)
    world.run(until=1)
    assert world.machine.settled(world.now) and not world.machine.failed()


def test_every_row_of_the_table_leads_somewhere() -> None:
    names = {state for state, _ in states.STEPS} | {step.state for step in states.STEPS.values()}
    reached = {step.state for step in states.STEPS.values()} | {states.WAITING}
    assert names == reached
    for state in states.FINAL:
        assert {event for before, event in states.STEPS if before == state} == {states.ANEW}
    for state in states.ALIVE:  # whatever has a process can be killed for good, unless it is on the way to that
        assert (state, states.KILL) in states.STEPS or state == states.KILLING


def test_what_crashes_again_and_again_does_not_start_well() -> None:
    world = World(run("bad", restart="always", restart_delay="10ms"), run("job", restart="always"))
    world.lives, world.statuses = {"bad": [0.01] * 100, "job": [0.01]}, {"bad": [1] * 100}
    world.run(until=0.05)
    assert not world.machine.failed() and not world.machine.settled(world.now)
    world.run(until=1)
    assert world.machine.failed() and "bad has ended with 1, " in world.machine.failed()[0]
    well = World(run("job", restart="always", restart_delay="1s"))
    well.lives = {"job": [0.01] * 5}
    well.run(until=2)
    assert well.machine.settled(well.now) and not well.machine.failed()


def test_a_program_is_started_again_by_hand() -> None:
    world = World(run("a"), run("b", restart="always"))
    world.after(1, lambda: world.machine.stop("a", world.now))
    world.after(2, lambda: world.machine.start_again("a", world.now))
    world.after(3, lambda: world.machine.start_again("a", world.now))  # it runs
    world.run(5)
    assert world.story == ["0 start a", "0 start b", "1 signal a 15", "1 end a", "1 finished a", "2 start a"]
    assert world.state("a") == states.RUNNING and world.machine.programs["a"].restarts == 1


def test_a_restart_is_a_stop_and_a_start_whatever_the_policy() -> None:
    world = World(run("a", stop_timeout="2s"), run("b", after=["a"], restart="always"))
    world.deaf = {"a"}
    world.after(1, lambda: world.machine.restart("a", world.now))
    world.after(2, lambda: world.machine.start_again("a", world.now))  # as is under way
    world.run(9)
    assert world.story == ["0 start a", "0 start b", "1 signal a 15", "3 kill a", "3 end a", "3 start a"]
    assert world.machine.programs["a"].restarts == 1


def test_a_stop_overtakes_a_restart() -> None:
    world = World(run("a"), run("b"))
    world.stops_in = 1.0
    world.after(1, lambda: world.machine.restart("a", world.now))
    world.after(1.5, lambda: world.machine.stop("a", world.now))
    world.run(9)
    assert world.state("a") == states.ENDED
    world.machine.restart("b", world.now)
    world.machine.stop_all(world.now)
    world.run(20)
    assert world.machine.done()
    world.machine.start_again("a", world.now)
    assert world.machine.done()


def test_what_is_restarted_waits_for_what_it_is_after() -> None:
    world = World(run("a", health=PORT), run("b", after=["a"]))
    world.run(1)
    world.stops_in = 0.5
    world.checks = {"a": [False, False, True]}
    for name in ("a", "b"):
        world.machine.restart(name, world.now)
    world.story.clear()
    world.run(20)
    assert next(one for one in world.story if "start" in one).endswith("start a")
    started = [one for one in world.story if "start b" in one]
    (again,) = [one for one in world.story if "start a" in one]
    assert len(started) == 1 and float(started[0].split()[0]) >= float(again.split()[0]) + 0.5  # two checks later


def test_nothing_starts_while_all_is_held() -> None:
    world = World(run("a"), run("b"))
    world.machine.held = True
    world.run(1)
    world.machine.stop("b", world.now)
    assert world.story == ["finished b"] or world.story == ["0 finished b"]
    world.machine.held = False
    world.run(2)
    assert [one.split(" ", 1)[1] for one in world.story if "start" in one] == ["start a"]
