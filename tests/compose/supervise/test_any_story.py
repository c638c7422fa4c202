"""Whatever happens in whatever order, the supervisor's machine keeps its promises."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rumpkit.compose.spec import HealthSpec, RunSpec
from rumpkit.compose.supervise import states
from rumpkit.compose.supervise.machine import Owner, Supervisor
from rumpkit.compose.supervise.plan import Placed, plans
from rumpkit.hyper.time import FOREVER, SECOND

NAMES = ("a", "b", "c", "d")


@st.composite
def files(draw: st.DrawFn) -> list[RunSpec]:
    """Programs that wait only for those before them, so that there is no circle."""
    runs: list[RunSpec] = []
    for index, name in enumerate(NAMES[: draw(st.integers(1, 4))]):
        health = draw(st.sampled_from([None, HealthSpec(port=80, retries=2, start_period="0s", timeout="1s")]))
        after = []
        for other in draw(st.sets(st.sampled_from(range(index)))) if index else ():
            conditions = ["", ":started", ":ended", *([":healthy"] if runs[other].health else [])]
            after.append(NAMES[other] + draw(st.sampled_from(conditions)))
        runs.append(
            RunSpec(
                [name],
                name,
                after=after,
                health=health,
                restart=draw(st.sampled_from(["no", "on-failure", "always"])),
                restart_limit=draw(st.integers(0, 2)),
                background=draw(st.booleans()),
            )
        )
    return runs


class Promises(Owner):
    """Holds the machine to them: a program has one process at most, and only a living one is signalled, killed or checked."""

    def __init__(self, runs: list[RunSpec]) -> None:
        self.machine = Supervisor(self, plans([Placed("", run) for run in runs]))
        self.now = SECOND
        self.alive: set[str] = set()
        self.asked: list[str] = []
        self.checking: set[str] = set()
        self.over: set[str] = set()
        self.killed: set[str] = set()

    def start(self, name: str) -> None:
        assert name not in self.alive and name not in self.asked and name not in self.over
        for wanted in self.machine.programs[name].plan.after:
            assert wanted.program in self.alive | self.over or self.machine.programs[wanted.program].ever_started
        self.asked.append(name)

    def signal(self, name: str, number: int) -> None:
        assert name in self.alive and name not in self.killed

    def kill(self, name: str) -> None:
        assert name in self.alive
        self.killed.add(name)

    def probe(self, name: str) -> None:
        assert name in self.alive and name not in self.checking
        self.checking.add(name)

    def drop_probe(self, name: str) -> None:
        assert name in self.checking
        self.checking.discard(name)

    def finished(self, name: str) -> None:
        assert name not in self.alive and name not in self.over and name not in self.checking
        self.over.add(name)

    def say(self, name: str, text: str) -> None:
        assert text

    def step(self, kind: int, status: int) -> None:
        """One thing happens, where it can."""
        machine = self.machine
        if kind == 0 and self.asked:
            name = self.asked.pop(0)
            self.alive.add(name)
            machine.started(name, self.now)
        elif kind == 1 and self.asked:
            machine.refused(self.asked.pop(0), 127, self.now)
        elif kind == 2 and self.alive:
            name = sorted(self.alive)[status % len(self.alive)]
            self.alive.discard(name)
            self.killed.discard(name)
            machine.exited(name, status, self.now)
        elif kind == 3 and self.checking:
            name = sorted(self.checking)[status % len(self.checking)]
            self.checking.discard(name)
            machine.probed(name, status == 0, "no answer", self.now)
        elif kind == 4 and machine.next_deadline() < FOREVER:
            self.now = max(self.now, machine.next_deadline())
        elif kind == 5:
            machine.stop(NAMES[status % len(machine.programs)], self.now)
        elif kind == 6:
            machine.stop_all(self.now, silent=status == 1)
        machine.advance(self.now)


@settings(max_examples=150, deadline=None)
@given(
    files(),
    st.lists(st.tuples(st.sampled_from((0, 0, 0, 1, 2, 2, 3, 3, 4, 4, 4, 5, 6)), st.integers(0, 3)), max_size=40),
)
def test_promises_are_kept_and_every_run_comes_to_an_end(runs: list[RunSpec], story: list[tuple[int, int]]) -> None:
    world = Promises(runs)
    world.machine.advance(world.now)
    for kind, status in story:
        world.step(kind, status)
    world.machine.stop_all(world.now)
    for _ in range(100):  # programs that are deaf to signals are killed, and then they end
        if world.machine.done():
            break
        for _ in range(len(world.asked)):
            world.step(0, 0)
        for name in sorted(world.killed):
            world.alive.discard(name)
            world.killed.discard(name)
            world.machine.exited(name, -9, world.now)
        world.step(4, 0)
    assert world.machine.done()
    assert not world.alive and not world.checking and world.over == set(world.machine.programs)
    assert all(one.state in states.FINAL for one in world.machine.programs.values())
