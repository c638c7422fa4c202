"""`rump run --trace`: what programs' calls are written to, as lines that people read or JSON; and the options for it."""

import argparse
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, final

from ..compose.errors import ConfigError, suggest
from ..kern.abi.errno import EROFS
from .verb import completed_as_files

if TYPE_CHECKING:
    from ..guests.linux.tracing.calls import CallViewer, Entry

STRINGS: Final = 32
_RED, _YELLOW, _BOLD, _DIM, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    group = parser.add_argument_group("tracing, with options as strace has them; each of them means --trace, too")
    group.add_argument(
        "--trace",
        action="store_true",
        help="show the programs' system calls on stderr; those of the network, or as -e says",
    )
    group.add_argument(
        "-e",
        "--trace-expression",
        metavar="EXPR",
        action="append",
        default=[],
        help="what is shown: calls or classes (network, file, desc, process, signal, memory, all), as "
        '"trace=network,openat" or "network,openat", "!memory" for all but those; "signal=none" or "signal=TERM,INT"; '
        "may be given several times",
    )
    file = group.add_argument("-o", "--trace-file", metavar="FILE", help="write the trace there and not to stderr")
    completed_as_files(file)
    group.add_argument("-T", "--trace-durations", action="store_true", help="show how long each call took")
    group.add_argument("-s", "--trace-strings", metavar="BYTES", type=int, help=f"of each string, at most ({STRINGS})")
    group.add_argument("--trace-json", action="store_true", help="a JSON object a line")


def wanted(arguments: argparse.Namespace) -> bool:
    """Whether there is to be a trace."""
    options = (arguments.trace_expression, arguments.trace_file, arguments.trace_durations, arguments.trace_json)
    return bool(arguments.trace or any(options) or arguments.trace_strings is not None)


@final
class TraceLog:
    """Where a run's calls go.  Raises ConfigError for options that mean nothing, OSError for the file."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from ..guests.linux.tracing.expression import BadExpression, parse

        try:
            self._chosen = parse(arguments.trace_expression)
        except BadExpression as problem:
            hint = suggest(problem.word, problem.known, problem.shortlist)
            raise ConfigError(str(problem), key="-e", hint=hint) from None
        self._strings = STRINGS if arguments.trace_strings is None else arguments.trace_strings
        if not 0 <= self._strings <= 1 << 20:
            raise ConfigError("must be from 0 to 1048576", key="-s")
        self._fd = 2
        if arguments.trace_file:
            from ..hosts.posix.private_file import create_private

            self._fd = create_private(arguments.trace_file)
        self.on_terminal = os.isatty(self._fd)
        coloured = self.on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
        write = partial(line, durations=arguments.trace_durations, coloured=coloured)
        self._write: Callable[[str, Entry, float], str] = as_json if arguments.trace_json else write
        self._lock = threading.Lock()
        self._start = -1.0
        self.error = 0
        """The errno that has ended the writing."""
        self.read_only: set[str] = set()
        """Programs of which a call that is shown was refused with EROFS."""

    def viewer(self, program: str) -> "CallViewer":
        """What writes the calls of a program of this name."""
        from ..guests.linux.tracing.calls import CallViewer

        return CallViewer(partial(self._log, program), self._chosen, self._strings)

    def _log(self, program: str, entry: "Entry") -> None:
        """In the tracer's thread: a slow reader holds the program up, and nobody else."""
        with self._lock:
            if self._start < 0:
                self._start = entry.when
            if entry.kind == "call" and entry.value == -EROFS:
                self.read_only.add(program)
            data = memoryview((self._write(program, entry, entry.when - self._start) + "\n").encode(errors="replace"))
            try:
                while data and not self.error:
                    data = data[os.write(self._fd, data) :]
            except OSError as problem:
                self.error = problem.errno or 5

    def close(self) -> None:
        """Nothing more comes."""
        if self._fd > 2:
            os.close(self._fd)


def line(program: str, entry: "Entry", seconds: float, durations: bool = False, coloured: bool = False) -> str:
    """As strace would write it, behind the time since the first line, the program and the thread."""
    red, yellow, bold, dim, plain = (_RED, _YELLOW, _BOLD, _DIM, _PLAIN) if coloured else ("",) * 5
    head = f"{dim}{seconds:10.6f} {program}[{entry.thread}]{plain} "
    if entry.kind == "signal":
        return f"{head}{yellow}--- {entry.call} {entry.result} ---{plain}"
    if entry.kind == "exit":
        return f"{head}{red if entry.value else dim}+++ {entry.result} +++{plain}"
    shown = f"{red}{entry.result}{plain}" if (entry.value or 0) < 0 and entry.result.startswith("-1 ") else entry.result
    took = f" <{entry.seconds:.6f}>" if durations and entry.value is not None else ""
    return f"{head}{bold}{entry.call}{plain}({', '.join(entry.arguments)}) = {shown}{took}"


def as_json(program: str, entry: "Entry", seconds: float) -> str:
    """An object: kind, program, pid, host_pid, time, seconds since the first, and what the kind has."""
    found: dict[str, object] = {
        "kind": entry.kind,
        "program": program,
        "pid": entry.thread,
        "host_pid": entry.host_thread,
        "time": round(entry.when, 6),
        "since_start": round(seconds, 6),
    }
    if entry.kind == "call":
        found |= {"call": entry.call, "arguments": entry.arguments, "result": entry.result, "value": entry.value}
        found["duration"] = round(entry.seconds, 6)
    elif entry.kind == "signal":
        found |= {"signal": entry.call, "number": entry.value, "info": entry.result}
    else:
        code = entry.value or 0
        found |= {"status": code} if code >= 0 else {"signal": -code}
        found["result"] = entry.result
    import json

    return json.dumps(found)
