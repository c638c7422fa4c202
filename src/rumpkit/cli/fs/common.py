"""What the verbs of `rump fs` share: the session, what they print, how they complain."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, final

from ...compose.image.address import Address, parse, parse_image, parse_tree
from ...compose.image.node import failure
from ...compose.image.session import Session
from ...kern.abi.errno import EDQUOT, EINVAL, EIO, ENOSPC, EROFS, EUCLEAN
from .. import exit as code

IMAGE_COMPLETION = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
"""Images and host paths are completed as files."""


def add_paths(parser: argparse.ArgumentParser, name: str, metavar: str, nargs: str | None, help: str) -> None:
    """An argument of addresses."""
    argument = parser.add_argument(name, metavar=metavar, nargs=nargs, help=help)
    argument.complete = IMAGE_COMPLETION  # type: ignore[attr-defined]


def add_json(parser: argparse.ArgumentParser) -> None:
    """The argument of verbs that can print JSON."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_in_place(parser: argparse.ArgumentParser) -> None:
    """The argument of verbs that change images."""
    parser.add_argument(
        "--in-place", action="store_true", help="write to the image at once; its file system's journal has to do"
    )


def trees(texts: list[str]) -> list[Address]:
    """Addresses, where a host file is meant as an image."""
    return [parse_tree(text) for text in texts]


FATAL: Final = frozenset((ENOSPC, EDQUOT, EIO, EROFS, EUCLEAN))
"""Errors of an image that end a change to it: nothing of it is committed then."""


CLEARERS: list[Callable[[], None]] = []
"""What takes progress away from the terminal, before something else is printed there."""


def clear_progress() -> None:
    """Nothing but lines that stay is on the terminal now."""
    for clear in CLEARERS:
        clear()


class OutputError(OSError):
    """The standard output can't be written to: whatever the command goes on to do is lost."""


class Ended(OSError):
    """An error of an image that ended a change; `filename` is what it happened at."""


@final
class Complaints:
    """Counts what went wrong and says so on stderr, one line each."""

    def __init__(self, strict: bool = False, quiet: bool = False) -> None:
        """`strict`: what would leave a change half done (FATAL) ends it.  `quiet`: nothing is said."""
        self.count: int = 0
        self._quiet: bool = quiet
        self._strict: bool = strict

    def __call__(self, path: bytes, problem: OSError) -> None:
        """A walk's complaint."""
        self.say(os.fsdecode(path), problem)

    def say(self, place: str, problem: OSError) -> None:
        """One line of it."""
        # In bytes it is a name in some directory, which says less than the place.
        where = problem.filename if isinstance(problem.filename, str) else place
        if isinstance(problem, (BrokenPipeError, OutputError)):
            raise problem
        if self._strict and problem.errno in FATAL:
            raise Ended(problem.errno, problem.strerror, where)
        self.count += 1
        if self._quiet:
            return
        clear_progress()
        sys.stdout.flush()
        print(f"rump: {printable(where)}: {problem.strerror or problem}", file=sys.stderr)

    @contextmanager
    def caught(self, place: str) -> Iterator[None]:
        """Go on behind this block when it raises OSError, which is said."""
        try:
            yield
        except OSError as problem:
            self.say(place, problem)

    def code(self, good: int = code.OK) -> int:
        """The exit code: 1 where anything went wrong."""
        return code.NOTHING if self.count else good


def printable(text: str) -> str:
    """A name fit for a terminal: what could move its cursor is a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@final
class Output:
    """The standard output: bytes, with names made printable and in colours where it is a terminal."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._stream = sys.stdout.buffer
        self.terminal: bool = sys.stdout.isatty()
        self.colour: bool = self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def name(self, name: bytes, kind: int = 0, mode: int = 0) -> bytes:
        """A file's name as it is shown."""
        if not self.terminal:
            return name
        shown = printable(os.fsdecode(name)).encode("utf-8", "replace")
        if not self.colour or not kind:
            return shown
        colour = COLOURS.get(kind, b"")
        if not colour and mode & 0o111 and kind == 0o100000:
            colour = b"\x1b[1;32m"
        return b"%s%s\x1b[0m" % (colour, shown) if colour else shown

    def write(self, data: bytes) -> None:
        """Write bytes."""
        try:
            if CLEARERS and self.terminal:
                clear_progress()
                self._stream.write(data)
                self._stream.flush()
                return
            self._stream.write(data)
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise output_error(problem) from None

    def line(self, data: bytes) -> None:
        """Write a line."""
        self.write(data + b"\n")

    def flush(self) -> None:
        """Let it be seen."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise output_error(problem) from None


def output_error(problem: OSError) -> OutputError:
    """What is said where the standard output can't be written to; what is left of it is dropped, and Python doesn't try again."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    return OutputError(problem.errno, problem.strerror, "standard output")


COLOURS: Final = {0o040000: b"\x1b[1;34m", 0o120000: b"\x1b[1;36m", 0o010000: b"\x1b[33m", 0o060000: b"\x1b[1;33m"}
UNITS: Final = "KMGTPE"


def human(size: int) -> str:
    """A size as people read it: 512, 1.5K, 12M."""
    if size < 1024:
        return str(size)
    value = float(size)
    for unit in UNITS:
        value /= 1024
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 1023.5:
            return f"{value:.0f}{unit}"
    return f"{value:.0f}{UNITS[-1]}"


def sized(size: int, arguments: argparse.Namespace) -> str:
    """A size as the option -h wants it."""
    return human(size) if arguments.human else str(size)


def stream_json(rows: Iterator[object]) -> None:
    """Print rows as a JSON array, one a line, as they come."""
    from json import dumps

    opening = "["
    for row in rows:
        print(opening, dumps(row), sep="\n", end="")
        opening = ","
    print("[]" if opening == "[" else "\n]")


def bad_usage(text: str) -> int:
    """Say what is wrong with the command line; the exit code for it."""
    print(f"rump: {text}", file=sys.stderr)
    return code.USAGE


def changing(
    arguments: argparse.Namespace,
    change: Callable[[Session, Complaints], None],
    strict: bool = True,
    afterwards: Callable[[Complaints], None] | None = None,
) -> int:
    """Run `change` on images, commit what it did, and then run `afterwards`.  Where single files made trouble, the rest is committed
    still; where an image is full or broken, nothing is, if `strict`."""
    complaints = Complaints(strict)
    with Session(arguments.in_place) as session:
        try:
            change(session, complaints)
            session.commit()
        except Ended as problem:
            images = ", ".join(session.changed())
            what = "what was done until then stays" if arguments.in_place else "nothing was changed"
            raise failure(problem.errno or EIO, f"{problem.strerror}, at {problem.filename}; {what}", images) from None
    if afterwards is not None:
        afterwards(complaints)
    return complaints.code()


def parse_inside(text: str) -> Address:
    """An address in an image, for verbs that the host has better ones for.  Raises EINVAL for a path of the host: most likely somebody
    has forgotten the image."""
    address = parse(text)
    if not address.inside:
        raise failure(EINVAL, f"it is a path of the host; in an image it is IMAGE:/{text.lstrip('/')}", text)
    return address


__all__ = ["Address", "Complaints", "Output", "Session", "parse", "parse_image", "parse_tree"]
