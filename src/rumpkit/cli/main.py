"""Entry of the `rump` command: finds the verb, runs it, turns errors into one line and an exit code."""

import argparse
import os
import sys
from collections.abc import Sequence
from errno import ENOENT
from importlib import import_module
from typing import Protocol, cast

from ..hyper.named import NamedTuple
from . import exit as code
from .verb import VerbModule


class Verb(NamedTuple):
    """One row of the command table; the module is imported when the verb is used."""

    name: str
    module: str
    help: str


# It would look for translations of its own words, to stand between ours in English, and load `locale` for that.
argparse._ = str  # type: ignore[attr-defined]

VERBS = (
    Verb("run", "run", "boot a kernel and run programs on it"),
    Verb("ps", "ps", "show the programs of running kernels"),
    Verb("exec", "exec", "run a further program on a running kernel"),
    Verb("logs", "logs", "show what programs of a running kernel have printed"),
    Verb("stop", "stop", "end a program of a running kernel, or all of it"),
    Verb("start", "start", "start a program of a running kernel again that has ended"),
    Verb("restart", "restart", "end a program of a running kernel and start it again"),
    Verb("stats", "stats", "show what the programs of running kernels cost, live"),
    Verb("net", "net", "look into a running kernel: interfaces, routes, sockets, counters, packets, limits"),
    Verb("fs", "fs", "make, look into, change, check and mount disk images"),
    Verb("describe", "describe", "show what a config builds: components, interfaces, mounts, programs"),
    Verb("check", "check", "show what this machine allows, and how to allow the rest"),
    Verb("completion", "completion", "print a completion script for bash, zsh or tcsh"),
)

WITH_COMMAND = ("run", "exec")
"""Verbs behind whose arguments stands a program, after --."""

BY_WORD = ("fs",)
"""Verbs whose `configure` takes the word behind them."""


class WordModule(Protocol):
    """What the module of such a verb has instead."""

    @staticmethod
    def configure(parser: argparse.ArgumentParser, word: str | None = None) -> None:
        """Add the verb's arguments, where `word` is given for that one only."""


EPILOG = """\
examples:
  rump run -- curl http://10.0.2.2:8000/       a program on a default kernel
  rump run cache.toml                          the programs of a config
  rump describe cache.toml                     the component graph of a config
  rump check                                   what works on this machine

exit codes: the program's own (128+N if signal N ended it); 2 bad usage or config;
125 rumpkit failed; 126 program not executable; 127 program not found
"""


class Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's own, but that it does not load shutil, with three kinds of compression, to learn how wide the terminal is:
    argparse makes one for each parser, whether there is help to print or not."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """As shutil.get_terminal_size has it."""
    named = os.environ.get("COLUMNS", "")
    if named.isdigit() and int(named) > 0:
        return int(named)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def parser(verb: str | None = None, word: str | None = None) -> argparse.ArgumentParser:
    """The parser; with the arguments of all verbs (None: for completion), of none (""), or with `verb` alone.  `word` stands
    behind the verb: one that has many verbs of its own may need to know only that one."""
    top = argparse.ArgumentParser(
        prog="rump",
        description="rumpkit: a kernel you import",
        epilog=EPILOG,
        formatter_class=Formatter,
    )
    top.add_argument("--version", action="store_true", help="show version, form (native or pure) and Python")
    verbs = top.add_subparsers(dest="verb", metavar="VERB")
    for one in VERBS:
        if verb and verb != one.name:  # nobody asks for it
            continue
        if verb == "":
            verbs.add_parser(one.name, help=one.help, add_help=False)
            continue
        module = _module(one)
        child = verbs.add_parser(
            one.name,
            help=one.help,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=Formatter,
        )
        if one.name in BY_WORD:
            cast(WordModule, module).configure(child, word)
        else:
            module.configure(child)
    return top


def split_command(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and behind `--`: a program's arguments are none of argparse's business."""
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _module(verb: Verb) -> VerbModule:
    return cast(VerbModule, import_module(f"{__package__}.{verb.module}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: sys.argv); returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((verb for verb in VERBS if words and words[0] == verb.name), None)
    try:
        if chosen is not None and chosen.name == "run" and sys.platform == "linux":
            _prepare_starter()
        options = _parse(words, chosen)
        if options.version:
            print(version_line())
            return code.OK
        if chosen is None:
            parser("").print_help()
            return code.USAGE if not words else code.OK
        return _module(chosen).run(options)
    except KeyboardInterrupt:
        return code.SIGNALLED + 2
    except BrokenPipeError:
        sys.stderr.close()
        return code.SIGNALLED + 13
    except Exception as failure:
        return report(failure)


def _prepare_starter() -> None:
    """Begin with what takes longest: the starter of programs begins beside us, while everything else is loaded."""
    from ..guests.linux.launcher import prepare

    prepare()


def _parse(words: list[str], chosen: Verb | None) -> argparse.Namespace:
    top = parser(chosen.name if chosen else "", words[1] if len(words) > 1 else None)
    before, behind = split_command(words)
    options, unknown = top.parse_known_args(before)
    options.command = behind
    if not unknown and (not behind or (chosen is not None and chosen.name in WITH_COMMAND)):
        return options
    verb = f"rump {chosen.name}" if chosen else "rump"
    if chosen is not None and chosen.name in BY_WORD and words[1:] and not words[1].startswith("-"):
        verb += f" {words[1]}"
    if not unknown:
        top.error(f"{verb} takes no command")
    hint = "; a program and its arguments stand behind --" if chosen is not None and chosen.name in WITH_COMMAND else ""
    top.error(f"{verb} does not know {' '.join(unknown)}{hint} (see {verb} --help)")


def report(failure: Exception) -> int:
    """One line on stderr for an error a user can meet; its exit code.  Bugs keep their traceback."""
    from ..compose.errors import ConfigError, ProgramError
    from ..guests.linux.check import Missing

    if isinstance(failure, ConfigError):
        _say(str(failure))
        return code.USAGE
    if isinstance(failure, OSError):
        text = failure.strerror or str(failure)
        place = failure.place if isinstance(failure, ProgramError) else ""
        _say(f"{place}{failure.filename}: {text}" if failure.filename else text)
        if not isinstance(failure, ProgramError):
            return code.FAILED
        return code.NOT_FOUND if failure.errno == ENOENT else code.NOT_EXECUTABLE
    if isinstance(failure, Missing):
        _say(str(failure))
        return code.FAILED
    raise failure


def _say(text: str) -> None:
    """What is wrong, on stderr.  There may be names of an image's in it, and nothing that a terminal obeys."""
    shown = [one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text]
    print(f"rump: {''.join(shown)}", file=sys.stderr)


def version_line() -> str:
    """Such as `rumpkit 0.1.0 (native, Python 3.11.2)`."""
    import platform

    from .. import __version__
    from .._form import form

    return f"rumpkit {__version__} ({form()}, Python {platform.python_version()})"
