"""What a running kernel's control socket is asked about programs: ps, stats, logs, stop, exec.

A request comes on the schedule, in the thread of the host's loop.  Whatever touches a program is left to the conductor's thread, and
the answer goes back on the schedule.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from errno import EINVAL, ENOENT, ESHUTDOWN, ESRCH
from signal import SIGHUP, valid_signals
from typing import TYPE_CHECKING, Any, Final, final

from ...clients.control.live import Live, Outlet
from ...clients.control.programs import ProgramService
from ...clients.control.protocol import ControlError
from ...guests.linux.check import Missing
from ...guests.linux.family import pid_of
from ...hyper.time import SECOND, Instant
from ..asked import by_exec
from ..errors import ConfigError, ProgramError
from ..limits import limit_numbers, why_killed
from ..programs import launch, status_of
from ..roots import common_root
from ..spec import LimitsSpec, RunSpec
from . import states
from .machine import MOMENT, Program, settled, why_failed
from .output import Entry
from .usage import usage

if TYPE_CHECKING:
    from ...guests.linux.guest import Guest
    from .conductor import Conductor

KEPT: Final = ("prefix", "log")
"""Outputs that are remembered."""
MAX_PART: Final = 1 << 18
"""Bytes of a list of lines."""
JSON_GROWTH: Final = 6
"""Bytes that a character may take there."""
LINE_COSTS: Final = 256
"""Bytes that a line takes beside its text."""
LINE_SHOWN: Final = 4096
"""Characters of a line that go over the control socket."""


class Request(Live):
    """One request: `work` is called in the conductor's thread, off the schedule, and answers, or leaves the answer for later."""

    def __init__(self, service: "Service", parameters: dict[str, Any]) -> None:
        self.service = service
        self.conductor: Conductor = service.conductor
        self.parameters = parameters
        self.outlet: Outlet | None = None
        self.over = False

    def start(self, outlet: Outlet, now: Instant) -> None:
        self.outlet = outlet
        self.conductor.post(self._begin)

    def stop(self, now: Instant) -> None:
        if not self.over:
            self.over = True
            self.conductor.post(self.ended)

    def _begin(self) -> None:
        if self.over:
            self.abandoned()
            return
        try:
            self.work()
        except (OSError, ConfigError, Missing) as problem:
            failure = problem if isinstance(problem, OSError) else ControlError(EINVAL, str(problem))
            self.say(lambda outlet: outlet.fail(failure))
            self.finished()

    def work(self) -> None:
        """Do what was asked.  Raises OSError, ConfigError."""
        raise NotImplementedError

    def abandoned(self) -> None:
        """The client has gone before `work` was called."""

    def ended(self) -> None:
        """The client has gone, or cancelled.  In the conductor's thread."""

    def finished(self) -> None:
        """Nothing more is said.  In the conductor's thread."""
        self.over = True

    def answer(self, result: Any) -> None:
        """The result, off the schedule."""
        self.say(lambda outlet: outlet.finish(result))
        self.finished()

    def say(self, how: Callable[[Outlet], None]) -> None:
        """Tell the client something, off the schedule."""
        host = self.service.host
        host.enter()
        try:
            if self.outlet is not None and not self.over:
                how(self.outlet)
        finally:
            host.leave()

    def programs(self) -> list[Program]:
        """Those that the request is about.  Raises ENOENT."""
        own = self.service.programs()
        name = self.parameters.get("program", "")
        chosen = [one for one in own if name in ("", one.name, self.service.short(one))]
        if name and not chosen:
            names = ", ".join(self.service.short(one) for one in own) or "none"
            raise ControlError(ENOENT, f"there is no program {name!r}; there are {names}")
        return chosen


@final
class PsRequest(Request):
    """Rows of programs."""

    def work(self) -> None:
        self.answer([self.service.row(one) for one in self.programs()])


@final
class StatsRequest(Request):
    """What programs have cost, with the time of the sample."""

    def work(self) -> None:
        rows = []
        for one in self.programs():
            guest = self.conductor.guests.get(one.name)
            rows.append(self.service.cost(self.service.short(one), one.state, guest, one.plan.spec.limits))
        for number, running in self.service.execs.items():
            rows.append(self.service.cost(f"exec-{number}", "running", running.guest, running.limits))
        traffic = {"bytes_in": 0, "bytes_out": 0}
        host = self.service.host
        host.enter()
        try:
            for name, value in dict(self.service.kernel.core.counters).items():
                last = name.rpartition(".")[2]
                if name.startswith("interface.") and ".lo." not in name and last in traffic:
                    traffic[last] += value
        finally:
            host.leave()
        own = usage(os.getpid(), alone=True)
        kernel = {"cpu": own.cpu, "memory": own.memory, **traffic}
        self.answer({"time": time.monotonic(), "programs": rows, "kernel": kernel})


@final
class LogsRequest(Request):
    """Lines that were printed, and those that are."""

    def __init__(self, service: "Service", parameters: dict[str, Any]) -> None:
        super().__init__(service, parameters)
        self._names: set[str] = set()
        self._left_out = 0
        self._order = threading.Lock()
        """Held until what has been printed already is told: what comes meanwhile waits."""

    def work(self) -> None:
        chosen = self.programs()
        self._names = {one.name for one in chosen}
        output = self.conductor.output
        since, count = self.parameters["since"], self.parameters["lines"]
        with self._order:
            so_far = output.follow(self._told)
            if not self.parameters["follow"]:
                output.unfollow(self._told)
            lines = [self._line(*pair) for pair in so_far if pair[0] in self._names and pair[1].when >= since]
            if 0 <= count < len(lines):
                lines = lines[len(lines) - count :]
            for part in _parts(lines):
                self._tell(part)
        if not self.parameters["follow"]:
            self.answer({"lines": len(lines), "left_out": self._left_out, "elsewhere": self._elsewhere(chosen)})

    def _elsewhere(self, chosen: list[Program]) -> dict[str, str]:
        """Where the output goes that is not remembered."""
        found = {}
        for one in chosen:
            for key in ("stdout", "stderr"):
                text = "pipe" if one.plan.pipe and key == "stdout" else getattr(one.plan.spec, key)
                kept = text in KEPT or (self.conductor.detached and text in ("", "inherit"))
                if not kept and text != "stdout":
                    found[f"{self.service.short(one)} {key}"] = text or "inherit"
        return found

    def _line(self, name: str, entry: Entry) -> dict[str, Any]:
        short = name.rpartition("/")[2]
        return {"program": short, "time": entry.when, "stream": entry.stream, "text": entry.text[:LINE_SHOWN]}

    def _tell(self, part: list[dict[str, Any]]) -> None:
        """Lines, unless the client has too much to read already."""

        def give(outlet: Outlet) -> None:
            if outlet.room() > MAX_PART:
                outlet.part(part)
            else:
                self._left_out += len(part)

        self.say(give)

    def _told(self, name: str, entry: Entry) -> None:
        """In the thread that reads what programs print."""
        if name in self._names:
            with self._order:
                self._tell([self._line(name, entry)])

    def ended(self) -> None:
        self.conductor.output.unfollow(self._told)


def _parts(lines: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Lines in lists that fit into an answer."""
    part: list[dict[str, Any]] = []
    size = 0
    for line in lines:
        part.append(line)
        size += LINE_COSTS + JSON_GROWTH * len(line["text"])
        if size > MAX_PART - LINE_COSTS - JSON_GROWTH * LINE_SHOWN:
            yield part
            part, size = [], 0
    if part:
        yield part


@final
class StopRequest(Request):
    """The end of programs; it is answered when it has come."""

    def work(self) -> None:
        self._chosen = self.programs()
        everything = not self.parameters["program"]
        self.conductor.end_wanted |= everything
        if everything and len(self.conductor.kernels) == 1:
            self.conductor.stop_all()
        else:
            for one in self._chosen:
                self.conductor.stop(one.name)
        if self.parameters["kill"]:
            for one in self._chosen:
                self.conductor.end_now(one.name)
        self.conductor.listeners.append(self._look)

    def _look(self) -> None:
        if all(one.state in states.FINAL for one in self._chosen):
            last = self.conductor.machine.done()
            self.answer([{**self.service.row(one), "last": last} for one in self._chosen])

    def ended(self) -> None:
        self.finished()

    def finished(self) -> None:
        self.over = True
        if self._look in self.conductor.listeners:
            self.conductor.listeners.remove(self._look)


class StartRequest(Request):
    """The start of programs, or first their end; it is answered when they are started, or, with `wait`, are where they shall be."""

    again = False

    def work(self) -> None:
        conductor = self.conductor
        if conductor.machine.ending:
            raise ControlError(ESHUTDOWN, "this kernel is being stopped")
        self._chosen = self.programs()
        if not self.parameters["program"]:
            ended = [one for one in self._chosen if one.state in states.FINAL]
            self._chosen = [one for one in self._chosen if (one in ended) != self.again]
        for one in self._chosen:
            (conductor.restart if self.again else conductor.start_again)(one.name)
        conductor.listeners.append(self._look)

    def _look(self) -> None:
        now = time.monotonic_ns()
        problems = [(one, why_failed(one)) for one in self._chosen]
        failed = [f"{self.service.short(one)} {text}" for one, text in problems if text]
        under_way = (states.WAITING, states.STARTING, *states.ENDING)
        if self.parameters["wait"]:
            done = all(settled(one, now) for one in self._chosen)
            self.conductor.look_again = min(self.conductor.look_again, now + MOMENT)
        else:
            done = not any(one.state in under_way for one in self._chosen)
        if failed or done or self.conductor.machine.ending:
            self.answer({"programs": [self.service.row(one) for one in self._chosen], "failed": failed})

    def ended(self) -> None:
        self.finished()

    def finished(self) -> None:
        self.over = True
        if self._look in self.conductor.listeners:
            self.conductor.listeners.remove(self._look)


@final
class RestartRequest(StartRequest):
    """The same of programs that run."""

    again = True


@final
class ExecRequest(Request):
    """A further program; it ends with the client."""

    guest: "Guest | None" = None
    number = 0
    limits: LimitsSpec | None = None

    def work(self) -> None:
        given = self.parameters
        command = given["command"]
        fds = given["descriptors"]
        try:
            if not command or not all(isinstance(word, str) and "\0" not in word for word in command):
                raise ControlError(EINVAL, "the command is a list of words")
            kernel = self.service.kernel
            root, is_hosts = common_root(kernel.spec)
            like = self.conductor.expanded(self.programs()[0]) if given["program"] else RunSpec([], root=root)
            folder = given["folder"] if is_hosts else ""
            asked = by_exec(kernel, given, like, self.conductor.sees(like), folder)
            self.limits = asked.limits
            guest = launch(kernel, asked)
        except ProgramError as problem:
            status = status_of(problem)
            self.answer({"exit": status, "problem": f"{problem.filename}: {problem.strerror}"})
            return
        finally:
            for fd in fds:
                os.close(fd)
        self.guest = guest
        self.number = self.service.next_number()
        self.service.execs[self.number] = self
        self.conductor.watch(guest, self._gone)
        pid = pid_of(guest.program.pidfd)
        self.say(lambda outlet: outlet.part({"number": self.number, "pid": pid, "notes": guest.notes}))

    def abandoned(self) -> None:
        for fd in self.parameters["descriptors"]:
            os.close(fd)

    def _gone(self, status: int) -> None:
        self.service.execs.pop(self.number, None)
        killed = self.guest is not None and self.guest.killed_for_memory()
        problem = {"problem": f"{self.parameters['command'][0]} {why_killed(self.limits)}"} if killed else {}
        self.answer({"exit": status, **problem})

    def ended(self) -> None:
        """As a terminal's hang-up does, and as that can be ignored, for good."""
        guest = self.guest
        if guest is not None and guest.exit_code is None:
            guest.send(SIGHUP)
            guest.kill()


@final
class ExecSignalRequest(Request):
    """A signal for one of those."""

    def work(self) -> None:
        running = self.service.execs.get(self.parameters["number"])
        if running is None or running.guest is None:
            raise ControlError(ESRCH, "that program has ended")
        if self.parameters["signal"] not in valid_signals():
            raise ControlError(EINVAL, "there is no such signal")
        self.answer(running.guest.send(self.parameters["signal"]))


REQUESTS: Final[dict[str, Callable[["Service", dict[str, Any]], Request]]] = {
    "ps": PsRequest,
    "stats": StatsRequest,
    "logs": LogsRequest,
    "stop": StopRequest,
    "start": StartRequest,
    "restart": RestartRequest,
    "exec": ExecRequest,
    "exec_signal": ExecSignalRequest,
}


@final
class Service(ProgramService):
    """The programs of one kernel of a run."""

    def __init__(self, conductor: "Conductor", kernel: str) -> None:
        self.conductor = conductor
        self.name = kernel
        self.kernel = conductor.kernels[kernel]
        self.host = self.kernel.host
        self.execs: dict[int, ExecRequest] = {}
        self._numbers = 0

    def request(self, name: str, parameters: dict[str, Any]) -> Live:
        return REQUESTS[name](self, parameters)

    def next_number(self) -> int:
        """For a program of `exec`."""
        self._numbers += 1
        return self._numbers

    def programs(self) -> list[Program]:
        """Those of this kernel."""
        return [one for one in self.conductor.machine.programs.values() if one.plan.kernel == self.name]

    def short(self, program: Program) -> str:
        """A program's name on this kernel."""
        return program.name.removeprefix(f"{self.name}/") if self.name else program.name

    def row(self, program: Program) -> dict[str, Any]:
        """What `ps` shows."""
        guest = self.conductor.guests.get(program.name)
        alive = guest is not None and guest.exit_code is None and program.state in states.ALIVE
        return {
            "program": self.short(program),
            "state": states.STARTING if self.conductor.machine.held else program.state,
            "pid": pid_of(guest.program.pidfd) if guest is not None and alive else None,
            "up": (time.monotonic_ns() - program.since) / SECOND if alive else None,
            "restarts": program.restarts,
            "exit": None if alive else program.exit_code,
            "ailment": program.ailment,
            "ports": sorted(guest.ports()) if guest is not None and alive else [],
            "command": list(program.plan.spec.command),
        }

    def cost(self, name: str, state: str, guest: "Guest | None", limits: LimitsSpec | None) -> dict[str, Any]:
        """What `stats` shows; in a control group memory is what that counts, so that it can be held against the limit."""
        row: dict[str, Any] = {"program": name, "state": state, "limits": limit_numbers(limits)}
        if guest is None or guest.exit_code is not None:
            return row
        used = usage(guest.program.init)
        row |= {"processes": used.processes, "cpu": used.cpu, "memory": used.memory}
        return {**row, **(guest.group.use() if guest.group is not None else {}), **guest.numbers()}
