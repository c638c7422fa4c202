"""`rump exec [NAME] -- CMD...`: a further program on a running kernel, with our own input, output and terminal.

Without a terminal the program gets our very descriptors.  With one it gets a pseudo-terminal, the leader of a session of its own:
keys go there as they are typed, so that Ctrl-C and the like are the pseudo-terminal's to make signals of, and its size follows ours.
"""

import argparse
import fcntl
import os
import pty
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..clients.control.client import Control
from . import exit as code
from .running import NAMES, add_name, connected

DESCRIPTION = """\
Run a program on a running kernel.  It has our standard input, output and error; where these are a terminal it has one of its
own (-t, -T).  The exit status is the program's; signals are passed on; it ends with us.  Under the name of a program of the
kernel it has that one's user, environment, folder and limits, each as far as no option says otherwise."""
EPILOG = (
    """\
examples:
  rump exec -- redis-cli info                   on the only kernel
  rump exec cache-4711 -- sh                    a shell
  rump exec cache-4711/redis -- redis-cli ping  as redis runs there: user, environment, limits
  rump exec --limit memory=64M --limit cpus=0.5 -- ./job
  rump exec web-4712 -- curl -sS http://127.0.0.1/ > page.html
"""
    + NAMES
)
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
READ_SIZE = 65536


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "rump exec [options] [NAME] -- CMD ..."
    add_name(parser, "a kernel, or KERNEL/PROGRAM; default: the only kernel")
    terminal = parser.add_mutually_exclusive_group()
    terminal.add_argument("-t", "--tty", action="store_true", help="give it a terminal of its own, whatever ours is")
    terminal.add_argument(
        "-T", "--no-tty", action="store_true", help="give it our descriptors, even if they are a terminal"
    )
    parser.add_argument("-e", "--env", metavar="NAME=VALUE", action="append", default=[], help="add to its environment")
    parser.add_argument(
        "-l",
        "--limit",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="what it may use at most, as [run.limits] has it: files=64, memory=64M, cpus=0.5",
    )
    parser.add_argument("-w", "--cwd", metavar="DIR", default="", help="its folder; default: ours, or the program's")
    parser.add_argument("-u", "--user", metavar="USER[:GROUP]", default="", help="whom to run as")


def run(arguments: argparse.Namespace) -> int:
    """Start it, and wait for its end."""
    if not arguments.command:
        print("rump exec: what shall be run? write: rump exec [NAME] -- CMD ...", file=sys.stderr)
        return code.USAGE
    for one in (*arguments.env, *arguments.limit):
        if "=" not in one:
            print(f"rump exec: {one!r} is not NAME=VALUE", file=sys.stderr)
            return code.USAGE
    env, limits = (dict(one.split("=", 1) for one in given) for given in (arguments.env, arguments.limit))
    wants = arguments.tty or (not arguments.no_tty and all(os.isatty(fd) for fd in (0, 1)))
    wish = {"command": list(arguments.command), "env": env, "user": arguments.user, "limits": limits}
    with connected(arguments.name, arguments.kernel) as (control, program):
        wish |= {"program": program, "cwd": os.path.abspath(arguments.cwd) if arguments.cwd else ""}
        wish["folder"] = "" if program else os.getcwd()
        control.patience(None)
        how = with_terminal if wants else with_descriptors
        status = how(control, wish)
    return status if status >= 0 else code.SIGNALLED - status


def with_descriptors(control: Control, wish: dict[str, Any]) -> int:
    """It has our descriptors; our signals go to it."""
    with passing_on(control) as signals:
        return follow(control.stream("exec", (0, 1, 2), **wish), signals)


def with_terminal(control: Control, wish: dict[str, Any]) -> int:
    """It has a pseudo-terminal, which we join with ours."""
    ours, theirs = pty.openpty()
    try:
        if os.environ.get("TERM"):
            wish = {**wish, "env": {"TERM": os.environ["TERM"], **wish["env"]}}
        _copy_size(ours)
        stream = control.stream("exec", (theirs, theirs, theirs), terminal=True, **wish)
        try:
            number = begun(next(stream))
        except StopIteration as end:
            return ended(end.value)
        finally:
            os.close(theirs)
        with passing_on(control, (signal.SIGTERM, signal.SIGHUP)) as signals, _raw(), _resizing(ours):
            signals.started(number)
            stopped, stop = os.pipe2(os.O_CLOEXEC)
            pump = threading.Thread(target=_pump, args=(ours, stopped), daemon=True)
            pump.start()
            try:
                return follow(stream, signals)
            finally:
                os.close(stop)
                pump.join()
                os.close(stopped)
    finally:
        os.close(ours)


def follow(stream: Any, signals: "Signals") -> int:
    """Until the program's end; its exit code."""
    while True:
        try:
            signals.started(begun(next(stream)))
        except StopIteration as end:
            return ended(end.value)


def begun(said: dict[str, Any]) -> int:
    """The number of a program that has been started; what this machine doesn't give it is told."""
    for note in said["notes"]:
        print(f"rump: {note}", file=sys.stderr)
    return int(said["number"])


def ended(said: dict[str, Any]) -> int:
    """The exit code of a program that has ended, or was never started: then say why."""
    if "problem" in said:
        print(f"rump: {said['problem']}", file=sys.stderr)
    return int(said["exit"])


class Signals:
    """Those that reach us and are the program's, from its very start on."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._program = 0
        self._early: list[int] = []

    def started(self, program: int) -> None:
        """This is the program's number: what has come before goes there."""
        self._program = program
        while self._early:
            self._pass_on(self._early.pop(0))

    def handle(self, number: int, frame: FrameType | None) -> None:
        """One has come."""
        if self._program:
            self._pass_on(number)
        else:
            self._early.append(number)

    def _pass_on(self, number: int) -> None:
        self._control.tell("exec_signal", number=self._program, signal=number)


@contextmanager
def passing_on(control: Control, which: tuple[signal.Signals, ...] = PASSED_ON) -> Iterator[Signals]:
    """Signals that reach us go to the program."""
    signals = Signals(control)
    before = {number: signal.signal(number, signals.handle) for number in which}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _raw() -> Iterator[None]:
    """Our terminal gives keys as they are typed, and prints what it is told as it is."""
    if not os.isatty(0):
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSADRAIN)  # what has been typed already is meant for the program
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _resizing(ours: int) -> Iterator[None]:
    def resized(number: int, frame: FrameType | None) -> None:
        _copy_size(ours)

    before = signal.signal(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _copy_size(ours: int) -> None:
    for fd in (0, 1, 2):
        try:
            fcntl.ioctl(ours, termios.TIOCSWINSZ, fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
            return
        except OSError:
            continue


def _pump(ours: int, stopped: int) -> None:
    """Between our terminal and the program's, until the program has ended and all it has printed is out."""
    sources = [0, ours, stopped]
    while True:
        ready, _, _ = select.select(sources, (), ())
        if ours in ready:
            try:
                data = os.read(ours, READ_SIZE)
            except OSError:  # EIO: nobody has the other end any more
                data = b""
            if not data:
                sources.remove(ours)
                if stopped not in sources:
                    return
            while data:
                data = data[os.write(1, data) :]
        elif stopped in ready:
            return
        elif 0 in ready:
            try:
                data = os.read(0, READ_SIZE)
            except OSError:  # our terminal has gone
                data = b""
            if data:
                os.write(ours, data)
            else:
                sources.remove(0)
                os.write(ours, b"\x04")
        if ours not in sources:
            sources = [stopped]
