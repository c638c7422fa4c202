"""`rump run [FILE] [-- CMD...]`: boot a kernel and run programs on it until they end."""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..compose.capture import Capture
from ..compose.errors import ConfigError
from ..compose.expand import Places
from ..compose.interruption import Interruption
from ..compose.kernel import Kernel
from ..compose.programs import Programs
from ..compose.spec import InterfaceSpec, RunSpec, Spec
from ..hosts.posix.host import PosixHost
from . import exit as code
from .status import StatusLine
from .terminal import in_foreground, reads_keys
from .traffic import Traffic

DESCRIPTION = """\
Boot the kernel of a config and run its programs on it; without FILE, a default kernel with a "user" link.
CMD replaces the programs of the config.  Ctrl-C stops them; what does not end within five seconds,
or at a second one, is killed."""
EPILOG = """\
examples:
  rump run -- curl http://10.0.2.2:8000/           10.0.2.2 is this machine's loopback
  rump run cache.toml                              the programs of a config
  rump run cache.toml -- redis-cli ping            another program on the same kernel config
  rump run --forward "8080 -> 80" -- nginx -g "daemon off;"
  rump run --capture web.pcapng web.toml           every frame, for tshark or Wireshark
  rump run --trace web.toml                        every socket call, on stderr

The exit status is the program's (128+N if signal N ended it).
"""
STATUS_INTERVAL = 1.0
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
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
    parser.add_argument("file", metavar="FILE", nargs="?", help="a config (TOML)")
    parser.usage = "rump run [options] [FILE] [-- CMD ...]"
    parser.add_argument("--capture", metavar="FILE.pcapng", help="record every frame")
    parser.add_argument("--trace", action="store_true", help="show every system call that the kernel serves, on stderr")
    parser.add_argument(
        "--forward",
        metavar="SPEC",
        action="append",
        default=[],
        help='forward a host port, as "127.0.0.1:8080 -> 80"; may be given several times',
    )
    parser.add_argument(
        "--no-control", action="store_true", help='no control socket: "rump net" does not find the kernel'
    )
    parser.add_argument("--quiet", action="store_true", help="no status line, no messages of our own")


def run(arguments: argparse.Namespace) -> int:
    """Do it; the exit status is the run's."""
    spec, places = _spec(arguments)
    if not spec.run:
        raise ConfigError(
            "has no program to run", file=arguments.file or "", hint="add [[run]], or: rump run FILE -- CMD"
        )
    stopper = Stopper()
    previous = {number: signal.signal(number, stopper.handle) for number in SIGNALS}
    try:
        with _boot(spec, arguments) as kernel, stopper.over(kernel) as interruption:
            return _run_on(kernel, spec, places, arguments, interruption)
    except Stop as stop:
        return code.SIGNALLED + stop.number
    finally:
        places.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _boot(spec: Spec, arguments: argparse.Namespace) -> Kernel:
    try:
        return Kernel(spec)
    except ConfigError as problem:
        if not arguments.file or problem.file:
            raise
        from ..compose.load import located

        raise located(problem, arguments.file) from None


def _spec(arguments: argparse.Namespace) -> tuple[Spec, Places]:
    if arguments.file:
        _refuse_program(arguments)
        from ..compose.load import load_checked

        spec = load_checked(arguments.file)
        places = Places(Path(arguments.file).parent)
    else:
        spec = Spec(interface=[InterfaceSpec("user")])
        places = Places(Path())
    if arguments.command:
        spec.run = [RunSpec(list(arguments.command))]
    for forward in arguments.forward:
        _add_forward(spec, forward)
    return spec, places


def _refuse_program(arguments: argparse.Namespace) -> None:
    """`rump run curl` without the dashes."""
    file = arguments.file
    if shutil.which(file) and (os.access(file, os.X_OK) or not os.path.exists(file)):
        raise ConfigError("is a program, not a config", file=file, hint=f"write: rump run -- {file}")


def _add_forward(spec: Spec, forward: str) -> None:
    from ..compose.values import parse_forward

    try:
        parse_forward(forward)
    except ConfigError as problem:
        raise ConfigError(problem.message, key="--forward", hint=problem.hint) from None
    for interface in spec.interface:
        if interface.link == "user":
            interface.forward.append(forward)
            return
    raise ConfigError('needs an interface with link = "user"', key="--forward")


def _run_on(
    kernel: Kernel, spec: Spec, places: Places, arguments: argparse.Namespace, interruption: Interruption
) -> int:
    quiet = arguments.quiet
    if arguments.trace:
        from .trace import attach

        attach(kernel)
    if spec.kernel.control and not arguments.no_control:
        _listen(kernel, quiet)
    capture = kernel.capture(arguments.capture) if arguments.capture else None
    if not quiet:
        for forward in kernel.forwards():
            print(f"rump: forwarding {forward}", file=sys.stderr)
    programs = Programs(kernel, interruption)
    status = StatusLine()
    status.enabled = status.enabled and not quiet
    with status.over():
        programs.start_all(spec.run, places)
        if not quiet:
            for path, reason in programs.unseen().items():
                print(f"rump: programs don't see {path}: {reason}", file=sys.stderr)
        number = _watch(kernel, programs, status, interruption)
    if number:
        # A terminal's Ctrl-C has reached the programs, too; any other signal is passed on.  Another one kills.
        programs.stop(number, tell=number not in FROM_TERMINAL or not in_foreground())
    programs.stop()
    programs.settle()
    if capture is not None:
        capture.close()
        _report_capture(capture)
    drops = kernel.host.console_drops if isinstance(kernel.host, PosixHost) else 0
    if drops and not quiet:
        print(f"rump: {drops} bytes of trace and console output were left out", file=sys.stderr)
    return programs.status() if programs.started() else code.SIGNALLED + number


def _listen(kernel: Kernel, quiet: bool) -> None:
    """Let `rump net` find the kernel.  Where that can't be, the programs run all the same."""
    try:
        kernel.listen()
    except OSError as problem:
        if not quiet:
            place = f"{problem.filename}: " if problem.filename else ""
            print(f'rump: "rump net" will not find this kernel: {place}{problem.strerror}', file=sys.stderr)


def _watch(kernel: Kernel, programs: Programs, status: StatusLine, interruption: Interruption) -> int:
    """Wait until the run is over, or until a signal is to end it; its number, or 0."""
    traffic = Traffic(kernel)
    while True:
        number = interruption.take()
        # As in a shell: to a program that reads keys Ctrl-C is a key like others.
        if number and not (number == signal.SIGINT and reads_keys() and in_foreground()):
            return number
        if programs.wait(STATUS_INTERVAL if status.enabled else None):
            return 0
        if not programs.interrupted():
            status.show(traffic.line(time.monotonic()))


def _report_capture(capture: Capture) -> None:
    if capture.error:
        print(f"rump: {capture.path}: {os.strerror(capture.error)}: the capture is incomplete", file=sys.stderr)
    elif capture.skipped:
        print(f"rump: {capture.path}: {capture.skipped} frames were left out", file=sys.stderr)
