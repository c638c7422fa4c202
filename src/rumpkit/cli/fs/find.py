"""`rump fs find`: find files by what they are like."""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any

from ...compose.image.trees import Visit, Walk
from . import VerbParser
from .common import Complaints, Output, Session, add_paths, trees
from .tests import CHEAP, Facts, Test, changed, empty, links, mode, named, newer, owner, size, typed

DESCRIPTION = """\
Find files.  The tests behind the paths are those of find(1); all must hold, unless -o stands between them, which binds less than
their sequence does; -not turns the next one round."""
EPILOG = """\
examples:
  rump fs find disk.img:/etc -name '*.conf'
  rump fs find disk.img -type f -size +10M -print0 | xargs -0 rump fs rm
  rump fs find disk.img:/usr -perm /6000           set-user-ID or set-group-ID
  rump fs find disk.img -mtime -7 -not -type d

Paths are printed as addresses.  Numbers are N, +N (more than), -N (less than); sizes have the unit c (bytes), k, M or G, else blocks
of 512 bytes.  Exits with 1 where a part of the tree could not be read.
"""


class Append(argparse.Action):
    """A test, or what joins them, in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        namespace.expression = [*(namespace.expression or []), (self.dest, values)]


MAKERS: dict[str, Callable[[str], Test]] = {
    "name": lambda text: named(text, False, False),
    "iname": lambda text: named(text, True, False),
    "path": lambda text: named(text, False, True),
    "type": typed,
    "size": size,
    "mtime": lambda text: changed(text, 86400),
    "mmin": lambda text: changed(text, 60),
    "perm": mode,
    "links": links,
    "uid": lambda text: owner(text, False),
    "gid": lambda text: owner(text, True),
}
HELP = {
    "name": ("PATTERN", "the name matches a shell pattern"),
    "iname": ("PATTERN", "the same, whatever case"),
    "path": ("PATTERN", "the path in the image does"),
    "type": ("LETTERS", "f, d, l, p, s, c, b, or several with commas"),
    "size": ("N[ckMG]", "the size, rounded up to the unit"),
    "mtime": ("N", "modified N days ago"),
    "mmin": ("N", "modified N minutes ago"),
    "perm": ("MODE", "the permissions are MODE; -MODE: has all these bits; /MODE: any"),
    "links": ("N", "it has N names"),
    "uid": ("N", "its owner is N"),
    "gid": ("N", "its group is N"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "paths", "IMAGE[:PATH]", "+", "where to begin")
    for name, (metavar, text) in HELP.items():
        maker = MAKERS[name]
        parser.add_argument(f"-{name}", dest=name, metavar=metavar, action=Append, type=checked(maker), help=text)
    parser.add_argument("-newer", metavar="FILE", action=Append, help="modified after FILE was (an address)")
    parser.add_argument("-empty", action=Append, nargs=0, help="an empty file or directory")
    parser.add_argument("-not", dest="not_", action=Append, nargs=0, help="the next test fails")
    parser.add_argument("-o", dest="or_", action=Append, nargs=0, help="or what follows")
    parser.add_argument("-maxdepth", type=int, default=1 << 30, metavar="N", help="not deeper than N levels")
    parser.add_argument("-mindepth", type=int, default=0, metavar="N", help="from N levels on")
    parser.add_argument("-depth", dest="after", action="store_true", help="directories after what is in them")
    parser.add_argument("-print0", dest="zero", action="store_true", help="end paths with NUL bytes")
    parser.set_defaults(expression=None)
    if isinstance(parser, VerbParser):
        parser.prepare = prepare


def prepare(words: list[str]) -> list[str]:
    """Numbers that begin with a minus sign, joined to their tests."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].removeprefix("-") in HELP and word.startswith("-"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def checked(maker: Callable[[str], Test]) -> Callable[[str], Test]:
    """A maker whose complaints argparse shows."""

    def make(text: str) -> Test:
        try:
            return maker(text)
        except ValueError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return make


def run(arguments: argparse.Namespace) -> int:
    """Find."""
    complaints = Complaints()
    output = Output()
    end = b"\0" if arguments.zero else b"\n"
    with Session() as session:
        words = arguments.expression or ()
        wanted = compile_expression(words, session)
        promising = compile_expression(words, session, cheap=True)
        for address in trees(arguments.paths):
            with complaints.caught(address.text):
                text = address.text if ":" in address.text or not address.inside else f"{address.text}:/"
                walk = Walk(
                    session.node(address, follow=False),
                    os.fsencode(text),
                    complaints,
                    arguments.maxdepth,
                    wanted=lambda path, found: promising(Facts(path, found.name, found.kind)),
                )
                for visit in walk:
                    if visit.depth < arguments.mindepth or not _its_turn(visit, arguments.after):
                        continue
                    name = visit.name or visit.path.rsplit(b"/", 1)[-1]
                    if wanted(Facts(visit.path, name, visit.node.kind, visit.node)):
                        output.write((visit.path if arguments.zero else output.name(visit.path)) + end)
    output.flush()
    return complaints.code()


def _its_turn(visit: Visit, after: bool) -> bool:
    return visit.leaving == (after and visit.node.is_directory())


def compile_expression(words: Sequence[tuple[str, Any]], session: Session, cheap: bool = False) -> Test:
    """One test of all of them; with `cheap`, one that fails only where they must, and asks nothing but names and kinds.
    Raises OSError for the file of -newer."""
    groups: list[list[Test]] = [[]]
    turn = False
    for word, value in words:
        if word == "or_":
            groups.append([])
        elif word == "not_":
            turn = not turn
        else:
            if not cheap or word in CHEAP:
                test = newer(session, value) if word == "newer" else empty if word == "empty" else value
                groups[-1].append(_negated(test) if turn else test)
            turn = False
    return lambda facts: any(all(test(facts) for test in group) for group in groups)


def _negated(test: Test) -> Test:
    return lambda facts: not test(facts)
