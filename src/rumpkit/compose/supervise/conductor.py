"""Carries out what the supervisor's machine decides, with real guests, and tells it what has become of them.

One thread, that of `rump run`, does all of it: starting a program takes some 40 ms and may not be done on the schedule.  Other threads (the
host's loop with a control socket's wishes, health checks) leave word in `_words` and wake it.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, cast, final

from ...guests.linux.guest import Guest
from ...guests.linux.refusals import Refusal
from ...hosts.posix.host import PosixHost
from ...hyper.time import FOREVER, SECOND, Instant
from ...kern.wait import WaitQueue
from ..asked import by_run
from ..errors import ConfigError, ProgramError
from ..expand import Places, expand_run
from ..limits import why_killed
from ..locate import dotted, path_of, placed
from ..oci.program import stop_signal_of
from ..programs import ONLINE_TIMEOUT, address_clients, launch, status_of
from ..roots import Sees, sees
from ..spec import RunSpec
from ..values import parse_size
from . import states
from .checker import Checker
from .machine import MOMENT, Owner, Program, Supervisor
from .output import Output
from .plan import RunPlan, parse_signal

if TYPE_CHECKING:
    from ...guests.linux.tracing.tracer import Tracing
    from ...net.dhcp.service import Dhcp
    from ..interruption import Interruption
    from ..kernel import Kernel

SETTLE_TIMEOUT: Final = 5.0
"""Seconds that what programs have sent has to reach their peers after the programs' end."""
SETTLE_INTERVAL: Final = SECOND // 10
APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC

NO_NETWORK: Final = 'asked for a network, which its kernel has not (add [[interface]] with link = "user" to the config)'
"""What is said where a program got EAFNOSUPPORT."""

Word = Callable[[], None]
"""What another thread asks for.  Called in the conductor's thread, off the schedule."""


@final
class Conductor(Owner):
    """The programs of a run on its kernels."""

    def __init__(
        self,
        kernels: Mapping[str, "Kernel"],
        made: Sequence[RunPlan],
        places: Places,
        output: Output,
        interruption: "Interruption | None" = None,
        detached: bool = False,
    ) -> None:
        """Kernels by their names in the file (one is called "").  Every wait ends early once `interruption` is pending.  `detached`:
        nobody sees what is printed."""
        self.kernels = dict(kernels)
        self.output = output
        self.machine = Supervisor(self, made)
        self.guests: dict[str, Guest] = {}
        """The present or last guest of each program that was ever started."""
        self._host = cast(PosixHost, next(iter(self.kernels.values())).host)
        self._places = places
        self._interruption = interruption
        self.detached = detached
        self._queue = WaitQueue()
        self._words: deque[Word] = deque()
        self._to_start: deque[str] = deque()
        self._running: set[str] = set()
        self._watched: dict[Guest, Callable[[int], None]] = {}
        """Guests that are no programs of the config, and who wants to hear of their ends."""
        self._ended: list[tuple[Guest, float]] = []
        """Guests whose last bytes may be under way still, and when their time is over."""
        self._pipes: dict[str, tuple[int, int]] = {}
        """Ends of pipes between programs, by who writes; -1: closed."""
        self._checker = Checker(self, places)
        self.tracer: Callable[[str], Tracing | None] | None = None
        """Gives what is to look at a program of a name, for every start of it."""
        self.listeners: list[Word] = []
        """Called after every round, in which programs may have changed."""
        self.end_wanted = False
        """Somebody has asked for the end of a kernel."""
        self.look_again: Instant = FOREVER
        """When there is to be another round at the latest, for a listener's sake."""
        for plan in made:
            output.log(plan.name, parse_size(plan.spec.log_limit))

    # For those who run it ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start what can be started, once the kernels have their addresses; words are heard from the start.  Raises what keeps a
        program from its first start."""
        self._wait_online()
        self._work()

    def _wait_online(self) -> None:
        machine = self.machine
        machine.held = True
        end = monotonic_ns() + int(ONLINE_TIMEOUT * SECOND)
        clients = [client for kernel in self.kernels.values() for client in address_clients(kernel)]
        while clients and not self.interrupted() and not machine.done() and monotonic_ns() < end:
            if self._sleep(end, clients):
                break
            self._work()
        machine.held = False

    def wait(self, timeout: float | None = None) -> bool:
        """Work until the run is done; False if `timeout` seconds or an interruption come first.  Raises as `begin`."""
        end = FOREVER if timeout is None else monotonic_ns() + int(timeout * SECOND)
        while not self.machine.done() and not self.interrupted():
            if monotonic_ns() >= end:
                return False
            self._sleep(end)
            self._work()
        return self.machine.done()

    def wait_settled(self) -> None:
        """Work until all programs are where they shall be (`Supervisor.settled`), one has failed, all have ended, or an
        interruption comes."""
        machine = self.machine
        while not (machine.settled(monotonic_ns()) or machine.failed() or machine.done() or self.interrupted()):
            self._sleep(monotonic_ns() + MOMENT)
            self._work()

    def interrupted(self) -> bool:
        """Whether an interruption is pending."""
        return self._interruption is not None and self._interruption.pending != 0

    def stop_all(self, silent: bool = False, number: int = 0) -> None:
        """Ask everything to end (see `Supervisor.stop_all`)."""
        self.machine.stop_all(monotonic_ns(), silent, number)

    def stop(self, name: str) -> None:
        """End one program for good."""
        self.machine.stop(name, monotonic_ns())

    def end_now(self, name: str) -> None:
        """The same at once."""
        self.machine.end_now(name, monotonic_ns())

    def kill_all(self) -> None:
        """End everything at once."""
        self.machine.kill_all(monotonic_ns())
        self._work()

    def start_again(self, name: str) -> None:
        """Start one program that has ended, or is about to."""
        self.machine.start_again(name, monotonic_ns())

    def restart(self, name: str) -> None:
        """End one program, and start it again."""
        self.machine.restart(name, monotonic_ns())

    def any_started(self) -> bool:
        """Whether any program has been."""
        return bool(self.guests)

    def unseen(self) -> dict[str, str]:
        """The mounts that programs don't see, and why."""
        return {path: reason for guest in self.guests.values() for path, reason in guest.unseen.items()}

    def refusals(self) -> list[tuple[str, Refusal, int]]:
        """The system calls that programs tried and may not make: whose program's, which, how often."""
        return [(name, one, count) for name, guest in self.guests.items() for one, count in guest.refusals.items()]

    def settle(self) -> None:
        """After the end: let what was sent reach its peers, for a while."""
        while self._ended and not self.interrupted():
            self._sleep(monotonic_ns() + SETTLE_INTERVAL)
            self._sweep()

    def close(self) -> None:
        """End whatever is left.  A second call does nothing."""
        self._checker.close()
        for guest in {*self.guests.values(), *self._watched, *(guest for guest, _ in self._ended)}:
            guest.close()
        for name in list(self._pipes):
            self._close_pipe(name, 0)
            self._close_pipe(name, 1)

    # For other threads ---------------------------------------------------------------------------------------

    def leave_word(self, word: Word) -> None:
        """Have `word` called in the conductor's thread.  In any thread, off the schedule."""
        self._host.enter()
        try:
            self.post(word)
        finally:
            self._host.leave()

    def post(self, word: Word) -> None:
        """The same, on the schedule."""
        self._words.append(word)
        self._queue.wake_all()

    # In its own thread ---------------------------------------------------------------------------------------

    def watch(self, guest: Guest, told: Callable[[int], None]) -> None:
        """Look after a guest that is no program of the config: `told` hears of its end, its exit code, and it is closed."""
        self._watched[guest] = told

    def _sleep(self, end: Instant, clients: "Sequence[Dhcp]" = ()) -> bool:
        """Until something has happened or is due; of `clients` whether all have addresses."""
        host = self._host
        deadline = min(end, self.machine.next_deadline(), self.look_again)
        self.look_again = FOREVER
        if self._ended:
            deadline = min(deadline, monotonic_ns() + SETTLE_INTERVAL)
        host.enter()
        try:
            if clients and all(client.bound() for client in clients):
                return True
            if self._words or self._to_start or self.interrupted() or self._news():
                return False
            parker = host.parker()
            queues = [self._queue, *(client.changes for client in clients), *(guest.changes for guest in self._alive())]
            if self._interruption is not None:
                queues.append(self._interruption.queue)
            for queue in queues:
                queue.add(parker)
            try:
                parker.park(deadline)
            finally:
                for queue in queues:
                    queue.remove(parker)
            return False
        finally:
            host.leave()

    def _alive(self) -> list[Guest]:
        return [*(self.guests[name] for name in self._running), *self._watched, *self._checker.guests()]

    def _news(self) -> bool:
        return any(guest.exit_code is not None for guest in self._alive())

    def _work(self) -> None:
        """Do all there is to do."""
        while True:
            while self._words:
                self._words.popleft()()
            for name in [name for name in self._running if self.guests[name].exit_code is not None]:
                self._running.discard(name)
                self._explain(name)
                self.retire(self.guests[name])
                self.machine.exited(name, self.guests[name].exit_code or 0, monotonic_ns())
            for guest in [guest for guest in self._watched if guest.exit_code is not None]:
                self.retire(guest)
                self._watched.pop(guest)(guest.exit_code or 0)
            self._checker.look()
            self.machine.advance(monotonic_ns())
            if not self._to_start or self.interrupted():
                break
            self._start(self._to_start.popleft())
        self._sweep()
        for listener in list(self.listeners):
            listener()

    def _explain(self, name: str) -> None:
        """Say what a program that has ended could not know of the kernel around it."""
        guest, program = self.guests[name], self.machine.programs[name]
        if guest.killed_for_memory():
            self.say(name, why_killed(program.plan.spec.limits))
        if guest.lacked_network and not program.restarts:
            self.say(name, NO_NETWORK)

    def retire(self, guest: Guest) -> None:
        """A guest has ended, or is about to: it is closed once its last bytes have arrived."""
        self._ended.append((guest, time.monotonic() + SETTLE_TIMEOUT))

    def _sweep(self) -> None:
        """Let go of guests whose bytes have arrived, or had their time."""
        left = []
        for guest, end in self._ended:
            if guest.settle(0) or time.monotonic() > end:
                guest.close()
            else:
                left.append((guest, end))
        self._ended = left

    # As the machine's owner ----------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Noted; it is done one by one, so that an interruption comes in between."""
        self._to_start.append(name)

    def _start(self, name: str) -> None:
        program = self.machine.programs[name]
        if program.state == states.ABORTING:
            self.machine.refused(name, 0, monotonic_ns())
            return
        try:
            self.guests[name] = self._launch(program)
        except (OSError, ConfigError) as problem:
            if not program.ever_started and not program.by_hand:
                raise
            self.output.say(name, f"cannot be started again: {_told(problem)}", show=not self.detached)
            self.machine.refused(name, status_of(problem), monotonic_ns())
            return
        self._running.add(name)
        self.machine.started(name, monotonic_ns())

    def _launch(self, program: Program) -> Guest:
        plan = program.plan
        held: list[int] = []
        try:
            spec = self.expanded(program)
            streams = self._streams(plan, spec, held)
            kernel = self.kernels[plan.kernel]
            root = spec.root or kernel.spec.kernel.root
            asked = by_run(kernel, spec, self.sees(spec), streams, plan.name.replace("/", "."))
            if not spec.stop_signal and (said := stop_signal_of(kernel, root)):
                try:
                    program.stop_signal = parse_signal(said)
                except ConfigError:
                    text = f"the image says {said!r}, which is no signal"
                    raise ConfigError(text, key="stop_signal", hint="say another one") from None
            tracer = None if self.tracer is None else self.tracer(plan.name)
            guest = launch(kernel, asked._replace(tracer=tracer))
            if not program.ever_started:
                for note in guest.notes:
                    self.say(program.name, note)
            return guest
        except ProgramError as problem:
            problem.key = self._key(plan, "command")
            raise
        except OSError as problem:
            if not spec.cwd or problem.filename != spec.cwd:
                raise
            raise ConfigError(f"{spec.cwd!r}: {problem.strerror}", key=self._key(plan, "cwd")) from None
        except ConfigError as problem:
            raise ConfigError(
                problem.message,
                key=self._key(plan, problem.key),
                hint=problem.hint,
                file=problem.file,
                line=problem.line,
            ) from None
        finally:
            for fd in held:
                os.close(fd)

    def sees(self, run: RunSpec) -> Sees:
        """What a program sees of files; its variables are expanded, ${tmp} too."""
        return sees(run, str(self._places.here), self._places.tmp)

    def expanded(self, program: Program) -> RunSpec:
        """Its part of the config, with places and files in it.  Raises ConfigError."""
        return expand_run(program.plan.spec, self._places)

    def _key(self, plan: RunPlan, key: str) -> str:
        """Where a program's `key` stands in the file."""
        runs = self.kernels[plan.kernel].spec.run
        index = next((index for index, one in enumerate(runs) if one is plan.spec), 0)
        own = key if key.startswith(("mount", "kernel")) else f"run[{index}].{key}" if key else f"run[{index}]"
        return dotted(placed(path_of(own), plan.kernel))

    def signal(self, name: str, number: int) -> None:
        """Send it."""
        self.guests[name].send(number)

    def kill(self, name: str) -> None:
        """Its end is seen later."""
        self.guests[name].kill()

    def finished(self, name: str) -> None:
        """Nobody will write to its pipes, or read from them, any more."""
        for plan in (one.plan for one in self.machine.programs.values()):
            if plan.pipe and name in (plan.name, plan.pipe):
                self._pipe(plan.name)  # the other one, if it is still to start, finds it with this end closed
                self._close_pipe(plan.name, 1 if plan.name == name else 0)

    def say(self, name: str, text: str) -> None:
        """On stderr, and in its log."""
        self.output.say(name, text, show=not self.detached)

    # Input and output ----------------------------------------------------------------------------------------

    def _streams(self, plan: RunPlan, spec: RunSpec, held: list[int]) -> tuple[int | None, int | None, int | None]:
        """Its standard descriptors; those in `held` are to be closed once it has them."""
        source = self._input(plan, spec, held)
        if plan.pipe:
            target: int | None = self._end_of_pipe(plan.name, 1)
        else:
            target = self._outlet(plan, spec.stdout, "stdout", 1, held)
        if spec.stderr == "stdout":
            return source, target, 1 if target is None else target
        return source, target, self._outlet(plan, spec.stderr, "stderr", 2, held)

    def _input(self, plan: RunPlan, spec: RunSpec, held: list[int]) -> int | None:
        writer = next((one for one in self.machine.programs.values() if one.plan.pipe == plan.name), None)
        if writer is not None:
            return self._end_of_pipe(writer.name, 0)
        if spec.stdin in ("", "inherit") and not self.detached:
            return None
        path = os.devnull if spec.stdin in ("", "inherit", "null") else spec.stdin
        return self._open(path, os.O_RDONLY | os.O_CLOEXEC, "stdin", held)

    def _outlet(self, plan: RunPlan, text: str, key: str, ours: int, held: list[int]) -> int | None:
        if text in ("", "inherit") and not self.detached:
            return None
        if text in ("", "inherit", "prefix", "log"):
            shown = ours if text == "prefix" and not self.detached else -1
            held.append(self.output.channel(plan.name, "out" if ours == 1 else "err", shown))
            return held[-1]
        if text == "null":
            return self._open(os.devnull, os.O_WRONLY | os.O_CLOEXEC, key, held)
        return self._open(text, APPEND, key, held)

    def _open(self, path: str, flags: int, key: str, held: list[int]) -> int:
        try:
            held.append(os.open(path, flags, 0o666))
        except OSError as problem:
            raise ConfigError(f"{path!r} cannot be opened: {problem.strerror}", key=key) from None
        return held[-1]

    def _pipe(self, writer: str) -> tuple[int, int]:
        if writer not in self._pipes:
            self._pipes[writer] = os.pipe2(os.O_CLOEXEC)
        return self._pipes[writer]

    def _end_of_pipe(self, writer: str, end: int) -> int:
        """For a start.  Who has ended for good, and is started again all the same, has a new one: of the same pipe, if the other
        program has not ended, too."""
        ends = list(self._pipe(writer))
        if ends[end] < 0:
            if ends[1 - end] < 0:
                del self._pipes[writer]
                return self._pipe(writer)[end]
            ends[end] = os.open(f"/proc/self/fd/{ends[1 - end]}", (os.O_RDONLY, os.O_WRONLY)[end] | os.O_CLOEXEC)
            self._pipes[writer] = (ends[0], ends[1])
        return ends[end]

    def _close_pipe(self, writer: str, end: int) -> None:
        ends = self._pipes.get(writer)
        if ends is not None and ends[end] >= 0:
            os.close(ends[end])
            self._pipes[writer] = (-1, ends[1]) if end == 0 else (ends[0], -1)

    def probe(self, name: str) -> None:
        """Begin a check."""
        self._checker.begin(name)

    def drop_probe(self, name: str) -> None:
        """End it."""
        self._checker.drop(name)


def _told(problem: OSError | ConfigError) -> str:
    if isinstance(problem, OSError) and problem.filename:
        return f"{problem.filename}: {problem.strerror}"
    return str(problem)
