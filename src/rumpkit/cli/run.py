"""`rump run [FILE] [-- CMD...]`: boot a kernel and run programs on it until they end."""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ..compose.expand import Places
from ..compose.kernel import Kernel
from ..compose.programs import Programs
from ..compose.spec import InterfaceSpec, RunSpec, Spec
from . import exit as code
from .status import StatusLine
from .traffic import Traffic

DESCRIPTION = """\
Boot the kernel of a config and run its programs on it; without FILE, a default kernel with a "user" link.
CMD replaces the programs of the config.  Ctrl-C stops them; a second one kills them."""
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
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(KeyboardInterrupt):
    """Somebody wants the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


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
    parser.add_argument("--quiet", action="store_true", help="no status line, no messages of our own")


def run(arguments: argparse.Namespace) -> int:
    """Do it; the exit status is the run's."""
    spec, places = _spec(arguments)
    if not spec.run:
        from ..compose.errors import ConfigError

        raise ConfigError(
            "has no program to run", file=arguments.file or "", hint="add [[run]], or: rump run FILE -- CMD"
        )
    previous = {number: signal.signal(number, _raise_stop) for number in SIGNALS}
    try:
        with Kernel(spec) as kernel:
            return _run_on(kernel, spec, places, arguments)
    except Stop as stop:
        return code.SIGNALLED + stop.number
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        places.close()


def _spec(arguments: argparse.Namespace) -> tuple[Spec, Places]:
    if arguments.file:
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


def _add_forward(spec: Spec, forward: str) -> None:
    from ..compose.errors import ConfigError
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


def _raise_stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Stop(number)


def _run_on(kernel: Kernel, spec: Spec, places: Places, arguments: argparse.Namespace) -> int:
    quiet = arguments.quiet
    if arguments.trace:
        from .trace import attach

        attach(kernel)
    if arguments.capture:
        kernel.capture(arguments.capture)
    if not quiet:
        for forward in kernel.forwards():
            print(f"rump: forwarding {forward}", file=sys.stderr)
    programs = Programs(kernel)
    status = StatusLine()
    status.enabled = status.enabled and not quiet
    try:
        programs.start_all(spec.run, places)
        _watch(kernel, programs, status)
    except Stop as stop:
        status.close()
        _stop(programs, stop)
    finally:
        status.close()
    programs.stop()
    programs.settle()
    return programs.status()


def _watch(kernel: Kernel, programs: Programs, status: StatusLine) -> None:
    if not status.enabled:
        programs.wait()
        return
    traffic = Traffic(kernel)
    while not programs.wait(STATUS_INTERVAL):
        status.show(traffic.line(time.monotonic()))


def _stop(programs: Programs, stop: Stop) -> None:
    """A terminal's Ctrl-C has reached the programs too; any other signal is passed on.  A second one kills."""
    told = stop.number == signal.SIGINT and sys.stdin.isatty()
    try:
        programs.stop(stop.number, tell=not told)
    except Stop:
        programs.kill()
