"""`rump fs grep`: find lines in files."""

import argparse
import os
import re
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, final

from ...compose.image.node import Node, failure
from ...compose.image.trees import Walk
from ...kern.abi.errno import EFBIG, EISDIR
from ...kern.abi.fcntl import S_IFREG
from .. import exit as code
from .common import Address, Complaints, Output, Session, add_paths, bad_usage, parse, parse_tree
from .progress import Watch, expect

DESCRIPTION = (
    "Print the lines of files that a pattern matches: a regular expression (Python's re), or with -F plain text."
)
EPILOG = """\
examples:
  rump fs grep root disk.img:/etc/passwd
  rump fs grep -rn '^PermitRoot' disk.img:/etc
  rump fs grep -rlF 'password=' disk.img
  rump fs grep -i -C 2 error disk.img:/var/log/syslog

With -r an image alone stands for its root directory.  Of a file with NUL bytes it is said only that it matches.
Exits with 0 if any line matched, 1 if none did, 2 if something could not be read and nothing matched.
"""

LINE_LIMIT: Final = 16 << 20
"""Bytes of a line."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", help="what to look for (or -e)")
    add_paths(parser, "paths", "IMAGE:PATH", "*", "where; - is the standard input")
    parser.add_argument("-e", dest="patterns", action="append", metavar="PATTERN", help="one of several patterns")
    for option, name, text in FLAGS:
        parser.add_argument(option, dest=name, action="store_true", help=text)
    parser.add_argument("-R", dest="recursive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-H", dest="with_name", action="store_true", default=None, help="with the file's name")
    parser.add_argument("-h", "--no-filename", dest="with_name", action="store_false", help="without it")
    parser.add_argument("-m", dest="most", type=int, default=0, metavar="N", help="no more than N lines of a file")
    parser.add_argument("-A", dest="after", type=int, default=0, metavar="N", help="and N lines after each")
    parser.add_argument("-B", dest="before", type=int, default=0, metavar="N", help="and N lines before each")
    parser.add_argument("-C", dest="around", type=int, default=0, metavar="N", help="and N lines before and after each")


FLAGS: Final = (
    ("-r", "recursive", "in all files below directories"),
    ("-i", "any_case", "whatever case"),
    ("-v", "invert", "lines that don't match"),
    ("-w", "word", "whole words"),
    ("-x", "line", "whole lines"),
    ("-F", "fixed", "plain text"),
    ("-E", "extended", "a regular expression (it always is)"),
    ("-P", "perl", "as Perl has them (Python's are much the same)"),
    ("-n", "numbers", "with line numbers"),
    ("-o", "only", "what matches only, not the whole line"),
    ("-l", "list", "names of files only"),
    ("-L", "without", "names of files in which nothing matches"),
    ("-c", "count", "how many lines only"),
    ("-q", "quiet", "nothing: the exit code says it"),
    ("-s", "silent", "don't complain of what can't be read"),
    ("-a", "text", "lines of files with NUL bytes, too"),
)


def run(arguments: argparse.Namespace) -> int:
    """Search."""
    patterns = list(arguments.patterns or ())
    if patterns and arguments.pattern is not None:
        arguments.paths.insert(0, arguments.pattern)
    elif arguments.pattern is not None:
        patterns.append(arguments.pattern)
    if not patterns or not arguments.paths:
        return bad_usage("rump fs grep wants a PATTERN, and an IMAGE:PATH to look in")
    try:
        expression = _compiled(patterns, arguments)
    except re.error as problem:
        return bad_usage(f"{patterns[0]!r} is no regular expression: {problem} (-F takes it as plain text)")
    complaints = Complaints(quiet=arguments.silent)
    with Watch("searching", at_once=True) as watch, Session() as session:
        search = Search(arguments, expression, complaints, watch)
        addresses = [_address(text, arguments.recursive) for text in arguments.paths]
        expect(watch, session, addresses)
        for address in addresses:
            with complaints.caught(address.text):
                search.at(session, address)
            if search.found and arguments.quiet:
                break
    search.output.flush()
    return code.OK if search.found else code.USAGE if complaints.count else code.NOTHING


def _compiled(patterns: list[str], arguments: argparse.Namespace) -> "re.Pattern[bytes]":
    """All patterns as one.  Raises re.error."""
    raw = [os.fsencode(text) for text in patterns]
    for pattern in raw:
        if not arguments.fixed:
            re.compile(pattern)  # each is one by itself
    whole = b"|".join(re.escape(pattern) if arguments.fixed else b"(?:" + pattern + b")" for pattern in raw)
    if arguments.word:
        whole = rb"\b(?:" + whole + rb")\b"
    if arguments.line:
        whole = rb"\A(?:" + whole + rb")\Z"
    return re.compile(whole, re.IGNORECASE if arguments.any_case else 0)


def _address(text: str, recursive: bool) -> Address:
    """Where to look: with -r, an image alone is its root directory."""
    if not recursive or text == "-":
        return parse(text)
    tree = parse_tree(text)
    return tree if tree.inside and _is_image(text) else parse(text)


def _is_image(text: str) -> bool:
    """Whether something is known to be on it; other files of the host are files."""
    from ...compose.image.contents import contents

    address = parse_tree(text)
    if parse(text).inside or address.partition:
        return True
    with Session() as session:
        try:
            found = contents(session, session.image(address.image))
        except OSError:
            return False
        return found.table is not None or any(one.found is not None for one in found.volumes)


@final
class Search:
    """One search."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        expression: "re.Pattern[bytes]",
        complaints: Complaints,
        watch: Watch,
    ) -> None:
        self.options: Any = arguments
        self.expression = expression
        self.complain = complaints
        self.output = Output()
        self.found = False
        self._watch = watch
        several = arguments.recursive or len(arguments.paths) > 1
        self.with_name: bool = several if arguments.with_name is None else arguments.with_name

    def at(self, session: Session, address: Address) -> None:
        """Search a file, all files below a directory, or the standard input.  Raises OSError."""
        if address.text == "-":
            self._lines(b"(standard input)", iter(lambda: sys.stdin.buffer.read(1 << 16), b""))
            return
        top = session.node(address)
        if top.is_directory() and not self.options.recursive:
            raise failure(EISDIR, "it is a directory (-r searches in it)")
        for visit in Walk(top, address.shown(), self.complain):
            if not visit.leaving:
                self._watch.copied(visit.path, 0)
                if visit.node.kind == S_IFREG:
                    with self.complain.caught(os.fsdecode(visit.path)):
                        self._lines(visit.path, self._watched(visit.path, visit.node))
            if self.found and self.options.quiet:
                return

    def _watched(self, path: bytes, node: Node) -> Iterator[bytes]:
        for piece in node.content():
            self._watch.copied(path, len(piece))
            yield piece

    def _lines(self, path: bytes, pieces: Iterator[bytes]) -> None:
        scan = Scan(self, path)
        rest = b""
        for piece in pieces:
            scan.binary = scan.binary or (b"\0" in piece and not self.options.text)
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            if len(rest) > LINE_LIMIT:
                if not scan.binary:
                    raise failure(EFBIG, f"a line is longer than {LINE_LIMIT >> 20} MiB")
                lines.append(rest)
                rest = b""
            if not scan.some(lines):
                break
        else:
            if rest:
                scan.some([rest])
        scan.end()


@final
class Scan:
    """One file's lines."""

    def __init__(self, search: Search, path: bytes) -> None:
        options = search.options
        self.binary: bool = False
        self._search: Search = search
        self._options: Any = options
        self._path: bytes = path
        self._number: int = 0
        self._hits: int = 0
        self._before: deque[bytes] = deque(maxlen=max(options.before, options.around, 0))
        """Lines that were not printed and may yet have to be."""
        self._behind: int = max(options.after, options.around, 0)
        self._left: int = 0
        """Lines that are still printed, as one before them matched."""
        self._last: int = 0
        """The last line that was printed."""
        self._shows: bool = not (options.quiet or options.list or options.without or options.count)

    def some(self, lines: list[bytes]) -> bool:
        """Some more lines; False where no further ones are of interest."""
        matches = self._search.expression.search
        invert = self._options.invert
        for line in lines:
            self._number += 1
            if (matches(line) is None) == invert:
                if not self._hit(line):
                    return False
            elif self._left:
                self._left -= 1
                self._print(line, self._number, b"-")
            elif self._before.maxlen:
                self._before.append(line)
        return True

    def _hit(self, line: bytes) -> bool:
        """A line that matches; False if that is all that was to be known."""
        options = self._options
        self._hits += 1
        self._search.found = self._search.found or not options.without
        if self._shows and self.binary:
            self._search.output.line(self._search.output.name(self._path) + b": binary file matches")
            return False
        if self._shows:
            first = self._number - len(self._before)
            for number, before in enumerate(self._before, first):
                self._print(before, number, b"-")
            self._before.clear()
            self._print(line, self._number, b":")
            self._left = self._behind
        elif not options.count:
            return False
        return not options.most or self._hits < options.most

    def _print(self, line: bytes, number: int, sign: bytes) -> None:
        options = self._options
        if self._last and number > self._last + 1 and (self._before.maxlen or self._behind):
            self._search.output.line(b"--")
        self._last = number
        prefix = self._search.output.name(self._path) + sign if self._search.with_name else b""
        prefix += b"%d%s" % (number, sign) if options.numbers else b""
        if not options.only:
            self._search.output.line(prefix + line)
        elif sign == b":" and not options.invert:
            for found in self._search.expression.finditer(line):
                if found[0]:
                    self._search.output.line(prefix + found[0])

    def end(self) -> None:
        """There are no more lines."""
        options, output = self._options, self._search.output
        if options.without:
            self._search.found = self._search.found or not self._hits
        if options.quiet:
            return
        if (options.list and self._hits) or (options.without and not self._hits):
            output.line(output.name(self._path))
        elif options.count and not (options.list or options.without):
            prefix = output.name(self._path) + b":" if self._search.with_name else b""
            output.line(prefix + b"%d" % self._hits)
