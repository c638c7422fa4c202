"""What the verbs of `rump net` share: which kernel, and how to show rows."""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ...clients.control.client import Control, connect
from .. import running


def add_kernel(parser: argparse.ArgumentParser, json: bool = True) -> None:
    """The arguments that all verbs have.  -k may stand before the verb, too: where it isn't given here, that counts."""
    running.add_kernel(parser, argparse.SUPPRESS)
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON")


def control(arguments: argparse.Namespace) -> Control:
    """A connection to the kernel that was chosen.  Raises ControlError."""
    return connect(arguments.kernel)


@contextmanager
def stoppable(kernel: Control) -> Iterator[None]:
    """While what goes on is shown: Ctrl-C and a polite kill end it, and what it says at its end still comes.  A second one ends
    the program."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    asked = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise KeyboardInterrupt
        kernel.cancel()

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def endpoint(address: str, port: int) -> str:
    """An address and a port as `ss` writes them."""
    host = f"[{address}]" if ":" in address else address or "*"
    return f"{host}:{port or '*'}"


def seconds(text: str) -> float:
    """A time on the command line.  Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0.01 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.01 to 86400")
    return value
