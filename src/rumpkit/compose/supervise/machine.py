"""The supervisor without I/O: it is told what happens to programs and what time it is, and says what is to be done with them.

`states` has the table; here is what its actions do.  The owner (`conductor`) starts, signals and checks real programs; it may call back
from within its methods.  Times are nanoseconds of any monotonic clock.
"""

from collections.abc import Callable, Sequence
from typing import Final, final

from ...hyper.time import FOREVER, SECOND, Duration, Instant
from . import plan, states
from .plan import RunPlan

STEADY: Final[Duration] = 10 * SECOND
"""Who has run for so long begins anew with its restarts and their delays."""
MOMENT: Final[Duration] = SECOND // 4
"""Who has run for so long without a health check counts as started well: what is wrong with a command line shows by then."""
PATIENCE: Final = 3
"""Restarts in a row, after a failure, of a program that may still be about to start well."""
FAILED: Final = 1
"""The status of a program that was never started for another one's sake."""


class Owner:
    """Who carries out what the machine decides."""

    def start(self, name: str) -> None:
        """Start it, then tell `started` or `refused`."""
        raise NotImplementedError

    def signal(self, name: str, number: int) -> None:
        """Ask it to end."""
        raise NotImplementedError

    def kill(self, name: str) -> None:
        """End it and everything it has started."""
        raise NotImplementedError

    def probe(self, name: str) -> None:
        """Begin a health check, then tell `probed`."""
        raise NotImplementedError

    def drop_probe(self, name: str) -> None:
        """Nobody waits for that check any more."""
        raise NotImplementedError

    def finished(self, name: str) -> None:
        """It has ended for good, or will never be started."""
        raise NotImplementedError

    def say(self, name: str, text: str) -> None:
        """Something that people should know."""
        raise NotImplementedError


@final
class Program:
    """What the machine knows of one program."""

    def __init__(self, made: RunPlan) -> None:
        self.plan: RunPlan = made
        self.stop_signal: int = made.stop_signal
        """What asks it to end, once it has been started: its root may be an image that says so."""
        self.state: str = states.WAITING
        self.exit_code: int | None = None
        """Of its last end: an exit code, or minus a signal's number."""
        self.since: Instant = 0
        """When it was started last."""
        self.ever_started: bool = False
        self.restarts: int = 0
        """In all."""
        self.in_a_row: int = 0
        """Restarts since it was steady last."""
        self.deadline: Instant = FOREVER
        """When the state's time is over."""
        self.check_at: Instant = FOREVER
        """When the next health check begins, or when the present one has failed."""
        self.checking: bool = False
        self.passed: bool = False
        """Since it was started."""
        self.failures: int = 0
        """Health checks that have failed in a row."""
        self.ailment: str = ""
        """What the last failed one said."""
        self.stop_wanted: bool = False
        self.start_wanted: bool = False
        """Once it has ended."""
        self.by_hand: bool = False
        """Somebody has asked for its start, who is to hear what is wrong with it; the run goes on without."""
        self.given_up: bool = False
        """What it waits for won't come."""

    @property
    def name(self) -> str:
        """Its whole name."""
        return self.plan.name


@final
class Supervisor:
    """All programs of a run."""

    def __init__(self, owner: Owner, made: Sequence[RunPlan]) -> None:
        self._owner = owner
        self.programs: dict[str, Program] = {one.name: Program(one) for one in made}
        self._now: Instant = 0
        self._silent = False
        """A terminal has sent its signal itself."""
        self._number = 0
        """The signal that is passed on in the place of the programs' own."""
        self.held: bool = False
        """Nothing is started yet."""
        self.ending: bool = False
        """Everything is to end."""

    # What happens --------------------------------------------------------------------------------------------

    def advance(self, now: Instant) -> None:
        """Do what is due: at first, after every event, and at `next_deadline`."""
        self._now = now
        while True:
            if not self.ending and self.over():
                self.stop_all(now)
            if not any(self._look_at(one) for one in self.programs.values()):
                return

    def started(self, name: str, now: Instant) -> None:
        """It runs."""
        self._event(self.programs[name], states.STARTED, now)

    def refused(self, name: str, status: int, now: Instant) -> None:
        """It can't be started; `status` is what a shell would give."""
        self._ended(self.programs[name], status, now, states.REFUSED)

    def exited(self, name: str, status: int, now: Instant) -> None:
        """It has ended: an exit code, or minus a signal's number."""
        self._ended(self.programs[name], status, now, states.OVER)

    def probed(self, name: str, well: bool, text: str, now: Instant) -> None:
        """What a health check has found."""
        program = self.programs[name]
        if not program.checking or program.state not in states.UP or program.plan.health is None:
            return
        program.checking = False
        self._judge(program, well, text, now)

    def stop(self, name: str, now: Instant) -> None:
        """End it, after those that have been started after it if everything ends; it is not started again."""
        self.programs[name].stop_wanted = True
        self.programs[name].start_wanted = False
        self.advance(now)

    def start_again(self, name: str, now: Instant) -> None:
        """Start it as its config says, unless it runs; if it is about to end, then."""
        program = self.programs[name]
        if self.ending:
            return
        if program.state in states.ENDING:
            program.start_wanted = True
        else:
            self._event(program, states.ANEW, now)
        self.advance(now)

    def restart(self, name: str, now: Instant) -> None:
        """End it as its config says, and start it then."""
        program = self.programs[name]
        if not self.ending and program.state in states.ALIVE:
            program.stop_wanted = program.start_wanted = True
            self.advance(now)
        else:
            self.start_again(name, now)

    def end_now(self, name: str, now: Instant) -> None:
        """End it at once."""
        self.programs[name].stop_wanted = True
        self.programs[name].start_wanted = False
        self._event(self.programs[name], states.KILL, now)

    def stop_all(self, now: Instant, silent: bool = False, number: int = 0) -> None:
        """End everything.  `silent`: without signals, which a terminal has sent already; `number`: by this signal."""
        self.ending = True
        self._number = number
        self._silent = self._silent or silent
        for program in self.programs.values():
            program.stop_wanted = True
        self.advance(now)

    def kill_all(self, now: Instant) -> None:
        """End everything at once."""
        self.ending = True
        for program in self.programs.values():
            program.stop_wanted = True
            self._event(program, states.KILL, now)

    # What is so ----------------------------------------------------------------------------------------------

    def next_deadline(self) -> Instant:
        """When `advance` is to be called at the latest."""
        return min((min(one.deadline, one.check_at) for one in self.programs.values()), default=FOREVER)

    def over(self) -> bool:
        """Whether the run is: the main program has ended, or, where there is none, all but those in the background."""
        return all(one.state in states.FINAL for one in self._counted())

    def done(self) -> bool:
        """Whether nothing runs, and nothing will."""
        return all(one.state in states.FINAL for one in self.programs.values())

    def settled(self, now: Instant) -> bool:
        """Whether all have got where they shall be: healthy, or without a check running for a moment, or ended (and to be started again
        if that was no failure)."""
        return all(settled(one, now) for one in self.programs.values())

    def failed(self) -> list[str]:
        """Programs of which nobody can say that they do what they should, and why."""
        texts = [(one.name, why_failed(one)) for one in self.programs.values()]
        return [f"{name} {text}" for name, text in texts if text]

    def status(self) -> int:
        """The run's exit status: the main program's, or else the first that is not 0 (128 + N for signal N)."""
        codes = [FAILED if one.given_up else one.exit_code or 0 for one in self._counted()]
        first = next((code for code in codes if code), 0)
        return first if first >= 0 else 128 - first

    def _counted(self) -> list[Program]:
        every = list(self.programs.values())
        main = [one for one in every if one.plan.main]
        return main or [one for one in every if not one.plan.background] or every

    # Decisions -----------------------------------------------------------------------------------------------

    def _look_at(self, program: Program) -> bool:
        """Do what one program is due for; whether there was anything."""
        now, before = self._now, program.state
        if program.stop_wanted and program.state not in states.LEAVING and self._may_stop(program):
            self._event(program, states.STOP, now)
        elif program.state == states.WAITING and not program.stop_wanted and not self.held:
            self._look_whether_ready(program)
        elif program.deadline <= now:
            program.deadline = FOREVER
            self._event(program, states.DUE, now)
            return True
        elif program.check_at <= now:
            self._check(program)
            return True
        return program.state != before

    def _may_stop(self, program: Program) -> bool:
        """Whether nobody needs it any more: where everything ends, who came last goes first."""
        if not self.ending or self._silent:
            return True
        return not any(
            other.state in states.ALIVE
            and any(one.program == program.name and one.condition != plan.ENDED for one in other.plan.after)
            for other in self.programs.values()
        )

    def _look_whether_ready(self, program: Program) -> None:
        ready = True
        for wanted in program.plan.after:
            other = self.programs[wanted.program]
            condition = wanted.condition or (plan.HEALTHY if other.plan.health is not None else plan.STARTED)
            there, never = CONDITIONS[condition](other)
            if never and not there:
                self._owner.say(program.name, f"is not started, as {other.name} {_what_became_of(other)}")
                self._event(program, states.HOPELESS, self._now)
                return
            ready = ready and there
        if ready:
            self._event(program, states.READY, self._now)

    def _ended(self, program: Program, status: int, now: Instant, event: str) -> None:
        program.exit_code = status
        if program.start_wanted and not self.ending:
            self._event(program, states.ANEW, now)
            return
        made = program.plan
        if now - program.since >= STEADY and program.state in states.UP:
            program.in_a_row = 0
        wanted = made.restart == plan.ALWAYS or (
            made.restart == plan.ON_FAILURE and (status != 0 or program.state == states.RENEWING)
        )
        if wanted and not program.stop_wanted and (program.ever_started or event != states.REFUSED):
            if not made.restart_limit or program.in_a_row < made.restart_limit:
                event = states.AGAIN
            else:
                self._owner.say(program.name, f"is given up after {program.in_a_row} restarts")
        self._event(program, event, now)

    def _event(self, program: Program, event: str, now: Instant) -> None:
        step = states.STEPS.get((program.state, event))
        if step is None:
            return
        self._now = now
        program.state = step.state
        program.deadline = FOREVER
        if step.state not in states.UP:
            self._drop_check(program)
        if step.action:
            ACTIONS[step.action](self, program)
        if step.state in states.FINAL:
            self._owner.finished(program.name)

    # Health --------------------------------------------------------------------------------------------------

    def _check(self, program: Program) -> None:
        health = program.plan.health
        assert health is not None
        if program.checking:  # its time is over
            program.checking = False
            self._owner.drop_probe(program.name)
            self._judge(program, False, "the check took too long", self._now)
            return
        program.checking = True
        program.check_at = self._now + health.timeout
        self._owner.probe(program.name)

    def _judge(self, program: Program, well: bool, text: str, now: Instant) -> None:
        health = program.plan.health
        assert health is not None
        if well:
            program.failures = 0
            program.passed = True
            self._event(program, states.PASSED, now)
        elif program.passed or now - program.since >= health.start_period:
            program.failures += 1
            program.ailment = text
            if program.failures >= health.retries:
                renew = program.plan.restart != plan.NEVER and not program.stop_wanted
                self._event(program, states.RENEW if renew else states.SICK, now)
        else:
            program.ailment = text
        if program.state in states.UP:
            program.check_at = now + (health.interval if program.passed else health.start_interval)

    def _drop_check(self, program: Program) -> None:
        program.check_at = FOREVER
        if program.checking:
            program.checking = False
            self._owner.drop_probe(program.name)

    # Actions -------------------------------------------------------------------------------------------------

    def start(self, program: Program) -> None:
        """Have it started."""
        program.since = self._now
        program.passed = False
        program.failures = 0
        program.ailment = ""
        self._owner.start(program.name)

    def watch(self, program: Program) -> None:
        """It has been started."""
        program.since = self._now
        program.ever_started = True
        if program.plan.health is not None:
            program.check_at = self._now

    def ail(self, program: Program) -> None:
        """It isn't."""
        self._owner.say(program.name, f"is unhealthy: {program.ailment}")

    def renew(self, program: Program) -> None:
        """It isn't, and shall be started again."""
        self._owner.say(program.name, f"is unhealthy: {program.ailment}; it is restarted")
        self.signal(program)

    def signal(self, program: Program) -> None:
        """Ask it to end."""
        program.deadline = self._now + program.plan.stop_timeout
        if not self._silent:
            self._owner.signal(program.name, self._number or program.stop_signal)

    def kill(self, program: Program) -> None:
        """Make it end."""
        self._owner.kill(program.name)

    def back_off(self, program: Program) -> None:
        """It has ended, and waits to be started again."""
        made = program.plan
        delay = min(made.restart_delay << min(program.in_a_row, 40), made.restart_delay_max)
        program.in_a_row += 1
        program.restarts += 1
        program.deadline = self._now + delay
        status = program.exit_code or 0
        self._owner.say(program.name, f"has {how_it_ended(status)}; it is restarted in {delay / SECOND:g} s")

    def give_up(self, program: Program) -> None:
        """It will never be started."""
        program.given_up = True

    def renew_by_hand(self, program: Program) -> None:
        """Somebody wants it to start, as if for the first time."""
        program.restarts += program.ever_started
        program.in_a_row = 0
        program.by_hand = True
        program.ever_started = program.given_up = program.stop_wanted = program.start_wanted = False


ACTIONS: Final[dict[str, Callable[[Supervisor, Program], None]]] = {
    "start": Supervisor.start,
    "watch": Supervisor.watch,
    "ail": Supervisor.ail,
    "renew": Supervisor.renew,
    "signal": Supervisor.signal,
    "kill": Supervisor.kill,
    "back_off": Supervisor.back_off,
    "give_up": Supervisor.give_up,
    "renew_by_hand": Supervisor.renew_by_hand,
}

CONDITIONS: Final[dict[str, Callable[[Program], tuple[bool, bool]]]] = {
    plan.STARTED: lambda other: (other.ever_started, other.state in states.FINAL),
    plan.HEALTHY: lambda other: (
        other.state == states.HEALTHY,
        other.state in (*states.FINAL, states.UNHEALTHY),
    ),
    plan.ENDED: lambda other: (other.state == states.ENDED and other.exit_code == 0, other.state in states.FINAL),
}
"""What is waited for: whether it is there, and whether it will never be."""


def settled(program: Program, now: Instant) -> bool:
    """Whether one has got where it shall be (see `Supervisor.settled`)."""
    return (
        program.state in (*states.FINAL, states.HEALTHY)
        or (program.state == states.RUNNING and program.plan.health is None and now - program.since >= MOMENT)
        or (program.state == states.BACKOFF and program.exit_code == 0)
    )


def why_failed(program: Program) -> str:
    """Why nobody can say that it does what it should; "" if all is well so far."""
    if program.state == states.UNHEALTHY:
        return f"is unhealthy: {program.ailment}"
    if program.given_up:
        return "was not started"
    if program.state == states.BACKOFF and program.exit_code and program.in_a_row > PATIENCE:
        return f"has {how_it_ended(program.exit_code)}, {program.in_a_row} times in a row"
    if program.state == states.ENDED and program.exit_code:
        return f"has {how_it_ended(program.exit_code)}"
    return ""


def how_it_ended(status: int) -> str:
    """In words."""
    return f"ended with {status}" if status >= 0 else f"been ended by signal {-status}"


def _what_became_of(program: Program) -> str:
    if program.state == states.UNHEALTHY:
        return f"is unhealthy: {program.ailment}"
    if program.state == states.SKIPPED or program.exit_code is None:
        return "was not started"
    return f"has {how_it_ended(program.exit_code)}"
