"""`rump fs find`: find files by what they are like."""

import argparse
import os
from collections.abc import Callable, Iterator
from typing import Final, final

from ...compose.image.node import failure
from ...compose.image.trees import Visit, Walk
from ...kern.abi.errno import EINVAL
from . import VerbParser, tests
from .common import (
    Address,
    Complaints,
    Output,
    Session,
    add_in_place,
    add_json,
    add_paths,
    bad_usage,
    changing,
    stream_json,
    trees,
)
from .expression import BadExpression, Parser, Part, Word
from .format import parse_format
from .progress import Watch, expect
from .show import record
from .tests import Facts, Test

DESCRIPTION = """\
Find files.  What stands behind the paths is an expression as find(1) has it: tests and actions, from left to right; all must hold,
-o (or) binds less, -not or ! turns the next one round, and ( ) hold together."""
EPILOG = """\
examples:
  rump fs find disk.img:/etc -name '*.conf'
  rump fs find disk.img -type f -size +10M -print0 | xargs -0 rump fs rm
  rump fs find disk.img:/usr -perm /6000                              set-user-ID or set-group-ID
  rump fs find disk.img '(' -name '*.o' -o -name '*~' ')' -type f -delete
  rump fs find disk.img -path /proc -prune -o -printf '%s %p\\n'
  rump fs find disk.img -mtime -7 -not -type d

Paths are printed as addresses.  Numbers are N, +N (more than), -N (less than); sizes have the unit c (bytes), k, M or G, else blocks
of 512 bytes.  Without an action (-print, -print0, -printf, -ls, -delete) what is found is printed.

-printf knows %p (path), %P (from where it began), %f (name), %h (directory), %y (type), %s (size), %k (storage in KiB), %b (in blocks),
%m and %M (mode), %u, %g, %n (links), %i (inode), %l (target), %d (depth), %t and %T@ (time of modification), and \\n, \\t, \\0.

There is no -exec, as what is in an image is no file of the host's: rump fs mount makes it one, and xargs (as above) runs verbs of
rump fs.  Exits with 1 where a part of the tree could not be read.
"""

MAKERS: Final[dict[str, Callable[[str], Test]]] = {
    "name": lambda text: tests.named(text, False, False),
    "iname": lambda text: tests.named(text, True, False),
    "path": lambda text: tests.named(text, False, True),
    "ipath": lambda text: tests.named(text, True, True),
    "regex": lambda text: tests.matching(text, False),
    "iregex": lambda text: tests.matching(text, True),
    "lname": tests.pointing,
    "type": tests.typed,
    "size": tests.size,
    "mtime": lambda text: tests.timed(text, 86400, lambda status: status.st_mtime_ns),
    "mmin": lambda text: tests.timed(text, 60, lambda status: status.st_mtime_ns),
    "ctime": lambda text: tests.timed(text, 86400, lambda status: status.st_ctime_ns),
    "cmin": lambda text: tests.timed(text, 60, lambda status: status.st_ctime_ns),
    "perm": tests.mode,
    "links": tests.links,
    "inum": tests.inode,
    "uid": lambda text: tests.owner(text, False),
    "gid": lambda text: tests.owner(text, True),
}
ALIASES: Final = {"wholename": "path", "iwholename": "ipath", "user": "uid", "group": "gid"}
HELP: Final = {
    "name": ("PATTERN", "the name matches a shell pattern"),
    "iname": ("PATTERN", "the same, whatever case"),
    "path": ("PATTERN", "the path in the image does (-ipath: whatever case)"),
    "ipath": ("PATTERN", argparse.SUPPRESS),
    "regex": ("PATTERN", "the path in the image matches a regular expression (-iregex: whatever case)"),
    "iregex": ("PATTERN", argparse.SUPPRESS),
    "lname": ("PATTERN", "a symbolic link whose target matches a shell pattern"),
    "type": ("LETTERS", "f, d, l, p, s, c, b, or several with commas"),
    "size": ("N[ckMG]", "the size, rounded up to the unit"),
    "mtime": ("N", "modified N days ago (-ctime: its attributes)"),
    "mmin": ("N", "modified N minutes ago (-cmin: its attributes)"),
    "ctime": ("N", argparse.SUPPRESS),
    "cmin": ("N", argparse.SUPPRESS),
    "perm": ("MODE", "the permissions are MODE; -MODE: has all these bits; /MODE: any"),
    "links": ("N", "it has N names"),
    "inum": ("N", "its inode is number N"),
    "uid": ("N", "its owner is N"),
    "gid": ("N", "its group is N"),
    "newer": ("FILE", "modified after FILE was (an address)"),
    "maxdepth": ("N", "not deeper than N levels"),
    "mindepth": ("N", "from N levels on"),
    "printf": ("FORMAT", "print this of it"),
}
FLAGS: Final = {
    "empty": "an empty file or directory",
    "print": "print its path",
    "print0": "print its path, and a NUL byte",
    "ls": "print what ls -l prints",
    "delete": "remove it (a directory must be empty by then); implies -depth",
    "prune": "don't go into it",
    "quit": "look for nothing more",
    "depth": "directories after what is in them",
    "not": "the next test fails (or !)",
    "o": "or what follows",
    "true": argparse.SUPPRESS,
    "false": argparse.SUPPRESS,
}
NO_EXEC: Final = (
    "would run a program on files that the host does not have: rump fs mount gives it them, "
    "and -print0 | xargs -0 rump fs ... runs verbs"
)
INSTEAD: Final = {
    **dict.fromkeys(("-exec", "-execdir", "-ok", "-okdir"), NO_EXEC),
    "-format": "is -printf here",
    "-fprint": "is -print > FILE here",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments: those of the expression only to be shown."""
    add_paths(parser, "paths", "IMAGE[:PATH]", "+", "where to begin")
    for name, (metavar, text) in HELP.items():
        parser.add_argument(f"-{name}", dest="_", metavar=metavar, help=text)
    for name, text in FLAGS.items():
        parser.add_argument(f"-{name}", dest="_", action="store_true", help=text)
    add_in_place(parser)
    add_json(parser)
    parser.set_defaults(expression=())
    if isinstance(parser, VerbParser):
        parser.prepare = lambda words: prepare(parser, words)


OUTSIDE: Final = ("--json", "--in-place", "-h", "--help")
"""Options of the verb itself."""


def prepare(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Take the expression away, from its first word on: argparse has other ideas of what begins with a dash."""
    own = [word for word in words if word in OUTSIDE]
    rest = [word for word in words if word not in OUTSIDE]
    at = next((index for index, word in enumerate(rest) if word in ("(", ")", "!") or word.startswith("-")), len(rest))
    parser.set_defaults(expression=tuple(rest[at:]))
    return [*own, *rest[:at]]


def run(arguments: argparse.Namespace) -> int:
    """Find."""
    finder = Finder(arguments)
    try:
        finder.read()
    except BadExpression as problem:
        return bad_usage(f"rump fs find: {problem}")
    with Watch("looking", at_once=not finder.deletes) as watch:
        if finder.deletes:
            return changing(arguments, lambda session, complaints: finder.find(session, complaints, watch))
        complaints = Complaints()
        with Session() as session:
            finder.find(session, complaints, watch)
        return complaints.code()


@final
class Finder:
    """One search."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._words: tuple[str, ...] = arguments.expression
        self._addresses: list[Address] = trees(arguments.paths)
        self._json: bool = arguments.json
        self._output: Output = Output()
        self._session: Session | None = None
        self._walk: Walk | None = None
        self._depths: list[int] = [0, 1 << 30]
        self._after: bool = False
        self._over: bool = False
        self._prints: bool = False
        self._complain: Complaints = Complaints()
        self.deletes: bool = "-delete" in self._words

    def read(self) -> Part:
        """The expression.  Raises BadExpression; OSError where the file of -newer can't be asked."""
        known = {f"-{name}": Word(maker, True) for name, maker in MAKERS.items()}
        known.update({f"-{name}": known[f"-{other}"] for name, other in ALIASES.items()})
        for name, test in (("empty", tests.empty), ("true", lambda facts: True), ("false", lambda facts: False)):
            known[f"-{name}"] = _plain(test)
        known["-newer"] = Word(self._newer, True)
        known["-maxdepth"] = Word(lambda text: self._set_depth(1, text), True)
        known["-mindepth"] = Word(lambda text: self._set_depth(0, text), True)
        known["-depth"] = known["-d"] = Word(lambda text: self._go_after(), False)
        actions: dict[str, Test] = {
            "print": self._print,
            "print0": self._print0,
            "ls": self._list,
            "delete": self._delete,
            "prune": self._prune,
            "quit": self._quit,
        }
        for name, action in actions.items():
            known[f"-{name}"] = _plain(action, action=True)
        known["-printf"] = Word(self._printing, True, True)
        self._prints = any(word in ("-print", "-print0", "-printf", "-ls", "-delete") for word in self._words)
        self._after = self._after or self.deletes
        return Parser(self._words, known, INSTEAD).parse()

    def find(self, session: Session, complaints: Complaints, watch: Watch) -> None:
        """Look for them, and do what is to be done."""
        self._session = session
        self._complain = complaints
        expression = self.read()
        expect(watch, session, self._addresses)
        found = self._found(session, expression, watch)
        if self._json:
            stream_json(record(facts.path, facts.node, facts.status()) for facts in found)
            return
        for facts in found:
            if not self._prints:
                self._print(facts)
        self._output.flush()

    def _found(self, session: Session, expression: Part, watch: Watch) -> Iterator[Facts]:
        for address in self._addresses:
            if self.deletes and not address.inside:
                raise failure(EINVAL, "-delete is for files of images", address.text)
            with self._complain.caught(address.text):
                top = session.node(address, self.deletes, follow=False)
                self._walk = Walk(
                    top,
                    address.shown(),
                    self._complain,
                    self._depths[1],
                    wanted=lambda path, name: expression.may(Facts(path, name.name, name.kind)) is not False,
                )
                for visit in self._walk:
                    watch.copied(visit.path, 0)
                    if visit.depth < self._depths[0] or not self._its_turn(visit):
                        continue
                    name = visit.name or visit.path.rsplit(b"/", 1)[-1]
                    facts = Facts(visit.path, name, visit.node.kind, visit)
                    with self._complain.caught(os.fsdecode(visit.path)):
                        if expression.holds(facts):
                            yield facts
                    if self._over:
                        return

    def _its_turn(self, visit: Visit) -> bool:
        return visit.leaving == (self._after and visit.node.is_directory())

    # Words ---------------------------------------------------------------------------------------------

    def _newer(self, text: str) -> Test:
        """Asks the file of the session that is there when the expression is read for good."""
        return _always if self._session is None else tests.newer(self._session, text)

    def _set_depth(self, which: int, text: str) -> Test:
        if not text.isascii() or not text.isdigit():
            raise ValueError(f"{text!r} is no number of levels")
        self._depths[which] = int(text)
        return _always

    def _go_after(self) -> Test:
        self._after = True
        return _always

    # Actions -------------------------------------------------------------------------------------------

    def _print(self, facts: Facts) -> bool:
        self._output.line(self._output.name(facts.path))
        return True

    def _print0(self, facts: Facts) -> bool:
        self._output.write(facts.path + b"\0")
        return True

    def _printing(self, text: str) -> Test:
        form = parse_format(text)

        def show(facts: Facts) -> bool:
            self._output.write(form(facts))
            return True

        return show

    def _list(self, facts: Facts) -> bool:
        from .show import long_line

        self._output.line(long_line(self._output, facts.path, facts.node, facts.status()))
        return True

    def _delete(self, facts: Facts) -> bool:
        visit = facts.visit
        if visit.above is None:
            return True  # a top stays, as the root directory has to
        try:
            visit.above.remove(visit.name, visit.node)
        except OSError as problem:
            self._complain(visit.path, problem)
            return False
        return True

    def _prune(self, facts: Facts) -> bool:
        if self._walk is not None and not self._after and facts.node.is_directory():
            self._walk.prune()
        return True

    def _quit(self, facts: Facts) -> bool:
        self._over = True
        return True


def _always(facts: Facts) -> bool:
    return True


def _plain(test: Test, action: bool = False) -> Word:
    """A word without an argument."""
    return Word(lambda text: test, False, action)
