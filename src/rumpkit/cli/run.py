"""`rump run [FILE] [-- CMD...]`: boot a kernel and run programs on it until they end."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from ..compose.errors import ConfigError, ProgramError
from ..compose.expand import Places
from ..compose.interruption import Interruption
from ..compose.kernel import Kernel
from ..compose.roots import images
from ..compose.spec import InterfaceSpec, RunSpec, Spec
from ..compose.supervise.conductor import Conductor
from ..compose.supervise.output import Output
from ..compose.supervise.plan import Placed, plans
from ..hosts.posix.host import PosixHost
from . import exit as code
from . import gdb, trace
from .status import StatusLine
from .traffic import Traffic
from .verb import completed_as_files

if TYPE_CHECKING:
    from ..compose.capture import Capture
    from ..compose.supervise.service import Service
    from ..guests.linux.tracing.tracer import Viewer
    from .crash import CrashReports

DESCRIPTION = """\
Boot the kernel of a config and run its programs on it; without FILE, a default kernel with a "user" link.
CMD replaces the programs of the config.  Ctrl-C stops them; what does not end within its stop_timeout
(five seconds), or at a second one, is killed."""
EPILOG = """\
examples:
  rump run -- curl http://10.0.2.2:8000/           10.0.2.2 is this machine's loopback
  rump run cache.toml                              the programs of a config
  rump run --writable . -- redis-server            files are read-only but where you say
  rump run --root rootfs.img -- /bin/sh            an image, or a directory, as its root
  rump run --root images:debian                    a container image, and the program that it names
  rump run cache.toml -- redis-cli ping            another program on the same kernel config
  rump run --forward "8080 -> 80" -- nginx -g "daemon off;"
  rump run --capture web.pcapng web.toml           every frame, for tshark or Wireshark
  rump run --detach web.toml                       in the background; rump ps, exec, logs, stop, stats from then on
  rump run --trace web.toml                        the calls of the network, on stderr, as strace has them
  rump run --crash-report web.toml                 why a program has died
  rump run --gdb gdb.sock -- ./server              and: gdb -ex "target remote gdb.sock" ./server
  rump run -e file,connect -o calls.txt -- curl http://10.0.2.2:8000/

The exit status is the program's (128+N if signal N ended it).
"""
STATUS_INTERVAL = 1.0
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS)
OF_KERNEL = ("root", "writable", "visible")
"""Options that are keys of [kernel], too."""
SIGNALS = (*FROM_TERMINAL, signal.SIGTERM, signal.SIGHUP)


class Stop(KeyboardInterrupt):
    """Somebody wants the run to end before it has begun, or at once."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Stopper:
    """The handler of the signals that end a run: passes them to the kernel's `Interruption` where there is one."""

    def __init__(self) -> None:
        self.interruption: Interruption | None = None
        self._early = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """A signal has come.  A second one that finds the first still pending, so that something hangs, raises Stop."""
        interruption = self.interruption
        pending = self._early if interruption is None else interruption.pending
        if pending:
            raise Stop(number)
        if interruption is None:
            self._early = number
        else:
            interruption.set(number)

    @contextmanager
    def over(self, kernel: Kernel) -> Iterator[Interruption]:
        """Where there is a kernel.  Raises Stop if a signal has come before."""
        host = kernel.host
        assert isinstance(host, PosixHost)
        interruption = Interruption(host)
        self.interruption = interruption
        try:
            self.check()
            yield interruption
        finally:
            self.interruption = None
            self._early = interruption.pending
            interruption.close()

    def check(self) -> None:
        """Raises Stop if a signal has come while there was no kernel."""
        if self._early:
            raise Stop(self._early)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    completed_as_files(parser.add_argument("file", metavar="FILE", nargs="?", help="a config (TOML)"))
    parser.usage = "rump run [options] [FILE] [-- CMD ...]"
    completed_as_files(parser.add_argument("--capture", metavar="FILE.pcapng", help="record every frame"))
    parser.add_argument(
        "--forward",
        metavar="SPEC",
        action="append",
        default=[],
        help='forward a host port, as "127.0.0.1:8080 -> 80"; may be given several times',
    )
    root = parser.add_argument(
        "--root",
        metavar="PATH",
        default="",
        help="what programs have as their root: a directory or an image; a container image has a CMD of its own",
    )
    parser.add_argument(
        "--root-platform", metavar="OS/CPU", default="", help='which one of a container image, such as "linux/arm64"'
    )
    parser.add_argument(
        "--root-writable", action="store_true", help="let them write to it; to what can only be read, in memory"
    )
    writable = parser.add_argument(
        "-w",
        "--writable",
        metavar="PATH",
        action="append",
        default=[],
        help='a directory of the host that they may change, such as "."; may be given several times',
    )
    visible = parser.add_argument(
        "--visible",
        metavar="PATH",
        action="append",
        default=[],
        help="a path of the host that they see, too, though it lies in /tmp, /var/tmp or /run, or they have another root; may be "
        "given several times",
    )
    for option in (root, writable, visible):
        completed_as_files(option)
    parser.add_argument(
        "--no-control", action="store_true", help='no control socket: "rump net" does not find the kernel'
    )
    parser.add_argument(
        "-d",
        "--detach",
        action="store_true",
        help="return once all programs are started and healthy; print the kernels' names (see rump ps, logs, stop)",
    )
    parser.add_argument("--ready", metavar="FD", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--quiet", action="store_true", help="no status line, no messages of our own")
    parser.add_argument(
        "--crash-report",
        action="store_true",
        help="when a fault kills a program, write its last calls, the last frames, registers and the stack into a file below "
        "$XDG_STATE_HOME/rumpkit/crashes (by default ~/.local/state/rumpkit/crashes); not together with --gdb",
    )
    gdb.configure(parser)
    trace.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it; the exit status is the run's."""
    if arguments.detach:
        from .detach import detach

        return detach(arguments)
    kernels, places = _kernels(arguments)
    if not any(spec.run for spec in kernels.values()):
        if not arguments.file:
            raise ConfigError("no program to run", hint="rump run -- CMD, or rump run FILE")
        raise ConfigError("has no program to run", file=arguments.file, hint="add [[run]], or: rump run FILE -- CMD")
    if arguments.ready is not None:
        from .detach import refuse_uncontrolled

        refuse_uncontrolled(kernels, arguments.file or "")
    stopper = Stopper()
    previous = {number: signal.signal(number, stopper.handle) for number in SIGNALS}
    try:
        with ExitStack() as stack:
            if any(spec.mount or images(spec) for spec in kernels.values()):
                from .unpacking import shown

                stack.enter_context(shown(stopper.check, arguments.quiet))
            booted = {name: stack.enter_context(_boot(name, spec, arguments)) for name, spec in kernels.items()}
            with stopper.over(next(iter(booted.values()))) as interruption:
                return Run(booted, places, arguments, interruption).go()
    except Stop as stop:
        return code.SIGNALLED + stop.number
    finally:
        places.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _boot(name: str, spec: Spec, arguments: argparse.Namespace) -> Kernel:
    try:
        return Kernel(spec)
    except ConfigError as problem:
        raise _located(problem, arguments, name) from None


def _located(problem: ConfigError, arguments: argparse.Namespace, kernel: str = "") -> ConfigError:
    """The same with its place: on the command line, or in the config."""
    option = problem.key.removeprefix("kernel.")
    given = getattr(arguments, option) if option in OF_KERNEL else ()
    if any(os.path.abspath(one) in problem.message for one in ([given] if isinstance(given, str) else given) if one):
        return ConfigError(problem.message, key=f"--{option}", hint=problem.hint)
    if not arguments.file or problem.file:
        return problem
    from ..compose.load import located

    return located(problem, arguments.file, kernel)


def _kernels(arguments: argparse.Namespace) -> tuple[dict[str, Spec], Places]:
    if arguments.file:
        _refuse_program(arguments)
        from ..compose.load import load_kernels

        kernels = load_kernels(arguments.file)
        places = Places(os.path.dirname(arguments.file))
    else:
        kernels = {"": Spec(interface=[InterfaceSpec("user")])}
        if arguments.root:  # a container image says what its program is
            kernels[""].run = [RunSpec([])]
        places = Places("")
    if arguments.command:
        if len(kernels) > 1:
            raise ConfigError(
                f"has several kernels: {', '.join(kernels)}",
                file=arguments.file,
                hint="a command runs on a file's only one",
            )
        for spec in kernels.values():
            spec.run = [RunSpec(list(arguments.command))]
    for forward in arguments.forward:
        _add_forward(kernels, forward)
    for spec in kernels.values():
        _add_files(spec, arguments)
    return kernels, places


def _add_files(spec: Spec, arguments: argparse.Namespace) -> None:
    """What the options say of the programs' files."""
    kernel = spec.kernel
    if arguments.root:
        kernel.root = os.path.abspath(arguments.root)
        for run in spec.run:
            run.root = ""
    kernel.root_writable = arguments.root_writable or kernel.root_writable
    kernel.root_platform = arguments.root_platform or kernel.root_platform
    kernel.writable += map(os.path.abspath, arguments.writable)
    kernel.visible += map(os.path.abspath, arguments.visible)


def _refuse_program(arguments: argparse.Namespace) -> None:
    """`rump run curl` without the dashes."""
    import shutil

    file = arguments.file
    if shutil.which(file) and (os.access(file, os.X_OK) or not os.path.exists(file)):
        raise ConfigError("is a program, not a config", file=file, hint=f"write: rump run -- {file}")


def _add_forward(kernels: dict[str, Spec], forward: str) -> None:
    from ..compose.values import parse_forward

    try:
        parse_forward(forward)
    except ConfigError as problem:
        raise ConfigError(problem.message, key="--forward", hint=problem.hint) from None
    for spec in kernels.values():
        for interface in spec.interface:
            if interface.link == "user":
                interface.forward.append(forward)
                return
    raise ConfigError('needs an interface with link = "user"', key="--forward")


def _in_foreground() -> bool:
    from .terminal import in_foreground

    return in_foreground()


def _is_a_key() -> bool:
    """Whether Ctrl-C is now."""
    from .terminal import in_foreground, reads_keys

    return reads_keys() and in_foreground()


class Run:
    """The run of a config's programs on its booted kernels."""

    def __init__(
        self, kernels: dict[str, Kernel], places: Places, arguments: argparse.Namespace, interruption: Interruption
    ) -> None:
        self.kernels = kernels
        self.arguments = arguments
        self.interruption = interruption
        self.detached = arguments.ready is not None
        self.quiet = arguments.quiet or self.detached
        made = plans([Placed(name, run) for name, kernel in kernels.items() for run in kernel.spec.run])
        self.output = Output([plan.name for plan in made], self.quiet)
        self.conductor = Conductor(kernels, made, places, self.output, interruption, self.detached)
        self.trace: trace.TraceLog | None = None

    def go(self) -> int:
        """From the start to the end; the exit status."""
        try:
            with ExitStack() as stack:
                stack.callback(self._advise)
                stack.callback(self.output.close)
                self._refuse_two()
                if self.arguments.gdb:
                    self.conductor.tracer = self._debugging().tracer
                else:
                    self._look_on(stack)
                stack.callback(self.conductor.close)
                return self._go()
        except ConfigError as problem:
            raise _located(problem, self.arguments) from None
        except ProgramError as problem:
            if self.arguments.file and not self.arguments.command and problem.key:
                place = _located(ConfigError("", key=problem.key), self.arguments)
                problem.place = f"{place.file}:{place.line}: {place.key}: "
            raise

    def _go(self) -> int:
        arguments, quiet = self.arguments, self.quiet
        for name, kernel in self.kernels.items():
            if kernel.spec.kernel.control and not arguments.no_control:
                self._listen(name, kernel)
        captures = self._captures()
        if not quiet:
            for kernel in self.kernels.values():
                for forward in kernel.forwards():
                    print(f"rump: forwarding {forward}", file=sys.stderr)
        status = StatusLine()
        status.enabled = status.enabled and not quiet and not (self.trace is not None and self.trace.on_terminal)
        with status.over():
            number = self._programs(status)
        self.conductor.settle()
        for capture in captures:
            capture.close()
            _report_capture(capture)
        host = next(iter(self.kernels.values())).host
        if not quiet:
            self._tell_faults()
            for name, (command, call, number), count in self.conductor.refusals():
                often = "" if count == 1 else f", {count} times"
                print(f"rump: {name}: {command} may not call {call}{often} ({os.strerror(number)})", file=sys.stderr)
        drops = host.console_drops if isinstance(host, PosixHost) else 0
        if drops and not quiet:
            print(f"rump: {drops} bytes of trace and console output were left out", file=sys.stderr)
        return (
            self.conductor.machine.status() if self.conductor.any_started() or not number else code.SIGNALLED + number
        )

    def _tell_faults(self) -> None:
        """Of programs that a fault has ended nobody else says anything."""
        if self.arguments.crash_report:  # has said more
            return
        for name, program in self.conductor.machine.programs.items():
            if -(program.exit_code or 0) in FAULTS:
                fault = signal.Signals(-(program.exit_code or 0)).name
                print(f"rump: {name} was killed by {fault}; rump run --crash-report says where", file=sys.stderr)

    def _advise(self) -> None:
        """Once all is read that programs have said: how those are helped that failed as they could not write."""
        programs, traced = self.conductor.machine.programs, set() if self.trace is None else self.trace.read_only
        for name, guest in self.conductor.guests.items():
            if not self.quiet and programs[name].exit_code:
                from .read_only import advice, says_so

                log = self.output.logs.get(name)
                if name in traced or (log is not None and says_so(log)):
                    print(f"rump: {name}: {advice(guest.plan)}", file=sys.stderr)

    def _refuse_two(self) -> None:
        """Raise ConfigError where gdb is not alone in looking at programs."""
        others = ["--crash-report"] * self.arguments.crash_report + ["--trace"] * trace.wanted(self.arguments)
        if self.arguments.gdb and others:
            raise ConfigError(f"--gdb and {others[0]} can't be together: only one can look at a program")

    def _look_on(self, stack: ExitStack) -> None:
        """Have one tracer for all that shall be known of programs."""
        viewers: list[Callable[[str], Viewer]] = []
        if trace.wanted(self.arguments):
            self.trace = trace.TraceLog(self.arguments)
            stack.callback(self.trace.close)
            viewers.append(self.trace.viewer)
        if self.arguments.crash_report:
            reports = self._crash_reports()
            stack.callback(reports.close)
            viewers.append(reports.viewer)
        if viewers:
            from ..guests.linux.tracing.together import Together
            from ..guests.linux.tracing.tracer import Tracer

            self.conductor.tracer = lambda program: Tracer(Together([viewer(program) for viewer in viewers]))

    def _crash_reports(self) -> "CrashReports":
        from .crash import CrashReports

        programs = self.conductor.machine.programs
        return CrashReports(
            self.kernels, lambda name: programs[name].plan.kernel, self.conductor.refusals, self.arguments.quiet
        )

    def _debugging(self) -> gdb.Debugging:
        names = list(self.conductor.machine.programs)
        return gdb.Debugging(self.arguments.gdb, names, self.arguments.quiet)

    def _programs(self, status: StatusLine) -> int:
        """Start the programs and wait for their end; the signal that has ended the run, or 0."""
        conductor = self.conductor
        conductor.begin()
        if not self.quiet:
            for path, reason in conductor.unseen().items():
                print(f"rump: programs don't see {path}: {reason}", file=sys.stderr)
        if self.detached:
            from .detach import tell_when_ready

            tell_when_ready(conductor, self.kernels, self.arguments.ready)
        number = self._watch(status)
        if number:
            # A terminal's Ctrl-C has reached the programs, too; any other signal is passed on.  Another one kills.
            silent = number in FROM_TERMINAL and _in_foreground()
            conductor.stop_all(silent, 0 if number == signal.SIGTERM else number)
            if not conductor.wait():
                conductor.kill_all()
                self.interruption.take()
                conductor.wait()
        return number

    def _watch(self, status: StatusLine) -> int:
        """Wait until the run is over, or until a signal is to end it; its number, or 0."""
        traffic = Traffic(*self.kernels.values())
        while True:
            number = self.interruption.take()
            # As in a shell: to a program that reads keys Ctrl-C is a key like others.
            if number and not (number == signal.SIGINT and _is_a_key()):
                return number
            if self.conductor.wait(STATUS_INTERVAL if status.enabled else None):
                return 0
            if not self.conductor.interrupted():
                status.show(traffic.line(time.monotonic()))

    def _listen(self, name: str, kernel: Kernel) -> None:
        """Let `rump net` and others find the kernel.  Where that can't be, the programs run all the same."""

        def service() -> "Service":
            from ..compose.supervise.service import Service

            return Service(self.conductor, name)

        try:
            kernel.listen(service)
        except OSError as problem:
            if self.detached:  # nobody could look at it, or end it
                raise
            if not self.quiet:
                place = f"{problem.filename}: " if problem.filename else ""
                print(f'rump: "rump net" will not find this kernel: {place}{problem.strerror}', file=sys.stderr)

    def _captures(self) -> "list[Capture]":
        path = self.arguments.capture
        if not path:
            return []
        return [
            kernel.capture(path if len(self.kernels) == 1 else _beside(path, name))
            for name, kernel in self.kernels.items()
        ]


def _beside(path: str, kernel: str) -> str:
    """The capture file of one of several kernels: web.pcapng becomes web-NAME.pcapng."""
    stem, extension = os.path.splitext(path)
    return f"{stem}-{kernel}{extension}"


def _report_capture(capture: "Capture") -> None:
    if capture.error:
        print(f"rump: {capture.path}: {os.strerror(capture.error)}: the capture is incomplete", file=sys.stderr)
    elif capture.skipped:
        print(f"rump: {capture.path}: {capture.skipped} frames were left out", file=sys.stderr)
