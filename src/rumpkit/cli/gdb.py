"""`rump run --gdb`: which programs wait for a debugger, and where it finds them."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from ..compose.errors import ConfigError, suggest

if TYPE_CHECKING:
    from ..guests.linux.tracing.tracer import Tracing

MAX_PORT = 65535


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--gdb",
        metavar="[NAME=]SOCKET",
        action="append",
        default=[],
        help='the program waits for gdb\'s "target remote SOCKET" before its first instruction: a path is a unix socket that is yours '
        "alone, a number a port of 127.0.0.1, to which anybody on this machine can connect; NAME is a program of the config, where it "
        "has several",
    )


@final
class Debugging:
    """The programs of a run that gdb is to find."""

    def __init__(self, options: Sequence[str], programs: Sequence[str], quiet: bool) -> None:
        """`programs` are the names of all.  Raises ConfigError."""
        self._quiet = quiet
        self._places: dict[str, str] = {}
        for option in options:
            name, equals, place = option.partition("=")
            if not equals or ("/" in name and name not in programs):
                name, place = "", option
            if not name and len(programs) > 1:
                names = ", ".join(programs)
                raise ConfigError(
                    f"has several programs: {names}", key="--gdb", hint=f"write: --gdb {programs[0]}={place}"
                )
            if name and name not in programs:
                hint = suggest(name, list(programs))
                raise ConfigError(f"there is no program {name!r}", key="--gdb", hint=hint)
            if not place or (place.isdecimal() and not 0 < int(place) <= MAX_PORT):
                raise ConfigError(f"{place!r} is neither a port nor a path", key="--gdb")
            self._places[name or programs[0]] = place

    def tracer(self, program: str) -> "Tracing | None":
        """What waits for gdb, for a program of this name.  Raises OSError."""
        place = self._places.get(program)
        if place is None:
            return None
        from ..guests.linux.tracing.gdb.line import listen
        from ..guests.linux.tracing.gdb.session import GdbServer

        try:
            listener = listen(place)
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, f"--gdb {place}") from None
        target = f"127.0.0.1:{place}" if place.isdecimal() else os.path.abspath(place)
        self._say(program, f'waits for gdb: gdb -ex "target remote {target}"')
        return GdbServer(listener, lambda text: self._say(program, text))

    def _say(self, program: str, text: str) -> None:
        if not self._quiet:
            print(f"rump: {program}: {text}", file=sys.stderr)
